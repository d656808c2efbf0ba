"""NuclearNorm, SpectralNorm, LInf and TotalVariation: ranks that fall, steps that are refused, extremes."""

import numpy as np
import pytest
import torch
from torch import nn

import penalize
from penalize.errors import ArgumentError, ShapeError
from penalize.regularizers import L1, Decorrelation, LInf, NuclearNorm, SpectralNorm, TotalVariation
from penalize.regularizers.base import has_diagonal_prox, has_prox


def low_rank(rows, columns, rank):
    return torch.randn(rows, rank, dtype=torch.float64) @ torch.randn(rank, columns, dtype=torch.float64)


def test_the_nuclear_norms_proximal_step_lowers_the_rank():
    x = low_rank(6, 5, 2) + 0.01 * torch.randn(6, 5, dtype=torch.float64)
    assert torch.linalg.matrix_rank(NuclearNorm(0.5).prox(x, 0.4)) == 2
    assert torch.count_nonzero(NuclearNorm(0.5).prox(x, 1e3)) == 0


def test_the_nuclear_norms_gradient_where_singular_values_are_zero():
    """The shortest subgradient: U V^T of the others alone, also by autograd."""
    x = low_rank(6, 5, 2)
    left, _, right = np.linalg.svd(x.numpy())
    expected = torch.from_numpy(left[:, :2] @ right[:2])
    torch.testing.assert_close(NuclearNorm(1.0).gradient(x), expected)
    (found,) = torch.autograd.grad(NuclearNorm(1.0)(x.requires_grad_()), x)
    torch.testing.assert_close(found, expected)


def test_the_spectral_norms_proximal_step_cuts_singular_values_at_one_height():
    x = torch.diag(torch.tensor([4.0, 3.0, 1.0], dtype=torch.float64))
    # 0.5 t = (4 - t) + (3 - t)
    assert torch.allclose(SpectralNorm(0.5).prox(x, 1.0), torch.diag(torch.tensor([2.8, 2.8, 1.0]).double()))


@pytest.mark.parametrize("cls", [NuclearNorm, SpectralNorm])
def test_steps_that_differ_are_refused_where_no_proximal_step_is_known(cls):
    x, steps = torch.randn(3, 2), torch.tensor([[1.0, 1.0], [1.0, 1.5], [1.0, 1.0]])
    assert has_prox(cls())
    assert not has_diagonal_prox(cls())
    with pytest.raises(ArgumentError, match=f"the proximal step of {cls.__name__} is known for one step size of all"):
        cls().prox(x, steps)
    with pytest.raises(ShapeError, match=r"is a number or a tensor of shape \(3, 2\), got \(3,\)"):
        cls().prox(x, torch.ones(3))
    torch.testing.assert_close(cls(0.3).prox(x, torch.full((3, 2), 0.5)), cls(0.3).prox(x, 0.5))
    assert cls().prox(torch.ones(0, 2), torch.ones(0, 2)).shape == (0, 2)


@pytest.mark.parametrize("cls", [NuclearNorm, SpectralNorm, Decorrelation])
def test_flatten(cls):
    kernel = torch.randn(2, 3, 4)
    with pytest.raises(ShapeError, match=rf"{cls.__name__} takes a matrix \(rank 2\), got rank 3.*flatten=True"):
        cls()(kernel)
    assert float(cls(1.0, flatten=True)(kernel)) == pytest.approx(float(cls(1.0)(kernel.reshape(6, 4))))
    with pytest.raises(ArgumentError, match="flatten must be True or False, got 1"):
        cls(flatten=1)


@pytest.mark.parametrize("cls", [NuclearNorm, SpectralNorm])
def test_a_bound_nuclear_norm_gives_the_gradient_of_the_loss(cls):
    model = nn.Linear(3, 4)
    penalties = penalize.attach(model, weights={"weight": cls(0.3)})
    (expected,) = torch.autograd.grad(penalties.loss(), model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = model.weight.detach().clone()
    penalties.bind(optimizer)
    optimizer.step()
    torch.testing.assert_close(before - model.weight.detach(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_linf_in_a_diagonal_metric_meets_its_equation(dtype):
    """sum(max(|z| - t, 0) / h) is the strength, or all is zero because it is less at t = 0."""
    zeros = 0
    for _ in range(200):
        z = torch.randn(9, dtype=dtype) * 10 ** torch.empty(9, dtype=dtype).uniform_(-3, 2)
        step = 10 ** torch.empty(9, dtype=dtype).uniform_(-4, 4)
        strength = float(10 ** torch.empty(()).uniform_(-3, 4))
        found = LInf(strength).prox(z, step)
        height = float(found.abs().max())
        paid = ((z.abs().double() - height).clamp(min=0) / step.double()).sum()
        if height == 0:
            zeros += 1
            assert paid <= strength * (1 + 1e-6)
        else:
            rounding = torch.finfo(dtype).eps * float((z.abs() / step).double().sum())
            assert float(paid) == pytest.approx(strength, rel=1e-5, abs=4 * rounding)
            torch.testing.assert_close(found, z.clamp(-height, height))
    assert 0 < zeros < 200


def test_linf_leaves_elements_with_a_step_of_zero():
    z = torch.tensor([3.0, -2.0, 5.0])
    assert torch.equal(LInf(10.0).prox(z, torch.tensor([0.0, 1.0, 1.0])), torch.tensor([3.0, -2.0, 3.0]))
    assert torch.equal(LInf(10.0).prox(z, torch.zeros(3)), z)
    assert torch.equal(LInf(10.0).prox(torch.zeros(3), torch.zeros(3)), torch.zeros(3))
    extreme = LInf(1.0).prox(torch.tensor([1e30, 1.0, 1e-30]), torch.tensor([1e-38, 1e38, 1.0]))
    assert torch.isfinite(extreme).all()


def test_linf_of_groups_is_the_sum_over_them():
    x = torch.randn(4, 3, dtype=torch.float64)
    step = torch.rand(4, 3, dtype=torch.float64)
    torch.testing.assert_close(
        LInf(0.3, axis=0).prox(x, step), torch.stack([LInf(0.3).prox(*pair) for pair in zip(x, step, strict=True)])
    )
    with pytest.raises(ArgumentError, match="axis must be an integer, a tuple of distinct integers or None, got 'a'"):
        LInf(axis="a")


def test_total_variation_of_a_step_does_not_depend_on_where_it_is():
    early, late = torch.tensor([0.0, 2.0, 2.0, 2.0]), torch.tensor([0.0, 0.0, 0.0, 2.0])
    assert float(TotalVariation(1.0)(early)) == float(TotalVariation(1.0)(late)) == 2.0
    assert torch.equal(TotalVariation(1.0).gradient(early), torch.tensor([-1.0, 1.0, 0.0, 0.0]))
    assert float(TotalVariation(1.0)(torch.ones(5))) == 0
    assert not has_prox(TotalVariation())
    for bad in (1.5, True, None, (0, 1)):
        with pytest.raises(ArgumentError, match="axis must be an integer, got"):
            TotalVariation(axis=bad)


def test_linf_of_one_element_is_l1():
    x = torch.randn(5, 1, dtype=torch.float64)
    torch.testing.assert_close(LInf(0.4, axis=0).prox(x, 0.7), L1(0.4).prox(x, 0.7))
