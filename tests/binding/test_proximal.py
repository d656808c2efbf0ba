"""Proximal steps: exact zeros where the solution has them, and each pitfall that would move the solution."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet
from torch import nn

import penalize
from penalize import layers
from penalize.binding.step_sizes import step_sizes
from penalize.errors import BindError
from penalize.evaluation import native
from penalize.evaluation.shrinking import StepSizes, shrink_
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer
from tests.binding.lasso import Lasso

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")

DIABETES = load_diabetes(return_X_y=True)


@pytest.fixture(scope="module")
def lasso():
    """The diabetes data standardized, at a twentieth of the strength that makes all coefficients zero."""
    x, y = DIABETES
    return Lasso((x - x.mean(0)) / x.std(0), y - y.mean(), share=0.05)


METHODS = {
    "SGD": lambda p, rate: torch.optim.SGD(p, lr=rate),
    "momentum": lambda p, rate: torch.optim.SGD(p, lr=rate, momentum=0.9),
    "Nesterov, foreach": lambda p, rate: torch.optim.SGD(p, lr=rate, momentum=0.9, nesterov=True, foreach=True),
    "SGD, fused": lambda p, rate: torch.optim.SGD(p, lr=rate, momentum=0.5, fused=True),
    "Adam": lambda p, _: torch.optim.Adam(p, lr=1.0, foreach=False),
    "Adam, foreach": lambda p, _: torch.optim.Adam(p, lr=1.0, foreach=True),
    "Adam, fused": lambda p, _: torch.optim.Adam(p, lr=1.0, fused=True),
    "AMSGrad": lambda p, _: torch.optim.Adam(p, lr=1.0, amsgrad=True),
    "AdamW": lambda p, _: torch.optim.AdamW(p, lr=1.0, weight_decay=0.0),
    "NAdam": lambda p, _: torch.optim.NAdam(p, lr=1.0),
    "RAdam": lambda p, _: torch.optim.RAdam(p, lr=1.0),
    "RMSprop": lambda p, _: torch.optim.RMSprop(p, lr=1.0),
    "Adagrad": lambda p, _: torch.optim.Adagrad(p, lr=10.0),
    "Adamax": lambda p, _: torch.optim.Adamax(p, lr=1.0),
    "Adam of Keras": lambda p, _: penalize.optimizers.Adam(1.0).build(p),
    "RMSprop of Keras": lambda p, _: penalize.optimizers.RMSprop(1.0).build(p),
}


@pytest.mark.parametrize("name", METHODS)
def test_the_lasso_of_scikit_learn_support_and_all(lasso, name):
    lasso.train(METHODS[name], steps=1500, falling=name not in ("SGD", "momentum", "Nesterov, foreach", "SGD, fused"))
    assert lasso.gap() <= 1e-6
    assert lasso.support_is_exact()


def test_the_elastic_net_of_scikit_learn(lasso):
    x, y = lasso.x.numpy(), lasso.y.numpy()
    expected = ElasticNet(alpha=2.0, l1_ratio=0.5, fit_intercept=False, tol=1e-12, max_iter=10**6).fit(x, y).coef_
    model = nn.Linear(x.shape[1], 1, bias=False, dtype=torch.float64)
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1500)
    # scikit-learn has one half in front of the squares.
    penalize.attach(model, weights={"weight": L1L2(1.0, 0.5)}).bind(optimizer, proximal=True)
    for _ in range(1500):
        optimizer.zero_grad()
        (0.5 * (model(lasso.x)[:, 0] - lasso.y).square().mean()).backward()
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(model.weight.detach()[0], torch.from_numpy(expected), rtol=1e-6, atol=1e-8)
    assert np.array_equal(model.weight.detach().numpy()[0] != 0, expected != 0)


def test_accumulated_backward_passes_take_one_proximal_step(lasso):
    def accumulated(model, loss):
        (loss / 4).backward(retain_graph=True)
        (loss / 4).backward(retain_graph=True)
        (loss / 2).backward()

    lasso.train(METHODS["momentum"], steps=400, backward=accumulated)
    assert lasso.gap() <= 1e-9


@pytest.mark.parametrize("name", ["momentum", "Adam, fused"])
def test_clipping_passes_its_coefficient_on(lasso, name):
    """With clipping that the proximal step is not told of, the solution is another one."""

    def clipped(model, loss):
        loss.backward()
        norm = lasso.penalties.clip_grad_norm_(5.0)
        assert norm.item() > 0
        assert torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item() <= 5.0 + 1e-9

    def untold(model, loss):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)

    lasso.train(METHODS[name], steps=3000, backward=clipped, falling=name != "momentum")
    assert lasso.gap() <= 1e-6
    assert lasso.support_is_exact()
    lasso.train(METHODS[name], steps=3000, backward=untold, falling=name != "momentum")
    assert lasso.gap() > 1e-3


def test_clipping_without_proximal_steps_clips_the_whole_gradient():
    model = nn.Linear(2, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    penalties = penalize.attach(model, weights={"weight": L2(2.0)})
    with pytest.raises(BindError, match=r"backward\(\) adds the gradients of bound penalties"):
        penalties.clip_grad_norm_(1.0)
    penalties.bind(optimizer)
    assert penalties.clip_grad_norm_(1.0).item() == pytest.approx(4 * 2**0.5)
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), torch.full((1, 2), 1 - 0.5**0.5))


def test_a_coefficient_counts_for_one_step():
    model = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    penalties = penalize.attach(model, weights={"weight": L1(0.1)}).bind(optimizer, proximal=True)

    def step(clip):
        nn.init.ones_(model.weight)
        model.weight.grad = torch.full((1, 2), 3.0)
        if clip:
            penalties.clip_grad_norm_(3.0 / 2**0.5)
        optimizer.step()
        return model.weight.detach()[0, 0].item()

    assert step(clip=True) == pytest.approx(1 - 1.5 - -0.05, abs=1e-5)
    assert step(clip=False) == pytest.approx(1 - 3 + 0.1)
    # Two clippings before a step scale the gradient by both.
    nn.init.constant_(model.weight, 1.5)
    model.weight.grad = torch.full((1, 2), 4.0)
    penalties.clip_grad_norm_(2.0 * 2**0.5)
    penalties.clip_grad_norm_(1.0 * 2**0.5)
    optimizer.step()
    assert model.weight.detach()[0, 0].item() == pytest.approx(1.5 - 1 - 0.1 / 4, abs=1e-5)
    # Zeroing the gradients begins anew.
    model.weight.grad = torch.full((1, 2), 3.0)
    penalties.clip_grad_norm_(1e-3)
    optimizer.zero_grad()
    assert step(clip=False) == pytest.approx(1 - 3 + 0.1)


def test_decoupled_weight_decay_warns_and_moves_the_solution(lasso):
    def decaying(p, _):
        return torch.optim.AdamW(p, lr=1.0)

    with pytest.warns(UserWarning, match=r"AdamW\(weight_decay=0.01\) decays weights besides their penalties"):
        lasso.train(decaying, steps=1500, falling=True)
    assert lasso.gap() > 1e-4
    model = nn.Linear(2, 1)
    penalties = penalize.attach(model, weights={"weight": L1(0.1)})
    for optimizer in (
        torch.optim.NAdam(model.parameters(), weight_decay=0.1, decoupled_weight_decay=True),
        penalize.optimizers.SGD(0.1, weight_decay=0.1).build(model.parameters()),
    ):
        with pytest.warns(UserWarning, match="decays weights besides"):
            penalties.bind(optimizer, proximal=True).unbind()
    # Where a warning is an error, nothing is bound, and the optimizer is as it was.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = torch.optim.AdamW(model.parameters())
        with pytest.raises(UserWarning, match="decays weights besides"):
            penalties.bind(optimizer, proximal=True)
        assert not penalties.bound
        assert not optimizer._optimizer_step_pre_hooks
        assert not optimizer._optimizer_step_post_hooks
        penalties.bind(torch.optim.Adam(model.parameters(), weight_decay=0.1), proximal=True)


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_a_grad_scaler_skips_shrinks_nothing(fused):
    model = nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=fused)
    penalties = penalize.attach(model, weights={"weight": L1(10.0)}).bind(optimizer, proximal=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    x = torch.ones(1, 3)

    def step(bad):
        optimizer.zero_grad()
        scaler.scale(model(x).sum() * (float("inf") if bad else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()

    before = model.weight.detach().clone()
    step(bad=True)
    assert torch.equal(model.weight.detach(), before)
    step(bad=False)
    assert torch.equal(model.weight.detach(), torch.zeros(1, 3))
    assert penalties.value() == 0


def test_what_has_no_proximal_step_acts_by_its_gradient():
    class Quartic(Regularizer):
        def __call__(self, x):
            return (x**4).sum()

    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rules = {"0.weight": Quartic(), "0.bias": L1(2.0), "1.weight": OrthogonalRegularizer(1.0), "1.bias": L2(0.5)}
    penalties = penalize.attach(model, weights=rules).bind(optimizer, proximal=True)
    assert penalties.loss().item() == 0
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(model[0].weight.detach(), torch.full((2, 2), 1 - 0.4))
    torch.testing.assert_close(model[0].bias.detach(), torch.full((2,), 0.8))
    torch.testing.assert_close(model[1].bias.detach(), torch.full((2,), 1 / 1.1))
    assert torch.equal(model[0].bias.grad, torch.zeros(2))
    # The other regularizer from the next step on, which has no proximal step.
    penalties["0.bias"].regularizer = Quartic()
    optimizer.step()
    torch.testing.assert_close(model[0].bias.detach(), torch.full((2,), 0.8 - 0.1 * 4 * 0.8**3))


def test_learning_rates_of_groups_and_parameters_without_gradient():
    model = nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in "abc"})
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    optimizer = torch.optim.SGD(
        [{"params": [model["a"].weight]}, {"params": [*model["b"].parameters(), *model["c"].parameters()], "lr": 0.5}],
        lr=0.1,
    )
    penalize.attach(model, weights={"*": L1(1.0)}).bind(optimizer, proximal=True)
    for name in "ab":
        model[name].weight.grad = torch.zeros(1, 1)
    optimizer.step()
    assert [round(p.item(), 6) for p in model.parameters()] == [0.9, 0.5, 1.0]


def test_a_closure_gets_the_penalties_and_one_proximal_step():
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalize.attach(model, weights={"weight": L1(1.0)}).bind(optimizer, proximal=True)

    def closure():
        optimizer.zero_grad()
        loss = 3 * model.weight.sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx(4.0)
    assert model.weight.item() == pytest.approx(1 - 0.3 - 0.1)


def test_unbind_and_detach_leave_the_optimizer_as_it_was():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = {key: dict(value) if isinstance(value, dict) else value for key, value in vars(optimizer).items()}
    penalties = penalize.attach(model, weights={"weight": L1(1.0)}).bind(optimizer, proximal=True)
    penalties.unbind()
    assert {key: dict(value) if isinstance(value, dict) else value for key, value in vars(optimizer).items()} == before
    assert penalties.loss().item() > 0


def test_several_optimizers_take_their_own_steps():
    model = nn.ModuleDict({"a": nn.Linear(1, 1, bias=False), "b": nn.Linear(1, 1, bias=False)})
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    one, two = (torch.optim.SGD(model[name].parameters(), lr=rate) for name, rate in (("a", 0.1), ("b", 0.3)))
    penalize.attach(model, weights={"*": L1(1.0)}).bind(one, two, proximal=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros(1, 1)
    one.step()
    assert [round(p.item(), 6) for p in model.parameters()] == [0.9, 1.0]
    two.step()
    assert [round(p.item(), 6) for p in model.parameters()] == [0.9, 0.7]


def test_layers_hand_their_regularizers_keras_layout():
    class Column(Regularizer):
        """A proximal step that only makes the second unit of a Dense kernel zero."""

        def __call__(self, x):
            return x[:, 1].abs().sum()

        def prox(self, x, step):
            assert x.shape == (3, 2)
            assert not isinstance(step, torch.Tensor) or step.shape == x.shape
            return x * torch.tensor([1.0, 0.0])

    model = penalize.Sequential([penalize.Input((3,)), layers.Dense(2, kernel_regularizer=Column())])
    for optimizer in (torch.optim.SGD(model.parameters(), lr=0.1), torch.optim.Adam(model.parameters(), lr=0.1)):
        nn.init.ones_(model.layers[0].weight)
        penalties = penalize.attach(model).bind(optimizer, proximal=True)
        model(torch.ones(4, 3)).sum().backward()
        optimizer.step()
        kernel = model.layers[0].kernel.detach()
        assert torch.equal(kernel[:, 1], torch.zeros(3))
        assert kernel[:, 0].all()
        penalties.detach()


SIZES = [(), (0,), (7,), (3, 5), (2**18 + 3,)]


@pytest.mark.parametrize("regularizer", [L1(0.3), L2(0.7), L1L2(0.3, 0.7)], ids=repr)
@pytest.mark.parametrize("rooted", [True, False])
def test_shrinking_is_the_regularizers_own_proximal_step(regularizer, rooted):
    torch.manual_seed(0)
    l1, l2 = getattr(regularizer, "l1", 0.0), getattr(regularizer, "l2", 0.0)
    for shape in SIZES:
        squares = torch.rand(shape, dtype=torch.float64)
        for sizes in (
            StepSizes(0.4),
            StepSizes(0.4, squares, inside=0.1 if rooted else 0.0, outside=0.2, rooted=rooted),
            StepSizes(0.4, squares, rooted=rooted),
        ):
            x = torch.randn(shape, dtype=torch.float64)
            expected = regularizer.prox(x, sizes.tensor())
            shrink_(x, sizes, l1, l2)
            torch.testing.assert_close(x, expected, rtol=1e-14, atol=1e-15)
    turned = torch.randn(4, 3, dtype=torch.float64).t()
    sizes = StepSizes(0.4, torch.rand(4, 3, dtype=torch.float64).t())
    expected = regularizer.prox(turned, sizes.tensor())
    shrink_(turned, sizes, l1, l2)
    torch.testing.assert_close(turned, expected)


def some_network(dtype):
    """Weights that one thread works on, ones that are shared among threads, and one that is turned."""
    torch.manual_seed(0)
    model = nn.ParameterList([torch.randn(shape, dtype=dtype) for shape in ((3, 5), (7,), (2**14 + 1,), (2, 70, 130))])
    model.append(nn.Parameter(torch.randn(6, 4, dtype=dtype).t()))
    return model


@pytest.mark.parametrize("with_library", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop of Keras", "Adamax"])
def test_steps_on_many_weights_are_those_on_each(name, turned, with_library, monkeypatch):
    """By the compiled library and without it: as each regularizer's own proximal step."""
    if not with_library:
        monkeypatch.setattr(native, "_LOADED", None)
    rules = {"0": L1(0.3), "1": L1L2(0.1, 0.2), "2": L2(0.4), "3": L1L2(0.2, 0.1), "4": L1(0.1)}
    # With a turned weight among them the library does none.
    models = [some_network(torch.float64)[: 5 if turned else 4] for _ in range(2)]
    optimizers = [METHODS[name](model.parameters(), 0.01) for model in models]
    penalties = penalize.attach(models[0], weights={key: rules[key] for key, _ in models[0].named_parameters()})
    penalties.bind(optimizers[0], proximal=True)
    for step in range(4):
        for index, parameters in enumerate(zip(models[0], models[1], strict=True)):
            gradient = torch.randn(parameters[0].shape, dtype=torch.float64)
            for parameter in parameters:
                # At one step one weight is left out, and takes no step.
                parameter.grad = None if step == 2 and index == 1 else gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            for key, parameter in enumerate(models[1]):
                if parameter.grad is not None:
                    h = step_sizes(optimizers[1], optimizers[1].param_groups[0], parameter).tensor()
                    parameter.copy_(penalize.regularizers.get(rules[str(key)]).prox(parameter, h))
        for mine, other in zip(models[0], models[1], strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-11, atol=1e-13)
    assert (models[0][3] == 0).any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_shrunk_in_float32(dtype):
    x = torch.linspace(-2, 2, 41).to(dtype)
    squares = torch.rand(41).to(dtype)
    expected = L1L2(0.3, 0.2).prox(x.float(), StepSizes(0.4, squares.float(), outside=1e-8).tensor()).to(dtype)
    shrink_(x, StepSizes(0.4, squares, outside=1e-8), 0.3, 0.2)
    assert torch.equal(x, expected)


