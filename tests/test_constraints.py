"""The constraints: formulas, axes, dtypes, identifiers, configs and errors."""

import json
import math

import numpy as np
import pytest
import torch

import penalize
from penalize import constraints
from penalize.constraints.projection import project
from penalize.errors import ArgumentError, ArrayError, ConfigError, ShapeError, UnknownNameError
from penalize.registry import built_ins, register_serializable

CLASSES = [entry.factory for entry in built_ins("constraint")]
W = torch.tensor([[3.0, 0.3, 0.0], [-4.0, -0.4, 0.0]])  # norms over axis 0: 5, 0.5 and 0


def test_max_norm_shortens_what_is_longer_and_leaves_the_rest():
    norms = constraints.MaxNorm(2)(W).norm(dim=0)
    assert norms.tolist() == pytest.approx([2.0, 0.5, 0.0], abs=1e-6)
    assert constraints.MaxNorm(0)(W).tolist() == [[0.0] * 3, [-0.0] * 3]


def test_unit_norm_makes_norms_one_and_keeps_zeros():
    assert constraints.UnitNorm()(W).norm(dim=0).tolist() == pytest.approx([1.0, 1.0, 0.0], abs=1e-6)


def test_non_neg_has_no_negative_entry():
    assert constraints.NonNeg()(W).tolist() == [[3.0, pytest.approx(0.3), 0.0], [0.0, 0.0, 0.0]]
    values = constraints.NonNeg()(torch.tensor([-math.inf, math.inf, math.nan]))
    assert values[:2].tolist() == [0.0, math.inf]
    assert values[2].isnan()


def test_min_max_norm_goes_rate_of_the_way():
    norms = constraints.MinMaxNorm(1.0, 2.0)(W).norm(dim=0)
    assert norms.tolist() == pytest.approx([2.0, 1.0, 0.0], abs=1e-6)
    norms = constraints.MinMaxNorm(1.0, 2.0, rate=0.25)(W).norm(dim=0)
    assert norms.tolist() == pytest.approx([4.25, 0.625, 0.0], abs=1e-6)
    torch.testing.assert_close(constraints.MinMaxNorm(1.0, 2.0, rate=0.0)(W), W)


@pytest.mark.parametrize(
    ("axis", "shape"), [(0, (1, 4, 5)), (-1, (3, 4, 1)), ((0, 1), (1, 1, 5)), ([0, -1], (1, 4, 1)), (None, (1, 1, 1))]
)
def test_norms_are_over_the_axes(axis, shape):
    w = torch.randn(3, 4, 5, dtype=torch.float64)
    norms = w.square().sum(constraints.UnitNorm(axis).axis, keepdim=True).sqrt()
    assert norms.shape == shape
    torch.testing.assert_close(constraints.UnitNorm(axis)(w), w / (norms + 1e-7))


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_and_shape_stay_and_the_weight_is_not_written(cls, dtype):
    for shape in [(4, 3), (0, 3), (4, 0), (5,), ()]:
        w = torch.randn(shape).to(dtype)
        before = w.clone()
        result = cls()(w)
        assert (result.dtype, result.shape) == (dtype, w.shape)
        assert torch.equal(w, before)
        assert result.isfinite().all()


def test_half_precision_norms_do_not_overflow():
    w = torch.full((1000, 1), 300.0, dtype=torch.float16)  # squares overflow, and their sum
    norm = constraints.MaxNorm(2.0)(w).double().norm().item()
    assert norm == pytest.approx(2.0, rel=1e-2)


def test_a_rank_0_weight_is_its_own_norm():
    assert constraints.MaxNorm(2)(torch.tensor(-3.0)).item() == pytest.approx(-2.0)


def test_arrays_and_integers_are_taken():
    assert constraints.MaxNorm(1.0)(np.array([[3.0], [4.0]])).dtype == torch.float64
    result = constraints.UnitNorm()(torch.tensor([[3], [4]]))
    torch.testing.assert_close(result, torch.tensor([[0.6], [0.8]]))


