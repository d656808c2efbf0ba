"""The optimizers as torch optimizers (hooks, closures, states), their arguments and identifiers."""

import copy
import functools
import pickle

import pytest
import torch

from penalize import optimizers
from penalize.errors import ArgumentError, ArrayError, ConfigError, UnknownNameError
from penalize.registry import built_ins

SPECS = [entry.factory for entry in built_ins("optimizer")]
LIVELY = {
    "SGD": {"momentum": 0.9},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "Adam": {"amsgrad": True, "clipnorm": 0.5},
}


def start():
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in [(3,), (2, 4)]]


def lively(spec):
    return spec(learning_rate=0.1, **LIVELY.get(spec.__name__, {"weight_decay": 0.1}))


def walk(optimizer, weights, steps, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("spec", SPECS)
def test_built_optimizers_are_torch_optimizers_named_like_torch_s(spec):
    optimizer = spec().build(start())
    assert isinstance(optimizer, torch.optim.Optimizer)
    twin = getattr(torch.optim, {"Nadam": "NAdam"}.get(spec.__name__, spec.__name__), None)
    if twin is not None and spec.__name__ not in ("RMSprop", "Adagrad"):
        assert isinstance(optimizer, twin)


@pytest.mark.parametrize("spec", SPECS)
def test_the_state_survives_state_dict_pickle_and_deepcopy(spec):
    weights = start()
    optimizer = lively(spec).build(weights)
    walk(optimizer, weights, 3)
    saved = copy.deepcopy(optimizer.state_dict())
    after_three = [weight.detach().clone() for weight in weights]
    copied, copied_weights = copy.deepcopy((optimizer, weights))
    walk(optimizer, weights, 3, seed=2)
    walk(copied, copied_weights, 3, seed=2)
    loaded_weights = [torch.nn.Parameter(weight.clone()) for weight in after_three]
    loaded = lively(spec).build(loaded_weights)
    loaded.load_state_dict(saved)
    walk(loaded, loaded_weights, 3, seed=2)
    for one, two, three in zip(weights, copied_weights, loaded_weights, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)
    pickled = pickle.loads(pickle.dumps(optimizer))
    group = pickled.param_groups[0]
    assert all(group[key] == value for key, value in optimizer.param_groups[0].items() if key != "params")


@pytest.mark.parametrize("spec", SPECS)
def test_hooks_run_once_a_step_whatever_else_was_built(spec):
    weights = start()
    for cls in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.Adadelta):
        cls(start())
    optimizer = spec().build(weights)
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("pre"))
    optimizer.register_step_post_hook(lambda *_: calls.append("post"))
    walk(optimizer, weights, 2)
    assert calls == ["pre", "post"] * 2


def test_gradients_added_in_a_pre_hook_are_clipped_and_left_as_they_are():
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = optimizers.SGD(1.0, clipnorm=1.0).build([weight])
    weight.grad = torch.zeros(2)

    def add(*_):
        weight.grad += torch.tensor([3.0, 4.0])

    optimizer.register_step_pre_hook(add)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.6, -0.8]))
    assert weight.grad.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("spec", SPECS)
def test_a_closure_gives_the_gradients_and_its_loss_comes_back(spec):
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = spec().build([weight])

    def closure():
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert weight.item() < 2.0
    assert optimizer.step() is None


@pytest.mark.parametrize("spec", SPECS)
def test_a_group_s_learning_rate_and_torch_schedulers_act(spec):
    frozen, moving = start()
    settings = [{"params": [frozen], "lr": 0.0}, {"params": [moving]}]
    optimizer = spec().build(settings)
    before = frozen.detach().clone()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.0)
    walk(optimizer, [frozen, moving], 1)
    scheduler.step()
    after_one = moving.detach().clone()
    if spec is not optimizers.RMSprop:
        walk(optimizer, [frozen, moving], 1)
        assert torch.equal(moving, after_one)
    assert torch.equal(frozen, before)


def test_parameters_without_a_gradient_stay_and_start_their_own_count():
    early, late = start()
    optimizer = optimizers.Adam(0.1).build([early, late])
    before = late.detach().clone()
    walk(optimizer, [early], 5)
    assert torch.equal(late, before)
    late.grad = torch.full_like(late, 3.0)
    optimizer.step()
    # The first step of Adam is lr * sign(g) but for epsilon.
    torch.testing.assert_close(late.detach(), before - 0.1)


def test_adam_shows_the_epsilon_that_torch_would_need():
    weights = start()
    optimizer = optimizers.Adam().build(weights)
    walk(optimizer, weights, 2)
    assert optimizer.param_groups[0]["eps"] == pytest.approx(1e-7 / (1 - 0.999**2) ** 0.5)


def test_the_global_norm_is_over_all_groups():
    one, two = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = optimizers.SGD(1.0, global_clipnorm=1.0).build([{"params": [one]}, {"params": [two]}])
    one.grad, two.grad = torch.tensor([3.0]), torch.tensor([4.0])
    optimizer.step()
    assert (one.item(), two.item()) == pytest.approx((-0.6, -0.8))


def test_sparse_gradients_are_refused():
    weight = torch.nn.Parameter(torch.zeros(3, 2))
    optimizer = optimizers.SGD().build([weight])
    torch.nn.functional.embedding(torch.tensor([1]), weight, sparse=True).sum().backward()
    with pytest.raises(ArrayError, match="sparse gradients are not supported, got one for a parameter of shape"):
        optimizer.step()


