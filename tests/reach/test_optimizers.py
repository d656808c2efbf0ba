"""Penalties under every optimizer of torch, and several of them: as written by hand, in float64."""

import copy
import inspect
import io
import pickle

import pytest
import torch
from tests.reach.written import MODES, RULES, STEPS, Pair, batch, network
from torch import nn

import penalize
from penalize.errors import BindError
from penalize.regularizers import L1, L2

# What each takes beside the parameters.
DENSE = {
    "ASGD": {"lr": 0.05, "t0": 3},
    "Adadelta": {"lr": 0.5},
    "Adafactor": {"lr": 0.05},
    "Adagrad": {"lr": 0.1},
    "Adam": {"lr": 0.05, "weight_decay": 0.1},
    "AdamW": {"lr": 0.05, "amsgrad": True},
    "Adamax": {"lr": 0.05},
    "NAdam": {"lr": 0.05},
    "RAdam": {"lr": 0.05},
    "RMSprop": {"lr": 0.01, "momentum": 0.5, "centered": True},
    "Rprop": {"lr": 0.01},
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
}
FORMS = {"plain": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
CASES = [
    (name, form)
    for name in DENSE
    for form, keywords in FORMS.items()
    if set(keywords) <= set(inspect.signature(getattr(torch.optim, name)).parameters)
]


def one(kind, **keywords):
    return lambda model: [getattr(torch.optim, kind)(model.parameters(), **keywords)]


def sgd(parameters, lr=0.1):
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9)


def halves(model):
    return [sgd(model[0].parameters()), torch.optim.Adam(model[2].parameters(), lr=0.05)]


def test_no_optimizer_of_torch_is_left_out():
    found = {name for name, each in vars(torch.optim).items() if inspect.isclass(each)}
    assert found - {"Optimizer", "SparseAdam", "LBFGS", "Muon"} == set(DENSE)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("kind", "form"), CASES)
def test_ten_steps(kind, form, mode):
    Pair(one(kind, **DENSE[kind], **FORMS[form]), mode).train()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_closures(search, mode):
    pair = Pair(one("LBFGS", lr=0.5, max_iter=4, line_search_fn=search), mode)
    (optimizer,), (reference,) = pair.optimizers, pair.references
    for step in range(STEPS):
        x = batch(step)

        def closure(x=x):
            optimizer.zero_grad()
            loss = pair.loss(x)
            loss.backward()
            if mode == "backward":
                pair.penalties.backward()
            return loss

        def by_hand(x=x):
            reference.zero_grad()
            loss = pair.loss_by_hand(x)
            loss.backward()
            return loss

        pair._close(optimizer.step(closure).detach(), reference.step(by_hand).detach())
        pair.check_gradients()
    pair.check_weights()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["Adam", "SGD"])