def test_a_gradient_runs_through():
    w = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(constraints.MinMaxNorm(0.5, 0.7, 0.5), (w,))


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("max_norm", constraints.MaxNorm),
        ("non_neg", constraints.NonNeg),
        ("unit_norm", constraints.UnitNorm),
        ("min_max_norm", constraints.MinMaxNorm),
    ],
)
def test_names_classes_and_configs_give_the_defaults(name, cls):
    assert getattr(constraints, name) is cls
    for identifier in (name, cls.__name__, cls, {"class_name": name}, {"class_name": cls.__name__, "config": {}}):
        got = constraints.get(identifier)
        assert type(got) is cls
        assert got.get_config() == cls().get_config()


def test_none_instances_and_functions_stay():
    def halved(w):
        return w / 2

    constraint = constraints.NonNeg()
    for identifier in (None, constraint, halved, torch.nn.ReLU()):
        assert constraints.get(identifier) is identifier
    assert constraints.serialize(None) is None
    assert constraints.deserialize(None) is None


@pytest.mark.parametrize(
    "constraint",
    [
        constraints.MaxNorm(0.1, axis=(0, 1)),
        constraints.MaxNorm(np.float32(3), np.int64(-1)),
        constraints.NonNeg(),
        constraints.UnitNorm(None),
        constraints.MinMaxNorm(0.1, 0.7, 0.3, [0, 2]),
    ],
)
def test_configs_come_back_also_through_json(constraint):
    config = constraints.serialize(constraint)
    for given in (config, json.loads(json.dumps(config))):
        back = constraints.deserialize(given)
        assert type(back) is type(constraint)
        assert constraints.serialize(back) == config
    assert type(constraint).from_config(constraint.get_config()).get_config() == constraint.get_config()
    assert repr(back) == repr(constraint)


def test_integers_stay_integers_and_repr_shows_the_arguments():
    assert repr(constraints.MaxNorm(3)) == "MaxNorm(max_value=3, axis=0)"
    assert repr(constraints.MinMaxNorm()) == "MinMaxNorm(min_value=0.0, max_value=1.0, rate=1.0, axis=0)"


def test_custom_constraints_are_registered_or_passed():
    class Capped(constraints.Constraint):
        def __init__(self, cap=1.0):
            self.cap = cap

        def __call__(self, w):
            return w.clamp(max=self.cap)

    with pytest.raises(ConfigError, match="'Capped' has no config that could be read back: register it"):
        constraints.serialize(Capped())
    config = {"class_name": "Capped", "config": {"cap": 2.0}}
    assert constraints.deserialize(config, {"Capped": Capped}).cap == 2.0
    register_serializable("test_constraints")(Capped)
    config = constraints.serialize(Capped(0.5))
    assert config["registered_name"] == "test_constraints>Capped"
    assert constraints.get(config).cap == 0.5


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: constraints.MaxNorm(-1), r"max_value must be a number >= 0, got -1"),
        (lambda: constraints.MaxNorm("2"), r"max_value must be a number >= 0, got '2'"),
        (lambda: constraints.MaxNorm(math.inf), r"max_value must be a number >= 0, got inf"),
        (lambda: constraints.MaxNorm(True), r"max_value must be a number >= 0, got True"),
        (lambda: constraints.MaxNorm(axis=0.5), r"axis must be an integer, .*, got 0\.5"),
        (lambda: constraints.MaxNorm(axis=True), r"axis must be an integer, .*, got True"),
        (lambda: constraints.UnitNorm("0"), r"axis must be an integer, .*, got '0'"),
        (lambda: constraints.UnitNorm(()), r"axis must be an integer, .*, got \(\)"),
        (lambda: constraints.UnitNorm((0, 0)), r"axis must be .* distinct integers or None, got \(0, 0\)"),
        (lambda: constraints.MinMaxNorm(-0.1), r"min_value must be a number >= 0, got -0\.1"),
        (lambda: constraints.MinMaxNorm(2, 1), r"min_value must be <= max_value, got 2 and 1"),
        (lambda: constraints.MinMaxNorm(rate=1.5), r"rate must be a number between 0 and 1, got 1\.5"),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()


WHERE = "dense: kernel_constraint"


