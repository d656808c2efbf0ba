"""Gradient checkpointing: what is computed twice is paid once, and what backward computes again leaves no trace."""

import gc
import weakref

import pytest
import torch
from tests.reach.by_hand import CLOSE, batches, check, difference, modes, network, ways
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential, set_checkpoint_early_stop

import penalize
from penalize import layers
from penalize.errors import TargetError
from penalize.regularizers import L1, L1L2, L2


def parts(model):
    return [module for module in model.children() if not isinstance(module, layers.InputLayer)]


def kept(function, x):
    return checkpoint(function, x, use_reentrant=False)


def whole_model(model):
    return lambda x: kept(model, x)


def each_part(model):
    def run(x):
        for part in parts(model):
            x = kept(part, x)
        return x

    return run


def nested(model):
    first, *rest = parts(model)
    return lambda x: kept(lambda x: nn.Sequential(*rest)(kept(first, x)), x)


def in_segments(model):
    return lambda x: checkpoint_sequential(parts(model), 2, x, use_reentrant=False)


# A part that is called outside of the model begins a call of its own, and so clears what it recorded itself before.
CALLS = [whole_model, each_part, nested, in_segments]


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("call", CALLS)
@ways
def test_training_is_as_without(kind, bound, call, early_stop):
    model, penalties = network(kind)
    run = call(model)

    def step(x):
        with set_checkpoint_early_stop(early_stop):
            output = run(x)
        loss = output.square().mean() + penalties.loss()
        before = penalties.named_losses()
        loss.backward()
        after = penalties.named_losses()
        # Of activity the very tensors, not others that were recorded again.
        assert len(after) == len(before) == 5
        assert all(now is then for (_, now), (_, then) in zip(after[:2], before[:2], strict=True))

    check(model, penalties, bound, step)


@ways
def test_the_loss_too_may_be_checkpointed(kind, bound):
    model, penalties = network(kind)

    def loss_of(x):
        return model(x).square().mean() + penalties.loss()

    check(model, penalties, bound, lambda x: kept(loss_of, x).backward())


