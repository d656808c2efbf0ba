"""MCP and SCAD: values at the bends, and proximal steps that are the global minimum for every step."""

import pytest
import torch

from penalize.errors import ArgumentError
from penalize.regularizers import L1, MCP, SCAD
from penalize.regularizers.base import is_convex


@pytest.mark.parametrize("regularizer", [MCP(0.7), MCP(0.7, gamma=1.2), SCAD(0.7), SCAD(0.7, gamma=2.2)])
@pytest.mark.parametrize("step", [0.05, 0.5, 1.2, 1.5, 2.7, 3.0, 10.0])
def test_prox_is_the_global_minimum(regularizer, step):
    """Against every point of a fine grid, for starting points on both sides of all thresholds."""
    grid = torch.linspace(-8, 8, 16001, dtype=torch.float64)
    penalties = torch.tensor([float(regularizer(point)) for point in grid], dtype=torch.float64)
    z = torch.cat([torch.linspace(-7, 7, 281, dtype=torch.float64), torch.tensor([0.7, -0.7 * 3, 0.7 * 3.7])])
    for given in (step, torch.full_like(z, step)):
        found = regularizer.prox(z, given)
        assert (found * z >= 0).all()
        assert (found.abs() <= z.abs()).all()
        for start, w in zip(z, found, strict=True):
            best = float(regularizer(w)) + float((w - start) ** 2) / (2 * step)
            assert best <= float((penalties + (grid - start) ** 2 / (2 * step)).min()) + 1e-12


@pytest.mark.parametrize("cls", [MCP, SCAD])
def test_large_weights_are_not_shrunk_and_small_ones_become_zero(cls):
    x = torch.tensor([0.5, -1.0, 40.0])
    kept = cls(1.0).prox(x, 1.0)
    assert torch.equal(kept, torch.tensor([0.0, 0.0, 40.0]))
    assert float(cls(1.0).gradient(x)[2]) == 0
    assert float(L1(1.0).prox(x, 1.0)[2]) == 39.0


@pytest.mark.parametrize(("cls", "default", "least"), [(MCP, 3.0, 1), (SCAD, 3.7, 2)])
def test_gamma(cls, default, least):
    assert cls().gamma == default
    for bad in (least, 0, -1.0, float("nan"), float("inf"), True, "3", None):
        with pytest.raises(ArgumentError, match=f"gamma must be a number > {least}, got"):
            cls(gamma=bad)


@pytest.mark.parametrize("regularizer", [MCP(1.0, 1e6), SCAD(1.0, 1e6)])
def test_a_large_gamma_is_l1(regularizer):
    x = torch.randn(20, dtype=torch.float64)
    assert float(regularizer(x)) == pytest.approx(float(L1(1.0)(x)), rel=1e-5)
    torch.testing.assert_close(regularizer.prox(x, 0.5), L1(1.0).prox(x, 0.5), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("regularizer", [MCP(1.0), SCAD(1.0)])
def test_they_are_not_declared_convex_and_are_not(regularizer):
    ends = torch.tensor([0.0, 10.0])
    assert not is_convex(regularizer)
    assert float(regularizer(ends.mean())) > float(regularizer(ends)) / 2
