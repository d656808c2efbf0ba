"""The contract that every registered regularizer keeps, row by row of the table."""

import copy
import inspect
import json
import pickle
import re

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from penalize.errors import ArrayError, ShapeError, StrengthError
from penalize.registry import built_ins
from penalize.regularizers import deserialize, get, serialize
from penalize.regularizers.base import has_diagonal_prox, has_gradient, has_prox, is_convex
from penalize.regularizers.strength import StrengthAttribute, strength_attributes
from tests.contract.regularizer_table import CASES, NEEDED, TABLE

CLASSES = [entry.factory for entry in built_ins("regularizer")]
by_row = pytest.mark.parametrize("row", TABLE, ids=repr)
by_case = pytest.mark.parametrize(("row", "shape"), CASES, ids=lambda value: str(value))
devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def made(cls, **arguments):
    """An instance with these strengths, and what it needs besides."""
    return cls(**NEEDED.get(cls, {}), **arguments)


def values_for(cls, shape):
    return next(row for row in TABLE if type(row.regularizer) is cls).values(shape)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_regularizer_has_a_row(cls):
    assert any(type(row.regularizer) is cls for row in TABLE), f"give {cls.__name__} a row in regularizer_table.py"


@by_case
@pytest.mark.parametrize("device", devices)
def test_value_is_the_formula(row, shape, device):
    x = row.values(shape)
    got = row.regularizer(x.to(device))
    assert got.dtype == torch.float64
    assert got.shape == ()
    assert float(got) == pytest.approx(row.formula(x.numpy()), rel=1e-12, abs=1e-15)


@by_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_summed_in_float32(row, shape, dtype):
    x = row.values(shape, dtype)
    got = row.regularizer(x)
    assert got.dtype == torch.float32
    assert float(got) == pytest.approx(row.formula(x.double().numpy()), rel=1e-5, abs=1e-7)


@by_case
def test_autograd_of_the_value_passes_gradcheck(row, shape):
    x = row.values(shape).requires_grad_()
    torch.autograd.gradcheck(row.regularizer, (x,))


@by_case
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_gradient_is_autograds(row, shape, dtype):
    if not has_gradient(row.regularizer):
        pytest.skip("declares no closed-form gradient")
    x = row.values(shape, dtype).requires_grad_()
    (expected,) = torch.autograd.grad(row.regularizer(x), x)
    with torch.no_grad():
        got = row.regularizer.gradient(x.detach())
    assert got.dtype == dtype
    assert got.shape == x.shape
    torch.testing.assert_close(got, expected)


@by_row
def test_gradient_at_zero_is_zero_where_the_penalty_is(row):
    x = torch.zeros(row.shapes[0], requires_grad=True)
    value = row.regularizer(x)
    expected = row.formula(np.zeros(row.shapes[0]))
    assert float(value.detach()) == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(value, x)
    assert torch.isfinite(gradient).all()
    if expected == 0:
        assert torch.equal(gradient, torch.zeros_like(x))
    if has_gradient(row.regularizer):
        assert torch.equal(row.regularizer.gradient(x.detach()), gradient)


@by_row
def test_empty_tensors_have_penalty_zero(row):
    first, *others = row.shapes[0]
    assert float(row.regularizer(torch.zeros(0, *others))) == 0
    assert float(row.regularizer(torch.zeros(first, *others[:-1], *([0] if others else [])))) == 0


def steps(row, shape):
    """A number, a tensor of rank 0, and one step of each element: equal ones where no others are declared."""
    each = torch.rand(shape, dtype=torch.float64) + 0.1
    if not has_diagonal_prox(row.regularizer):
        each = torch.full(shape, 0.3, dtype=torch.float64)
    return [0.7, torch.tensor(2.0, dtype=torch.float64), each]


def objective(row, w, x, step):
    return float(row.regularizer(w)) + float(((w - x) ** 2 / (2 * step)).sum())


@by_case
def test_prox_is_the_minimum(row, shape):
    """Against a search over each coordinate alone where the penalty is elementwise, and near points everywhere."""
    if not has_prox(row.regularizer):
        pytest.skip("declares no proximal step")
    x = row.values(shape) * 0.5
    for step in steps(row, shape):
        found = row.regularizer.prox(x, step)
        assert found.shape == x.shape
        assert found.dtype == x.dtype
        best = objective(row, found, x, step)
        for scale in (1e-3, 1e-1, 1.0):
            for _ in range(30):
                other = found + scale * torch.randn(shape, dtype=torch.float64)
                assert objective(row, other, x, step) >= best - 1e-12
        searched = minimize(
            lambda w, step=step: objective(row, torch.from_numpy(w).reshape(shape), x, step),
            x.numpy().ravel(),
            method="Powell",
            options={"xtol": 1e-8, "ftol": 1e-12},
        )
        assert best <= searched.fun + 1e-9


