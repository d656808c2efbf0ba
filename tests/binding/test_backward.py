"""Penalties.backward(): bound gradients before the step, exactly once a cycle."""

import copy

import pytest
import torch
from torch import nn

from penalize import attach
from penalize.errors import BindError, DetachedError
from penalize.regularizers import L1L2, L2

STRENGTH = 0.3


def parts(rate=0.1):
    """A weight of twos whose penalty's gradient is 1.2, the optimizer and the bound penalties."""
    model = nn.Linear(3, 1, bias=False).double()
    nn.init.constant_(model.weight, 2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    return model, optimizer, attach(model, weights={"weight": L2(STRENGTH)}).bind(optimizer)


def lose(model):
    """A backward pass with the gradient 1."""
    model(torch.ones(1, 3).double()).sum().backward()


def gradient(model):
    assert (model.weight.grad == model.weight.grad[0, 0]).all()
    return pytest.approx(model.weight.grad[0, 0].item())


def test_ten_clipped_steps_are_those_on_the_loss():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    finals = []
    for bound in (False, True):
        own = copy.deepcopy(model)
        optimizer = torch.optim.Adam(own.parameters(), lr=0.05)
        penalties = attach(
            own, weights={"*.weight": L1L2(0.1, 0.2), "*.bias": lambda b: (b**4).sum()}, activity={"1": "l1"}
        )
        if bound:
            penalties.bind(optimizer)
        for step in range(10):
            optimizer.zero_grad()
            x = torch.randn(6, 4, generator=torch.Generator().manual_seed(step)).double()
            (own(x).square().mean() + penalties.loss()).backward()
            if bound:
                penalties.backward()
            norm = torch.nn.utils.clip_grad_norm_(own.parameters(), 0.3)
            assert norm > 0.3
            optimizer.step()
        finals.append([p.detach() for p in own.parameters()])
    torch.testing.assert_close(finals[0], finals[1], rtol=1e-11, atol=1e-11)


def test_the_step_after_it_adds_nothing_and_the_one_after_that_does():
    model, optimizer, penalties = parts(rate=0.0)
    lose(model)
    penalties.backward()
    assert gradient(model) == 2.2
    optimizer.step()
    assert gradient(model) == 2.2
    optimizer.step()
    assert gradient(model) == 3.4
    penalties.backward()
    assert gradient(model) == 4.6


def test_a_backward_pass_of_the_loss_may_follow():
    model, optimizer, penalties = parts(rate=0.0)
    penalties.backward()
    assert gradient(model) == 1.2
    lose(model)
    optimizer.step()
    assert gradient(model) == 2.2


def test_twice_before_a_step_is_refused_and_changes_nothing():
    model, optimizer, penalties = parts(rate=0.0)
    penalties.backward()
    lose(model)
    with pytest.raises(BindError, match="still wait for the step of SGD: call it once a step"):
        penalties.backward()
    assert gradient(model) == 2.2
    optimizer.step()
    assert gradient(model) == 2.2


ZEROING = {
    "optimizer": lambda model, optimizer: optimizer.zero_grad(),
    "optimizer, in place": lambda model, optimizer: optimizer.zero_grad(set_to_none=False),
    "its class": lambda model, optimizer: torch.optim.SGD.zero_grad(optimizer),
    "module": lambda model, optimizer: model.zero_grad(),
    "by hand": lambda model, optimizer: setattr(model.weight, "grad", None),
}


@pytest.mark.parametrize("zero", ZEROING.values(), ids=ZEROING)
@pytest.mark.parametrize("again", [False, True])
def test_after_zeroing_the_step_adds_anew(zero, again):
    model, optimizer, penalties = parts(rate=0.0)
    lose(model)
    penalties.backward()
    zero(model, optimizer)
    if again:
        penalties.backward()
        assert gradient(model) == 1.2
    optimizer.step()
    assert gradient(model) == 1.2


@pytest.mark.parametrize("zero", ZEROING.values(), ids=ZEROING)
def test_a_step_that_was_left_out(zero):
    model, optimizer, penalties = parts(rate=0.0)
    for _ in range(3):
        zero(model, optimizer)
        lose(model)
        penalties.backward()
        assert gradient(model) == 2.2
    optimizer.step()
    assert gradient(model) == 2.2


def test_gradients_may_be_changed_in_place_and_not_replaced():
    model, optimizer, penalties = parts(rate=0.0)
    penalties.backward()
    model.weight.grad.mul_(0.5)
    optimizer.step()
    assert gradient(model) == 0.6
    penalties.backward()
    model.weight.grad = model.weight.grad * 0.5
    with pytest.raises(BindError, match="weight: after backward\\(\\), its gradient was replaced by another tensor"):
        optimizer.step()
    optimizer.zero_grad()
    optimizer.step()
    assert gradient(model) == 1.2


def test_what_is_unfrozen_after_it_is_added_at_the_step():
    model = nn.Linear(2, 1).double()
    model.bias.requires_grad_(False)
    nn.init.ones_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    penalties = attach(model, weights={"*": L2(0.5)}).bind(optimizer)
    penalties.backward()
    assert model.bias.grad is None
    model.bias.requires_grad_(True)
    optimizer.step()
    assert model.bias.grad.item() == 1.0
    torch.testing.assert_close(model.weight.grad, model.weight.detach())


def test_a_step_with_a_closure_is_refused_until_the_gradients_are_gone():
    model, optimizer, penalties = parts(rate=0.0)
    penalties.backward()
    with pytest.raises(BindError, match=r"backward\(\) was called before SGD.step\(closure\)"):
        optimizer.step(lambda: None)
    optimizer.zero_grad()
    optimizer.step(lambda: None)
    assert gradient(model) == 1.2


def test_inside_a_closure():
    model, optimizer, penalties = parts(rate=0.5)

    def closure():
        optimizer.zero_grad()
        lose(model)
        penalties.backward()
        torch.nn.utils.clip_grad_value_(model.parameters(), 1.5)
        return torch.zeros(())

    assert optimizer.step(closure).item() == pytest.approx(STRENGTH * 3 * 2.0**2)
    assert gradient(model) == 1.5
    torch.testing.assert_close(model.weight.detach(), torch.full((1, 3), 2.0 - 0.75).double())
    optimizer.step(closure)
    assert gradient(model) == 1.5


def test_unbinding_leaves_the_gradients_and_the_optimizer():
    model, optimizer, penalties = parts(rate=0.0)
    penalties.backward()
    assert "zero_grad" in vars(optimizer)
    penalties.unbind()
    assert "zero_grad" not in vars(optimizer)
    assert not optimizer._optimizer_step_pre_hooks
    assert gradient(model) == 1.2
    optimizer.step()
    assert gradient(model) == 1.2
    with pytest.raises(BindError, match="bind\\(\\) them first, or use loss"):
        penalties.backward()
    penalties.bind(optimizer).detach()
    with pytest.raises(DetachedError, match="were detached"):
        penalties.backward()


def test_a_zero_grad_of_somebody_else_is_kept():
    calls = []
    _, optimizer, penalties = parts()
    original = optimizer.zero_grad
    optimizer.zero_grad = lambda: (calls.append("before"), original())
    penalties.backward()
    ours = optimizer.zero_grad
    penalties.unbind()
    optimizer.zero_grad()
    assert optimizer.zero_grad is not ours
    assert calls == ["before"]
    penalties.bind(optimizer).backward()
    inner = optimizer.zero_grad
    optimizer.zero_grad = lambda: (calls.append("after"), inner())
    optimizer.zero_grad()
    penalties.backward()
    penalties.unbind()
    optimizer.zero_grad()
    assert calls == ["before", "after", "before", "after", "before"]


def test_each_of_several_optimizers_has_its_own_cycle():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)).double()
    for layer in model:
        nn.init.ones_(layer.weight)
    first, second = (torch.optim.SGD(layer.parameters(), lr=0.0) for layer in model)
    penalties = attach(model, weights={"*": L2(0.5)}).bind(first, second)
    penalties.backward()
    first.step()
    first.step()
    with pytest.raises(BindError, match="wait for the step of SGD"):
        penalties.backward()
    second.step()
    assert [layer.weight.grad[0, 0].item() for layer in model] == [2.0, 1.0]
    penalties.backward()
    second.zero_grad()
    first.step()
    second.step()
    assert [layer.weight.grad[0, 0].item() for layer in model] == [3.0, 1.0]


@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval.*")
def test_lightning_clips_what_was_added_in_its_hook():
    pl = pytest.importorskip("lightning.pytorch")

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = nn.Linear(3, 1, bias=False)
            nn.init.constant_(self.model.weight, 2.0)

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.5)
            self.penalties = attach(self.model, weights={"weight": L2(STRENGTH)}).bind(optimizer)
            return optimizer

        def training_step(self, batch, index):
            return self.model(batch).sum()

        def on_before_optimizer_step(self, optimizer):
            self.penalties.backward()
            before.append(self.model.weight.grad[0, 0].item())

    before = []
    module = Module()
    trainer = pl.Trainer(
        max_epochs=1,
        gradient_clip_val=1.5,
        gradient_clip_algorithm="value",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(module, torch.utils.data.DataLoader([torch.ones(3)] * 2, batch_size=1))
    assert before == pytest.approx([2.2, 1.75])
    torch.testing.assert_close(module.model.weight.detach(), torch.full((1, 3), 2.0 - 2 * 0.75))
