"""The ops: graphs, lists of losses, dtypes and errors."""

import pytest
import torch

from penalize import ops
from penalize.errors import ArgumentError, ArrayError, ShapeError


def test_a_list_of_losses_keeps_its_graph():
    x = torch.tensor([2.0, 3.0], requires_grad=True)
    total = ops.sum([x[0] ** 2, 3.0 * x[1], 1.0])
    total.backward()
    assert total.item() == 14.0
    assert x.grad.tolist() == [4.0, 3.0]
    assert ops.mean([x[0], x[1]]).requires_grad
    assert ops.max([x[0], x[1]]).item() == 3.0


def test_nothing_sums_to_zero():
    assert ops.sum([]) == 0
    assert ops.sum(torch.ones(0, 3), axis=0).tolist() == [0.0] * 3


def test_dtypes_of_a_mixed_list_are_promoted():
    assert ops.sum([torch.tensor(1.0), torch.tensor(2.0, dtype=torch.float64)]).dtype == torch.float64
    assert ops.convert_to_tensor([[torch.tensor(1.0), 2], [3, 4]]).shape == (2, 2)


@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_all_axes_are_kept_when_asked(name):
    assert getattr(ops, name)(torch.ones(2, 3), keepdims=True).shape == (1, 1)


def test_a_tensor_is_not_copied():
    x = torch.ones(2, 3)
    assert ops.convert_to_tensor(x) is x
    assert ops.shape(x) == (2, 3)
    assert ops.cast(x, torch.float16).dtype == torch.float16


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ops.cast(1, "flot32"), ArgumentError, "unknown dtype 'flot32': did you mean 'float32'"),
        (lambda: ops.ones(2, dtype=3), ArgumentError, "unknown dtype 3"),
        (lambda: ops.sum(None), ArrayError, "expected a tensor, array, number or list of numbers, got NoneType"),
        (lambda: ops.sum("a"), ArrayError, "got str: 'a'"),
        (lambda: ops.max([]), ShapeError, r"nothing has no max: got shape \(0,\), axis None and no initial"),
        (lambda: ops.max(torch.ones(0, 2), axis=0), ShapeError, r"got shape \(0, 2\), axis 0 and no initial"),
    ],
)
def test_errors_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