@by_case
def test_prox_meets_its_optimality_condition(row, shape):
    """(x - w) / step is a subgradient at w: R(v) >= R(w) + <g, v - w> for every v of a convex R."""
    if not (has_prox(row.regularizer) and is_convex(row.regularizer)):
        pytest.skip("declares no proximal step, or is not convex")
    x = row.values(shape)
    for step in steps(row, shape):
        w = row.regularizer.prox(x, step)
        subgradient = (x - w) / step
        for _ in range(50):
            v = w + torch.randn(shape, dtype=torch.float64)
            assert float(row.regularizer(v)) >= float(row.regularizer(w) + (subgradient * (v - w)).sum()) - 1e-12


@by_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prox_keeps_the_dtype(row, shape, dtype):
    if not has_prox(row.regularizer):
        pytest.skip("declares no proximal step")
    x = row.values(shape, dtype)
    for step in steps(row, shape):
        # A step in the dtype of the weights, as an optimizer has it.
        step = step.to(dtype) if isinstance(step, torch.Tensor) else step
        wide = step.double() if isinstance(step, torch.Tensor) else step
        found = row.regularizer.prox(x, step)
        assert found.dtype == dtype
        expected = row.regularizer.prox(x.double(), wide)
        near = 1e-5 if dtype == torch.float32 else 0.05
        torch.testing.assert_close(found.double(), expected, rtol=near, atol=near)


@by_case
def test_convex_is_declared_truly(row, shape):
    """Not one chord below the penalty where it is declared convex."""
    if not is_convex(row.regularizer):
        pytest.skip("is not declared convex")
    for _ in range(50):
        a, b, t = row.values(shape), row.values(shape), float(torch.rand(()))
        chord = t * float(row.regularizer(a)) + (1 - t) * float(row.regularizer(b))
        assert float(row.regularizer(t * a + (1 - t) * b)) <= chord + 1e-12


def alone(row, x):
    """The sum of the penalties of single elements."""
    return sum(float(row.regularizer(element.reshape((1,) * x.ndim))) for element in x.flatten())


@by_row
def test_elementwise_is_declared_truly(row):
    shape = row.shapes[0]
    parts = row.values(shape)
    whole = float(row.regularizer(parts))
    if row.regularizer.elementwise:
        assert whole == pytest.approx(alone(row, parts))
    else:
        rows = [each for each in TABLE if type(each.regularizer) is type(row.regularizer)]
        pairs = [(each, each.values(each.shapes[0])) for each in rows]
        assert any(float(each.regularizer(x)) != pytest.approx(alone(each, x)) for each, x in pairs)


@by_row
def test_config_round_trip_is_exact(row):
    config = json.loads(json.dumps(serialize(row.regularizer)))
    for again in (
        deserialize(config),
        get(config),
        copy.deepcopy(row.regularizer),
        type(row.regularizer).from_config(row.regularizer.get_config()),
        pickle.loads(pickle.dumps(row.regularizer)),
    ):
        assert type(again) is type(row.regularizer)
        assert again is not row.regularizer
        assert again.get_config() == row.regularizer.get_config()


@by_case
def test_numpy_and_jax_arrays_give_scalars_of_their_own(row, shape):
    jnp = pytest.importorskip("jax.numpy")
    x = row.values(shape).numpy()
    expected = pytest.approx(row.formula(x), rel=1e-5, abs=1e-7)
    from_numpy = row.regularizer(x)
    assert isinstance(from_numpy, np.floating)
    assert float(from_numpy) == expected
    from_jax = row.regularizer(jnp.asarray(x, dtype=jnp.float32))
    assert type(from_jax) is type(jnp.zeros(()))
    assert float(from_jax) == expected
    half = row.regularizer(x.astype(np.float16))
    assert half.dtype == np.float32


@by_row
@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64])
def test_values_that_are_not_real_numbers_are_refused(row, dtype):
    with pytest.raises(ArrayError, match=f"{type(row.regularizer).__name__} takes real floating-point values"):
        row.regularizer(torch.ones(2, 2, dtype=dtype))


@by_row
def test_what_is_no_array_is_refused(row):
    with pytest.raises(ArrayError, match="takes a tensor or an array, got list"):
        row.regularizer([[1.0, 2.0], [3.0, 4.0]])


@by_row
def test_ranks_it_is_not_defined_for_are_refused(row):
    if () in row.shapes:
        pytest.skip("defined for every rank")
    assert row.refused
    takes = rf"^{type(row.regularizer).__name__} takes a (matrix|tensor) .*, "
    for shape in row.refused:
        rank = rf"got rank {len(shape)}, shape {re.escape(str(shape))}"
        with pytest.raises(ShapeError, match=takes + rank):
            row.regularizer(torch.ones(shape))


