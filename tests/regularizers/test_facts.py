"""The rows of the table of facts in the design: golden values, identifiers, defaults, precision, custom ones."""

import numpy as np
import pytest
import torch

import penalize
from penalize import regularizers
from penalize.errors import ArgumentError, ConfigError, PenaltyError, RegistrationError, StrengthError, UnknownNameError
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer, deserialize, get, serialize
from penalize.regularizers.base import has_gradient, has_prox
from penalize.regularizers.penalty import activity_penalty, penalty

W = torch.tensor([[1.0, -2.0], [3.0, -4.0], [0.5, 0.0]])


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (L1(0.1), 1.05),
        (L2(0.1), 3.025),
        (L1L2(0.1, 0.2), 7.10),
        (OrthogonalRegularizer(0.1, "rows"), 0.06770278),
        (OrthogonalRegularizer(0.1, "columns"), 0.09778024),
    ],
)
def test_golden_values(regularizer, expected):
    assert float(regularizer(W)) == pytest.approx(expected, rel=1e-6)


def test_l2_has_no_factor_one_half():
    assert float(L2(2.0)(torch.ones(5, 5))) == 50.0


def test_a_million_half_precision_ones_do_not_overflow():
    value = L2(1e-4)(torch.ones(1000, 1000, dtype=torch.float16))
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(100.0)
    assert float(L2(1e-8)(torch.ones(1000, 1000, dtype=torch.float16))) == pytest.approx(0.01)
    assert float(L1(1e-8)(torch.ones(10, 10, dtype=torch.float16))) == pytest.approx(1e-6)


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_one_row_is_orthogonal(mode):
    x = torch.ones((1, 4) if mode == "rows" else (4, 1), requires_grad=True)
    value = OrthogonalRegularizer(1.0, mode)(x)
    value.backward()
    assert float(value.detach()) == 0
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_a_zero_row_adds_nothing_and_has_a_finite_gradient():
    w = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]], requires_grad=True)
    value = OrthogonalRegularizer(3.0)(w)
    value.backward()
    assert float(value.detach()) == pytest.approx(1 / 2**0.5)
    assert torch.isfinite(w.grad).all()
    assert torch.equal(w.grad[1], torch.zeros(2))


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1.0, 1e15])
def test_a_cosine_does_not_depend_on_the_scale_of_rows(scale):
    rows = torch.tensor([[1.0, 2.0], [2.0, 4.0]]) * scale
    assert float(OrthogonalRegularizer(1.0)(rows)) == pytest.approx(1.0)


@pytest.mark.parametrize("scale", [0.0, 1e-4, 200.0])
def test_half_precision_rows_of_any_scale(scale):
    rows = torch.ones(3, 100, dtype=torch.float16) * scale
    assert float(OrthogonalRegularizer(1.0)(rows)) == pytest.approx(1.0 if scale else 0.0)


def test_bad_mode():
    with pytest.raises(ArgumentError, match='mode must be "rows" or "columns", got \'diagonal\''):
        OrthogonalRegularizer(mode="diagonal")


@pytest.mark.parametrize(
    ("identifier", "config"),
    [
        ("l1", {"l1": 0.01}),
        ("L1", {"l1": 0.01}),
        ("l2", {"l2": 0.01}),
        ("L2", {"l2": 0.01}),
        ("l1_l2", {"l1": 0.01, "l2": 0.01}),
        ("l1l2", {"l1": 0.01, "l2": 0.01}),
        ("L1L2", {"l1": 0.0, "l2": 0.0}),
        ("orthogonal_regularizer", {"factor": 0.01, "mode": "rows"}),
        ("OrthogonalRegularizer", {"factor": 0.01, "mode": "rows"}),
        (L2, {"l2": 0.01}),
        (regularizers.l1, {"l1": 0.01}),
        (regularizers.l1_l2, {"l1": 0.01, "l2": 0.01}),
        (regularizers.orthogonal_regularizer, {"factor": 0.01, "mode": "rows"}),
        ({"class_name": "L2", "config": {"l2": 0.1}}, {"l2": 0.1}),
        ({"class_name": "l2"}, {"l2": 0.01}),
        ({"class_name": "l2", "config": None}, {"l2": 0.01}),
        ({"class_name": "l1_l2", "config": {"l1": 0.3, "l2": 0.1}}, {"l1": 0.3, "l2": 0.1}),
    ],
)
def test_identifiers(identifier, config):
    assert get(identifier).get_config() == config


def test_get_returns_none_instances_and_callables_as_they_are():
    instance = L2(0.1)
    assert get(None) is None
    assert get(instance) is instance
    assert get(torch.sum) is torch.sum


