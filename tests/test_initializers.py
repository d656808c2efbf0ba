"""The initializers: formulas, seeds, orthogonality, dtypes, identifiers and errors."""

import math

import numpy as np
import pytest
import torch

from penalize import initializers
from penalize.errors import ArgumentError, ConfigError, ShapeError, UnknownNameError
from penalize.initializers.scaled import TRUNCATED_STDDEV, fans
from penalize.registry import built_ins

CLASSES = [entry.factory for entry in built_ins("initializer")]
DRAWN = [cls for cls in CLASSES if "seed" in cls().get_config()]

# class: (variance times n, n of (in, out)), for a kernel of shape (3, 3, 20, 50).
FORMULAS = {
    initializers.GlorotUniform: (1.0, (180 + 450) / 2),
    initializers.GlorotNormal: (1.0, (180 + 450) / 2),
    initializers.HeUniform: (2.0, 180),
    initializers.HeNormal: (2.0, 180),
    initializers.LecunUniform: (1.0, 180),
    initializers.LecunNormal: (1.0, 180),
}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), (1, 1)), ((4,), (4, 4)), ((5, 7), (5, 7)), ((3, 5, 7), (15, 21)), ((2, 3, 5, 7), (30, 42))],
)
def test_fans_are_of_keras_layout(shape, expected):
    assert fans(shape) == expected


@pytest.mark.parametrize("cls", FORMULAS)
def test_limits_and_variances_are_the_papers(cls):
    scale, count = FORMULAS[cls]
    values = cls(seed=0)((3, 3, 20, 50))
    stddev = math.sqrt(scale / count)
    assert values.std().item() == pytest.approx(stddev, rel=0.02)
    limit = math.sqrt(3) * stddev if "Uniform" in cls.__name__ else 2 * stddev / TRUNCATED_STDDEV
    assert 0.99 * limit < values.abs().max().item() <= limit * (1 + 1e-6)


def test_truncation_is_at_two_standard_deviations():
    values = initializers.TruncatedNormal(1.0, 0.5, seed=0)((100, 1000))
    assert 0.0 <= values.min() < 0.01
    assert 1.99 < values.max() <= 2.0
    assert values.std().item() == pytest.approx(0.5 * TRUNCATED_STDDEV, rel=0.01)
    assert abs(TRUNCATED_STDDEV - 0.87962566) < 1e-8
    assert initializers.TruncatedNormal(1.0, 0.0)((2,)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (3, 2, 4), (2, 2, 3, 20)])
def test_orthogonal_matrices_are_orthogonal(shape):
    matrix = initializers.Orthogonal(gain=2.0)(shape, dtype="float64").reshape(-1, shape[-1])
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    torch.testing.assert_close(gram, 4 * torch.eye(len(gram), dtype=torch.float64))


@pytest.mark.parametrize("cls", DRAWN)
def test_a_seed_gives_the_same_values_and_leaves_the_global_generator_alone(cls):
    state = torch.get_rng_state()
    first = cls(seed=3)
    assert torch.equal(first((4, 5)), first((4, 5)))
    assert torch.equal(first((4, 5)), cls(seed=3)((4, 5)))
    assert not torch.equal(first((4, 5)), cls(seed=4)((4, 5)))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("cls", DRAWN)