def strengths_of_classes():
    return [(cls, name) for cls in CLASSES for name, value in vars(cls).items() if isinstance(value, StrengthAttribute)]


@pytest.mark.parametrize(("cls", "name"), strengths_of_classes())
@pytest.mark.parametrize(
    "bad",
    [
        -0.1,
        float("nan"),
        float("inf"),
        -float("inf"),
        True,
        np.bool_(True),
        "0.1",
        10**400,
        1j,
        [0.1],
        np.ones(2),
        torch.ones(2),
        torch.tensor(True),
        torch.tensor(-1.0),
        torch.tensor(float("nan")),
    ],
)
def test_bad_strengths_are_refused_by_name(cls, name, bad):
    with pytest.raises(StrengthError, match=f"^{name} must be a finite real number >= 0, got"):
        cls(**{name: bad})
    regularizer = cls()
    before = regularizer.get_config()
    with pytest.raises(StrengthError, match=f"^{name} must be"):
        setattr(regularizer, name, bad)
    assert regularizer.get_config() == before


@pytest.mark.parametrize(("cls", "name"), strengths_of_classes())
@pytest.mark.parametrize(
    "good",
    [
        0,
        1,
        0.1,
        1e-50,
        np.float32(0.1),
        np.float64(0.1),
        np.int64(3),
        np.array(0.25),
        torch.tensor(0.5),
        torch.tensor(2),
    ],
)
def test_real_numbers_of_every_kind_are_strengths(cls, name, good):
    regularizer = made(cls, **{name: good})
    assert regularizer.get_config()[name] == float(good)
    assert isinstance(regularizer.get_config()[name], float)
    x = values_for(cls, (3, 2))
    assert float(regularizer(x)) == pytest.approx(float(made(cls, **{name: float(good)})(x)), rel=1e-6)


@pytest.mark.parametrize(("cls", "name"), strengths_of_classes())
def test_a_tensor_strength_stays_one_and_can_be_changed_in_place(cls, name):
    strength = torch.tensor(1.0)
    regularizer = made(cls, **{name: strength})
    x = values_for(cls, (3, 2))
    before = float(regularizer(x))
    assert before == pytest.approx(float(made(cls, **{name: 1.0})(x)))
    strength.mul_(2)
    assert float(regularizer(x)) == pytest.approx(float(made(cls, **{name: 2.0})(x)))
    assert float(regularizer(x)) > before


@pytest.mark.parametrize(("cls", "name"), strengths_of_classes())
def test_a_tensor_strength_is_that_of_gradient_and_prox(cls, name):
    number, tensor = (made(cls, **{name: value}) for value in (0.5, torch.tensor(0.5, dtype=torch.float64)))
    x = values_for(cls, (3, 2))
    for asks, ask in ((has_gradient, lambda r: r.gradient(x)), (has_prox, lambda r: r.prox(x, 0.3))):
        if asks(number):
            torch.testing.assert_close(ask(tensor), ask(number))


@pytest.mark.parametrize("cls", CLASSES)
def test_a_zero_strength_gives_zero_on_infinite_weights(cls):
    zero = made(cls, **dict.fromkeys(strength_attributes(cls), 0))
    for x in (
        torch.full((2, 2), float("inf"), requires_grad=True),
        torch.full((2, 2), float("nan"), requires_grad=True),
    ):
        value = zero(x)
        assert float(value.detach()) == 0
        value.backward()
        assert torch.equal(x.grad, torch.zeros(2, 2))


@pytest.mark.parametrize("cls", CLASSES)
def test_documented(cls):
    text = inspect.getdoc(cls)
    for word in ("Source:", "Raises", ">>>", "default"):
        assert word in text, f"the docstring of {cls.__name__} lacks {word!r}"


@pytest.mark.parametrize("cls", CLASSES)
def test_in_compiled_graphs_and_under_vmap(cls):
    torch._dynamo.reset()
    regularizer, x = made(cls), values_for(cls, (4, 2))
    compiled = torch.compile(lambda x: regularizer(x), backend="aot_eager", fullgraph=True)
    given = [x.clone().requires_grad_() for _ in range(2)]
    found, expected = (function(w) for function, w in zip((compiled, regularizer), given, strict=True))
    torch.testing.assert_close(found, expected)
    found.backward()
    expected.backward()
    torch.testing.assert_close(given[0].grad, given[1].grad)
    stacked = torch.stack([x, x.flip(0)])
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(regularizer))(stacked)[0], given[1].grad)
