"""A training with penalties beside the same one written by hand, on plain tensors in float64."""

import itertools

import pytest
import torch
from torch import nn

import penalize
from penalize import layers
from penalize.regularizers import L1, L1L2, L2

CLOSE = 1e-11
STEPS = 10
BATCH = 5
RATE = 0.05

# On a network of torch's, and on our own layers; each in loss mode and bound.
ways = pytest.mark.parametrize(("kind", "bound"), list(itertools.product(["torch", "layers"], [False, True])))
modes = pytest.mark.parametrize("bound", [False, True], ids=["loss", "bound"])


def network(kind):
    """Two dense layers in float64, and their penalties: those of `value_by_hand`."""
    torch.manual_seed(0)
    if kind == "torch":
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
        weights = {"0.weight": L1(0.02), "2.weight": L1L2(0.01, 0.03), "0.bias": L2(0.03)}
        return model, penalize.attach(model, weights=weights, activity={"1": L1(0.05), "2": L2(0.04)})
    hidden = layers.Dense(
        6,
        "tanh",
        kernel_regularizer=L1(0.02),
        bias_regularizer=L2(0.03),
        activity_regularizer=L1(0.05),
        dtype="float64",
    )
    head = layers.Dense(3, kernel_regularizer=L1L2(0.01, 0.03), activity_regularizer=L2(0.04), dtype="float64")
    model = penalize.Sequential([penalize.Input((4,)), hidden, head])
    return model, penalize.attach(model)


def batches(steps=STEPS):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(BATCH, 4, generator=generator, dtype=torch.float64) for _ in range(steps)]


def outputs_by_hand(tensors, x):
    w0, b0, w1, b1 = tensors
    hidden = torch.tanh(x @ w0.T + b0)
    return hidden, hidden @ w1.T + b1


def value_by_hand(tensors, x, strength=0.02):
    """All penalties; `strength` is that of the first weight."""
    w0, b0, w1, _ = tensors
    hidden, output = outputs_by_hand(tensors, x)
    weights = strength * w0.abs().sum() + 0.01 * w1.abs().sum() + 0.03 * w1.square().sum() + 0.03 * b0.square().sum()
    return weights + (0.05 * hidden.abs().sum() + 0.04 * output.square().sum()) / len(x)


class ByHand:
    """Plain tensors, trained by steps of gradient descent."""

    def __init__(self, model):
        self.tensors = [p.detach().double().clone().requires_grad_() for p in model.parameters()]

    def step(self, x, strength=0.02):
        """The value of all penalties, and the gradients, at which a step was then made."""
        value = value_by_hand(self.tensors, x, strength)
        loss = outputs_by_hand(self.tensors, x)[1].square().mean() + value
        gradients = torch.autograd.grad(loss, self.tensors)
        with torch.no_grad():
            for tensor, gradient in zip(self.tensors, gradients, strict=True):
                tensor -= RATE * gradient
        return value.item(), gradients


def difference(found, expected):
    """The largest relative difference of two lists of tensors."""
    return max(
        ((a.detach() - b.detach()).abs().max() / b.detach().abs().max().clamp(min=1e-30)).item()
        for a, b in zip(found, expected, strict=True)
    )


def check(model, penalties, bound, step, change=None):
    """Ten steps as by hand. `step(x)` runs the model, adds the penalties and calls backward.

    `change(penalties, number)` may change the strength of the first weight before a step, and returns it. The value is
    asked for after the backward pass, as a training loop that logs it does.
    """
    plain = ByHand(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    if bound:
        penalties.bind(optimizer)
    for number, x in enumerate(batches()):
        strength = change(penalties, number) if change else 0.02
        optimizer.zero_grad()
        step(x)
        value = penalties.value()
        optimizer.step()
        expected, gradients = plain.step(x, strength)
        assert abs(value / expected - 1) < CLOSE
        assert difference([p.grad for p in model.parameters()], gradients) < CLOSE
    assert difference(model.parameters(), plain.tensors) < CLOSE


def usual_step(model, penalties):
    """Forward, loss, backward."""

    def step(x):
        (model(x).square().mean() + penalties.loss()).backward()

    return step
