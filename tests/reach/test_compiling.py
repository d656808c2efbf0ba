"""`torch.compile` of a whole step and of the model alone: right, in one graph, also when strengths change."""

import pytest
import torch
from tests.reach.by_hand import check, network, usual_step, ways
from torch import nn
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend

import penalize
from penalize.regularizers import L1, L1L2, L2


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def growing(kind):
    """The strength of the first weight grows at every step; its regularizer is replaced, as `.strength` does it."""
    target = "0.weight" if kind == "torch" else None

    def change(penalties, number):
        strength = 0.02 + 0.01 * number
        penalties[target or next(iter(penalties))].strength = strength
        return strength

    return change


def set_in_place(penalties, number):
    """The same, set on the regularizer that is there."""
    strength = 0.02 + 0.01 * number
    penalties[next(iter(penalties))].regularizer.l1 = strength
    return strength


@ways
def test_the_plain_step_is_as_by_hand(kind, bound):
    model, penalties = network(kind)
    check(model, penalties, bound, usual_step(model, penalties), growing(kind))


@pytest.mark.parametrize("in_place", [False, True])
@ways
def test_a_compiled_step_is_made_once_while_strengths_change(kind, bound, in_place):
    model, penalties = network(kind)
    counter = CompileCounter()

    @torch.compile(backend=counter, fullgraph=True)
    def loss_of(x):
        return model(x).square().mean() + penalties.loss()

    check(model, penalties, bound, lambda x: loss_of(x).backward(), set_in_place if in_place else growing(kind))
    assert counter.frame_count == 1


@ways
def test_a_compiled_model_is_made_once_while_strengths_change(kind, bound):
    model, penalties = network(kind)
    counter = CompileCounter()
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    check(model, penalties, bound, usual_step(compiled, penalties), growing(kind))
    assert counter.frame_count == 1


@ways
def test_gradients_traced_by_aot_autograd(kind, bound):
    model, penalties = network(kind)
    counter = CompileCounterWithBackend("aot_eager")
    counts = set()

    @torch.compile(backend=counter, fullgraph=True)
    def loss_of(x):
        return model(x).square().mean() + penalties.loss()

    def step(x):
        loss_of(x).backward()
        counts.add(counter.frame_count)

    check(model, penalties, bound, step, growing(kind))
    # The first step may hand its graph to the backend more than once.
    assert len(counts) == 1


class Block(nn.Module):
    """torch compiles no frames of its own modules alone."""

    def __init__(self, linear, then):
        super().__init__()
        self.linear = linear
        self.then = then

    def forward(self, x):
        return self.then(self.linear(x))


# torch itself looks at the gradient of what is handed from one graph to the next.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@ways
def test_blocks_that_are_compiled_one_by_one(kind, bound):
    """The graph of a block adds to what the call around it records, and does not begin one of its own."""
    model, penalties = network(kind)
    if kind == "torch":
        penalties.detach()
        model = nn.Sequential(Block(model[0], nn.Tanh()), Block(model[2], nn.Identity()))
        weights = {"0.*.weight": L1(0.02), "1.*.weight": L1L2(0.01, 0.03), "0.*.bias": L2(0.03)}
        penalties = penalize.attach(model, weights=weights, activity={"0": L1(0.05), "1": L2(0.04)})
    counter = CompileCounter()
    blocks = [module for module in model.children() if isinstance(module, Block | penalize.layers.Dense)]
    for block in blocks:
        block.compile(backend=counter, fullgraph=True)
    run, counts = usual_step(model, penalties), []

    def step(x):
        run(x)
        counts.append(counter.frame_count)

    check(model, penalties, bound, step, set_in_place)
    assert counts[0] >= len(blocks) == 2
    assert set(counts) == {counts[0]}


@pytest.mark.parametrize("kind", ["torch", "layers"])
def test_the_strength_of_activity_in_a_compiled_model(kind):
    model, penalties = network(kind)
    activity = penalties["1" if kind == "torch" else next(reversed(list(penalties)))]
    counter = CompileCounter()
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    x = torch.randn(2, 4, dtype=torch.float64)
    values = []
    for strength in (0.1, 0.2, 0.7):
        activity.strength = strength
        compiled(x)
        values.append(penalties.value())
    assert values[2] - values[1] == pytest.approx(5 * (values[1] - values[0]), rel=1e-11)
    assert values[1] > values[0]
    assert counter.frame_count == 1
