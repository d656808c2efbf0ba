"""Weights that are not dense real numbers: right, or refused by name."""

import warnings

import pytest
import torch
from tests.reach.by_hand import CLOSE, difference
from torch import nn

import penalize
from penalize.errors import ArrayError, BindError, TargetError
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer


class Holder(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, dtype=dtype), requires_grad=dtype.is_complex)

    def forward(self, x):
        return x * self.weight


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.int8, torch.int64, torch.bool])
def test_weights_that_are_not_real_are_refused(dtype):
    model = Holder(dtype)
    with pytest.raises(ArrayError, match=rf"^weight: only real floating-point weights.*{dtype}"):
        penalize.attach(model, weights={"weight": L1(0.1)})
    assert penalize.attached(model) == []


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
@pytest.mark.parametrize("regularizer", [L1(0.1), L2(0.1), L1L2(0.1, 0.1), OrthogonalRegularizer(0.1)])
@pytest.mark.parametrize("bound", [False, True])
def test_weights_that_become_complex_are_refused(regularizer, bound):
    model = nn.Linear(3, 2).double()
    penalties = penalize.attach(model, weights={"weight": regularizer})
    penalties.loss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if bound:
        penalties.bind(optimizer)
        optimizer.step()
    model.to(torch.complex128)
    if bound:
        before = model.weight.detach().clone()
        with pytest.raises(ArrayError, match=r"^weight: .*floating-point.*complex128"):
            optimizer.step()
        assert torch.equal(model.weight, before)
    else:
        with pytest.raises(ArrayError, match=r"^weight: .*floating-point.*complex128"):
            penalties.loss()


@pytest.mark.parametrize("output", [torch.ones(2, 3, dtype=torch.complex64), torch.ones(2, 3, dtype=torch.int64)])
def test_outputs_that_are_not_real_are_refused(output):
    class Gives(nn.Module):
        def forward(self, x):
            return output

    model = nn.Sequential(Gives())
    penalize.attach(model, activity={"0": L1(0.1)})
    with pytest.raises(ArrayError, match=r"^0: L1 takes real floating-point values"):
        model(torch.ones(1))


def test_quantized_copies_are_refused_where_their_weights_are_gone():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    penalties = penalize.attach(model, weights={"*.weight": L1(0.1)}, activity={"1": L2(0.1)})
    with warnings.catch_warnings():
        # torch names a successor, in a package of its own.
        warnings.simplefilter("ignore")
        quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert quantized(torch.ones(2, 4)).shape == (2, 2)
    (own,) = penalize.attached(quantized)
    with pytest.raises(TargetError, match=r"^\d.weight: its module was replaced or removed"):
        own.loss()
    with pytest.raises(TargetError, match=r"weights\['\*.weight'\] matches no parameter of the model"):
        penalize.attach(quantized, weights={"*.weight": L1(0.1)})
    activity = penalize.attach(quantized, activity={"1": L2(0.1)})
    output = quantized(torch.ones(2, 4))
    assert activity.value() == pytest.approx(0.1 * output.square().sum().item() / 2)
    assert penalties.loss().requires_grad, "the model itself is as before"


# Embeddings whose gradient is sparse: that of a penalty is dense, and torch adds the two.
LOOKED_UP = [torch.tensor([0, 2, 2]), torch.tensor([5]), torch.tensor([1, 5])]


def embedding():
    torch.manual_seed(0)
    return nn.Embedding(6, 3, sparse=True).double()


@pytest.mark.parametrize("regularizer", [L1(0.02), L2(0.03), L1L2(0.02, 0.03)])
def test_sparse_gradients_in_loss_mode(regularizer):
    model = embedding()
    penalties = penalize.attach(model, weights={"weight": regularizer}, activity={"": L2(0.1)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plain = model.weight.detach().clone().requires_grad_()
    l1, l2 = getattr(regularizer, "l1", 0.0), getattr(regularizer, "l2", 0.0)
    for step in range(10):
        rows = LOOKED_UP[step % 3]
        optimizer.zero_grad()
        (model(rows).square().mean() + penalties.loss()).backward()
        value = penalties.value()
        paid = l1 * plain.abs().sum() + l2 * plain.square().sum() + 0.1 * plain[rows].square().sum() / len(rows)
        (expected,) = torch.autograd.grad(plain[rows].square().mean() + paid, plain)
        assert abs(value / paid.item() - 1) < CLOSE
        assert difference([model.weight.grad], [expected]) < CLOSE
        optimizer.step()
        with torch.no_grad():
            plain -= 0.1 * expected
    assert difference([model.weight], [plain]) < CLOSE


def test_sparse_gradients_alone_are_refused_when_bound():
    model = embedding()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalties = penalize.attach(model, weights={"weight": L2(0.1)}).bind(optimizer)
    (model(LOOKED_UP[0]).sum() + penalties.loss()).backward()
    with pytest.raises(BindError, match=r"^weight: its gradient is sparse.*use loss\(\) instead of bind\(\)"):
        optimizer.step()


def test_an_optimizer_of_sparse_gradients_refuses_the_dense_one():
    """What torch says then: with a penalty in the loss, the gradient is dense."""
    model = embedding()
    penalties = penalize.attach(model, weights={"weight": L2(0.1)})
    optimizer = torch.optim.SparseAdam(model.parameters())
    (model(LOOKED_UP[0]).sum() + penalties.loss()).backward()
    with pytest.raises(RuntimeError, match="SparseAdam does not support dense gradients"):
        optimizer.step()
