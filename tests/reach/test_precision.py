"""Mixed and half precision on one process: penalties as written by hand in float64, and gradients that are scaled."""

import pytest
import torch
from tests.reach.written import CLOSE, MODES, RULES, STEPS, Pair, batch, network
from torch import nn

import penalize
from penalize.errors import BindError
from penalize.regularizers import L1L2, L2

HALF = (torch.bfloat16, torch.float16)
FORMS = {"plain": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}


def one(kind="Adam", **keywords):
    return lambda model: [getattr(torch.optim, kind)(model.parameters(), lr=0.05, **keywords)]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("dtype", HALF)
def test_weight_penalties_know_nothing_of_autocast(dtype, inside):
    """Bit for bit the value and the gradient of float32."""
    torch.manual_seed(0)
    model = network()
    penalties = penalize.attach(model, weights=RULES)
    expected = penalties.loss()
    gradients = torch.autograd.grad(expected, list(model.parameters()))
    with torch.autocast("cpu", dtype):
        model(batch(0, torch.float32))
        found = penalties.loss() if inside else None
        assert penalties.value() == expected.item()
    found = found if inside else penalties.loss()
    assert found.dtype == torch.float32
    assert found.item() == expected.item()
    for got, wanted in zip(torch.autograd.grad(found, list(model.parameters())), gradients, strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("dtype", HALF)
def test_activity_is_summed_in_float32(dtype, inside):
    model = nn.Linear(4, 3000)
    penalties = penalize.attach(model, activity={"": L1L2(0.01, 3.0)})
    x = batch(0, torch.float32)
    with torch.autocast("cpu", dtype):
        output = model(x)
        found = penalties.loss() if inside else None
    found = found if inside else penalties.loss()
    assert output.dtype == dtype
    assert found.dtype == torch.float32
    wide = output.detach().double()
    expected = (0.01 * wide.abs().sum() + 3.0 * wide.square().sum()) / len(x)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    found.backward()
    at = wide.requires_grad_()
    ((0.01 * at.abs().sum() + 3.0 * at.square().sum()) / len(x)).backward()
    close = CLOSE[dtype]
    torch.testing.assert_close(model.weight.grad.double(), at.grad.T @ x.double(), rtol=close, atol=close)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", HALF)
def test_ten_steps_under_autocast(dtype, mode, inside):
    """With the loss in half precision, as close as that is."""
    pair = Pair(one("SGD"), mode, times=10, dtype=torch.float32)
    for step in range(STEPS):
        x = batch(step, torch.float32)
        pair.zero_grad()
        with torch.autocast("cpu", dtype):
            loss = pair.model(x).square().mean()
            penalty = pair.penalties.loss() if inside else None
        (loss + (penalty if inside else pair.penalties.loss())).backward()
        pair.loss_by_hand(x.double()).backward()
        pair.step()
    for p, q in zip(pair.model.parameters(), pair.twin.parameters(), strict=True):
        torch.testing.assert_close(p.double(), q, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["Adam", "SGD"])
def test_a_whole_step_inside_autocast(kind, form, mode):
    """Without a loss, whose gradients are of half precision, ten steps are as close as float32.

    Backward passes belong outside of autocast; the step, and what is added there, may stand inside.
    """
    pair = Pair(one(kind, **FORMS[form]), mode, dtype=torch.float32)
    for _ in range(STEPS):
        pair.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = pair.penalties.loss()
        if loss.requires_grad:
            loss.backward()
        pair.expected().backward()
        with torch.autocast("cpu", torch.bfloat16):
            pair.step()
        pair.check_gradients()
    pair.check_weights()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", HALF)
def test_ten_steps_of_half_precision_weights(dtype, form, mode):
    # Not the fused SGD, which on the CPU leaves most weights of half precision as they are: pytorch#191763.
    kind = "Adagrad" if form == "fused" else "SGD"
    Pair(one(kind, **FORMS[form]), mode, times=10, dtype=dtype).train()


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("dtype", HALF)
def test_large_half_precision_weights_are_summed_in_float32(dtype, bound):
    model = nn.Linear(1000, 100, bias=False, dtype=dtype)
    nn.init.ones_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    penalties = penalize.attach(model, weights={"weight": L2(1.0)})
    assert penalties.value() == 100_000
    if bound:
        penalties.bind(optimizer)
    else:
        penalties.loss().backward()
    optimizer.step()
    assert (model.weight == 0.5).all()


class Scaled(Pair):
    """A pair whose model is trained under a GradScaler."""

    def __init__(self, make, mode, unscale, dtype=torch.float32):
        super().__init__(make, mode, dtype=dtype)
        self.unscale = unscale or mode == "backward"
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=3)

    def gradients(self, x, share=1.0):
        self.scaler.scale(share * self.loss(x)).backward()
        (share * self.loss_by_hand(x)).backward()

    def step(self):
        for optimizer in self.optimizers:
            if self.unscale:
                self.scaler.unscale_(optimizer)
        if self.mode == "backward":
            self.penalties.backward()
        for optimizer, reference in zip(self.optimizers, self.references, strict=True):
            self.scaler.step(optimizer)
            reference.step()
        self.scaler.update()

    def check_gradients(self):
        """Fused optimizers leave gradients that they were given scaled as they please."""
        if self.unscale:
            super().check_gradients()