def test_what_is_maximized_is_lowered(kind, form, mode):
    pair = Pair(one(kind, lr=0.05, maximize=True, **FORMS[form]), mode, sign=-1)
    minimized = Pair(one(kind, lr=0.05, **FORMS[form]), mode)
    pair.train()
    minimized.train()
    for p, q in zip(pair.model.parameters(), minimized.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("bound", [False, True])
def test_a_closure_returns_what_is_maximized(bound):
    pair = Pair(one("SGD", lr=0.05, maximize=True), "bound" if bound else "loss", sign=-1)
    found = pair.optimizers[0].step(lambda: pair.loss(batch(0)))
    pair._close(found.detach(), pair.loss_by_hand(batch(0)).detach())


@pytest.mark.parametrize("mode", MODES)
def test_groups_with_their_own_settings(mode):
    def make(model):
        groups = [
            {"params": [model[0].weight], "lr": 0.2, "weight_decay": 0.1},
            {"params": [model[0].bias, model[2].weight]},
            {"params": [model[2].bias], "lr": 0.0},
        ]
        return [torch.optim.SGD(groups, lr=0.05)]

    Pair(make, mode).train()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("set_to_none", [False, True])
def test_accumulated_gradients_are_penalized_once(set_to_none, mode):
    pair = Pair(one("Adam", lr=0.05), mode)
    for step in range(STEPS):
        pair.zero_grad(set_to_none=set_to_none)
        for part in range(3):
            pair.gradients(batch(3 * step + part), 1 / 3)
        pair.step()
        pair.check_gradients()
    pair.check_weights()


@pytest.mark.parametrize("mode", MODES)
def test_gradients_that_are_never_zeroed(mode):
    """Each step adds to what the last one left, as each backward pass does."""
    pair = Pair(one("SGD", lr=0.01), mode)
    for step in range(STEPS):
        pair.gradients(batch(step))
        pair.step()
        pair.check_gradients()
    pair.check_weights()


@pytest.mark.parametrize("mode", MODES)
def test_frozen_and_unfrozen_between_steps(mode):
    pair = Pair(one("SGD", lr=0.1, momentum=0.9), mode)
    for step, frozen in enumerate([True, False, True]):
        for model in (pair.model, pair.twin):
            model[0].weight.requires_grad_(not frozen)
            model[2].bias.requires_grad_(frozen)
        pair.train(3, first=3 * step)


@pytest.mark.parametrize("mode", MODES)
def test_parameters_that_the_loss_does_not_reach(mode):
    pair = Pair(one("Adam", lr=0.05), mode)
    for _ in range(STEPS):
        pair.zero_grad()
        (pair.model[0].bias.square().sum() + pair.penalties.loss()).backward()
        (pair.twin[0].bias.square().sum() + pair.expected()).backward()
        pair.step()
        pair.check_gradients()
    pair.check_weights()


@pytest.mark.parametrize("mode", MODES)
def test_each_of_several_optimizers_adds_for_what_it_holds(mode):
    pair = Pair(halves, mode)
    if mode != "loss":
        assert pair.penalties.optimizers == tuple(pair.optimizers)
        assert pair.penalties.optimizer is None
    pair.train()


@pytest.mark.parametrize("mode", MODES)
def test_muon_for_matrices_and_another_for_the_rest(mode):
    def make(model):
        matrices = [model[0].weight, model[2].weight]
        return [torch.optim.Muon(matrices, lr=0.05), torch.optim.AdamW([model[0].bias, model[2].bias], lr=0.05)]

    Pair(make, mode).train()


def test_optimizers_that_step_at_different_times():
    pair = Pair(halves)
    slow = [pair.optimizers[1], pair.references[1]]
    for step in range(STEPS):
        pair.zero_grad()
        pair.gradients(batch(step))
        for fast in (pair.optimizers[0], pair.references[0]):
            fast.step()
        if step % 3 == 2:
            for each in slow:
                each.step()
    pair.check_weights()


def test_closures_of_several_optimizers_return_the_whole_loss():
    pair = Pair(lambda model: [torch.optim.LBFGS(part.parameters(), max_iter=3) for part in (model[0], model[2])])
    for step in range(STEPS):
        x = batch(step)
        for optimizer, reference in zip(pair.optimizers, pair.references, strict=True):

            def closure(optimizer=optimizer, x=x):
                optimizer.zero_grad()
                loss = pair.loss(x)
                loss.backward()
                return loss

            def by_hand(optimizer=reference, x=x):
                optimizer.zero_grad()
                loss = pair.loss_by_hand(x)
                loss.backward()
                return loss

            pair._close(optimizer.step(closure).detach(), reference.step(by_hand).detach())
    pair.check_weights()


def test_two_attachments_with_an_optimizer_each():
    pair = Pair(halves, "loss", weights={"*": None})
    for part, optimizer in zip("02", pair.optimizers, strict=True):
        weights = {name: rule for name, rule in RULES.items() if name.startswith(part)}
        penalize.attach(pair.model, weights=weights).bind(optimizer)
    for step in range(STEPS):
        pair.zero_grad()
        pair.gradients(batch(step))
        pair.step()
        pair.check_gradients()
    pair.check_weights()


def test_two_attachments_to_one_optimizer():
    model = network().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    first = penalize.attach(model, weights={"0.weight": L2(0.1)}).bind(optimizer)
    second = penalize.attach(model, weights={"0.*": L1(0.1)}).bind(optimizer)
    before = model[0].weight.detach().clone()
    first.backward()
    second.backward()
    optimizer.zero_grad()
    second.backward()
    optimizer.step()
    torch.testing.assert_close(model[0].weight.detach(), before - 0.5 * (0.2 * before + 0.1 * before.sign()))
    first.unbind()
    second.unbind()
    assert "zero_grad" not in vars(optimizer)


@pytest.mark.parametrize("several", [False, True])
def test_a_parameter_that_is_unfrozen_and_given_later(several):
    def make(model):
        model[0].requires_grad_(False)
        model[2].bias.requires_grad_(not several)
        optimizers = [sgd([model[2].weight] if several else model[2].parameters())]
        return [*optimizers, sgd([model[2].bias])] if several else optimizers

    pair = Pair(make)
    pair.train(3)
    for model, optimizers in ((pair.model, pair.optimizers), (pair.twin, pair.references)):
        model.requires_grad_(True)
        optimizers[-1].add_param_group({"params": list(model[0].parameters()), "lr": 0.02})
    pair.train(7, first=3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: [sgd(m[0].parameters())], "2.weight: the optimizer SGD does not hold this parameter"),
        (
            lambda m: [sgd(m[0].parameters()), torch.optim.Adam([m[2].weight])],
            "2.bias: none of the optimizers SGD, Adam holds this parameter",
        ),
        (
            lambda m: [sgd(m.parameters()), torch.optim.Adam([m[2].bias])],
            "2.bias: the optimizers SGD and Adam hold this parameter",
        ),
        (
            lambda m: [torch.optim.Adam(m.parameters(), differentiable=True)],
            "0.weight: the step of Adam is differentiated",
        ),
    ],
    ids=["one", "none of two", "both", "differentiable"],
)
def test_optimizers_that_cannot_be_bound(make, message):
    model = network()
    penalties = penalize.attach(model, weights={"*": L2(0.1)})
    optimizers = make(model)
    with pytest.raises(BindError, match=message):
        penalties.bind(*optimizers)
    assert not penalties.bound
    assert not any(each._optimizer_step_pre_hooks for each in optimizers)