@modes
def test_recurrent_layers_and_those_that_spread_over_time(bound):
    """Cells whose steps a layer around them collects, and penalties that one around them scales."""

    def trained(call):
        torch.manual_seed(0)
        model = penalize.Sequential(
            [
                penalize.Input((3, 4)),
                layers.SimpleRNN(5, return_sequences=True, activity_regularizer="l1", kernel_regularizer="l2"),
                layers.TimeDistributed(layers.Dense(2, activity_regularizer="l2")),
            ]
        ).double()
        penalties = penalize.attach(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        if bound:
            penalties.bind(optimizer)
        values = []
        for x in torch.randn(10, 6, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64):
            optimizer.zero_grad()
            (call(model, x).square().mean() + penalties.loss()).backward()
            values.append(penalties.value())
            optimizer.step()
        return values, list(model.parameters())

    torch.testing.assert_close(trained(kept), trained(lambda model, x: model(x)), rtol=1e-11, atol=0)


def test_memory_of_what_is_computed_again_is_not_held():
    seen = []

    def watched(x):
        seen.append(weakref.ref(x))
        return x.square().sum()

    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
    penalties = penalize.attach(model, activity={"1": watched})
    loss = kept(model, torch.randn(2, 4, requires_grad=True)).sum() + penalties.loss()
    loss.backward()
    gc.collect()
    assert len(seen) == 2
    assert seen[1]() is None


def test_an_error_in_the_middle_of_a_backward_pass_leaves_the_record_as_it_was():
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    penalties = penalize.attach(model, activity={"1": L1(0.5)})
    calls = []

    def fails_the_second_time(module, args):
        calls.append(module)
        if len(calls) == 2:
            raise RuntimeError("out of memory, say")

    model[2].register_forward_pre_hook(fails_the_second_time)
    output = checkpoint(model, torch.randn(3, 4), use_reentrant=False)
    before = penalties.value()
    with pytest.raises(RuntimeError, match="out of memory, say"), set_checkpoint_early_stop(False):
        output.sum().backward()
    assert penalties.value() == before
    model(torch.zeros(3, 4))
    assert penalties.value() == pytest.approx(0.5 * model[:2](torch.zeros(1, 4)).abs().sum().item())


def test_a_model_that_is_called_in_a_hook_of_backward_leaves_no_trace():
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
    penalties = penalize.attach(model, activity={"1": L1(0.5)})
    output = model(torch.randn(3, 4))
    before = penalties.value()
    output.register_hook(lambda gradient: gradient + 0 * model(torch.ones(7, 4)).sum())
    output.sum().backward()
    assert penalties.value() == before


# Together with torch.compile.


@pytest.fixture
def compiler():
    torch.compiler.reset()
    yield torch.compile
    torch.compiler.reset()


@ways
def test_checkpointing_inside_one_graph(kind, bound, compiler):
    """torch refuses whatever a checkpointed part of a graph remembers, unless it is told that once is enough."""
    model, penalties = network(kind)

    @compiler(backend="aot_eager", fullgraph=True)
    def loss_of(x):
        return kept(model, x).square().mean() + penalties.loss()

    with pytest.raises(RuntimeError, match="skip_fwd_side_effects_in_bwd_under_checkpoint = True"):
        loss_of(batches()[0])
    torch.compiler.reset()
    with torch._dynamo.config.patch(skip_fwd_side_effects_in_bwd_under_checkpoint=True):
        check(model, penalties, bound, lambda x: loss_of(x).backward())


# torch itself looks at the gradient of what is handed from one graph to the next.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@ways
def test_checkpointing_in_a_step_that_falls_into_several_graphs(kind, bound, compiler):
    model, penalties = network(kind)

    @compiler(backend="aot_eager")
    def loss_of(x):
        return kept(model, x).square().mean() + penalties.loss()

    check(model, penalties, bound, lambda x: loss_of(x).backward())


@ways
def test_checkpointing_around_a_compiled_model(kind, bound, compiler):
    model, penalties = network(kind)
    compiled = compiler(model, backend="aot_eager", fullgraph=True)

    def step(x):
        (kept(compiled, x).square().mean() + penalties.loss()).backward()

    check(model, penalties, bound, step)


@pytest.mark.parametrize("kind", ["torch", "layers"])
def test_reentrant_checkpointing_around_a_compiled_model_refuses_activity_in_the_loss(kind, compiler):
    model, penalties = network(kind)
    compiled = compiler(model, backend="aot_eager", fullgraph=True)
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    reentrant(compiled, x)
    with pytest.raises(TargetError, match=r"its penalty has no gradient.*use_reentrant=False"):
        penalties.loss()
    compiled(x)
    assert penalties.loss().requires_grad
    model.eval()
    with torch.no_grad():
        compiled(x)
    assert penalties.loss() > 0


# use_reentrant=True runs the first pass without gradients, inside a torch.autograd.Function.


def reentrant(function, x):
    return checkpoint(function, x, use_reentrant=True)


@pytest.mark.parametrize("kind", ["torch", "layers"])
def test_reentrant_checkpointing_refuses_activity_in_the_loss(kind):
    model, penalties = network(kind)
    reentrant(model, torch.randn(5, 4, dtype=torch.float64, requires_grad=True))
    with pytest.raises(TargetError, match=r"^(1|dense.*|0|1): its penalty has no gradient.*use_reentrant=False"):
        penalties.loss()
    if kind == "layers":
        with pytest.raises(TargetError, match=r"^dense\w*: its penalty has no gradient"):
            _ = model.losses
    assert penalties.value() > 0
    assert len(penalties.report()) == 5
    model(torch.randn(5, 4, dtype=torch.float64))
    assert penalties.loss().requires_grad


def test_reentrant_checkpointing_refuses_added_losses():
    class Adds(penalize.Layer):
        def call(self, inputs):
            self.add_loss(inputs.square().sum())
            return 2 * inputs

    model = nn.Sequential(nn.Linear(4, 4), Adds())
    model(torch.zeros(1, 4))
    penalties = penalize.attach(model)
    reentrant(model, torch.randn(5, 4, requires_grad=True))
    with pytest.raises(TargetError, match=r"^1: its penalty has no gradient.*use_reentrant=False"):
        penalties.loss()


def test_reentrant_segments_refuse_activity_in_the_loss():
    model, penalties = network("torch")
    checkpoint_sequential(model, 2, torch.randn(5, 4, dtype=torch.float64, requires_grad=True), use_reentrant=True)
    # Of three modules the first, not penalized, is a segment; the others are the last one, which is not checkpointed.
    assert penalties.loss().requires_grad
    checkpoint_sequential(model, 3, torch.randn(5, 4, dtype=torch.float64, requires_grad=True), use_reentrant=True)
    with pytest.raises(TargetError, match=r"^1: its penalty has no gradient.*use_reentrant=False"):
        penalties.loss()


@modes
def test_reentrant_checkpointing_of_a_model_whose_weights_alone_are_penalized(bound):
    def trained(call):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
        penalties = penalize.attach(model, weights={"*.weight": L1(0.02), "*.bias": L2(0.03)})
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        if bound:
            penalties.bind(optimizer)
        for x in batches():
            optimizer.zero_grad()
            (call(model, x.requires_grad_()).square().mean() + penalties.loss()).backward()
            optimizer.step()
        return [*model.parameters(), *(p.grad for p in model.parameters())]

    assert difference(trained(reentrant), trained(lambda model, x: model(x))) < CLOSE


class WithLoss(nn.Module):
    """As models do that return their loss: what is checkpointed contains the penalties."""

    def __init__(self, model, penalties):
        super().__init__()
        self.model = model
        self.penalties = penalties

    def forward(self, x):
        self.model(x)
        return self.penalties.loss()


def test_reentrant_checkpointing_around_the_loss_itself_is_refused_in_backward():
    """There the loss would be that of the first pass, which has no gradient."""
    model, penalties = network("torch")
    loss = reentrant(WithLoss(model, penalties), torch.randn(5, 4, dtype=torch.float64, requires_grad=True))
    with pytest.raises(TargetError, match=r"^1: its penalty has no gradient.*use_reentrant=False"):
        loss.backward()


def test_reentrant_checkpointing_around_a_module_that_pays_for_itself_is_right():
    class Pays(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = network("torch")[0]
            self.paid = lambda: None

        def forward(self, x):
            output = self.model(x)
            return output.square().mean() + self.paid()

    model = Pays()
    penalize.attached(model.model)[0].detach()
    weights = {"*0.weight": L1(0.02), "*2.weight": L1L2(0.01, 0.03), "*0.bias": L2(0.03)}
    penalties = penalize.attach(model, weights=weights, activity={"*.1": L1(0.05), "*.2": L2(0.04)})
    model.paid = penalties.loss
    check(model, penalties, False, lambda x: reentrant(model, x.requires_grad_()).backward())
