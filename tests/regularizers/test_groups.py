"""GroupLasso and SparseGroupLasso: which elements are a group, and the proximal step where each has its own step."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import penalize
from penalize import regularizers
from penalize.errors import ArgumentError, ShapeError
from penalize.regularizers import L1, GroupLasso, SparseGroupLasso, get, serialize
from penalize.regularizers.base import has_diagonal_prox


def by_bisection(z, step, strength):
    """The proximal step of strength * ||w||, in extended precision, from the equation that its length solves."""
    z, shift = (np.asarray(part.double().numpy(), dtype=np.longdouble) for part in (z, step * strength))
    bottom = np.where(shift == 0, 1, shift)
    at_zero = np.where((shift == 0) & (z != 0), np.inf, z / bottom)
    if float(np.sqrt((at_zero**2).sum())) <= 1:
        return np.zeros(z.shape)
    low, high = np.longdouble(0), np.sqrt((z**2).sum())
    for _ in range(2000):
        middle = (low + high) / 2
        inside = ((z / (middle + shift)) ** 2).sum() > 1
        low, high = (middle, high) if inside else (low, middle)
    return (z * high / (high + shift)).astype(np.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("at_the_edge", [False, True])
def test_steps_that_differ_by_orders_of_magnitude(dtype, at_the_edge):
    """Also where the largest element lies exactly at its threshold, so that the length is far below all others."""
    for _ in range(200):
        size = int(torch.randint(1, 9, ()))
        z = torch.randn(size, dtype=dtype) * 10 ** torch.empty(size, dtype=dtype).uniform_(-9, 3)
        step = 10 ** torch.empty(size, dtype=dtype).uniform_(-9, 5)
        strength = float(10 ** torch.empty(()).uniform_(-4, 2))
        if at_the_edge:
            largest = z.abs().argmax()
            step[largest] = z[largest].abs() / strength
        found = GroupLasso(strength, axis=None).prox(z, step)
        error = np.abs(found.double().numpy() - by_bisection(z, step, strength)).max()
        assert error <= 4 * torch.finfo(dtype).eps * float(z.abs().max())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("regularizer", [GroupLasso(0.5), SparseGroupLasso(0.5), GroupLasso(0.0)])
def test_zeros_and_extremes_give_no_nan(regularizer, dtype):
    info = torch.finfo(dtype)
    numbers = [0.0, info.tiny, info.smallest_normal**0.5, 1.0, info.max**0.5, info.max / 4]
    z, step = torch.cartesian_prod(*[torch.tensor(numbers, dtype=dtype)] * 2).unbind(1)
    for rows in (z[:, None], torch.stack([z, z.flip(0)], 1), torch.stack([z, torch.zeros_like(z)], 1)):
        steps = step[:, None].expand(rows.shape)
        for given in (steps, 0.0, 1.0, info.max):
            found = regularizer.prox(rows, given)
            assert torch.isfinite(found).all()
            assert (found.abs() <= rows.abs()).all()
        assert torch.equal(regularizer.prox(rows, torch.zeros_like(rows)), rows)
        assert not torch.isnan(regularizer(rows))
        assert torch.isfinite(regularizer.gradient(rows)).all()


def test_a_group_is_zero_exactly_when_the_length_of_z_over_step_is_at_most_the_strength():
    z = torch.tensor([[3.0, 4.0], [3.0, 4.0]], dtype=torch.float64)
    step = torch.tensor([[1.0, 2.0], [1.0, 2.0]], dtype=torch.float64)
    threshold = math.sqrt(3**2 + 2**2)
    assert torch.count_nonzero(GroupLasso(threshold * (1 + 1e-9)).prox(z, step)) == 0
    assert torch.count_nonzero(GroupLasso(threshold * (1 - 1e-9)).prox(z, step)) == 4


def test_equal_steps_give_what_one_step_gives():
    z = torch.randn(5, 7, dtype=torch.float64)
    for regularizer in (GroupLasso(3.0), SparseGroupLasso(3.0, 0.3), GroupLasso(1.2, axis=1, scale_reg="group_size")):
        one = regularizer.prox(z, 0.8)
        assert 0 < torch.count_nonzero(one) < z.numel()
        torch.testing.assert_close(regularizer.prox(z, torch.full_like(z, 0.8)), one)


def test_sparse_group_lasso_between_its_two_ends():
    z, step = torch.randn(4, 3, dtype=torch.float64), torch.rand(4, 3, dtype=torch.float64)
    torch.testing.assert_close(SparseGroupLasso(0.5, 1.0).prox(z, step), L1(0.5).prox(z, step))
    torch.testing.assert_close(SparseGroupLasso(0.5, 0.0).prox(z, step), GroupLasso(0.5).prox(z, step))
    torch.testing.assert_close(SparseGroupLasso(0.5, 0.0).gradient(z), GroupLasso(0.5).gradient(z))


def test_a_lasso_of_groups_is_solved_like_by_a_solver_of_its_own():
    """Proximal steps in a diagonal metric end at the same minimum as block coordinate descent, written out here."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(60, 12)), generator.normal(size=60)
    strength = 8.0
    w = np.zeros((4, 3))
    for _ in range(400):
        for group in range(4):
            block = x[:, 3 * group : 3 * group + 3]
            rest = y - x @ w.ravel() + block @ w[group]
            curvature = np.linalg.eigvalsh(block.T @ block).max()
            for _ in range(5):
                z = w[group] + block.T @ (rest - block @ w[group]) / curvature
                length = np.linalg.norm(z)
                w[group] = z * max(1 - strength / curvature / length, 0) if length else z
    ours = torch.zeros(4, 3, dtype=torch.float64)
    curvatures = torch.from_numpy(np.abs(x.T @ x).sum(1)).reshape(4, 3)
    features, target = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(5000):
        slope = (features.T @ (features @ ours.flatten() - target)).reshape(4, 3)
        ours = GroupLasso(strength).prox(ours - slope / curvatures, 1 / curvatures)
    assert 0 < np.count_nonzero(w.any(1)) < 4
    assert np.array_equal(w.any(1), ours.any(1).numpy())
    np.testing.assert_allclose(ours.numpy(), w, atol=1e-9)