def test_without_a_seed_torch_s_global_generator_decides(cls):
    initializer = cls()
    torch.manual_seed(1)
    first, second = initializer((4, 5)), initializer((4, 5))
    torch.manual_seed(1)
    assert torch.equal(initializer((4, 5)), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", None])
def test_dtypes_shapes_and_gradients(cls, dtype):
    for shape in [(3, 4), [3, 4], torch.Size([3, 4]), (0, 4), (3, 0)]:
        values = cls()(shape, dtype=dtype)
        assert values.shape == tuple(shape)
        assert values.dtype == getattr(torch, dtype or "float32")
        assert not values.requires_grad
    assert cls()((3, 4), dtype=torch.float64).dtype == torch.float64


def test_numbers_of_values_that_are_counts():
    assert initializers.Zeros()(3, dtype="int32").dtype == torch.int32
    assert initializers.Ones()((2,), dtype="bool").tolist() == [True, True]
    assert initializers.Constant(torch.tensor([1.0, 2.0]))((2, 2)).tolist() == [[1.0, 2.0]] * 2
    assert initializers.Constant(np.float64(0.1)).get_config() == {"value": 0.1}
    assert initializers.GlorotUniform()(()).shape == ()


def test_the_default_device_is_used():
    with torch.device("meta"):
        for cls in CLASSES:
            assert cls()((3, 4)).device.type == "meta"
        assert initializers.GlorotUniform(seed=1)((3, 4)).device.type == "meta"


@pytest.mark.parametrize("cls", CLASSES)
def test_configs_come_back_exactly(cls):
    first = cls(**{key: 0.1 if isinstance(value, float) else value for key, value in cls().get_config().items()})
    config = initializers.serialize(first)
    assert (config["module"], config["class_name"]) == ("keras.initializers", cls.__name__)
    second = initializers.deserialize(config)
    assert type(second) is cls
    assert second.get_config() == first.get_config()
    assert repr(second) == repr(first)


def test_get_takes_every_kind_of_identifier():
    assert initializers.get(None) is None
    for name in ("uniform", "random_uniform", "RandomUniform"):
        assert isinstance(initializers.get(name), initializers.RandomUniform)
    assert isinstance(initializers.get(initializers.HeNormal), initializers.HeNormal)
    instance = initializers.Ones()
    assert initializers.get(instance) is instance

    def halves(shape, dtype=None):
        return torch.full(shape, 0.5)

    assert initializers.get(halves) is halves
    config = {"class_name": "GlorotUniform", "config": {"seed": 3, "input_axes": None, "output_axes": None}}
    assert initializers.get(config).seed == 3


@pytest.mark.parametrize(
    ("identifier", "error", "message"),
    [
        ("glorot", UnknownNameError, "unknown initializer 'glorot': did you mean 'glorot_"),
        ("ZEROS", UnknownNameError, "unknown initializer 'ZEROS'"),
        (0.5, ArgumentError, "an initializer is None, a name, .* got float: 0.5"),
        (np.ones(3), ArgumentError, "got ndarray"),
        (torch.ones(3), ArgumentError, "got Tensor"),
        (dict, ArgumentError, "got type"),
        (torch.nn.init.xavier_uniform_, ArgumentError, "torch.nn.init.xavier_uniform_ fills a tensor in place"),
        ({}, ConfigError, 'needs a string "class_name", got None'),
        ({"class_name": "Zeros", "oops": 1}, ConfigError, "an initializer's config has an unknown key 'oops'"),
        ({"class_name": "Zeros", "config": 1}, ConfigError, "Zeros: config must be a dict, got int"),
        ({"class_name": "Ones", "config": {"gain": 1}}, ConfigError, "config of Ones has an unknown key 'gain'"),
        ({"class_name": "function", "config": 3}, ConfigError, "a function's config is its registered name, got 3"),
        ({"class_name": "HeNormal", "config": {"input_axes": [0]}}, ConfigError, r"input_axes=\[0\] is not supported"),
        ({"class_name": "Mine", "registered_name": "me>Mine"}, UnknownNameError, "unknown initializer 'me>Mine'"),
    ],
)
def test_bad_identifiers_are_named_errors(identifier, error, message):
    with pytest.raises(error, match=message):
        initializers.get(identifier)


def test_custom_initializers_in_configs():
    class Halves(initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return torch.full(shape, 0.5)

    config = {"class_name": "Halves", "config": {}, "registered_name": "me>Halves"}
    assert isinstance(initializers.deserialize(config, {"Halves": Halves}), Halves)
    assert isinstance(initializers.deserialize("Halves", {"Halves": Halves}), Halves)
    for thing in (Halves(), torch.zeros):
        with pytest.raises(ConfigError, match="has no config that could be read back: register it"):
            initializers.serialize(thing)
    with pytest.raises(ConfigError, match="is no initializer: it is not a subclass of penalize's Initializer"):
        initializers.deserialize(config, {"Halves": torch.zeros})
    with pytest.raises(ConfigError, match="a dict or a name, got int: 3"):
        initializers.deserialize(3)
    assert initializers.serialize(None) is None
    assert initializers.deserialize(None) is None
    with pytest.raises(NotImplementedError, match=r"Initializer must define __call__"):
        initializers.Initializer()((2,))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: initializers.RandomNormal(stddev=-1), ArgumentError, "stddev must be a number >= 0, got -1"),
        (lambda: initializers.RandomNormal(mean=math.nan), ArgumentError, "mean must be a finite number, got nan"),
        (lambda: initializers.RandomNormal(seed=1.5), ArgumentError, "seed must be None or an integer, got 1.5"),
        (lambda: initializers.RandomUniform(1, 0), ArgumentError, "minval must not be above maxval, got minval=1"),
        (lambda: initializers.VarianceScaling(0), ArgumentError, "scale must be a number > 0, got 0"),
        (lambda: initializers.VarianceScaling(mode="fan"), ArgumentError, "mode must be one of fan_in, .* got 'fan'"),
        (lambda: initializers.VarianceScaling(distribution=3), ArgumentError, "distribution must be one of .* got 3"),
        (lambda: initializers.Constant("a"), ArgumentError, "value must be a number or an array of numbers, got 'a'"),
        (
            lambda: initializers.Constant([1, 2])((3,)),
            ShapeError,
            r"of shape \(2,\) does not broadcast to shape \(3,\)",
        ),
        (lambda: initializers.Identity()((2, 2, 2)), ShapeError, r"Identity makes matrices .* got shape \(2, 2, 2\)"),
        (lambda: initializers.Orthogonal()((2,)), ShapeError, r"two axes or more, got shape \(2,\)"),
        (lambda: initializers.Zeros()((2, None)), ArgumentError, r"shape must be integers >= 0, got \(2, None\)"),
        (lambda: initializers.Zeros()((-1,)), ArgumentError, r"shape must be integers >= 0, got \(-1,\)"),
        (lambda: initializers.Zeros()((1,), "flot32"), ArgumentError, "unknown dtype 'flot32': did you mean 'float32'"),
        (lambda: initializers.HeNormal()((2, 2), "int32"), ArgumentError, "HeNormal draws floating-point numbers, got"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
