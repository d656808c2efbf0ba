"""A training on several processes beside the plain one on a single process, in float64."""

import functools

import torch
import torch.distributed as dist
from torch import nn

import penalize
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer

BATCH = 8


class Quartics(Regularizer):
    """A sum over elements without a closed-form gradient, and with a look at the largest value: empty parts have none."""

    elementwise = True

    def __call__(self, x):
        scale = x.detach().abs().amax().clamp(min=1e-300)
        return 0.03 * ((x / scale) ** 4).sum() * scale**4


class RowNorms(L1):
    """A group penalty, with L1's declarations inherited: they are not of this penalty."""

    def __call__(self, x):
        return self.l1 * x.reshape(x.shape[0], -1).norm(dim=1).sum()


class Centred(Regularizer):
    """Its gradient in closed form needs the whole tensor."""

    def __call__(self, x):
        return 0.1 * (x - x.mean()).square().sum()

    def gradient(self, x):
        return 0.2 * (x - x.mean())


def variance(x):
    return 0.05 * x.var(correction=0)


WEIGHTS = {
    "*0.weight": L1(0.02),
    "*2.weight": OrthogonalRegularizer(0.3),
    "*3.weight": RowNorms(0.02),
    "*4.weight": L1L2(0.01, 0.02),
    "*0.bias": L2(0.03),
    "*2.bias": Quartics(),
    "*3.bias": variance,
    "*4.bias": Centred(),
}
ACTIVITY = {"*1": L1(0.03), "*4": L2(0.02)}


def network():
    """Sizes that no number of processes divides, and a last layer of 1, of which most processes hold nothing."""
    return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 5), nn.Linear(5, 3), nn.Linear(3, 1))


def whole(x):
    """A tensor on all processes, as a plain one."""
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def averaged(number):
    tensor = torch.tensor(number)
    dist.all_reduce(tensor)
    return tensor.item() / dist.get_world_size()


def spread(number):
    """How far apart the numbers of all processes are."""
    low, high = torch.tensor(number), torch.tensor(number)
    dist.all_reduce(low, dist.ReduceOp.MIN)
    dist.all_reduce(high, dist.ReduceOp.MAX)
    return (high - low).item()


def relative(found, expected):
    expected = expected.detach().double()
    return ((whole(found).detach().double() - expected).abs().max() / expected.abs().max().clamp(min=1e-30)).item()


def batches(steps, shape=(6,)):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(BATCH, *shape, generator=generator) for _ in range(steps)]


def own(batch):
    """This process's part of a batch."""
    return batch.chunk(dist.get_world_size())[dist.get_rank()]


sgd = functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9)
adam = functools.partial(torch.optim.Adam, lr=0.02)


def same(batch):
    return batch


def compare(
    distribute,
    *,
    build=network,
    weights=WEIGHTS,
    activity=ACTIVITY,
    bound=False,
    proximal=False,
    after=False,
    accumulate=1,
    no_sync=None,
    split=own,
    shape=(6,),
    steps=10,
    attach=penalize.attach,
    optimize=sgd,
    optimize_wrapped=None,
):
    """The largest relative differences of value, gradient and weights after ten steps.

    `distribute` takes a model and returns what is called; `after` attaches to that, and not before. `split` gives each
    process its part of the batch. `no_sync(model, last)` is a context for each of `accumulate` backward passes.
    """
    torch.manual_seed(0)
    plain = build()
    torch.manual_seed(0)
    model = build()
    expected = attach(plain, weights=weights, activity=activity)
    if not after:
        penalties = attach(model, weights=weights, activity=activity)
        model = distribute(model)
    else:
        model = distribute(model)
        penalties = attach(model, weights=weights, activity=activity)
    optimizers = [optimize(plain.parameters()), (optimize_wrapped or optimize)(model.parameters())]
    if bound:
        expected.bind(optimizers[0], proximal=proximal)
        penalties.bind(optimizers[1], proximal=proximal)
    references = dict(plain.named_parameters())
    result = {"value": 0.0, "gradient": 0.0, "spread": 0.0}
    data = batches(steps * accumulate, shape)
    for step in range(steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        for micro in range(accumulate):
            batch = data[step * accumulate + micro]
            loss = plain(batch).square().mean() + expected.loss()
            (loss / accumulate).backward()
            last = micro == accumulate - 1
            with no_sync(model, last) if no_sync else torch.enable_grad():
                loss = model(split(batch)).square().mean() + penalties.loss()
                (loss / accumulate).backward()
        if step in (0, steps - 1):
            value = penalties.value()
            result["value"] = max(result["value"], abs(averaged(value) / expected.value() - 1))
            if split is same:
                result["spread"] = max(result["spread"], spread(value))
            for row, other in zip(penalties.report(), expected.report(), strict=True):
                assert row.shape == other.shape
                assert row.zeros == other.zeros
                if row.kind == "weight":
                    result["spread"] = max(result["spread"], spread(row.penalty))
                    assert abs(row.penalty - other.penalty) <= 1e-9 * other.penalty, row.target
        if step == 0:
            result["gradient"] = max(
                relative(parameter.grad, references[name.removeprefix("module.")].grad)
                for name, parameter in model.named_parameters()
                if parameter.grad is not None
            )
        for optimizer in optimizers:
            optimizer.step()
    result["training"] = max(
        relative(p, references[name.removeprefix("module.")]) for name, p in model.named_parameters()
    )
    penalties.detach()
    return result