def test_a_coordinate_that_never_had_a_gradient_becomes_zero():
    """Its step size is that of epsilon alone: the penalty is all that there is."""
    model = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    penalize.attach(model, weights={"weight": L1(1e-3)}).bind(optimizer, proximal=True)
    model(torch.tensor([[1.0, 0.0]])).sum().backward()
    optimizer.step()
    assert model.weight[0, 1] == 0
    assert model.weight[0, 0] != 0


@pytest.mark.parametrize("first", [L2(0.5), lambda w: w.square().sum() / 2], ids=["a proximal step", "a gradient"])
@pytest.mark.parametrize("optimizers", [1, 2])
def test_weights_that_are_tied_later_pay_the_first_penalty_alone(first, optimizers):
    model = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(3)))
    penalties = penalize.attach(model, weights={"0.weight": first, "1.weight": L1(0.3)})
    parts = [model[:2], model[2:]] if optimizers == 2 else [model]
    made = [torch.optim.SGD(part.parameters(), lr=0.1) for part in parts]
    penalties.bind(*made, proximal=True)
    model[1].weight = model[0].weight
    before = model[0].weight.detach().clone()
    model[0].weight.grad = torch.zeros(2, 2)
    for optimizer in made:
        optimizer.step()
    expected = before / 1.1 if isinstance(first, L2) else before * 0.9
    torch.testing.assert_close(model[0].weight.detach(), expected)
