"""Models built without values and filled later, moved to another dtype or into shared memory: penalties follow."""

import pytest
import torch
from tests.reach.by_hand import check, network, usual_step, ways
from torch import nn

import penalize
from penalize.regularizers import L1, L1L2, L2


def skeleton(kind):
    """The network of `by_hand`, without values, with its penalties."""
    if kind == "torch":
        with torch.device("meta"):
            model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
        weights = {"0.weight": L1(0.02), "2.weight": L1L2(0.01, 0.03), "0.bias": L2(0.03)}
        return model, penalize.attach(model, weights=weights, activity={"1": L1(0.05), "2": L2(0.04)})
    with torch.device("meta"):
        return network(kind)


def emptied(model, full):
    model.to_empty(device="cpu")
    model.load_state_dict(full.state_dict())


def assigned(model, full):
    model.load_state_dict({name: value.clone() for name, value in full.state_dict().items()}, assign=True)


@pytest.mark.parametrize("fill", [emptied, assigned])
@ways
def test_built_on_meta_and_filled_later(kind, bound, fill):
    model, penalties = skeleton(kind)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert penalties.loss().is_meta
    fill(model, network(kind)[0])
    check(model, penalties, bound, usual_step(model, penalties))


@ways
def test_moved_to_float64_after_attaching(kind, bound):
    model, penalties = network(kind)
    model.float()
    # Nothing that was made ready for float32 may be used on.
    assert penalties.loss().dtype == torch.float32
    model.double()
    check(model, penalties, bound, usual_step(model, penalties))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("kind", ["torch", "layers"])
def test_lower_precision_is_summed_in_float32(kind, dtype):
    model, penalties = network(kind)
    x = torch.randn(5, 4, dtype=torch.float64)
    model(x)
    exact = penalties.value()
    model.to(dtype)
    model(x.to(dtype))
    loss = penalties.loss()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact, rel=3 * torch.finfo(dtype).eps)
    loss.backward()
    assert all(parameter.grad.dtype == dtype for parameter in model.parameters() if parameter.grad is not None)


@ways
def test_in_shared_memory(kind, bound):
    model, penalties = network(kind)
    model.share_memory()
    assert all(parameter.is_shared() for parameter in model.parameters())
    check(model, penalties, bound, usual_step(model, penalties))
    assert all(parameter.is_shared() for parameter in model.parameters())
