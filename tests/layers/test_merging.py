"""Layers that merge several tensors, and Lambda and Identity, beside Keras's."""

import inspect
import warnings

import keras
import numpy as np
import pytest
import torch

from penalize.errors import ArgumentError, ShapeError
from penalize.layers import concatenation, functions, merging
from penalize.masks import mask_of

ELEMENTWISE = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
OURS = {
    **{name: getattr(merging, name) for name in ELEMENTWISE},
    **{name: getattr(concatenation, name) for name in ("Concatenate", "Dot")},
    **{name: getattr(functions, name) for name in ("Identity", "Lambda")},
}
FIRST = torch.tensor([[True, False, False], [True, True, False]])
SECOND = torch.tensor([[True, True, False], [False, True, False]])
PAIR = [(2, 3, 4), (2, 3, 4)]

CASES = [
    *((name, {}, shapes) for name in ELEMENTWISE for shapes in (PAIR, [(2, 3, 4), (2, 4)], [(2, 1, 4), (2, 3, 1)])),
    *((name, {}, [(2, 3)] * 3) for name in ELEMENTWISE if name != "Subtract"),
    ("Add", {}, [(2, 3)]),
    ("Add", {}, [(2, 3), (2,)]),
    ("Concatenate", {}, [(2, 3, 4), (2, 3, 1), (2, 3, 2)]),
    ("Concatenate", {"axis": 1}, [(2, 3, 4), (2, 5, 4)]),
    ("Concatenate", {"axis": 0}, [(2, 3), (1, 3)]),
    ("Concatenate", {}, [(2, 3)]),
    ("Dot", {"axes": 1}, [(2, 3), (2, 3)]),
    ("Dot", {"axes": (1, 2)}, [(2, 3, 5), (2, 10, 3)]),
    ("Dot", {"axes": -1}, [(2, 4, 3), (2, 3)]),
    ("Dot", {"axes": 1}, [(2, 3), (2, 3, 4)]),
    ("Dot", {"axes": [-1, -2]}, [(2, 4, 3), (2, 3, 5)]),
    ("Dot", {"axes": (2, 1), "normalize": True}, [(2, 4, 3, 5), (2, 3, 6, 7)]),
    ("Dot", {"axes": 1, "normalize": True}, [(2, 3), (2, 3)]),
]


def random(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=shape).astype("float32"))


def with_mask(x, mask):
    x = x.clone()
    if mask is not None:
        x._keras_mask = mask
    return x


@pytest.mark.parametrize(("name", "arguments", "shapes"), CASES)
def test_outputs_losses_and_gradients(name, arguments, shapes):
    arguments = {**arguments, "activity_regularizer": "l2"}
    theirs, ours = getattr(keras.layers, name)(**arguments), OURS[name](**arguments)
    our_inputs = [random(*shape, seed=seed).requires_grad_() for seed, shape in enumerate(shapes)]
    their_inputs = [x.detach().clone().requires_grad_() for x in our_inputs]
    got, expected = ours(our_inputs), theirs(their_inputs)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(ours.losses, theirs.losses)
    (got.pow(3).sum() + ours.losses[0]).backward()
    (expected.pow(3).sum() + theirs.losses[0]).backward()
    for x, other in zip(our_inputs, their_inputs, strict=True):
        torch.testing.assert_close(x.grad, other.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OURS)
def test_keywords_and_defaults_are_kerass(name):
    theirs = inspect.signature(getattr(keras.layers, name)).parameters
    ours = inspect.signature(OURS[name]).parameters
    both = [[(p.name, p.default) for p in of.values() if p.kind is not p.VAR_KEYWORD] for of in (ours, theirs)]
    if name in (*ELEMENTWISE, "Identity"):
        assert both[1] == []
    else:
        assert both[0] == both[1]


@pytest.mark.parametrize("masks", [(FIRST, SECOND), (FIRST, None), (None, SECOND), (SECOND, FIRST), (None, None)])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((name, {}) for name in ELEMENTWISE),
        *(("Concatenate", {"axis": axis}) for axis in (0, 1, 2, -1)),
        ("Dot", {"axes": 1}),
    ],
)
def test_masks(name, arguments, masks):
    inputs = [with_mask(random(2, 3, 4, seed=seed), mask) for seed, mask in enumerate(masks)]
    theirs = getattr(keras.layers, name)(**arguments)([with_mask(x, mask_of(x)) for x in inputs])
    ours = OURS[name](**arguments)(inputs)
    torch.testing.assert_close(ours, theirs)
    expected = mask_of(theirs)
    assert (mask_of(ours) is None) == (expected is None)
    assert expected is None or torch.equal(mask_of(ours), expected)


