"""A training with penalties beside the same one with the penalties written by hand, on a single process."""

import torch
from torch import nn

import penalize
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer

STEPS = 10
CLOSE = {torch.float64: 1e-11, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
MODES = ("loss", "bound", "backward")


class Quartic:
    """A regularizer without a closed-form gradient."""

    def __init__(self, times):
        self.times = times

    def __call__(self, bias):
        return 0.3 * self.times * (bias**4).sum()


def rules(times=1):
    """The penalties, `times` as strong as usual: half precision tells strong ones from none."""
    return {
        "0.weight": L1L2(0.01 * times, 0.02 * times),
        "0.bias": L2(0.03 * times),
        "2.weight": OrthogonalRegularizer(0.3 * times),
        "2.bias": Quartic(times),
    }


RULES = rules()
ACTIVITY = {"1": L1(0.05)}


def cosines(w):
    """The mean over pairs of distinct rows of the absolute cosine between them."""
    rows = w / w.square().sum(1, keepdim=True).sqrt()
    count = w.shape[0]
    return (rows @ rows.T).triu(1).abs().sum() / (count * (count - 1) / 2)


WRITTEN = {
    "0.weight": lambda w: 0.01 * w.abs().sum() + 0.02 * (w**2).sum(),
    "0.bias": lambda b: 0.03 * (b**2).sum(),
    "2.weight": lambda w: 0.3 * cosines(w),
    "2.bias": lambda b: 0.3 * (b**4).sum(),
}


def network():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def batch(step, dtype=torch.float64):
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(step), dtype=torch.float64).to(dtype)


class Pair:
    """A model with penalties and its twin without, each with optimizers that `make(model)` returns.

    `mode` says how weight penalties act: in the loss, bound, or bound and added by `backward()` before the step.
    """

    def __init__(self, make, mode="bound", *, weights=None, times=1, sign=1, dtype=torch.float64):
        torch.manual_seed(0)
        self.twin = network().double()
        self.model = network().to(dtype)
        with torch.no_grad():
            self.model.load_state_dict(self.twin.state_dict())
            self.twin.load_state_dict(self.model.state_dict())
        self.times = times
        self.sign = sign
        self.mode = mode
        self.dtype = dtype
        self.optimizers, self.references = make(self.model), make(self.twin)
        self.penalties = penalize.attach(self.model, weights=weights or rules(times), activity=ACTIVITY)
        if mode != "loss":
            self.penalties.bind(*self.optimizers)

    def expected(self):
        """The sum of the weight penalties of the twin, by hand; what is frozen pays nothing."""
        paid = [self.times * WRITTEN[name](p) for name, p in self.twin.named_parameters() if p.requires_grad]
        return sum(paid, torch.zeros((), dtype=torch.float64))

    def loss(self, x):
        return self.sign * (self.model(x.to(self.dtype)).square().mean() + self.penalties.loss())

    def loss_by_hand(self, x):
        hidden = self.twin[1](self.twin[0](x))
        activity = 0.05 * hidden.abs().sum() / len(x)
        return self.sign * (self.twin[2](hidden).square().mean() + activity + self.expected())

    def zero_grad(self, **keywords):
        for optimizer in (*self.optimizers, *self.references):
            optimizer.zero_grad(**keywords)

    def gradients(self, x, share=1.0):
        """One backward pass of both."""
        (share * self.loss(x)).backward()
        (share * self.loss_by_hand(x)).backward()

    def step(self):
        if self.mode == "backward":
            self.penalties.backward()
        for optimizer in (*self.optimizers, *self.references):
            optimizer.step()

    def train(self, steps=STEPS, first=0, **zero_grad):
        for step in range(first, first + steps):
            x = batch(step)
            self.zero_grad(**zero_grad)
            self.gradients(x)
            self.check_value(x)
            self.step()
            self.check_gradients()
        self.check_weights()

    def check_value(self, x):
        hidden = self.twin[1](self.twin[0](x))
        expected = self.expected() + 0.05 * hidden.abs().sum() / len(x)
        found = torch.tensor(self.penalties.value(), dtype=torch.float64)
        self._close(found, expected.detach())

    def check_gradients(self):
        """Also after the step: bound penalties have been added by then."""
        for p, q in zip(self.model.parameters(), self.twin.parameters(), strict=True):
            assert (p.grad is None) is (q.grad is None)
            if p.grad is not None:
                self._close(p.grad.double(), q.grad)

    def check_weights(self):
        for p, q in zip(self.model.parameters(), self.twin.parameters(), strict=True):
            self._close(p.detach().double(), q.detach())

    def _close(self, found, expected):
        close = CLOSE[self.dtype]
        torch.testing.assert_close(found, expected, rtol=close, atol=close)
