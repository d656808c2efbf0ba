"""The models and regularizers that plans are tested with, and what attaching could change of them."""

import json

import torch
from torch import nn

import penalize
from penalize import attach, layers
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer


def mlp():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def declaring(seed=3):
    torch.manual_seed(seed)
    model = penalize.Sequential(
        [
            layers.Dense(5, kernel_regularizer=L2(0.1), bias_regularizer=L1(0.2), activity_regularizer=L1(0.3)),
            layers.Dense(4, kernel_regularizer=OrthogonalRegularizer(0.4, "columns")),
            layers.Dense(3),
        ]
    )
    model(torch.ones(2, 4))
    return model


def convolutional():
    torch.manual_seed(3)
    model = penalize.Sequential([layers.Conv2D(3, 2, kernel_regularizer=OrthogonalRegularizer(0.2, flatten=True))])
    model(torch.ones(2, 4, 4, 2))
    return model


class Tied(nn.Module):
    def __init__(self, tied=True):
        super().__init__()
        torch.manual_seed(3)
        self.embedding = nn.Embedding(6, 4)
        self.block = nn.Linear(4, 4)
        self.again = self.block if tied else nn.Linear(4, 4)
        self.head = nn.Linear(4, 6, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(self.again(self.block(self.embedding(x.long()[:, 0]))))


class Adds(penalize.Layer):
    def call(self, inputs):
        self.add_loss(inputs.square().sum())
        return inputs


def adding():
    model = penalize.Sequential([Adds(), layers.Dense(2, activity_regularizer="l1")])
    model(torch.ones(2, 4))
    return model


@penalize.saving.register_serializable(package="test_plans")
class Cubes(Regularizer):
    def __init__(self, strength=0.01, axes=()):
        self.strength = float(strength)
        self.axes = tuple(axes)

    def __call__(self, x):
        return self.strength * (x.abs() ** 3).sum(self.axes).sum()

    def get_config(self):
        return {"strength": self.strength, "axes": self.axes}


@penalize.saving.register_serializable(package="test_plans")
def largest(x):
    return x.abs().max()


def state(model):
    """All that attaching could change."""
    hooks = [
        (len(part._forward_hooks), len(part._forward_pre_hooks), len(vars(part).get("_penalize_attached", ())))
        for part in model.modules()
    ]
    placed = [len(part.declarations.placed) for part in model.modules() if isinstance(part, penalize.Layer)]
    return hooks, placed, {name: value.clone() for name, value in model.state_dict().items()}


def unchanged(model, before):
    hooks, placed, weights = state(model)
    same = weights.keys() == before[2].keys() and all(torch.equal(weights[key], before[2][key]) for key in weights)
    return (hooks, placed) == before[:2] and same


def plan_of_mlp():
    return json.loads(
        attach(mlp(), weights={"0.weight": L2(0.1), "0.bias": L1L2(0.1, 0.2)}, activity={"1": "l1"}).to_json()
    )