def test_groups_of_torchs_and_of_kerass_layout():
    linear, dense = nn.Linear(3, 2), penalize.layers.Dense(2)
    dense.build((None, 3))
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[3.0, 4.0, 0.0], [5.0, 12.0, 0.0]]))
    dense.load_state_dict(linear.state_dict())
    units = {"strength": 1.0, "scale_reg": "none"}
    assert float(GroupLasso(axis=0, **units)(linear.weight.detach())) == pytest.approx(18.0)
    for layer, axis in ((linear, 0), (dense, -1)):
        penalties = penalize.attach(layer, weights={"weight": GroupLasso(axis=axis, **units)})
        assert penalties.value() == pytest.approx(18.0)
        penalties.loss().backward()
        torch.testing.assert_close(layer.weight.grad[1], torch.tensor([5.0, 12.0, 0.0]) / 13)


def test_whole_heads():
    weight = torch.arange(24.0).reshape(6, 4)
    heads = GroupLasso(1.0, axis=0, groups=3)
    expected = sum(float(head.norm()) for head in weight.split(2))
    assert float(heads(weight)) == pytest.approx(expected)
    kept = heads.prox(weight, 12.0)
    assert [bool(head.any()) for head in kept.split(2)] == [False, True, True]
    in_keras = GroupLasso(1.0, axis=1)
    assert float(in_keras(weight.T.reshape(4, 3, 2))) == pytest.approx(expected)


def test_a_unit_becomes_zero_as_a_whole():
    weight = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    assert torch.equal(GroupLasso(1.0).prox(weight, 1.0)[1], torch.zeros(2))
    assert torch.count_nonzero(L1(1.0).prox(weight, 0.35)) == 3


