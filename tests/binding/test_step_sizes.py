"""The step sizes of optimizers, beside what they do to weights whose gradient never changes."""

import pytest
import torch
from torch import nn

import penalize
from penalize.binding.step_sizes import step_sizes
from penalize.errors import BindError
from penalize.regularizers import L1

T = torch.optim
K = penalize.optimizers

# Long enough that momenta and averages have come to rest.
STEPS = 400

OPTIMIZERS = {
    "SGD": lambda p: T.SGD(p, lr=0.01),
    "SGD momentum": lambda p: T.SGD(p, lr=0.01, momentum=0.9),
    "SGD dampening": lambda p: T.SGD(p, lr=0.01, momentum=0.8, dampening=0.3),
    "SGD Nesterov": lambda p: T.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
    "Adam": lambda p: T.Adam(p, lr=0.01),
    "Adam eps": lambda p: T.Adam(p, lr=0.01, eps=0.1, betas=(0.8, 0.99)),
    "AMSGrad": lambda p: T.Adam(p, lr=0.01, amsgrad=True),
    "AdamW": lambda p: T.AdamW(p, lr=0.01, weight_decay=0.0),
    "NAdam": lambda p: T.NAdam(p, lr=0.01, betas=(0.8, 0.99), momentum_decay=1.0),
    "RAdam": lambda p: T.RAdam(p, lr=0.01, betas=(0.8, 0.99)),
    "RMSprop": lambda p: T.RMSprop(p, lr=0.01, alpha=0.95, eps=0.01),
    "RMSprop momentum": lambda p: T.RMSprop(p, lr=0.01, alpha=0.95, momentum=0.8),
    "Adagrad": lambda p: T.Adagrad(p, lr=0.01, lr_decay=0.01, initial_accumulator_value=0.3),
    "Adamax": lambda p: T.Adamax(p, lr=0.01, betas=(0.8, 0.99)),
    "Keras SGD": lambda p: K.SGD(0.01, momentum=0.9).build(p),
    "Keras SGD Nesterov": lambda p: K.SGD(0.01, momentum=0.9, nesterov=True).build(p),
    "Keras Adam": lambda p: K.Adam(0.01, epsilon=0.01).build(p),
    "Keras AMSGrad": lambda p: K.Adam(0.01, amsgrad=True).build(p),
    "Keras AdamW": lambda p: K.AdamW(0.01, weight_decay=0.0).build(p),
    "Keras Nadam": lambda p: K.Nadam(0.01, beta_1=0.8, beta_2=0.99).build(p),
    "Keras RMSprop": lambda p: K.RMSprop(0.01, epsilon=0.1).build(p),
    "Keras RMSprop momentum": lambda p: K.RMSprop(0.01, momentum=0.8).build(p),
    "Keras Adagrad": lambda p: K.Adagrad(0.01, epsilon=0.1).build(p),
    "Keras Adamax": lambda p: K.Adamax(0.01, epsilon=0.1).build(p),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_constant_gradient_moves_each_coordinate_by_its_step_size(name):
    parameter = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    gradient = torch.tensor([0.003, -0.4, 1.0, -20.0], dtype=torch.float64)
    optimizer = OPTIMIZERS[name]([parameter])
    for _ in range(STEPS):
        before = parameter.detach().clone()
        parameter.grad = gradient.clone()
        optimizer.step()
    moved = before - parameter.detach()
    sizes = step_sizes(optimizer, optimizer.param_groups[0], parameter)
    torch.testing.assert_close(moved, sizes.tensor() * gradient, rtol=2e-3, atol=0)


def test_the_step_size_of_centered_rmsprop_is_that_of_the_variance():
    parameter = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    for optimizer, inside in (
        (T.RMSprop([parameter], lr=0.01, centered=True, eps=0.1), False),
        (K.RMSprop(0.01, centered=True, epsilon=0.1).build([parameter]), True),
    ):
        for step in range(50):
            parameter.grad = torch.tensor([1.0, -2.0], dtype=torch.float64) * (-1) ** step
            optimizer.step()
        state = optimizer.state[parameter]
        variance = state["square_avg"] - state["grad_avg"] ** 2
        expected = 0.01 / ((variance + 0.1).sqrt() if inside else variance.sqrt() + 0.1)
        torch.testing.assert_close(step_sizes(optimizer, optimizer.param_groups[0], parameter).tensor(), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: T.Muon(p),
        lambda p: T.Adafactor(p),
        lambda p: T.LBFGS(p),
        lambda p: T.Rprop(p),
        lambda p: T.ASGD(p),
        lambda p: T.Adadelta(p),
        lambda p: K.Lion().build(p),
        lambda p: type("MyAdam", (T.Adam,), {})(p),
    ],
    ids=["Muon", "Adafactor", "LBFGS", "Rprop", "ASGD", "Adadelta", "Lion", "a subclass"],
)
def test_other_optimizers_are_refused_by_name(make):
    model = nn.Linear(3, 2, bias=False)
    optimizer = make(model.parameters())
    penalties = penalize.attach(model, weights={"weight": L1(0.1)})
    with pytest.raises(
        BindError,
        match=f"weight: proximal steps need the step size of each coordinate.*{type(optimizer).__name__}; known",
    ):
        penalties.bind(optimizer, proximal=True)
    assert not penalties.bound
    assert penalties.loss().item() > 0
    penalties.bind(optimizer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: T.SGD(p, lr=0.1, maximize=True), "weight: SGD\\(maximize=True\\) goes up"),
        (lambda p: T.Adam(p, lr=0.1, differentiable=True), "weight: the step of Adam is differentiated"),
        (lambda p: K.Adam(0.1, clipnorm=1.0).build(p), "weight: AdamRule\\(clipnorm=...\\) clips gradients inside its"),
        (lambda p: K.SGD(0.1, clipvalue=1.0).build(p), "weight: SGDRule\\(clipvalue=...\\) clips"),
        (lambda p: K.SGD(0.1, global_clipnorm=1.0).build(p), "weight: SGDRule\\(global_clipnorm=...\\) clips"),
    ],
    ids=["maximize", "differentiable", "clipnorm", "clipvalue", "global_clipnorm"],
)
def test_steps_for_which_no_proximal_step_would_be_right_are_refused(make, message):
    model = nn.Linear(3, 2, bias=False)
    penalties = penalize.attach(model, weights={"weight": L1(0.1)})
    with pytest.raises(BindError, match=message):
        penalties.bind(make(model.parameters()), proximal=True)
    assert not penalties.bound


def test_a_setting_that_is_refused_is_so_when_it_comes_later():
    """As with the state of another optimizer, which brings its settings."""
    model = nn.Linear(3, 2, bias=False)
    optimizer = T.SGD(model.parameters(), lr=0.1)
    penalize.attach(model, weights={"weight": L1(0.1)}).bind(optimizer, proximal=True)
    model.weight.grad = torch.zeros_like(model.weight)
    optimizer.step()
    before = model.weight.detach().clone()
    optimizer.load_state_dict(T.SGD(model.parameters(), lr=0.1, maximize=True).state_dict())
    with pytest.raises(BindError, match=r"^weight: SGD\(maximize=True\) goes up"):
        optimizer.step()
    assert torch.equal(model.weight, before)
