"""A model of a stack is the model that is trained alone: weights, buffers and predictions."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from tests.path.path_models import Tied
from torch import nn

from penalize import attach, optimizers
from penalize.errors import ArgumentError
from penalize.path.data.folds import make_folds
from penalize.path.network import multilayer_perceptron
from penalize.path.training.calls import ByChain, ByVmap
from penalize.path.training.chunk import train_chunk
from penalize.path.training.job import Job, Training, plan_chunks
from penalize.path.training.objective import choose_loss, choose_score, data_loss
from penalize.path.training.optimization import choose_optimizer
from penalize.path.training.stackable import why_not_stacked
from penalize.path.training.stacked import StackedModels
from penalize.regularizers import L1, L1L2, L2, GroupLasso

STRENGTHS = (1e-3, 1e-2, 0.1)


def job_of(model, weights, activity=None, *, data=load_wine, proximal=False, optimizer="adam", rows=None, **training):
    torch.manual_seed(0)
    base = model().train()
    attach(base, weights=weights, activity=activity)
    x, y = data(return_X_y=True)
    folds = make_folds(x[:rows], y[:rows], "auto", 3, 0, next(base.parameters()).dtype)
    settings = {"epochs": 3, "batch_size": 16, "seed": 0, **training}
    chosen = choose_optimizer(optimizer, settings.pop("learning_rate", 5e-3))
    loss = choose_loss(settings.pop("loss", "auto"), folds.task)
    training = Training(optimizer=chosen, loss=loss, score=choose_score("auto", folds.task), **settings)
    return Job(base, folds, STRENGTHS, training, proximal, keep_weights=True)


def trained_alone(model, weights, activity, job, make, pair, proximal):
    """The model of one strength and fold, by a plain loop with a torch optimizer and `attach`."""
    torch.manual_seed(0)
    alone = model().train()
    strength = job.strengths[pair[0]]
    penalties = attach(alone, weights=weights, activity=activity)
    optimizer = make(alone.parameters())
    if proximal:
        for target in penalties.values():
            config = target.regularizer.get_config().items()
            scaled = {name: value * strength if isinstance(value, float) else value for name, value in config}
            target.regularizer = type(target.regularizer)(**scaled)
        penalties.bind(optimizer, proximal=True)
    torch.manual_seed(job.training.seed)
    for epoch in range(job.training.epochs):
        for rows in torch.split(job.data.epoch_rows(epoch)[pair[1]], job.training.batch_size):
            optimizer.zero_grad()
            loss = data_loss(alone(job.data.x[pair[1], rows]), job.data.y[pair[1], rows], job.data.task)
            (loss if proximal else loss + strength * penalties.loss()).backward()
            optimizer.step()
    return alone.eval()


def largest_difference(job, result, pairs, pair, alone):
    tensors = [*alone.named_parameters(), *alone.named_buffers()]
    place = pairs.index(pair)
    return max(
        float((torch.from_numpy(result.weights[n])[place] - t.detach()).double().abs().max()) for n, t in tensors
    )


def normalized(kind=nn.BatchNorm1d):
    layers = nn.Linear(13, 8), kind(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)
    return nn.Sequential(*layers).double()


def dropping():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(13, 8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 3, bias=False)
    ).double()


def tied_chain():
    shared = nn.Linear(13, 13)
    return nn.Sequential(shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(13, 3)).double()


def perceptron():
    return multilayer_perceptron(13, [12], 3).double()


ADAM = "adam", lambda parameters: torch.optim.Adam(parameters, lr=5e-3)
CASES = {
    "l2": (perceptron, {"*.weight": L2(1.0)}, {}, False, ByChain),
    "l1 proximal": (perceptron, {"*.weight": L1(1.0)}, {}, True, ByChain),
    "l1_l2 proximal": (perceptron, {"*.weight": L1L2(1.0, 0.5), "*.bias": L2(1.0)}, {}, True, ByChain),
    "group lasso proximal": (perceptron, {"*.weight": GroupLasso(1.0, axis=0)}, {}, True, ByChain),
    "group lasso": (perceptron, {"*.weight": GroupLasso(1.0, axis=0), "*.bias": L2(1.0)}, {}, False, ByVmap),
    "activity": (perceptron, {"*.weight": L2(1.0)}, {nn.ReLU: L2(1.0)}, False, ByVmap),
    "dropout": (dropping, {"*.weight": L2(1.0)}, {}, False, ByChain),
    "batch normalization": (normalized, {"*.weight": L2(1.0)}, {}, True, ByVmap),
    "layer normalization": (lambda: normalized(nn.LayerNorm), {"0.weight": L1(1.0)}, {}, True, ByVmap),
    "tied": (lambda: Tied().double(), {"first.weight": L2(1.0)}, {}, False, ByVmap),
    "tied chain": (tied_chain, {"0.weight": L1(1.0)}, {}, True, ByChain),
}


@pytest.mark.parametrize(("model", "weights", "activity", "proximal", "calls"), CASES.values(), ids=CASES)
def test_weights_are_those_of_the_model_alone(model, weights, activity, proximal, calls):
    job = job_of(model, weights, activity, proximal=proximal)
    assert why_not_stacked(job) is None
    (pairs,) = plan_chunks(job, 100)
    assert type(StackedModels(job, pairs).calls) is calls
    result = train_chunk(job, pairs, lambda: None)
    for pair in ((0, 2), (2, 0)):
        alone = trained_alone(model, weights, activity, job, ADAM[1], pair, proximal)
        assert largest_difference(job, result, pairs, pair, alone) <= 1e-8
        assert all(np.ptp(weight, axis=0).max() > 0 for weight in result.weights.values() if weight.dtype != np.int64)
    if proximal and "batch" not in str(model):
        zero = [np.count_nonzero(weight == 0) for weight in result.weights.values()]
        assert any(zero) == any(isinstance(each, L1 | L1L2 | GroupLasso) for each in weights.values())


OPTIMIZERS = {
    "sgd": (functools.partial(torch.optim.SGD, lr=0.05),) * 2,
    "nesterov": (functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9, nesterov=True),) * 2,
    "adamw": ("adamw", functools.partial(torch.optim.AdamW, lr=5e-3)),
    "amsgrad": (functools.partial(torch.optim.Adam, lr=5e-3, amsgrad=True),) * 2,
    "nadam": (torch.optim.NAdam, functools.partial(torch.optim.NAdam, lr=5e-3)),
    "radam": ("RAdam", functools.partial(torch.optim.RAdam, lr=5e-3)),
    "rmsprop": (functools.partial(torch.optim.RMSprop, lr=5e-3, momentum=0.5, centered=True),) * 2,
    "adagrad": ("adagrad", functools.partial(torch.optim.Adagrad, lr=5e-3)),
    "adamax": ("adamax", functools.partial(torch.optim.Adamax, lr=5e-3)),
    "keras adam": (optimizers.Adam(5e-3), lambda parameters: optimizers.Adam(5e-3).build(parameters)),
    "keras rmsprop": (optimizers.RMSprop, lambda parameters: optimizers.RMSprop(5e-3).build(parameters)),
    "keras clipvalue": (optimizers.SGD(0.1, clipvalue=0.01),) * 1
    + (lambda p: optimizers.SGD(0.1, clipvalue=0.01).build(p),),
}


@pytest.mark.parametrize(("optimizer", "make"), OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("stopping", [None, 1])
@pytest.mark.filterwarnings("ignore:bind.proximal=True.:UserWarning")
def test_every_optimizer_keeps_its_models_apart(optimizer, make, stopping):
    proximal = "clipvalue" not in str(optimizer)
    weights = {"*.weight": L1(1.0) if proximal else L2(1.0)}
    # With early stopping some models leave, and the states of the others go on.
    job = job_of(perceptron, weights, optimizer=optimizer, proximal=proximal, epochs=6, early_stopping=stopping)
    (pairs,) = plan_chunks(job, 100)
    result = train_chunk(job, pairs, lambda: None)
    if stopping is None:
        alone = trained_alone(perceptron, weights, {}, job, make, (1, 1), proximal)
        assert largest_difference(job, result, pairs, (1, 1), alone) <= 1e-8
    else:
        single = train_chunk(job, ((1, 1),), lambda: None)
        for name, weight in single.weights.items():
            np.testing.assert_allclose(result.weights[name][pairs.index((1, 1))], weight[0], atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("adamm", "optimizer must be one of sgd, adam, .*did you mean 'adam'"),
        ("lbfgs", "optimizer must be one of sgd"),
        (torch.optim.LBFGS, "optimizer LBFGS is not known to treat each element on its own"),
        (torch.optim.Adafactor, "optimizer Adafactor is not known"),
        (torch.optim.Muon, "optimizer Muon is not known"),
        (optimizers.Adam(clipnorm=1.0), "clipnorm clips by a norm over all elements"),
        (optimizers.SGD(global_clipnorm=1.0), "global_clipnorm clips by a norm"),
        (torch.optim.SGD([torch.zeros(1)], lr=0.1), "got an instance of SGD; pass torch.optim.SGD"),
        (functools.partial(torch.optim.SGD, speed=3), "optimizer SGD cannot be built: .*speed"),
        (functools.partial(torch.optim.SGD, maximize=True), r"SGD\(maximize=True\) cannot train a path"),
        (functools.partial(torch.optim.SGD, 3), "must name its settings"),
        (3, "optimizer must be a name, a class of torch.optim or a spec, got 3"),
        (nn.Linear, "optimizer must be a name, a class"),
    ],
)
def test_optimizers_that_would_mix_models_are_refused_by_name(optimizer, message):
    with pytest.raises(ArgumentError, match=message):
        choose_optimizer(optimizer, 1e-3)


@pytest.mark.parametrize("proximal", [True, False])
def test_predictions_in_float32_are_those_of_the_model_alone(proximal):
    def digits():
        return multilayer_perceptron(64, [64, 64], 10)

    weights = {"*.weight": L1(0.1) if proximal else L2(0.1)}
    job = job_of(digits, weights, data=load_digits, proximal=proximal, batch_size=32, epochs=5, learning_rate=1e-3)
    (pairs,) = plan_chunks(job, 100)
    result = train_chunk(job, pairs, lambda: None)
    equal = []
    for place, pair in enumerate(pairs):
        alone = trained_alone(digits, weights, {}, job, functools.partial(torch.optim.Adam, lr=1e-3), pair, proximal)
        x = job.data.x[pair[1], job.data.validation[pair[1]]]
        own = {name: torch.from_numpy(weight[place]) for name, weight in result.weights.items()}
        with torch.no_grad():
            equal.append(torch.func.functional_call(alone, own, (x,)).argmax(-1) == alone(x).argmax(-1))
    assert float(torch.cat(equal).double().mean()) >= 0.995


def test_a_loss_of_ones_own_and_one_model_at_a_time_give_the_same():
    def own(output, y):
        return nn.functional.cross_entropy(output, y)

    job = job_of(dropping, {"*.weight": L2(1.0)})
    other = dataclasses.replace(job, training=dataclasses.replace(job.training, loss=own))
    apart = dataclasses.replace(job, stacked=False)
    (pairs,) = plan_chunks(job, 100)
    expected = train_chunk(job, pairs, lambda: None)
    got = train_chunk(other, pairs, lambda: None)
    single = train_chunk(apart, pairs[4:5], lambda: None)
    np.testing.assert_allclose(got.val_loss, expected.val_loss, rtol=1e-9)
    np.testing.assert_allclose(single.val_loss, expected.val_loss[4:5], rtol=1e-9)
    np.testing.assert_allclose(single.train_loss, expected.train_loss[4:5], rtol=1e-9)
    assert single.zeros[0] == expected.zeros[4]


@pytest.mark.parametrize("training", [True, False])
def test_a_chain_is_what_vmap_makes_of_the_model(training):
    job = job_of(dropping, {"*.weight": L1(1.0), "*.bias": L2(1.0)})
    stack = StackedModels(job, job.pairs)
    stack.model.train(training)
    generator = torch.Generator().manual_seed(0)
    for weight in stack.trained.values():
        weight += torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    x = torch.randn(9, 5, 13, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (9, 5), generator=generator)
    found = []
    for calls in (stack.calls, ByVmap(stack.model, stack.paid, job)):
        torch.manual_seed(5)
        found.append({**calls.gradients(stack, x, y), "outputs": calls.outputs(stack, x[0])[0]})
    assert type(stack.calls) is ByChain
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name], rtol=1e-10, atol=1e-12)
        assert tensor.abs().max() > 0


def test_what_is_watched_or_shaped_otherwise_is_no_chain():
    from penalize.path.training.chain import chain_of

    class Own(nn.Linear):
        pass

    assert chain_of(nn.Linear(3, 1), [3]) is not None
    assert chain_of(nn.Sequential(nn.Flatten(), nn.Linear(12, 1)), [3, 4]) is not None
    assert chain_of(nn.Sequential(nn.Linear(4, 1)), [3, 4]) is None
    assert chain_of(nn.Sequential(nn.Flatten(2), nn.Linear(12, 1)), [3, 4]) is None
    assert chain_of(Own(3, 1), [3]) is None
    for other in (nn.Softmax(-1), nn.PReLU(), nn.BatchNorm1d(3), nn.RReLU(), nn.LayerNorm(3)):
        assert chain_of(nn.Sequential(nn.Linear(3, 3), other), [3]) is None
    hooked = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    hooked[1].register_forward_hook(lambda module, args, output: None)
    assert chain_of(hooked, [3]) is None
    assert chain_of(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))), [3]) is None