def test_half_precision_and_tiny_groups_keep_their_length():
    assert float(GroupLasso(1e-3)(torch.ones(1000, 1000, dtype=torch.float16) * 100)) == pytest.approx(3162.2777)
    tiny = torch.full((2, 2), 1e-30)
    assert float(GroupLasso(1.0)(tiny)) == pytest.approx(4e-30)
    torch.testing.assert_close(GroupLasso(1.0).gradient(tiny), torch.full((2, 2), 0.5**0.5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"axis": 1.5}, r"axis must be an integer, a tuple of distinct integers or None, got 1.5"),
        ({"axis": True}, "axis must be an integer"),
        ({"axis": ()}, "axis must be an integer"),
        ({"axis": (0, 0)}, "axis must be an integer, a tuple of distinct integers"),
        ({"axis": "rows"}, "axis must be an integer"),
        ({"groups": 0}, "groups must be a positive integer or None, got 0"),
        ({"groups": 2.0}, "groups must be a positive integer or None, got 2.0"),
        ({"groups": 2, "axis": (0, 1)}, r"groups=2 cuts a single axis, got axis=\(0, 1\)"),
        ({"groups": 2, "axis": None}, "groups=2 cuts a single axis, got axis=None"),
        ({"scale_reg": "size"}, "scale_reg must be one of 'none', 'group_size', got 'size'"),
    ],
)
@pytest.mark.parametrize("cls", [GroupLasso, SparseGroupLasso])
def test_bad_groupings_are_refused(cls, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        cls(**arguments)


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan"), True, "0.5", None])
def test_a_bad_l1_ratio_is_refused(bad):
    with pytest.raises(ArgumentError, match="l1_ratio must be a number between 0 and 1, got"):
        SparseGroupLasso(l1_ratio=bad)


def test_tensors_and_steps_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"takes a tensor that has the axis 2, got rank 2, shape \(3, 2\)"):
        GroupLasso(axis=2)(torch.ones(3, 2))
    with pytest.raises(ShapeError, match=r"the axes \(0, -2\) are distinct, got rank 2"):
        GroupLasso(axis=(0, -2))(torch.ones(3, 2))
    with pytest.raises(ShapeError, match=r"whose axis 0 can be cut into 2 groups of equal size, got shape \(3, 2\)"):
        GroupLasso(groups=2)(torch.ones(3, 2))
    with pytest.raises(
        ShapeError, match=r"the step of GroupLasso is a number or a tensor of shape \(3, 2\), got \(2,\)"
    ):
        GroupLasso().prox(torch.ones(3, 2), torch.ones(2))
    with pytest.raises(ShapeError, match=r"weight: GroupLasso takes a tensor that has the axis 5"):
        penalize.attach(nn.Linear(2, 2), weights={"weight": GroupLasso(axis=5)})


def test_names_and_serialized_form():
    assert type(get("group_lasso")) is GroupLasso
    assert type(get("sparse_group_lasso")) is SparseGroupLasso
    assert get("GroupLasso").get_config() == {"strength": 0.01, "axis": 0, "groups": None, "scale_reg": "none"}
    assert serialize(GroupLasso(0.1, axis=(0, 1))) == {
        "module": "penalize.regularizers",
        "class_name": "GroupLasso",
        "config": {"strength": 0.1, "axis": [0, 1], "groups": None, "scale_reg": "none"},
        "registered_name": "penalize>GroupLasso",
    }
    assert has_diagonal_prox(GroupLasso())


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("linf", regularizers.LInf),
        ("l_inf", regularizers.LInf),
        ("nuclear_norm", regularizers.NuclearNorm),
        ("spectral_norm", regularizers.SpectralNorm),
        ("l2sp", regularizers.L2SP),
        ("l2_sp", regularizers.L2SP),
        ("mcp", regularizers.MCP),
        ("scad", regularizers.SCAD),
        ("hoyer_square", regularizers.HoyerSquare),
        ("total_variation", regularizers.TotalVariation),
        ("kl_sparsity", regularizers.KLSparsity),
        ("decorrelation", regularizers.Decorrelation),
    ],
)
def test_names_of_the_further_ones(name, cls):
    config = serialize(get(name))
    assert type(get(name)) is cls
    assert config["module"] == "penalize.regularizers"
    assert config["registered_name"] == f"penalize>{cls.__name__}"
    assert config["config"]["strength"] == 0.01
