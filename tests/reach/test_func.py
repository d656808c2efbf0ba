"""`torch.func`: penalties of weights that are swapped in, of ensembles, and their derivatives of every order."""

import pytest
import torch
from tests.reach.by_hand import CLOSE, RATE, ByHand, batches, difference, network, value_by_hand
from torch import nn
from torch.func import functional_call, grad, grad_and_value, hessian, jacfwd, jacrev, stack_module_state, vmap

import penalize
from penalize.regularizers import L1, L2

kinds = pytest.mark.parametrize("kind", ["torch", "layers"])


class Objective(nn.Module):
    """The loss as a module, so that `functional_call` swaps the weights that the penalties see."""

    def __init__(self, kind):
        super().__init__()
        self.model, penalties = network(kind)
        self.penalties = lambda: penalties

    def forward(self, x):
        return self.model(x).square().mean() + self.penalties().loss()


def state(module):
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def loss_by_hand(tensors, x):
    w0, b0, w1, b1 = tensors
    return (torch.tanh(x @ w0.T + b0) @ w1.T + b1).square().mean() + value_by_hand(tensors, x)


@kinds
def test_training_with_grad_of_functional_call(kind):
    objective = Objective(kind)
    weights = state(objective)
    before = {name: weight.clone() for name, weight in weights.items()}
    plain = ByHand(objective)
    for x in batches():
        gradients, _ = grad_and_value(lambda w, x=x: functional_call(objective, w, (x,)))(weights)
        _, expected = plain.step(x)
        assert difference(gradients.values(), expected) < CLOSE
        weights = {name: weight - RATE * gradients[name] for name, weight in weights.items()}
    assert difference(weights.values(), plain.tensors) < CLOSE
    torch.testing.assert_close(state(objective), before, rtol=0, atol=0)


# torch's own forward mode compiles its formulas with it.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@kinds
@pytest.mark.parametrize("jacobian", [jacrev, jacfwd])
def test_jacobians_and_hessians(kind, jacobian):
    objective = Objective(kind)
    weights, x = state(objective), batches()[0]
    tensors = list(weights.values())
    found = jacobian(lambda w: functional_call(objective, w, (x,)))(weights)
    assert difference(found.values(), jacobian(lambda w: loss_by_hand(w, x))(tensors)) < CLOSE
    found = hessian(lambda w: functional_call(objective, w, (x,)))(weights)
    expected = hessian(lambda w: loss_by_hand(w, x))(tensors)
    for mine, its in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(list(mine.values()), list(its), rtol=1e-10, atol=1e-13)


@kinds
def test_an_ensemble_trains_as_its_members_do(kind):
    """`stack_module_state`: each of three models has the penalties of its own weights and outputs."""
    members = [Objective(kind) for _ in range(3)]
    for number, member in enumerate(members):
        with torch.no_grad():
            for parameter in member.parameters():
                parameter.mul_(1 + 0.3 * number)
    plain = [ByHand(member) for member in members]
    weights, buffers = stack_module_state(members)
    weights = {name: weight.detach() for name, weight in weights.items()}
    base = members[0]
    for x in batches():
        step = vmap(grad_and_value(lambda w, x=x: functional_call(base, (w, buffers), (x,))))
        gradients, _ = step(weights)
        for number, each in enumerate(plain):
            _, expected = each.step(x)
            assert difference([gradient[number] for gradient in gradients.values()], expected) < CLOSE
        weights = {name: weight - RATE * gradients[name] for name, weight in weights.items()}
    for number, each in enumerate(plain):
        assert difference([weight[number] for weight in weights.values()], each.tensors) < CLOSE


@kinds
def test_gradients_of_every_sample_on_its_own(kind):
    objective = Objective(kind)
    weights, x = state(objective), batches()[0]
    found = vmap(grad(lambda w, sample: functional_call(objective, w, (sample[None],))), in_dims=(None, 0))(weights, x)
    expected = [grad(lambda w, sample=sample: loss_by_hand(w, sample[None]))(list(weights.values())) for sample in x]
    assert difference(found.values(), [torch.stack(each) for each in zip(*expected, strict=True)]) < CLOSE


def test_second_derivatives_of_what_autograd_took():
    """A gradient penalty: the derivative of a squared gradient of the loss, penalties in it."""
    model, penalties = network("torch")
    parameters = list(model.parameters())
    x = batches()[0]

    def squared(loss, tensors):
        gradients = torch.autograd.grad(loss, tensors, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in gradients), tensors)

    plain = ByHand(model)
    found = squared(model(x).square().mean() + penalties.loss(), parameters)
    assert difference(found, squared(loss_by_hand(plain.tensors, x), plain.tensors)) < CLOSE


def test_strengths_may_be_differentiated():
    """A strength that is a tensor takes a gradient, as tuning strengths by descent needs."""
    strengths = torch.tensor([0.1, 0.2], dtype=torch.float64, requires_grad=True)
    model = nn.Linear(3, 2).double()
    penalties = penalize.attach(model, weights={"weight": L1(strengths[0])}, activity={"": L2(strengths[1])})
    x = torch.randn(4, 3, dtype=torch.float64)
    output = model(x)
    (found,) = torch.autograd.grad(penalties.loss(), strengths)
    expected = torch.stack([model.weight.abs().sum(), output.square().sum() / 4])
    assert difference([found], [expected]) < CLOSE
