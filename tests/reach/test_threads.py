"""Threads that call models at once: what one records, another does not see."""

import copy
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tests.reach.by_hand import ByHand, check, network, usual_step, value_by_hand, ways
from torch import nn

import penalize
from penalize import layers
from penalize.errors import TargetError
from penalize.regularizers import L1, L2


class Meeting(nn.Module):
    """Hands on its input once all threads have come here, so that their calls overlap."""

    def __init__(self, threads):
        super().__init__()
        self.barrier = threading.Barrier(threads, timeout=60)

    def forward(self, x):
        self.barrier.wait()
        return x

    def __deepcopy__(self, memo):
        return self


def with_meeting(kind, threads):
    """The network, whose hidden layer waits for the other threads after it has recorded its activity."""
    model, penalties = network(kind)
    penalties.detach()
    *hidden, head = model.children()
    parts = [*hidden, Meeting(threads), head]
    if kind == "torch":
        model = nn.Sequential(*parts)
        weights = {"0.weight": L1(0.02), "3.weight": penalize.regularizers.L1L2(0.01, 0.03), "0.bias": L2(0.03)}
        return model, penalize.attach(model, weights=weights, activity={"1": L1(0.05), "3": L2(0.04)})
    model = nn.Sequential(*parts)
    return model, penalize.attach(model)


def in_threads(*functions):
    with ThreadPoolExecutor(len(functions)) as pool:
        return [each.result() for each in [pool.submit(function) for function in functions]]


def inputs(threads):
    return [torch.randn(3 + n, 4, dtype=torch.float64) for n in range(threads)]


def value_and_gradients(model, penalties, x):
    """After one call, in the thread that made it."""
    model(x)
    losses = penalties.losses
    loss = penalties.loss()
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return len(losses), loss.detach(), [torch.zeros(()) if each is None else each for each in gradients]


def expected(model, x):
    tensors = ByHand(model).tensors
    value = value_by_hand(tensors, x)
    gradients = torch.autograd.grad(value, tensors, allow_unused=True)
    return 5, value.detach(), [torch.zeros(()) if each is None else each for each in gradients]


@pytest.mark.parametrize("which", ["one model", "copies"])
@pytest.mark.parametrize("kind", ["torch", "layers"])
def test_calls_at_once_do_not_meet(kind, which):
    threads = 3
    model, _ = with_meeting(kind, threads)
    models = [model, *(model if which == "one model" else copy.deepcopy(model) for _ in range(threads - 1))]
    xs = inputs(threads)
    for _ in range(5):
        found = in_threads(
            *(
                lambda model=model, x=x: value_and_gradients(model, penalize.attached(model)[0], x)
                for model, x in zip(models, xs, strict=True)
            )
        )
        torch.testing.assert_close(found, [expected(model, x) for x in xs], rtol=1e-11, atol=1e-15)


@ways
def test_two_trainings_at_once(kind, bound):
    meeting = threading.Barrier(2, timeout=60)
    made = [network(kind) for _ in range(2)]

    def train(model, penalties):
        run = usual_step(model, penalties)

        def step(x):
            meeting.wait()
            run(x)

        check(model, penalties, bound, step)

    in_threads(*(lambda one=one: train(*one) for one in made))


def test_a_thread_that_did_not_call_the_model_reads_what_the_last_call_recorded():
    model, penalties = network("torch")
    x = torch.randn(3, 4, dtype=torch.float64)
    in_threads(lambda: model(x))
    (elsewhere,) = in_threads(penalties.value)
    model(x)
    assert elsewhere == penalties.value() > 0
    in_threads(lambda: model(7 * x))
    assert penalties.value() == elsewhere, "a thread reads its own calls"


def test_what_dead_threads_recorded_is_not_held():
    import gc
    import weakref

    model, penalties = network("torch")
    seen = []

    def call():
        model(torch.randn(3, 4, dtype=torch.float64))
        seen.append(weakref.ref(penalties.losses[0]))

    for _ in range(4):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    gc.collect()
    assert [reference() is None for reference in seen] == [True, True, True, False]


def test_compiled_models_in_threads():
    torch.compiler.reset()
    model, penalties = network("torch")
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    xs = inputs(2)
    for x in [*xs, *xs]:
        compiled(x)
    calls = [lambda x=x: value_and_gradients(compiled, penalties, x) for x in xs]
    for _ in range(5):
        torch.testing.assert_close(in_threads(*calls), [expected(model, x) for x in xs], rtol=1e-11, atol=1e-15)
    torch.compiler.reset()