@pytest.mark.parametrize("bad", [0.1, [L2()], 3, b"l2"])
def test_what_is_no_identifier_is_refused(bad):
    with pytest.raises(ArgumentError, match="a regularizer is None, a name, a Regularizer, a config or a function"):
        get(bad)


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown regularizer 'l3': did you mean 'l2' or 'l1'"):
        get("l3")
    with pytest.raises(UnknownNameError, match=r"did you mean 'orthogonal_regularizer'"):
        get("orthogonal")
    with pytest.raises(UnknownNameError, match="unknown regularizer 'nope'"):
        deserialize("nope")
    with pytest.raises(UnknownNameError, match=r"unknown regularizer 'Nope'.*register_serializable"):
        deserialize({"class_name": "Nope", "config": {}})


def test_none_means_the_default():
    assert L1(None).l1 == 0.01
    assert L2(None).l2 == 0.01
    assert L1L2(None, 0.5).get_config() == {"l1": 0.0, "l2": 0.5}
    assert OrthogonalRegularizer(None).factor == 0.01


def test_the_serialized_form_is_kerass():
    assert serialize(L2(0.1)) == {
        "module": "keras.regularizers",
        "class_name": "L2",
        "config": {"l2": 0.1},
        "registered_name": None,
    }
    assert serialize(L1(1e-50))["config"] == {"l1": 1e-50}
    assert serialize(None) is None
    assert deserialize(None) is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"class_name": "L2", "config": {"l2": 0.1, "evil": 1}}, "the config of L2 has an unknown key 'evil'"),
        ({"class_name": "L2", "config": {"l2": 0.1}, "more": 1}, "a regularizer's config has an unknown key 'more'"),
        ({"class_name": "L2", "config": [0.1]}, "L2: config must be a dict, got list"),
        ({"class_name": "L2", "module": "os"}, "L2: module must be 'keras.regularizers', got 'os'"),
        ({"class_name": "L2", "registered_name": "os>system"}, "L2: registered_name must be None"),
        ({"class_name": ["L2"]}, 'needs a string "class_name"'),
        ({}, 'needs a string "class_name"'),
        ({"class_name": "function", "config": 3}, "a function's config is its registered name, got 3"),
        (3, "a regularizer's config is a dict or a name, got int"),
        ({"class_name": "L2", 3: 4}, "unknown key '3'"),
    ],
)
def test_configs_that_fit_nothing_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        deserialize(config)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.1, "0.1", True, None, 10**400])
def test_strengths_in_configs_are_checked(bad):
    with pytest.raises(StrengthError, match="l2 must be a finite real number >= 0"):
        deserialize({"class_name": "L2", "config": {"l2": bad}})


# Custom regularizers.


class Plain(Regularizer):
    def __call__(self, x):
        return x.abs().max()


class WithArguments(Regularizer):
    def __init__(self, power=3):
        self.power = power

    def __call__(self, x):
        return (x.abs() ** self.power).sum()


@penalize.saving.register_serializable(package="tests")
class Registered(Regularizer):
    def __init__(self, factor=1.0):
        self.factor = factor

    def __call__(self, x):
        return self.factor * x.abs().max()

    def get_config(self):
        return {"factor": self.factor}


@penalize.saving.register_serializable(package="tests", name="largest")
def registered_function(x):
    return x.abs().max()


def test_a_subclass_without_arguments_needs_only_call():
    assert Plain().get_config() == {}
    assert repr(Plain()) == "Plain()"
    assert float(Plain()(W)) == 4.0


def test_a_subclass_with_arguments_must_say_its_config():
    with pytest.raises(NotImplementedError, match=r"WithArguments takes constructor arguments.*get_config"):
        WithArguments().get_config()
    assert repr(WithArguments()) == "WithArguments(...)"


def test_the_base_class_cannot_be_used_as_it_is():
    with pytest.raises(TypeError, match="abstract"):
        Regularizer()


def test_undeclared_abilities_say_so():
    with pytest.raises(NotImplementedError, match="Plain declares no closed-form gradient"):
        Plain().gradient(W)
    with pytest.raises(NotImplementedError, match="Plain declares no proximal step"):
        Plain().prox(W, 0.1)


def test_abilities_belong_to_the_penalty_that_declares_them():
    class Doubled(L1):
        def __call__(self, x):
            return 2 * super().__call__(x)

    class Renamed(L1):
        pass

    class Repaired(Doubled):
        def gradient(self, x):
            return 2 * super().gradient(x)

    assert has_gradient(L1())
    assert has_prox(L1())
    assert has_gradient(Renamed())
    assert not has_gradient(Doubled())
    assert not has_prox(Doubled())
    assert has_gradient(Repaired())
    assert not has_prox(Repaired())
    assert not has_gradient(torch.sum)
    assert not has_gradient(OrthogonalRegularizer())


def test_registered_classes_and_functions_round_trip():
    config = serialize(Registered(0.1))
    assert config["registered_name"] == "tests>Registered"
    assert deserialize(config).get_config() == {"factor": 0.1}
    assert isinstance(get("tests>Registered"), Registered)
    assert deserialize(serialize(registered_function)) is registered_function
    assert get("tests>largest") is registered_function