def test_get_takes_every_kind_of_identifier():
    assert optimizers.get(None) is None
    for name in ("rmsprop", "RMSprop", "RMSPROP"):
        assert isinstance(optimizers.get(name), optimizers.RMSprop)
    assert isinstance(optimizers.get(optimizers.Adam), optimizers.Adam)
    spec = optimizers.Lion(0.5)
    assert optimizers.get(spec) is spec
    assert optimizers.get({"class_name": "adam", "config": {"learning_rate": 0.5}}).learning_rate == 0.5
    built = torch.optim.SGD(start())
    assert optimizers.get(built) is built
    assert isinstance(optimizers.get(torch.optim.Adagrad).build(start()), torch.optim.Adagrad)
    partial = optimizers.get(functools.partial(torch.optim.SGD, lr=0.5)).build(start())
    assert partial.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize(
    ("identifier", "error", "message"),
    [
        ("admm", UnknownNameError, "unknown optimizer 'admm': did you mean 'adam'"),
        ("", UnknownNameError, "unknown optimizer ''"),
        (3, ArgumentError, "an optimizer is a name, a spec .* got int: 3"),
        (len, ArgumentError, "got builtin_function_or_method"),
        ({}, ConfigError, 'needs a string "class_name", got None'),
        ({"class_name": "Adam", "config": {"lr": 1.0}}, ConfigError, "the config of Adam has an unknown key 'lr'"),
        ({"class_name": "Adam", "config": 3}, ConfigError, "Adam: config must be a dict, got int: 3"),
        ({"class_name": "Adam", "config": {"use_ema": True}}, ConfigError, "Adam: use_ema=True is not supported"),
        ({"class_name": "Adam", "oops": 1}, ConfigError, "an optimizer's config has an unknown key 'oops'"),
        ({"class_name": "Mine", "registered_name": "me>Mine"}, UnknownNameError, "unknown optimizer 'me>Mine'"),
    ],
)
def test_bad_identifiers_are_named_errors(identifier, error, message):
    with pytest.raises(error, match=message):
        optimizers.get(identifier)


@pytest.mark.parametrize("spec", SPECS)
def test_configs_come_back_exactly(spec):
    first = spec(learning_rate=0.1, clipvalue=0.3, name="mine")
    config = optimizers.serialize(first)
    assert (config["module"], config["class_name"]) == ("keras.optimizers", spec.__name__)
    second = optimizers.deserialize(config)
    assert type(second) is spec
    assert second.get_config() == first.get_config()
    assert "learning_rate=0.1" in repr(second)


def test_custom_specs_are_read_from_custom_objects():
    class Halved(optimizers.SGD):
        """SGD under another name."""

    config = {"class_name": "Halved", "config": {"learning_rate": 0.5}, "registered_name": "me>Halved"}
    assert isinstance(optimizers.deserialize(config, {"Halved": Halved}), Halved)
    assert isinstance(optimizers.deserialize("Halved", {"Halved": Halved}), Halved)
    with pytest.raises(ConfigError, match="no config that could be read back"):
        optimizers.serialize(Halved())
    with pytest.raises(ConfigError, match="'dict' is no optimizer"):
        optimizers.deserialize(config, {"Halved": dict})


def test_torch_optimizers_have_no_config():
    with pytest.raises(ConfigError, match="no config that could be read back"):
        optimizers.serialize(torch.optim.SGD(start()))
    assert optimizers.serialize(None) is None
    assert optimizers.deserialize(None) is None
    with pytest.raises(ConfigError, match="a dict or a name, got int"):
        optimizers.deserialize(3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.SGD(-1), "learning_rate must be a number >= 0, got -1"),
        (lambda: optimizers.SGD("fast"), "learning_rate must be a number >= 0, got 'fast'"),
        (lambda: optimizers.SGD(True), "learning_rate must be a number >= 0, got True"),
        (lambda: optimizers.SGD(float("nan")), "learning_rate must be a number >= 0, got nan"),
        (lambda: optimizers.SGD(momentum=2), "momentum must be a number between 0 and 1, got 2"),
        (lambda: optimizers.Adam(beta_1=1), r"beta_1 must be a number in \[0, 1\), got 1"),
        (lambda: optimizers.Lion(beta_1=0), "beta_1 must be a number between 0 and 1, got 0"),
        (lambda: optimizers.RMSprop(rho=1.5), "rho must be a number between 0 and 1, got 1.5"),
        (lambda: optimizers.Adagrad(initial_accumulator_value=-1), "initial_accumulator_value must be a number >= 0"),
        (lambda: optimizers.Adam(epsilon=-1), "epsilon must be a number >= 0, got -1"),
        (lambda: optimizers.Adam(weight_decay=-1), "weight_decay must be a number >= 0, got -1"),
        (lambda: optimizers.AdamW(weight_decay=None), "weight_decay must be a number >= 0, got None"),
        (lambda: optimizers.Adam(clipnorm=0), "clipnorm must be a number > 0, got 0"),
        (lambda: optimizers.Adam(clipnorm=1, clipvalue=2), "only one of .* got clipnorm=1, clipvalue=2"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