@pytest.mark.parametrize(
    ("constraint", "error", "message"),
    [
        (lambda w: w[:1], ShapeError, r"the weight's shape \(2, 3\), got \(1, 3\)"),
        (lambda w: w.sum(), ShapeError, r"the weight's shape \(2, 3\), got \(\)"),
        (lambda w: w.T, ShapeError, r"the weight's shape \(2, 3\), got \(3, 2\)"),
        (lambda w: w[None], ShapeError, r"the weight's shape \(2, 3\), got \(1, 2, 3\)"),
        (lambda w: w.numpy()[:1], ShapeError, r"the weight's shape \(2, 3\), got \(1, 3\)"),
        (lambda w: None, ArrayError, r"the weight's shape \(2, 3\), got NoneType: None"),
        (lambda w: 1.0, ArrayError, r"the weight's shape \(2, 3\), got float: 1\.0"),
        (lambda w: w.tolist(), ArrayError, r"the weight's shape \(2, 3\), got list: \[\["),
        (lambda w: w.numpy().astype("U"), ArrayError, r"the weight's shape \(2, 3\), got ndarray"),
        (lambda w: w.to(torch.complex64), ArrayError, r"the weight's shape \(2, 3\), got a tensor of torch\.complex64"),
    ],
)
def test_what_a_constraint_returns_is_checked_and_errors_name_the_argument(constraint, error, message):
    with pytest.raises(error, match=f"^{WHERE} must return a tensor of {message}"):
        project(constraint, W, WHERE)


def test_errors_of_a_constraint_itself_name_the_argument_too():
    with pytest.raises(ShapeError, match=f"^{WHERE}: axis must be among the 2 axes of w"):
        project(constraints.MaxNorm(axis=2), W, WHERE)
    with pytest.raises(ZeroDivisionError, match=f"by zero\\nraised by {WHERE}"):
        project(lambda w: w / (1 // 0), W, WHERE)


def test_projections_are_tensors_without_a_graph_also_of_arrays():
    weight = torch.nn.Parameter(W.clone())
    for constraint in (constraints.NonNeg(), torch.relu, torch.nn.ReLU(), lambda w: np.maximum(w.numpy(), 0.0)):
        projected = project(constraint, weight, WHERE)
        torch.testing.assert_close(projected, torch.relu(W))
        assert not projected.requires_grad
    half = project(lambda w: np.broadcast_to(np.float16(1), w.shape), weight, WHERE)
    assert half.shape == W.shape


def test_what_cannot_be_constrained_is_an_error():
    with pytest.raises(ShapeError, match="axis must be among the 2 axes of w, each once, got axis=2"):
        constraints.MaxNorm(axis=2)(W)
    with pytest.raises(ShapeError, match=r"axis must be among the 2 axes of w, each once, got axis=\(0, -2\)"):
        constraints.UnitNorm((0, -2))(W)
    with pytest.raises(ArrayError, match=r"w must be real, got a tensor of torch\.complex64"):
        constraints.NonNeg()(torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(ArrayError, match="w must be a tensor or an array, got str: 'w'"):
        constraints.NonNeg()("w")
    with pytest.raises(NotImplementedError, match=r"Constraint must define __call__\(w\)"):
        constraints.Constraint()(W)


def test_bad_identifiers_are_named():
    with pytest.raises(UnknownNameError, match="unknown constraint 'maxnorm': did you mean 'max_norm'"):
        constraints.get("maxnorm")
    for identifier in (3, int, W):
        with pytest.raises(ArgumentError, match=f"a constraint is None, a name, .*, got {type(identifier).__name__}"):
            constraints.get(identifier)
    with pytest.raises(ArgumentError, match="only constraints and registered functions have configs, got 3"):
        constraints.serialize(3)
    with pytest.raises(ConfigError, match="has no config that could be read back"):
        constraints.serialize(torch.abs)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, 'a constraint\'s config needs a string "class_name", got None'),
        (3, "a constraint's config is a dict or a name, got int: 3"),
        ({"class_name": "MaxNorm", "config": {"max": 1}}, "the config of MaxNorm has an unknown key 'max'"),
        ({"class_name": "MaxNorm", "module": "os"}, "MaxNorm: module must be 'keras.constraints', got 'os'"),
        ({"class_name": "Nothing"}, "unknown constraint 'Nothing'"),
    ],
)
def test_bad_configs_are_errors(config, message):
    with pytest.raises(ArgumentError, match=message):
        constraints.deserialize(config)


def test_a_layer_refuses_what_its_constraint_returns():
    layer = penalize.layers.Dense(2, kernel_constraint=lambda w: w[:1], name="dense")
    layer.build((None, 3))
    with pytest.raises(ShapeError, match=r"^dense: kernel_constraint must return .* \(3, 2\), got \(1, 2\)"):
        layer.apply_constraints()