def test_a_parameter_given_to_a_second_optimizer_is_refused_at_the_step():
    model = network()
    first, second = sgd(model[0].parameters()), sgd(model[2].parameters())
    penalize.attach(model, weights={"*": L2(0.1)}).bind(first, second)
    first.step()
    second.add_param_group({"params": [model[0].bias]})
    with pytest.raises(BindError, match="0.bias: the optimizers SGD and SGD hold this parameter"):
        first.step()


def test_a_step_that_is_differentiated_takes_the_loss():
    """The gradient of the loss after two steps with respect to the rate of the first."""

    def after_two_steps(penalty):
        torch.manual_seed(0)
        model = nn.Linear(4, 3).double()
        model.penalties = penalize.attach(model, weights={"weight": L2(0.3), "bias": L1(0.2)})
        rate = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
        weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
        for step in range(2):
            x = batch(step)
            task = torch.func.functional_call(model, weights, (x,)).square().mean()
            gradients = torch.autograd.grad(task + penalty(model, weights), weights.values(), create_graph=True)
            # The step is in place: made on copies, of which the gradients know nothing.
            moved = {name: w.clone() for name, w in weights.items()}
            optimizer = torch.optim.SGD(list(model.parameters()), lr=rate, differentiable=True)
            optimizer.param_groups[0]["params"] = list(moved.values())
            for w, gradient in zip(moved.values(), gradients, strict=True):
                w.retain_grad()
                w.grad = gradient
            optimizer.step()
            weights = moved
        (found,) = torch.autograd.grad(weights["weight"].square().sum(), rate)
        return found

    class Paid(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self):
            return self.model.penalties.loss()

    def attached(model, weights):
        return torch.func.functional_call(Paid(model), {f"model.{name}": w for name, w in weights.items()}, ())

    def by_hand(model, weights):
        return 0.3 * weights["weight"].square().sum() + 0.2 * weights["bias"].abs().sum()

    torch.testing.assert_close(after_two_steps(attached), after_two_steps(by_hand), rtol=1e-11, atol=1e-11)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 3, sparse=True)
        self.head = nn.Linear(3, 2)

    def forward(self, words):
        return self.head(self.table(words))


