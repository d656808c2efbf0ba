"""The activation functions: identifiers, sparsemax against its definition, infinities."""

import pytest
import torch

from penalize import activations
from penalize.errors import ArgumentError, ConfigError, UnknownNameError
from penalize.registry import built_ins

FUNCTIONS = [entry.factory for entry in built_ins("activation") if entry.class_name not in ("threshold", "glu")]


def test_get_takes_every_kind_of_identifier():
    assert activations.get(None) is activations.linear
    assert activations.get("swish") is activations.get("silu") is activations.silu
    assert activations.get("hard_swish") is activations.hard_silu
    assert activations.get(torch.tanh) is torch.tanh
    module = torch.nn.GELU()
    assert activations.get(module) is module
    assert isinstance(activations.get(torch.nn.GELU), torch.nn.GELU)
    config = {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "function"}
    assert activations.get(config) is activations.relu


@pytest.mark.parametrize(
    ("identifier", "error", "message"),
    [
        ("sofmax", UnknownNameError, "unknown activation 'sofmax': did you mean 'softmax'"),
        ("RELU", UnknownNameError, "unknown activation 'RELU'"),
        (3, ArgumentError, "an activation is None, a name, .* got int: 3"),
        (dict, ArgumentError, "got type: <class 'dict'>"),
        ({"class_name": "ReLU"}, ConfigError, "an activation's config has the class_name 'function', got 'ReLU'"),
        ({"class_name": "function", "config": 3}, ConfigError, "an activation's config is a name, got int: 3"),
    ],
)
def test_bad_identifiers_are_named_errors(identifier, error, message):
    with pytest.raises(error, match=message):
        activations.get(identifier)


def test_custom_functions_in_configs():
    def halve(x):
        return x / 2

    assert activations.deserialize("halve", {"halve": halve}) is halve
    with pytest.raises(ConfigError, match="'halve' has no name that could be read back: register it"):
        activations.serialize(halve)
    assert activations.serialize(None) == "linear"
    assert activations.deserialize(None) is None


@pytest.mark.parametrize("function", FUNCTIONS)
def test_shapes_and_dtypes_stay_and_zero_dimensions_work(function):
    for shape in [(3, 4), (2, 3, 4), (5,)]:
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            y = function(torch.randn(shape).to(dtype))
            assert (y.shape, y.dtype) == (shape, dtype)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_large_inputs_give_no_nan(function):
    for value in (-1e4, 1e4):
        x = torch.full((2, 3), value, requires_grad=True)
        y = function(x)
        assert not y.isnan().any()
        if function is not activations.exponential:
            y.sum().backward()
            assert not x.grad.isnan().any()


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_sparsemax_is_the_projection_on_the_simplex(axis):
    """The optimality conditions: on the simplex, and x - p is largest, and the same, where p > 0."""
    x = torch.randn(4, 5, 6, dtype=torch.float64) * 2
    p = activations.sparsemax(x, axis=axis)
    torch.testing.assert_close(p.sum(axis), torch.ones_like(p.sum(axis)))
    assert (p >= 0).all()
    assert (p == 0).any()
    rest = (x - p).movedim(axis, -1)
    largest = rest.amax(-1, keepdim=True).expand_as(rest)
    kept = p.movedim(axis, -1) > 0
    torch.testing.assert_close(rest[kept], largest[kept])


def test_glu_needs_halves():
    with pytest.raises(ArgumentError, match=r"glu halves axis -1, so its size must be even, got shape \(2, 3\)"):
        activations.glu(torch.ones(2, 3))
