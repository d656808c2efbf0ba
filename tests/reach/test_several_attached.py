"""Penalties attached to a model and to a part of it: each call of the model clears what both recorded."""

import pytest
import torch
from torch import nn

import penalize
from penalize import layers
from penalize.regularizers import L1, L2


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("first", ["part", "model"])
@pytest.mark.parametrize("around", ["torch", "layers", "layer attached"])
def test_a_part_records_once_a_call(around, first, compiled):
    torch.compiler.reset()
    part = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    if around == "layer attached":
        part = layers.Dense(3, "tanh")
        part.build((None, 3))
    if around == "torch":
        model = nn.Sequential(part, nn.Linear(3, 2))
    else:
        model = penalize.Sequential([penalize.Input((3,)), part, layers.Dense(2)])
    attaching = {
        "part": lambda: penalize.attach(part, activity={"" if around == "layer attached" else "1": L1(0.5)}),
        "model": lambda: penalize.attach(model, activity={"*1": L2(0.1)}),
    }
    model(torch.ones(2, 3))
    penalties = {name: attaching[name]() for name in (first, *(attaching.keys() - {first}))}
    run = torch.compile(model, backend="eager", fullgraph=True) if compiled else model
    for step in range(3):
        x = torch.randn(4, 3)
        run(x)
        assert len(penalties["part"].losses) == 1, step
        assert penalties["part"].value() == pytest.approx(0.5 * part(x).abs().sum().item() / 4)
    torch.compiler.reset()