def test_sparse_gradients_in_the_loss():
    """The sum with a penalty's gradient is dense, as it is by hand."""
    torch.manual_seed(0)
    model = Words().double()
    twin = copy.deepcopy(model)
    penalties = penalize.attach(model, weights={"*": L2(0.1)})
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.1) for each in (model, twin)]
    for step in range(STEPS):
        words = torch.tensor([step % 5, 2])
        for optimizer in optimizers:
            optimizer.zero_grad()
        (model(words).square().mean() + penalties.loss()).backward()
        (twin(words).square().mean() + 0.1 * sum(p.square().sum() for p in twin.parameters())).backward()
        for optimizer in optimizers:
            optimizer.step()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(p, q, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("ahead", [False, True])
def test_sparse_gradients_are_refused_before_any_is_changed(ahead):
    model = Words()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalties = penalize.attach(model, weights={"head.*": L2(0.1), "table.*": lambda w: w.square().sum()})
    penalties.bind(optimizer)
    model(torch.tensor([1])).sum().backward()
    before = model.head.weight.grad.clone()
    with pytest.raises(BindError, match=r"table.weight: its gradient is sparse \(torch.sparse_coo\)"):
        penalties.backward() if ahead else optimizer.step()
    assert torch.equal(model.head.weight.grad, before)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda held: pickle.loads(pickle.dumps(held))], ids=["copy", "pickle"]
)
def test_copies_of_a_model_and_its_optimizer_are_attached_and_not_bound(copied):
    pair = Pair(one("Adam", lr=0.05))
    pair.train(2)
    pair.penalties.backward()
    model, optimizer = copied((pair.model, pair.optimizers[0]))
    (penalties,) = penalize.attached(model)
    assert "zero_grad" not in vars(optimizer)
    assert not penalties.bound
    pair.model, pair.optimizers, pair.penalties, pair.mode = model, [optimizer], penalties, "loss"
    pair.train(3, first=2)
    penalties.bind(optimizer)
    pair.train(5, first=5)


def test_a_training_that_is_resumed():
    pair = Pair(one("Adam", lr=0.05))
    pair.train(4)
    file = io.BytesIO()
    torch.save([pair.model.state_dict(), pair.optimizers[0].state_dict()], file)
    file.seek(0)
    weights, state = torch.load(file)
    resumed = Pair(one("Adam", lr=0.05))
    resumed.model.load_state_dict(weights)
    resumed.optimizers[0].load_state_dict(state)
    resumed.twin, resumed.references = pair.twin, pair.references
    resumed.train(6, first=4)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch's own use
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["Adam", "SGD"])
def test_a_compiled_step(kind, mode):
    pair = Pair(one(kind, lr=0.05), mode)
    torch._dynamo.reset()
    # The reference too: a compiled Adam keeps its corrections in float32.
    compiled = [torch.compile(each.step, backend="eager") for each in (*pair.optimizers, *pair.references)]
    for step in range(STEPS):
        if step == 5:
            for model in (pair.model, pair.twin):
                model[2].bias.requires_grad_(False)
        pair.zero_grad()
        pair.gradients(batch(step))
        if mode == "backward":
            pair.penalties.backward()
        for step_of_one in compiled:
            step_of_one()
        pair.check_gradients()
    pair.check_weights()


@pytest.mark.parametrize("mode", MODES)
def test_a_step_under_grad_and_with_gradients_that_have_a_graph(mode):
    pair = Pair(one("SGD", lr=0.1), mode)
    for step in range(STEPS):
        pair.zero_grad()
        for parameters, loss in (
            (pair.model.parameters(), pair.loss(batch(step))),
            (pair.twin.parameters(), pair.loss_by_hand(batch(step))),
        ):
            parameters = list(parameters)
            gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
            for p, gradient in zip(parameters, gradients, strict=True):
                p.grad = gradient
        with torch.enable_grad():
            pair.step()
        pair.check_gradients()
    pair.check_weights()