@pytest.mark.parametrize("activity", [None, "l1"])
def test_layers_of_mixed_precision_in_threads(activity):
    """While one thread computes in half precision, another, or itself later, must see the weights as they are."""
    entered, left = threading.Event(), threading.Event()

    class Waits(layers.Dense):
        def call(self, inputs):
            if inputs.shape[0] == 1:
                entered.set()
                assert left.wait(60)
            else:
                assert entered.wait(60)
            output = super().call(inputs)
            left.set()
            return output

    layer = Waits(3, dtype="mixed_bfloat16", kernel_regularizer="l2", activity_regularizer=activity)
    layer.build((None, 4))
    seen = []

    def second():
        layer(torch.ones(2, 4))
        seen.append(layer.kernel.dtype)

    def first():
        layer(torch.ones(1, 4))
        seen.append(layer.kernel.dtype)

    in_threads(first, second)
    assert seen == [torch.float32] * 2
    assert layer.kernel.dtype == torch.float32


def test_recurrent_layers_in_threads():
    """The steps of a cell are collected for the layer around it."""
    meeting = threading.Barrier(2, timeout=60)

    class Cell(layers.SimpleRNNCell):
        def call(self, sequence, states, training=False):
            meeting.wait()
            return super().call(sequence, states)

    model = layers.RNN(Cell(3, activity_regularizer="l1"), return_sequences=True).double()
    xs = [torch.randn(2 + n, 4, 5, dtype=torch.float64) for n in range(2)]
    found = in_threads(*(lambda x=x: (model(x), model.losses) for x in [xs[0], xs[0]]))
    for output, losses in found:
        torch.testing.assert_close(losses, [0.01 * output.abs().sum() / len(output)], rtol=1e-11, atol=0)
    found = in_threads(*(lambda x=x: (model(x), model.losses) for x in xs))
    for output, losses in found:
        torch.testing.assert_close(losses, [0.01 * output.abs().sum() / len(output)], rtol=1e-11, atol=0)


# nn.DataParallel: torch.nn.parallel.replicate copies to CUDA devices only; this is what it does with modules.


def replicate(model):
    modules = list(model.modules())
    copies = [module._replicate_for_data_parallel() for module in modules]
    for module, replica in zip(modules, copies, strict=True):
        for name, child in module._modules.items():
            setattr(replica, name, copies[modules.index(child)])
        for name, parameter in module._parameters.items():
            if parameter is not None:
                setattr(replica, name, parameter.clone())
    return copies[0]


@pytest.mark.parametrize("kind", ["torch", "layers"])
def test_replicas_of_data_parallel_refuse_activity(kind):
    model, _ = network(kind)
    replica = replicate(model)
    x = torch.randn(3, 4, dtype=torch.float64)
    with pytest.raises(
        TargetError, match=r"^(1|dense\w*): the activity of torch.nn.DataParallel's replicas.*Distributed"
    ):
        in_threads(lambda: replica(x))
    model(x)
    assert len(penalize.attached(model)[0].losses) == 5, "the model itself is as before"


@ways
def test_replicas_of_data_parallel_with_penalties_of_weights(kind, bound):
    """They are those of the model's own weights, once."""
    model, penalties = network(kind)
    for name in list(penalties)[-2:]:
        penalties[name].regularizer = None
    other, _ = network("torch")
    other.load_state_dict(dict(zip(other.state_dict(), model.state_dict().values(), strict=True)))
    expected = penalize.attached(other)[0]
    for name in list(expected)[-2:]:
        expected[name].regularizer = None
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.1) for each in (model, other)]
    if bound:
        penalties.bind(optimizers[0])
        expected.bind(optimizers[1])
    for _ in range(10):
        x = torch.randn(6, 4, dtype=torch.float64)
        outputs = in_threads(*(lambda part=part: replicate(model)(part) for part in x.chunk(2)))
        (torch.cat(outputs).square().mean() + penalties.loss()).backward()
        (other(x).square().mean() + expected.loss()).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert penalties.value() == pytest.approx(expected.value(), rel=1e-11)
    for mine, its in itertools.zip_longest(model.parameters(), other.parameters()):
        torch.testing.assert_close(mine, its, rtol=1e-11, atol=1e-14)