@pytest.mark.parametrize("name", ["Multiply", "Maximum", "Minimum"])
@pytest.mark.parametrize(
    "masks", [(FIRST, SECOND, ~FIRST), (FIRST, SECOND, FIRST), (FIRST, SECOND, None), (None, FIRST, SECOND)]
)
def test_masks_of_three(name, masks):
    inputs = [with_mask(random(2, 3, 4, seed=seed), mask) for seed, mask in enumerate(masks)]
    theirs = getattr(keras.layers, name)()([with_mask(x, mask_of(x)) for x in inputs])
    torch.testing.assert_close(OURS[name]()(inputs), theirs)


def test_masks_of_inputs_of_other_ranks():
    images = with_mask(random(2, 3, 5, 4), torch.rand(2, 3, 5) > 0.5)
    steps = with_mask(random(2, 4), torch.tensor([True, False]))
    y = OURS["Multiply"]()([images, steps])
    expected = mask_of(images) | mask_of(steps)[:, None, None]
    assert torch.equal(mask_of(y), expected)
    factors = images.masked_fill(~mask_of(images)[..., None], 1.0), steps.masked_fill(~mask_of(steps)[:, None], 1.0)
    torch.testing.assert_close(y, (factors[0] * factors[1][:, None, None]) * expected[..., None])
    joined = OURS["Concatenate"]()([with_mask(random(2, 3, 5, 4), FIRST), images])
    assert torch.equal(mask_of(joined), FIRST[:, :, None] | mask_of(images))


def test_dtypes_and_arrays():
    ones = torch.ones(2, 3, dtype=torch.int64)
    assert OURS["Add"]()([ones, ones]).dtype == torch.int64
    assert OURS["Average"]()([ones, ones]).dtype == torch.float32
    assert OURS["Add"](dtype="bfloat16")([torch.ones(2, 3), torch.ones(2, 3)]).dtype == torch.bfloat16
    assert OURS["Concatenate"]()((np.ones((2, 3)), torch.ones(2, 1))).shape == (2, 4)
    small = [1e-10 * torch.ones(1, 2), torch.ones(1, 2)]
    expected = keras.layers.Dot(1, normalize=True)(small)
    torch.testing.assert_close(OURS["Dot"](1, normalize=True)(small), expected)
    assert OURS["Dot"]((2, 1))([torch.ones(0, 4, 3), torch.ones(0, 3, 5)]).shape == (0, 4, 5)


@pytest.mark.parametrize("name", [*ELEMENTWISE, "Concatenate"])
def test_compiled_as_one_graph(name):
    layer = OURS[name](activity_regularizer="l1")
    inputs = [random(2, 3), random(2, 3, seed=1)]
    expected = layer(inputs)
    losses = layer.losses
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(inputs), expected)
    torch.testing.assert_close(layer.losses, losses)


X = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: OURS["Add"](name="mine")(X), ArgumentError, "mine: it is called on a list of tensors, got Tensor"),
        (lambda: OURS["Add"]()([]), ArgumentError, "a list of tensors, got 0"),
        (lambda: OURS["Add"]()([X, 3]), ArgumentError, "a list of tensors, got a int in it"),
        (lambda: OURS["Subtract"]()([X, X, X]), ArgumentError, "a list of 2 tensors, got 3"),
        (lambda: OURS["Add"]()([X, torch.ones(1, 3)]), ShapeError, r"one batch size .* \(2, 3\) and \(1, 3\)"),
        (lambda: OURS["Add"]()([X, torch.ones(2, 4)]), ShapeError, r"equal or 1, got shapes \(2, 3\) and \(2, 4\)"),
        (lambda: OURS["Add"]()([X, X], mask=[FIRST]), ArgumentError, "mask must be a list of 2 masks"),
        (lambda: OURS["Concatenate"](1.5), ArgumentError, "axis must be an integer, got 1.5"),
        (lambda: OURS["Concatenate"](2)([X, X]), ArgumentError, r"axis 2 must be one of inputs of shapes \(2, 3\)"),
        (lambda: OURS["Concatenate"]()([X, torch.ones(3, 3)]), ShapeError, "equal axes but for axis -1"),
        (lambda: OURS["Concatenate"]()([X, X[0]]), ShapeError, r"one rank, got shapes \(2, 3\) and \(3,\)"),
        (lambda: OURS["Dot"]("1"), ArgumentError, "axes must be an integer or two, got '1'"),
        (lambda: OURS["Dot"]((1,)), ArgumentError, r"axes must be an integer or two, got \(1,\)"),
        (lambda: OURS["Dot"](True), ArgumentError, "axes must be an integer or two, got True"),
        (lambda: OURS["Dot"](0)([X, X]), ArgumentError, r"axes \(0, 0\) must be behind the batch"),
        (lambda: OURS["Dot"](-2)([X, X]), ArgumentError, r"axes \(-2, -2\) must be behind the batch"),
        (lambda: OURS["Dot"](1)([X, X, X]), ArgumentError, "a list of 2 tensors, got 3"),
        (lambda: OURS["Dot"](1)([X, torch.ones(2, 4)]), ShapeError, r"same size along the axes \(1, 1\)"),
        (lambda: OURS["Lambda"](3), ArgumentError, "function must be one, got int: 3"),
        (lambda: OURS["Lambda"](abs, arguments=[1]), ArgumentError, r"arguments must be a mapping of names, got \[1\]"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_identity():
    layer = OURS["Identity"](activity_regularizer="l1")
    x = with_mask(random(2, 3, 4), FIRST)
    assert mask_of(layer(x)) is FIRST
    nested = {"b": random(2, 3), "a": [random(2, 1)]}
    theirs = keras.layers.Identity(activity_regularizer="l1")
    theirs(nested)
    assert layer(nested)["a"][0] is nested["a"][0]
    torch.testing.assert_close(layer.losses, theirs.losses)


def test_lambda():
    x = random(2, 3, 4)
    arguments = {"activity_regularizer": "l1"}
    for function in (lambda x: x * 2, lambda x: {"b": x, "a": x.sum()}):
        theirs, ours = keras.layers.Lambda(function, **arguments), OURS["Lambda"](function, **arguments)
        torch.testing.assert_close(ours(x), theirs(x))
        torch.testing.assert_close(ours.losses, theirs.losses)
    torch.testing.assert_close(OURS["Lambda"](lambda x, k: x * k, arguments={"k": 3})(x), 3 * x)
    torch.testing.assert_close(OURS["Lambda"](torch.abs)(x), x.abs())
    mode = OURS["Lambda"](lambda x, training: x + training)
    torch.testing.assert_close(mode(x), x + 1)
    torch.testing.assert_close(mode.eval()(x), x)


def test_the_masks_of_lambda():
    x = with_mask(random(2, 3, 4), FIRST)
    for mask in (lambda x, mask: ~mask, SECOND):
        expected = keras.layers.Lambda(lambda x: x + 1, mask=mask)(with_mask(x, FIRST))
        assert torch.equal(mask_of(OURS["Lambda"](lambda x: x + 1, mask=mask)(x)), mask_of(expected))
    bare = x.clone()
    y = OURS["Lambda"](lambda x: x + 1, mask=lambda x, mask: x[..., 0] > 0)(bare)
    assert torch.equal(mask_of(y), bare[..., 0] > 0)
    masked = OURS["Lambda"](lambda x, mask: x * mask[..., None], mask=lambda x, mask: mask)(x)
    torch.testing.assert_close(masked, bare * FIRST[..., None])
    with pytest.warns(UserWarning, match="its input has a mask, which Lambda does not hand on"):
        assert mask_of(OURS["Lambda"](lambda x: x + 1)(x)) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        OURS["Lambda"](lambda x: x + 1)(bare)


def test_a_module_as_function_is_trained():
    layer = OURS["Lambda"](torch.nn.Linear(3, 2))
    assert layer(X).shape == (2, 2)
    assert len(layer.trainable_weights) == 2