def test_custom_objects_need_no_registration():
    config = {"class_name": "Plain", "config": {}, "registered_name": "Custom>Plain"}
    assert isinstance(deserialize(config, custom_objects={"Plain": Plain}), Plain)
    assert isinstance(deserialize(config, custom_objects={"Custom>Plain": Plain}), Plain)
    assert isinstance(deserialize("Plain", custom_objects={"Plain": Plain}), Plain)
    with pytest.raises(UnknownNameError, match="'Custom>Plain'"):
        deserialize(config)


@pytest.mark.parametrize("unregistered", [Plain(), lambda x: x.sum(), torch.sum])
def test_what_is_not_registered_cannot_be_serialized(unregistered):
    with pytest.raises(ConfigError, match="register_serializable"):
        serialize(unregistered)


@pytest.mark.parametrize(
    ("arguments", "thing", "message"),
    [
        ({"package": "keras"}, Plain, "package 'keras' is reserved"),
        ({"package": "penalize"}, Plain, "package 'penalize' is reserved"),
        ({"package": ""}, Plain, "package must be a non-empty string"),
        ({"package": "a>b"}, Plain, "package must be a non-empty string without '>'"),
        ({"name": "L2"}, Plain, "'L2' is the name of a built-in"),
        ({"name": ""}, Plain, "name must be a non-empty string"),
        ({}, lambda x: x, "only classes and named functions"),
        ({"package": "tests", "name": "Registered"}, Plain, "'tests>Registered' is already registered"),
    ],
)
def test_names_that_cannot_be_registered(arguments, thing, message):
    with pytest.raises(RegistrationError, match=message):
        penalize.saving.register_serializable(**arguments)(thing)


def test_registering_again_replaces():
    def define():
        @penalize.saving.register_serializable(package="tests")
        class Twice(Regularizer):
            def __call__(self, x):
                return x.sum()

        return Twice

    define()
    second = define()
    assert type(get("tests>Twice")) is second


# The penalty of a target.


def test_numbers_become_scalars_of_the_weights_kind():
    assert penalty(lambda x: 3, W, "w").dtype == torch.float32
    assert penalty(lambda x: np.float64(3), W.double(), "w").dtype == torch.float64
    assert penalty(lambda x: x.sum().half(), W, "w").dtype == torch.float32
    assert penalty(lambda x: x.sum().reshape(1, 1), W, "w").shape == ()


@pytest.mark.parametrize("bad", [lambda x: x, lambda x: None, lambda x: "1", lambda x: True, lambda x: x.sum() * 1j])
def test_a_regularizer_returns_one_real_number(bad):
    with pytest.raises(PenaltyError, match=r"head.weight: the regularizer .* must return one real number, got"):
        penalty(bad, W, "head.weight")


def test_activity_is_divided_by_axis_0():
    assert float(activity_penalty(L2(1.0), torch.ones(2, 3, 5), "out")) == 15.0
    assert float(activity_penalty(L2(1.0), torch.tensor(3.0), "out")) == 9.0
    assert float(activity_penalty(L2(1.0), torch.ones(0, 3), "out")) == 0.0
    assert float(activity_penalty(lambda x: x.mean(), torch.ones(0, 3), "out")) == 0.0
    assert activity_penalty(L1(1e-3), torch.ones(70000, 1, dtype=torch.float16), "out").dtype == torch.float32
    assert float(activity_penalty(L1(1e-3), torch.ones(70000, 1, dtype=torch.float16), "out")) == pytest.approx(1e-3)


def test_penalties_are_summed_in_float32_inside_autocast_too():
    regularizer = OrthogonalRegularizer(1.0)
    weight, float64 = torch.randn(12, 8), torch.randn(12, 8, dtype=torch.float64)
    plain = penalty(regularizer, weight, "w"), penalty(regularizer, float64, "w")
    own = penalty(lambda w: (w @ w.T).sum(), weight, "w")
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(penalty(regularizer, weight, "w"), plain[0], rtol=0, atol=0)
        torch.testing.assert_close(penalty(regularizer, float64, "w"), plain[1], rtol=0, atol=0)
        torch.testing.assert_close(penalty(lambda w: (w @ w.T).sum(), weight, "w"), own, rtol=0, atol=0)
        torch.testing.assert_close(activity_penalty(regularizer, weight, "w"), plain[0] / 12, rtol=0, atol=0)
        output = weight @ weight.T
        assert output.dtype == torch.bfloat16
        projected = penalty(lambda x: (x @ weight).sum(), output, "w")
        assert penalty(regularizer, weight.to("meta"), "w").is_meta
    torch.testing.assert_close(projected, (output.float() @ weight).sum(), rtol=0, atol=0)
