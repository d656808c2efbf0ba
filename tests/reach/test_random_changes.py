"""Random sequences of what users do to models, penalties and optimizers between steps, beside formulas in float64."""

import copy
import random

import pytest
import torch
from torch import nn

import penalize
from penalize.regularizers import L1, L1L2

RATE = 0.01
SHAPES = [(), (0,), (1,), (5,), (3, 4), (4, 1), (2, 3, 2, 2), (2**14 + 3,)]


def fourth_powers(x):
    return (x**4).sum() / 4


class World:
    """Some weights, and the strengths `(of absolutes, of squares, of fourth powers)` of each; None for no penalty."""

    def __init__(self, seed):
        self.choose = random.Random(seed)
        torch.manual_seed(seed)
        self.model = nn.ParameterDict({f"w{i}": self.weight() for i in range(self.choose.randint(2, 5))})
        rules, self.strengths = {}, {}
        for name in self.model:
            rules[name], self.strengths[name] = self.regularizer()
        self.penalties = penalize.attach(self.model, weights=rules)
        self.optimizers, self.proximal = [], False

    def weight(self):
        x = torch.randn(self.choose.choice(SHAPES), dtype=self.choose.choice([torch.float32, torch.float64]))
        return nn.Parameter(x.t().contiguous().t() if x.ndim == 2 and self.choose.random() < 0.4 else x)

    def regularizer(self):
        l1, l2 = self.choose.choice([0.0, 0.3, 0.7]), self.choose.choice([0.0, 0.2])
        made = [
            (L1L2(l1, l2), (l1, l2, 0)),
            (L1(torch.tensor(l1, dtype=torch.float64)), (l1, 0, 0)),
            (fourth_powers, (0, 0, 0.25)),
        ]
        return self.choose.choice(made)

    def paying(self):
        found = {}
        for name, strengths in self.strengths.items():
            parameter = self.model[name]
            if strengths is not None and parameter.requires_grad:
                found.setdefault(parameter, strengths)
        return found

    def check(self):
        value = 0.0
        for weight, (l1, l2, l4) in self.paying().items():
            x = weight.detach().double()
            value += (l1 * x.abs() + l2 * x**2 + l4 * x**4).sum().item()
        assert self.penalties.value() == pytest.approx(value, rel=1e-5, abs=1e-6)
        expected = 0.0 if self.optimizers else value
        loss = self.penalties.loss()
        assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
        if loss.requires_grad:
            weights = list(self.paying())
            found = torch.autograd.grad(2 * loss, weights, allow_unused=True)
            for weight, gradient in zip(weights, found, strict=True):
                if gradient is not None:
                    close(gradient, 2 * self.gradient(weight.detach().double(), self.paying()[weight]))

    def gradient(self, x, strengths):
        l1, l2, l4 = strengths
        return l1 * x.sign() + 2 * l2 * x + 4 * l4 * x**3

    def step(self):
        before, given = {}, {}
        for parameter in self.model.parameters():
            kind = self.choose.choice(["none", "plain", "expanded"])
            parameter.grad = torch.randn_like(parameter) if kind == "plain" and parameter.requires_grad else None
            if kind == "expanded" and parameter.requires_grad:
                parameter.grad = torch.ones((), dtype=parameter.dtype).expand(parameter.shape)
            before[parameter] = parameter.detach().double().clone()
            given[parameter] = None if parameter.grad is None else parameter.grad.double().clone()
        if not self.proximal and self.optimizers and self.choose.random() < 0.4:
            self.penalties.backward()
        for optimizer in self.optimizers:
            optimizer.step(self.choose.choice([None, lambda: None]) if not self.penalties_wait() else None)
        for parameter, strengths in self.paying().items() if self.optimizers else ():
            x, gradient = before[parameter], given[parameter]
            if self.proximal and not strengths[2]:
                if gradient is not None:
                    x = x - RATE * gradient
                    x = x.sign() * (x.abs() - RATE * strengths[0]).clamp(min=0) / (1 + 2 * RATE * strengths[1])
            else:
                x = x - RATE * (self.gradient(x, strengths) + (0 if gradient is None else gradient))
            close(parameter, x)

    def penalties_wait(self):
        return any(share.waits() for share in self.penalties._binding._shares)

    def bind(self):
        if self.optimizers:
            self.penalties.unbind()
            self.optimizers = []
            return
        weights = list(dict.fromkeys(self.model.parameters()))
        cut = self.choose.randint(1, len(weights))
        parts = [part for part in (weights[:cut], weights[cut:]) if part]
        self.optimizers = [torch.optim.SGD(part, lr=RATE) for part in parts]
        self.proximal = self.choose.random() < 0.4
        self.penalties.bind(*self.optimizers, proximal=self.proximal)

    def give_other_data(self):
        parameter = self.choose.choice(list(self.model.parameters()))
        parameter.grad = None
        data = parameter.data
        other = [
            torch.randn_like(data),
            data[: len(data) // 2] if data.ndim else data,
            data.t() if data.ndim < 3 else data,
        ]
        wider = data.is_contiguous() and data.dtype == torch.float32 and data.numel() and not data.numel() % 2
        if wider and self.choose.random() < 0.5:
            # The same bytes at the same address, which are other numbers.
            numbers = data.view(-1).view(torch.float64)
            other = [numbers.copy_(torch.randn(numbers.shape))]
        parameter.data = self.choose.choice(other)

    def replace(self):
        name = self.choose.choice(list(self.strengths))
        self.model[name] = (
            self.weight() if self.choose.random() < 0.6 else self.model[self.choose.choice(list(self.model))]
        )
        held = {parameter for each in self.optimizers for group in each.param_groups for parameter in group["params"]}
        if self.optimizers and self.model[name] not in held:
            self.optimizers[-1].param_groups[0]["params"].append(self.model[name])

    def change_penalty(self):
        name = self.choose.choice(list(self.strengths))
        self.penalties[name].regularizer, self.strengths[name] = self.regularizer()
        if self.choose.random() < 0.3:
            self.penalties[name].regularizer = self.strengths[name] = None

    def freeze(self):
        parameter = self.choose.choice(list(self.model.parameters()))
        parameter.requires_grad_(not parameter.requires_grad)
        parameter.grad = None

    def cast(self):
        self.model.zero_grad()
        self.model.to(self.choose.choice([torch.float32, torch.float64]))

    def take_copy(self):
        (own,) = penalize.attached(copy.deepcopy(self.model))
        assert not own.bound
        assert own.value() == self.penalties.value()


def close(found, expected):
    torch.testing.assert_close(found.detach().double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(15))
def test_values_gradients_and_steps(seed):
    world = World(seed)
    changes = [World.give_other_data, World.replace, World.change_penalty, World.freeze, World.cast, World.take_copy]
    for _ in range(25):
        world.choose.choice([*changes, World.bind, World.step, World.step])(world)
        world.check()