def halves(model):
    return [
        torch.optim.SGD(model[0].parameters(), lr=0.05, fused=True),
        torch.optim.Adam(model[2].parameters(), lr=0.05),
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("unscale", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "make",
    [one(kind, **keywords) for kind in ("Adam", "SGD") for keywords in FORMS.values()] + [halves],
    ids=[f"{kind} {form}" for kind in ("Adam", "SGD") for form in FORMS] + ["two"],
)
def test_ten_steps_under_a_grad_scaler(make, mode, unscale, dtype):
    pair = Scaled(make, mode, unscale, dtype)
    before = pair.scaler.get_scale()
    pair.train()
    assert pair.scaler.get_scale() == before * 8


@pytest.mark.parametrize("unscale", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
def test_a_skipped_step_changes_nothing(form, mode, unscale):
    """Every third batch is infinite; the steps in between are those without it."""
    pair = Scaled(one("Adam", **FORMS[form]), mode, unscale)
    for step in range(STEPS):
        pair.zero_grad()
        if step % 3 == 1:
            weights = [p.detach().clone() for p in pair.model.parameters()]
            scale = pair.scaler.get_scale()
            pair.scaler.scale(pair.model(torch.full((2, 4), 1e38)).sum() * 1e38).backward()
            references, pair.references = pair.references, [torch.optim.SGD(pair.twin.parameters(), lr=0.0)]
            pair.step()
            pair.references = references
            assert pair.scaler.get_scale() == scale / 2
            for p, before in zip(pair.model.parameters(), weights, strict=True):
                assert torch.equal(p, before)
            continue
        pair.gradients(batch(step))
        pair.step()
        pair.check_gradients()
    pair.check_weights()


@pytest.mark.parametrize("mode", ["loss", "backward"])
def test_clipped_between_unscaling_and_the_step(mode):
    pair = Scaled(one("SGD"), mode, True)
    for step in range(STEPS):
        pair.zero_grad(set_to_none=False)
        pair.gradients(batch(step))
        pair.scaler.unscale_(pair.optimizers[0])
        if mode == "backward":
            pair.penalties.backward()
        for model in (pair.model, pair.twin):
            assert torch.nn.utils.clip_grad_norm_(model.parameters(), 0.2) > 0.2
        pair.scaler.step(pair.optimizers[0])
        pair.references[0].step()
        pair.scaler.update()
        pair.check_gradients()
    pair.check_weights()


def test_scaled_float16_gradients_of_fused_optimizers_are_refused():
    """The penalty's gradient, scaled, is beyond float16 here, and the scaler has looked for that before the step."""
    model = nn.Linear(2, 1, bias=False, dtype=torch.float16)
    nn.init.ones_(model.weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
    penalize.attach(model, weights={"weight": L2(10.0)}).bind(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    scaler.scale(model(torch.ones(1, 2, dtype=torch.float16)).float().sum()).backward()
    with pytest.raises(BindError, match="weight: its float16 gradient is still scaled by a GradScaler"):
        scaler.step(optimizer)
    assert (model.weight == 1).all()
