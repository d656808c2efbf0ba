"""bind: penalty gradients at the optimizer's step, once, and the same training as with the loss."""

import copy

import pytest
import torch
from torch import nn

from penalize import attach
from penalize.errors import ArgumentError, BindError
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer


def mlp():
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


RULES = {"0.weight": L1L2(0.01, 0.02), "2.weight": OrthogonalRegularizer(0.3), "*.bias": lambda b: (b**4).sum()}
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05),
    "foreach": lambda p: torch.optim.AdamW(p, lr=0.05, foreach=True),
    "fused": lambda p: torch.optim.Adam(p, lr=0.05, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_ten_bound_steps_are_ten_steps_on_the_loss(make):
    data = [(torch.randn(5, 4).double(), torch.randn(5, 3).double()) for _ in range(20)]
    model = mlp()
    finals = []
    for bound in (False, True):
        own = copy.deepcopy(model)
        optimizer = make(own.parameters())
        penalties = attach(own, weights=RULES, activity={"1": L1(0.05)})
        if bound:
            penalties.bind(optimizer)
        for step in range(10):
            optimizer.zero_grad()
            for half in range(2):
                x, y = data[2 * step + half]
                ((own(x) - y) ** 2).mean().div(2).backward()
            own(x)
            penalties.loss().backward()
            optimizer.step()
        finals.append([parameter.detach() for parameter in own.parameters()])
    torch.testing.assert_close(finals[0], finals[1], rtol=1e-9, atol=1e-11)


def test_bound_loss_is_what_is_left_and_value_is_all():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalties = attach(model, weights={"*.weight": L2(1.0)}, activity={"1": L1(1.0)})
    model(torch.ones(2, 4).double())
    everything = penalties.value()
    activity = float(penalties.losses[0].detach())
    assert penalties.bind(optimizer) is penalties
    assert float(penalties.loss().detach()) == pytest.approx(activity)
    assert penalties.value() == pytest.approx(everything)
    assert len(penalties.losses) == 3
    penalties.unbind()
    assert float(penalties.loss().detach()) == pytest.approx(everything)


def test_unbind_leaves_the_optimizer_as_it_was():
    model = mlp()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalties = attach(model, weights={"*": L2(1.0)}).bind(optimizer).unbind()
    penalties.unbind()
    optimizer.step()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    penalties.bind(optimizer)
    optimizer.step()
    assert torch.allclose(model[0].weight, 0.8 * before["0.weight"])


def test_a_parameter_without_gradient_still_decays_and_a_frozen_one_does_not():
    model = mlp()
    model[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model, weights={"*.weight": L2(1.0)}).bind(optimizer)
    optimizer.zero_grad(set_to_none=True)
    optimizer.step()
    assert torch.equal(model[0].weight, before["0.weight"])
    assert torch.allclose(model[2].weight, 0.8 * before["2.weight"])


def test_strengths_and_regularizers_changed_between_steps_act_at_the_next():
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalties = attach(model, weights={"weight": L2(1.0)}).bind(optimizer)
    expected = [0.8, 0.8 * 0.6, 0.8 * 0.6 - 0.1, 0.8 * 0.6 - 0.1]
    for step, value in enumerate(expected):
        if step == 1:
            penalties["weight"].strength = 2.0
        if step == 2:
            penalties["weight"].regularizer = L1(1.0)
        if step == 3:
            penalties["weight"].regularizer = None
        optimizer.zero_grad()
        optimizer.step()
        assert model.weight.item() == pytest.approx(value)


@pytest.mark.parametrize("keyword", [False, True])
def test_a_closure_is_penalized_each_time_and_returns_the_whole_loss(keyword):
    model, twin = mlp(), mlp()
    twin.load_state_dict(model.state_dict())
    x, y = torch.randn(5, 4).double(), torch.randn(5, 3).double()
    optimizer = torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe", max_iter=5)
    reference = torch.optim.LBFGS(twin.parameters(), line_search_fn="strong_wolfe", max_iter=5)
    penalties = attach(model, weights=RULES).bind(optimizer)
    plain = attach(twin, weights=RULES)

    def closure():
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean() + penalties.loss()
        loss.backward()
        return loss

    def whole():
        reference.zero_grad()
        loss = ((twin(x) - y) ** 2).mean() + plain.loss()
        loss.backward()
        return loss

    for _ in range(3):
        got = optimizer.step(closure=closure) if keyword else optimizer.step(closure)
        assert float(got.detach()) == pytest.approx(float(reference.step(whole).detach()), rel=1e-9)
    torch.testing.assert_close(list(model.parameters()), list(twin.parameters()), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("fused", [False, True])
def test_under_a_grad_scaler_the_penalty_is_not_scaled(fused):
    finals = []
    for bound in (False, True):
        torch.manual_seed(1)
        model = mlp().float()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        penalties = attach(model, weights={"*.weight": L2(0.5)})
        if bound:
            penalties.bind(optimizer)
        for _ in range(3):
            optimizer.zero_grad()
            scaler.scale(model(torch.ones(2, 4)).square().mean() + penalties.loss()).backward()
            scaler.step(optimizer)
            scaler.update()
        finals.append([parameter.detach() for parameter in model.parameters()])
    torch.testing.assert_close(finals[0], finals[1], rtol=1e-4, atol=1e-5)


def test_the_gradient_in_keras_layout_reaches_the_right_places():
    from penalize.layers import Dense

    layer = Dense(3, kernel_regularizer=lambda kernel: (kernel * torch.arange(6.0).reshape(2, 3)).sum())
    layer.build((None, 2))
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    attach(layer).bind(optimizer)
    before = layer.kernel.detach().clone()
    optimizer.step()
    torch.testing.assert_close(before - layer.kernel.detach(), torch.arange(6.0).reshape(2, 3))


def test_a_layout_that_reshapes_is_still_a_view_of_the_gradient():
    from penalize.layers import SeparableConv2D

    factors = torch.rand(2, 3, 4, 2)
    layer = SeparableConv2D(
        5,
        (2, 3),
        depth_multiplier=2,
        depthwise_regularizer=lambda kernel: (kernel * factors).sum(),
        pointwise_regularizer="l2",
    )
    layer.build((None, 8, 8, 4))
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    layer(torch.randn(2, 8, 8, 4)).sum().backward()
    gradients = [layer.depthwise_weight.grad.clone(), layer.pointwise_weight.grad.clone()]
    before = layer.depthwise_kernel.detach().clone(), layer.pointwise_weight.detach().clone()
    attach(layer).bind(optimizer)
    optimizer.step()
    view = layer.declarations.weights["depthwise_kernel"].layout.to_keras(gradients[0])
    torch.testing.assert_close(before[0] - layer.depthwise_kernel.detach(), view + factors)
    torch.testing.assert_close(before[1] - layer.pointwise_weight.detach(), gradients[1] + 0.02 * before[1])


def test_what_cannot_be_bound_is_refused():
    model = mlp()
    penalties = attach(model, weights={"*.weight": "l2"})
    only_head = torch.optim.SGD(model[2].parameters(), lr=0.1)
    with pytest.raises(BindError, match=r"0.weight: the optimizer SGD does not hold this parameter"):
        penalties.bind(only_head)
    assert not only_head._optimizer_step_pre_hooks
    with pytest.raises(ArgumentError, match=r"bind takes a torch.optim.Optimizer, got str"):
        penalties.bind("sgd")
    with pytest.raises(ArgumentError, match=r"bind takes at least one torch.optim.Optimizer, got none"):
        penalties.bind()
    assert penalties.optimizers == ()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalties.bind(optimizer, optimizer)
    assert penalties.optimizers == (optimizer,)
    assert penalties.optimizer is optimizer
    with pytest.raises(BindError, match="bound already"):
        penalties.bind(optimizer)


def test_fit_refuses_what_is_bound_to_several_optimizers():
    pytest.importorskip("lightning")
    import penalize

    model = penalize.Sequential([penalize.Input((3,)), penalize.layers.Dense(2), penalize.layers.Dense(1)])
    optimizers = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in model.layers]
    model.compile(optimizer=optimizers[0], loss="mse")
    attach(model, weights={"*weight": "l2"}).bind(*optimizers)
    with pytest.raises(BindError, match="bound to another optimizer than fit uses"):
        model.fit(torch.ones(4, 3), torch.ones(4, 1), verbose=0)


def test_what_the_optimizer_does_not_hold_any_more_is_refused_at_the_step():
    model = mlp()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    attach(model, weights={"*.weight": L2(1.0)}).bind(optimizer)
    optimizer.step()
    model[0].requires_grad_(True)
    with pytest.raises(BindError, match=r"0.weight: the optimizer SGD does not hold this parameter"):
        optimizer.step()
    assert model[0].weight.grad is None
    optimizer.add_param_group({"params": list(model[0].parameters())})
    before = model[0].weight.detach().clone()
    optimizer.step()
    torch.testing.assert_close(model[0].weight.detach(), 0.8 * before)


def test_weights_tied_after_attaching_count_once():
    model = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    penalties = attach(model, weights={"*": L2(1.0)})
    model["b"].weight = model["a"].weight
    weight = model["a"].weight
    optimizer = torch.optim.SGD([weight], lr=0.0)
    penalties.loss().backward()
    expected = weight.grad.clone()
    weight.grad = None
    penalties.bind(optimizer)
    optimizer.step()
    torch.testing.assert_close(weight.grad, expected)


def test_sparse_gradients_are_refused_by_name():
    model = nn.Embedding(5, 2, sparse=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model, weights={"weight": "l2"}).bind(optimizer)
    model(torch.tensor([1])).sum().backward()
    with pytest.raises(BindError, match="weight: its gradient is sparse"):
        optimizer.step()


def test_a_parameter_taken_out_of_the_optimizers_list_is_refused_at_the_step():
    """As wrappers of optimizers do that train copies of the parameters in another dtype."""
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model, weights={"*": L2(1.0)}).bind(optimizer)
    optimizer.step()
    held = optimizer.param_groups[0]["params"]
    kept, held[0] = held[0], nn.Parameter(torch.ones_like(held[0]))
    optimizer.zero_grad()
    model.zero_grad()
    with pytest.raises(BindError, match="^0.weight: the optimizer SGD does not hold this parameter"):
        optimizer.step()
    assert kept.grad is None
    held[0] = kept
    optimizer.step()
    torch.testing.assert_close(kept.grad, 2 * (kept.detach() / 0.8))


def test_a_step_that_is_differentiated_later_is_refused_then():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model, weights={"*": L2(1.0)}).bind(optimizer)
    optimizer.step()
    optimizer.param_groups[0]["differentiable"] = True
    with pytest.raises(BindError, match="^0.weight: the step of SGD is differentiated"):
        optimizer.step()
