"""Plans: what attach chose comes back from JSON, exactly and alone; what is no plan is refused, and nothing attached."""

import json
import os
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import penalize
from penalize import Penalties, attach, attached, layers
from penalize.errors import (
    ArgumentError,
    ArrayError,
    ConfigError,
    DetachedError,
    ExistingFileError,
    FileError,
    PenalizeError,
    RegistrationError,
    ShapeError,
    StrengthError,
    TargetError,
    UnknownNameError,
)
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer


def mlp():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def declaring(seed=3):
    torch.manual_seed(seed)
    model = penalize.Sequential(
        [
            layers.Dense(5, kernel_regularizer=L2(0.1), bias_regularizer=L1(0.2), activity_regularizer=L1(0.3)),
            layers.Dense(4, kernel_regularizer=OrthogonalRegularizer(0.4, "columns")),
            layers.Dense(3),
        ]
    )
    model(torch.ones(2, 4))
    return model


def convolutional():
    torch.manual_seed(3)
    model = penalize.Sequential([layers.Conv2D(3, 2, kernel_regularizer=OrthogonalRegularizer(0.2, flatten=True))])
    model(torch.ones(2, 4, 4, 2))
    return model


class Tied(nn.Module):
    def __init__(self, tied=True):
        super().__init__()
        torch.manual_seed(3)
        self.embedding = nn.Embedding(6, 4)
        self.block = nn.Linear(4, 4)
        self.again = self.block if tied else nn.Linear(4, 4)
        self.head = nn.Linear(4, 6, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(self.again(self.block(self.embedding(x.long()[:, 0]))))


class Adds(penalize.Layer):
    def call(self, inputs):
        self.add_loss(inputs.square().sum())
        return inputs


def adding():
    model = penalize.Sequential([Adds(), layers.Dense(2, activity_regularizer="l1")])
    model(torch.ones(2, 4))
    return model


@penalize.saving.register_serializable(package="test_plans")
class Cubes(Regularizer):
    def __init__(self, strength=0.01, axes=()):
        self.strength = float(strength)
        self.axes = tuple(axes)

    def __call__(self, x):
        return self.strength * (x.abs() ** 3).sum(self.axes).sum()

    def get_config(self):
        return {"strength": self.strength, "axes": self.axes}


@penalize.saving.register_serializable(package="test_plans")
def largest(x):
    return x.abs().max()


def state(model):
    """All that attaching could change."""
    hooks = [
        (len(part._forward_hooks), len(part._forward_pre_hooks), len(vars(part).get("_penalize_attached", ())))
        for part in model.modules()
    ]
    placed = [len(part.declarations.placed) for part in model.modules() if isinstance(part, penalize.Layer)]
    return hooks, placed, {name: value.clone() for name, value in model.state_dict().items()}


def unchanged(model, before):
    hooks, placed, weights = state(model)
    same = weights.keys() == before[2].keys() and all(torch.equal(weights[key], before[2][key]) for key in weights)
    return (hooks, placed) == before[:2] and same


def paid(penalties, model, x):
    model(x)
    return [(name, loss.item()) for name, loss in penalties.named_losses()]


CASES = {
    "patterns": (mlp, {"*": L2(1e-4), "2.*": L1(0.1 + 0.2), "*.bias": None}, {"1": "l1", "": L2(1 / 3)}),
    "classes": (mlp, {nn.Linear: L1L2(1e-3, 2e-50)}, {nn.ReLU: "l2"}),
    "predicates": (mlp, {(lambda name, weight: weight.ndim == 2): OrthogonalRegularizer(0.7, "columns")}, None),
    "declared": (declaring, None, None),
    "excluded": (declaring, {"0.weight": None, "1.bias": L1(0.5)}, {"0": None, "2": L2(0.5)}),
    "everything excluded": (declaring, {"*": None}, {"*": None}),
    "flattened": (convolutional, None, {"0": "l1_l2"}),
    "tied": (Tied, {"head.weight": L1(0.1), "again.*": L2(0.2)}, {"again": L1(0.3)}),
    "custom": (mlp, {"0.*": Cubes(0.3, (0,)), "2.weight": largest}, {"1": Cubes(0.1)}),
    "added": (adding, {"*weight": L2(1.0)}, {"0": L1(1.0)}),
    "nothing": (mlp, {"*": None}, None),
}


@pytest.mark.parametrize(("make", "weights", "activity"), CASES.values(), ids=CASES)
def test_what_was_attached_comes_back_and_pays_the_same(make, weights, activity, tmp_path):
    model, other, third = make(), make(), make()
    penalties = attach(model, weights=weights, activity=activity)
    text = penalties.to_json()
    penalties.save(tmp_path / "plan.json")
    x = torch.rand(5, *((4, 4, 2) if make is convolutional else (4,))) + 0.5
    for loaded, twin in (
        (Penalties.from_json(other, text), other),
        (Penalties.load(third, tmp_path / "plan.json"), third),
    ):
        assert attached(twin) == [loaded]
        assert list(loaded) == list(penalties)
        assert repr(loaded) == repr(penalties)
        assert loaded.to_json() == text
        twin.load_state_dict(model.state_dict())
        assert paid(loaded, twin, x) == paid(penalties, model, x)
        assert loaded.value() == penalties.value()
        assert not loaded.bound
    assert (tmp_path / "plan.json").read_text() == text + "\n"


def test_the_form():
    model = declaring()
    penalties = attach(model, weights={"0.bias": None}, activity={"2": L2(0.1 + 0.2)})
    penalties["1.weight"].regularizer = L1(1e-300)
    keras = {"module": "keras.regularizers", "registered_name": None}
    assert json.loads(penalties.to_json()) == {
        "format": "penalize.penalties",
        "version": 1,
        "weights": {
            "0.weight": {**keras, "class_name": "L2", "config": {"l2": 0.1}},
            "0.bias": None,
            "1.weight": {**keras, "class_name": "L1", "config": {"l1": 1e-300}},
        },
        "activity": {
            "0": {**keras, "class_name": "L1", "config": {"l1": 0.3}},
            "2": {**keras, "class_name": "L2", "config": {"l2": 0.30000000000000004}},
        },
    }
    lines = penalties.to_json().splitlines()
    assert lines[:3] == ["{", '  "activity": {', '    "0": {']
    assert [line.strip() for line in lines if line.startswith('    "')] == [
        '"0": {',
        '"2": {',
        '"0.bias": null,',
        '"0.weight": {',
        '"1.weight": {',
    ]


@settings(max_examples=200, deadline=None)
@given(st.floats(0, allow_infinity=False), st.floats(0, allow_infinity=False))
def test_strengths_are_exact(one, two):
    model = nn.Linear(1, 1)
    penalties = attach(model, weights={"weight": L1L2(0.0, 0.0)}, activity={"": L1(0.0)})
    penalties["weight"].declaration.regularizer = L1L2(one, two)
    penalties[""].strength = two
    loaded = Penalties.from_json(nn.Linear(1, 1), penalties.to_json())
    assert (loaded["weight"].regularizer.l1, loaded["weight"].regularizer.l2, loaded[""].strength) == (one, two, two)


def test_what_was_changed_after_attaching_is_saved_as_it_is_now():
    model = mlp()
    penalties = attach(model, weights={"*.weight": L2(0.1), "*.bias": "l1"}, activity={"1": "l1"})
    penalties["0.weight"].strength = torch.tensor(0.3, dtype=torch.float64)
    penalties["2.weight"].regularizer = "orthogonal_regularizer"
    penalties["0.bias"].regularizer = None
    penalties["1"].regularizer = None
    loaded = Penalties.from_json(mlp(), penalties.to_json())
    assert (
        repr(loaded)
        == "Penalties(0.weight: L2(l2=0.3), 2.weight: OrthogonalRegularizer(factor=0.01, mode='rows'), 2.bias: L1(l1=0.01))"
    )
    # What is switched off is still a target, and can be switched on.
    loaded["0.bias"].regularizer = "l2"
    loaded["1"].regularizer = "l1"
    assert list(loaded) == ["0.weight", "0.bias", "2.weight", "2.bias", "1"]


def test_what_layers_declare_and_the_plan_does_not_list_pays_nothing():
    plan = {"format": "penalize.penalties", "version": 1, "weights": {}, "activity": {}}
    model = declaring()
    loaded = Penalties.from_json(model, json.dumps(plan))
    model(torch.ones(2, 4))
    assert (list(loaded), loaded.losses, loaded.value()) == ([], [], 0.0)
    # The layers' own attributes are theirs, before and after.
    assert len(model.losses) == 4
    assert model.layers[0].kernel_regularizer.l2 == 0.1
    model.layers[0].kernel_regularizer = L2(5.0)
    assert list(loaded) == []
    loaded["0.weight"].regularizer = L2(1.0)
    loaded["0.bias"].regularizer = L1(1.0)
    loaded["2"].regularizer = L1(1.0)
    assert list(loaded) == ["0.weight", "0.bias", "2"]
    assert model.layers[0].kernel_regularizer.l2 == 5.0
    # All of it is said by name when it is saved.
    assert json.loads(loaded.to_json())["weights"]["1.weight"] is None


def test_a_layer_given_a_regularizer_after_attaching_is_saved_with_it():
    model = declaring()
    penalties = attach(model)
    model.layers[2].kernel_regularizer = L1(0.9)
    model.layers[0].kernel_regularizer = None
    assert list(Penalties.from_json(declaring(), penalties.to_json())) == ["0.bias", "1.weight", "2.weight", "0"]


def test_regularizers_see_kerass_layout_after_loading():
    model, other = declaring(), declaring()
    for layer in (model.layers[1], other.layers[1]):
        layer.set_weights([torch.arange(20.0).reshape(5, 4).numpy() ** 2, torch.zeros(4).numpy()])
    penalties = attach(model)
    loaded = Penalties.from_json(other, penalties.to_json())
    values = [dict(each.named_losses())["1.weight"].item() for each in (penalties, loaded)]
    other.layers[1].kernel_regularizer.mode = "rows"
    assert values[0] == values[1] == pytest.approx(model.losses[-1].item())
    assert values[0] != pytest.approx(OrthogonalRegularizer(0.4)(model.layers[1].kernel).item(), rel=1e-3)


def test_a_tied_weight_may_stand_under_any_of_its_names():
    plan = json.loads(attach(Tied(), weights={"embedding.weight": L2(0.1), "block.*": L1(0.2)}).to_json())
    weights = plan["weights"]
    assert list(weights) == ["block.bias", "block.weight", "embedding.weight"]
    plan["weights"] = {"head.weight": weights["embedding.weight"], "again.weight": weights["block.weight"]}
    plan["activity"] = {"again": weights["block.weight"]}
    loaded = Penalties.from_json(Tied(), json.dumps(plan))
    assert list(loaded) == ["embedding.weight", "block.weight", "block"]
    assert len(loaded.losses) == 2
    plan["weights"]["embedding.weight"] = weights["embedding.weight"]
    assert list(Penalties.from_json(Tied(), json.dumps(plan))) == ["embedding.weight", "block.weight", "block"]
    plan["weights"]["embedding.weight"] = None
    model = Tied()
    before = state(model)
    with pytest.raises(
        ConfigError, match=r"weights\['embedding.weight'\] is the same as 'head.weight', which has another"
    ):
        Penalties.from_json(model, json.dumps(plan))
    assert unchanged(model, before)


def test_the_plan_of_an_untied_model_fits_a_tied_one():
    penalties = attach(Tied(tied=False), weights={"*.weight": L2(0.1)}, activity={"again": L1(0.1), "block": L1(0.1)})
    loaded = Penalties.from_json(Tied(), penalties.to_json())
    assert list(loaded) == ["embedding.weight", "block.weight", "block"]


def test_weights_that_were_tied_after_attaching_are_saved_once():
    model = Tied(tied=False)
    penalties = attach(model, weights={"head.weight": L1(0.1), "embedding.weight": L2(0.2)})
    model.head.weight = model.embedding.weight
    assert list(json.loads(penalties.to_json())["weights"]) == ["embedding.weight"]
    loaded = Penalties.from_json(Tied(), penalties.to_json())
    assert loaded.value() == penalties.value()


def test_a_binding_is_not_saved():
    model, other = mlp(), mlp()
    penalties = attach(model, weights={"*": L2(0.1)})
    text = penalties.to_json()
    penalties.bind(torch.optim.SGD(model.parameters(), lr=0.1))
    assert penalties.to_json() == text
    loaded = Penalties.from_json(other, text)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    before = other[0].weight.detach().clone()
    loaded.bind(optimizer)
    optimizer.step()
    torch.testing.assert_close(other[0].weight.detach(), 0.98 * before)


def test_several_plans_on_one_model_are_apart():
    model = mlp()
    first, second = attach(model, weights={"*": L2(0.1)}), attach(model, weights={"0.bias": L1(0.1)})
    other = mlp()
    loaded = [Penalties.from_json(other, each.to_json()) for each in (first, second)]
    assert attached(other) == loaded
    assert [len(each) for each in loaded] == [4, 1]
    assert not attached(other)[1].bound
    for each in loaded:
        each.detach()
    assert unchanged(other, state(mlp()))


# Custom regularizers.


def test_what_is_not_registered_is_refused_by_the_name_of_its_target(tmp_path):
    class Local(Regularizer):
        def __call__(self, x):
            return x.sum()

    class WithoutConfig(L2):
        pass

    for regularizer, name in ((lambda w: w.sum(), "<lambda>"), (Local(), "Local"), (WithoutConfig(), "WithoutConfig")):
        penalties = attach(mlp(), weights={"0.weight": L2(0.1), "2.bias": regularizer})
        with pytest.raises(
            ConfigError, match=rf"weights\['2.bias'\]: '{name}' has no config that could be read back: register it"
        ):
            penalties.save(tmp_path / "plan.json")
        with pytest.raises(ConfigError, match=rf"activity\['1'\]: '{name}' has no config"):
            attach(mlp(), activity={"1": regularizer}).to_json()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"strength": torch.ones(2)}, "TypeError: Object of type Tensor is not JSON serializable"),
        ({"strength": float("nan")}, "ValueError: Out of range float values are not JSON compliant"),
        ({3: 4.0}, "the config of .* would come back changed from JSON"),
        ({"strength": 10**50}, "its config: a number of 51 characters"),
        ({"strength": "\ud800"}, "its config: a string holds half of a surrogate pair"),
        (None, "NotImplementedError: Odd takes constructor arguments, so it must define get_config"),
    ],
    ids=range(6),
)
def test_configs_that_json_does_not_give_back_are_refused_by_target(config, message):
    class Odd(Regularizer):
        def __init__(self, strength=0.1):
            self.strength = strength

        def __call__(self, x):
            return x.sum()

    if config is not None:
        Odd.get_config = lambda self: config
    penalize.saving.register_serializable(package="test_plans_odd")(Odd)
    with pytest.raises(ConfigError, match=rf"weights\['0.bias'\]: {message}"):
        attach(mlp(), weights={"0.bias": Odd()}).to_json()


def test_custom_objects_need_not_be_registered_where_a_plan_is_loaded(tmp_path):
    class Fourth(Cubes):
        def __call__(self, x):
            return self.strength * (x**4).sum()

    text = attach(mlp(), weights={"0.weight": Cubes(0.3), "2.bias": largest}).to_json()
    text = (
        text.replace("test_plans>Cubes", "elsewhere>Fourth")
        .replace('"Cubes"', '"Fourth"')
        .replace("test_plans>largest", "elsewhere>largest")
    )
    (tmp_path / "plan.json").write_text(text)
    model = mlp()
    before = state(model)
    with pytest.raises(
        UnknownNameError, match=r"plan.json: weights\['0.weight'\]: unknown regularizer 'elsewhere>Fourth'"
    ):
        Penalties.load(model, tmp_path / "plan.json")
    assert unchanged(model, before)
    for names in (
        {"elsewhere>Fourth": Fourth, "elsewhere>largest": largest},
        {"Fourth": Fourth, "elsewhere>largest": largest},
    ):
        for loaded in (
            Penalties.load(mlp(), tmp_path / "plan.json", names),
            Penalties.from_json(mlp(), text, custom_objects=names),
        ):
            assert type(loaded["0.weight"].regularizer) is Fourth
            assert loaded["0.weight"].regularizer.strength == 0.3
            assert loaded["2.bias"].regularizer is largest
    with pytest.raises(RegistrationError, match="custom_objects must be a dict"):
        Penalties.load(model, tmp_path / "plan.json", custom_objects=[Fourth])
    # The scope is closed again.
    with pytest.raises(UnknownNameError, match="elsewhere>Fourth"):
        Penalties.from_json(model, text)


def test_what_a_custom_regularizer_raises_names_the_file_and_the_target(tmp_path):
    text = attach(mlp(), weights={"0.weight": Cubes(0.3)}).to_json()
    model = mlp()
    before = state(model)
    path = tmp_path / "plan.json"
    for old, new, message in (
        (
            '"strength": 0.3',
            '"strength": "much"',
            r"weights\['0.weight'\]: ValueError: could not convert string to float: 'much'",
        ),
        ('"axes": []', '"axes": [7]', "raised by the regularizer of 0.weight: IndexError: Dimension out of range"),
        ('"axes": []', '"extra": []', r"weights\['0.weight'\]: the config of Cubes has an unknown key 'extra'"),
    ):
        path.write_text(text.replace(old, new))
        with pytest.raises(ConfigError, match=f"^{path}: {message}"):
            Penalties.load(model, path)
        assert unchanged(model, before)


# Models that do not fit.


def test_all_missing_targets_are_named_with_the_nearest():
    text = attach(mlp(), weights={"*": L2(0.1)}, activity={"1": "l1"}).to_json()
    model = nn.Sequential(nn.Linear(4, 3))
    before = state(model)
    with pytest.raises(
        TargetError,
        match=r"^the JSON of penalties: weights\['2.bias'\] is no parameter of the model: did you mean '0.bias'\?; weights\['2.weight'\] .*; activity\['1'\] is no module of the model: known: '0'$",
    ):
        Penalties.from_json(model, text)
    assert unchanged(model, before)
    model = nn.ModuleDict({"body": nn.ModuleDict({"head": nn.Linear(2, 2)}), "2": nn.ReLU()})
    with pytest.raises(
        TargetError, match=r"weights\['2.weight'\] is no parameter of the model: did you mean 'body.head.weight'"
    ):
        Penalties.from_json(model, text)
    text = attach(nn.Sequential(*(nn.Linear(1, 1) for _ in range(9))), weights={"*": "l1"}).to_json()
    with pytest.raises(TargetError, match="; and 11 more$"):
        Penalties.from_json(nn.Sequential(nn.Linear(1, 1)), text)


def test_a_module_is_no_weight_and_a_weight_no_module():
    plan = plan_of_mlp()
    plan["weights"] = {"0": None}
    with pytest.raises(TargetError, match=r"weights\['0'\] is no parameter of the model"):
        Penalties.from_json(mlp(), json.dumps(plan))
    plan["weights"], plan["activity"] = {}, {"0.weight": None}
    with pytest.raises(TargetError, match=r"activity\['0.weight'\] is no module of the model"):
        Penalties.from_json(mlp(), json.dumps(plan))


def test_null_of_a_name_that_is_missing_is_missing_too():
    plan = {**plan_of_mlp(), "weights": {"1.weight": None}}
    with pytest.raises(
        TargetError, match=r"weights\['1.weight'\] is no parameter of the model: did you mean '[02].weight'"
    ):
        Penalties.from_json(mlp(), json.dumps(plan))


def test_regularizers_that_do_not_fit_the_models_weights(tmp_path):
    attach(mlp(), weights={"*.weight": OrthogonalRegularizer(0.1)}).save(tmp_path / "plan.json")
    model = nn.Sequential(nn.Conv1d(4, 3, 2), nn.ReLU(), nn.Linear(3, 2))
    before = state(model)
    with pytest.raises(
        ShapeError, match=r"plan.json: 0.weight: OrthogonalRegularizer takes a matrix \(rank 2\), got rank 3"
    ):
        Penalties.load(model, tmp_path / "plan.json")
    assert unchanged(model, before)
    model[0].weight = nn.Parameter(torch.ones(3, 4, dtype=torch.complex64))
    with pytest.raises(ArrayError, match="0.weight: only real floating-point weights can be penalized"):
        Penalties.load(model, tmp_path / "plan.json")
    with pytest.raises(TargetError, match="0.weight: the parameter has no shape yet"):
        Penalties.load(nn.Sequential(nn.LazyLinear(3), nn.ReLU(), nn.Linear(3, 2)), tmp_path / "plan.json")
    with pytest.raises(TargetError, match="plan.json: sequential.* is not built, so its weights are not known"):
        Penalties.load(penalize.Sequential([layers.Dense(2)]), tmp_path / "plan.json")
    with pytest.raises(ArgumentError, match="penalties are put on an nn.Module, got str"):
        Penalties.load("model", tmp_path / "plan.json")


def test_names_with_the_signs_of_patterns_are_names():
    def starred():
        return nn.ModuleDict({"a*": nn.Linear(1, 1), "a[b]": nn.Linear(1, 1), "ab": nn.Linear(1, 1)})

    penalties = attach(starred(), weights={(lambda name, _: name.startswith(("a*", "a["))): "l1"})
    assert list(Penalties.from_json(starred(), penalties.to_json())) == [
        "a*.weight",
        "a*.bias",
        "a[b].weight",
        "a[b].bias",
    ]


def test_penalties_that_left_their_model_are_not_saved():
    model = mlp()
    penalties = attach(model, weights={"2.weight": "l2"})
    model[2] = nn.Linear(3, 2)
    with pytest.raises(TargetError, match="2.weight: its module was replaced or removed"):
        penalties.to_json()
    penalties.detach()
    with pytest.raises(DetachedError, match="these penalties were detached"):
        penalties.to_json()


# Files.


def test_a_file_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "plan.json"
    penalties = attach(mlp(), weights={"0.weight": L2(0.1)})
    penalties.save(str(path))
    before = path.read_bytes()
    penalties["0.weight"].strength = 0.2
    with pytest.raises(ExistingFileError, match=f"'{path}' exists: give overwrite=True"):
        penalties.save(path)
    assert path.read_bytes() == before
    penalties.save(path, overwrite=True)
    assert Penalties.load(mlp(), str(path))["0.weight"].strength == 0.2
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_small_regular_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    model = mlp()
    before = state(model)
    for path, message in (
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path, "not a regular file"),
        ("/dev/zero", "not a regular file"),
        (tmp_path / "nothing", "No such file or directory"),
    ):
        with pytest.raises(FileError, match=f"^{path}: {message}"):
            Penalties.load(model, path)
    with open(tmp_path / "large", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(FileError, match=r"/large: 1099511627776 bytes; 16777216 are the most"):
        Penalties.load(model, tmp_path / "large")
    with pytest.raises(ArgumentError, match="a path is a string or a Path, got int"):
        Penalties.load(model, 0)
    assert unchanged(model, before)


# Texts that are no plans.


def plan_of_mlp():
    return json.loads(
        attach(mlp(), weights={"0.weight": L2(0.1), "0.bias": L1L2(0.1, 0.2)}, activity={"1": "l1"}).to_json()
    )


def with_config(**values):
    plan = plan_of_mlp()
    plan["weights"]["0.weight"].update(values)
    return plan


def without(*keys):
    plan = part = plan_of_mlp()
    for key in keys[:-1]:
        part = part[key]
    del part[keys[-1]]
    return plan


BAD = {
    "a list": ([], ConfigError, "the plan of penalties is a JSON object, got list"),
    "null": (None, ConfigError, "is a JSON object, got NoneType"),
    "a config of attach": ({"weights": {}, "activity": {}}, ConfigError, "missing 'format', 'version'"),
    "unknown key": ({**plan_of_mlp(), "weight": {}}, ConfigError, "unknown key 'weight': did you mean 'weights'"),
    "long key": ({**plan_of_mlp(), "\n\x1b[31m" * 10**6: {}}, ConfigError, r"unknown key '\\n\\x1b\[31m.{0,90}: known: 'format'"),
    "no weights": (without("weights"), ConfigError, "missing 'weights'"),
    "no activity": (without("activity"), ConfigError, "missing 'activity'"),
    "another format": ({**plan_of_mlp(), "format": "keras"}, ConfigError, "\"format\" must be 'penalize.penalties', got 'keras'"),
    "format list": ({**plan_of_mlp(), "format": ["penalize.penalties"]}, ConfigError, '"format" must be'),
    "version 2": ({**plan_of_mlp(), "version": 2}, ConfigError, '"version" must be 1, got 2'),
    "version true": ({**plan_of_mlp(), "version": True}, ConfigError, '"version" must be 1, got True'),
    "version 1.0": ({**plan_of_mlp(), "version": 1.0}, ConfigError, '"version" must be 1, got 1.0'),
    "version text": ({**plan_of_mlp(), "version": "1"}, ConfigError, "\"version\" must be 1, got '1'"),
    "weights list": ({**plan_of_mlp(), "weights": []}, ConfigError, r'"weights" must be an object of names, got \[\]'),
    "weights null": ({**plan_of_mlp(), "weights": None}, ConfigError, '"weights" must be an object of names, got None'),
    "activity text": ({**plan_of_mlp(), "activity": "l1"}, ConfigError, "\"activity\" must be an object of names, got 'l1'"),
    "a name as config": ({**plan_of_mlp(), "weights": {"0.bias": "l2"}}, ConfigError, r"weights\['0.bias'\] must be a regularizer's config or null, got 'l2'"),
    "false": ({**plan_of_mlp(), "activity": {"": False}}, ConfigError, r"activity\[''\] must be a regularizer's config or null, got False"),
    "long name": ({**plan_of_mlp(), "weights": {"0.weight\n" + "x" * 10**6: None}}, TargetError, r"weights\['0.weight\\nx{60,70}\] is no parameter of the model: did you mean|known"),
    "unknown key of a config": (with_config(extra=1), ConfigError, r"weights\['0.weight'\]: unknown key 'extra'"),
    "build_config": (with_config(build_config={}), ConfigError, r"weights\['0.weight'\]: unknown key 'build_config'"),
    "no module": (without("weights", "0.weight", "module"), ConfigError, r"weights\['0.weight'\]: missing 'module'"),
    "no class_name": (without("weights", "0.weight", "class_name"), ConfigError, "missing 'class_name'"),
    "no config": (without("weights", "0.weight", "config"), ConfigError, "missing 'config'"),
    "no strength": (without("weights", "0.weight", "config", "l2"), ConfigError, r"weights\['0.weight'\]: its config: missing 'l2'"),
    "one strength": (without("weights", "0.bias", "config", "l1"), ConfigError, r"weights\['0.bias'\]: its config: missing 'l1'"),
    "another strength": (with_config(config={"l1": 0.1}), ConfigError, "the config of L2 has an unknown key 'l1'"),
    "config null": (with_config(config=None), ConfigError, '"config" must be an object, got None'),
    "config list": (with_config(config=[["l2", 0.1]]), ConfigError, '"config" must be an object'),
    "class_name list": (with_config(class_name=["L2"]), ConfigError, r"needs a string \"class_name\", got \['L2'\]"),
    "class_name null": (with_config(class_name=None), ConfigError, "needs a string"),
    "unknown class": (with_config(class_name="L3"), UnknownNameError, r"weights\['0.weight'\]: unknown regularizer 'L3': did you mean 'L2'"),
    "long class": (with_config(class_name="os\n" * 10**6), UnknownNameError, r"unknown regularizer '(os\\n)+.{0,6}: known"),
    "an initializer": (with_config(class_name="GlorotUniform", module="keras.initializers"), UnknownNameError, "unknown regularizer 'GlorotUniform'"),
    "a layer": (with_config(class_name="Dense", module="keras.layers", config={"units": 1}), UnknownNameError, "unknown regularizer 'Dense'"),
    "Lambda": (with_config(class_name="Lambda", module="keras.layers"), UnknownNameError, "unknown regularizer 'Lambda'"),
    "__lambda__": (with_config(class_name="__lambda__", module="builtins", config={"code": "4wEA"}), UnknownNameError, "unknown regularizer '__lambda__'"),
    "module os": (with_config(module="os"), ConfigError, "L2: module must be 'keras.regularizers', got 'os'"),
    "os.system": (with_config(module="os", class_name="system", config={"command": "x"}), UnknownNameError, "unknown regularizer 'system'"),
    "other registered_name": (with_config(registered_name="test_plans>Cubes"), ConfigError, "L2: registered_name must be None"),
    "library function": (with_config(module="builtins", class_name="function", config="get_file", registered_name="function"), UnknownNameError, "unknown regularizer 'get_file'"),
    "function of os": (with_config(module="os", class_name="function", config="test_plans>largest", registered_name="function"), ConfigError, "a function's config is .*, got .*'os'"),
    "a class as function": (with_config(module="builtins", class_name="function", config="test_plans>Cubes", registered_name="function"), ConfigError, "'test_plans>Cubes' is a class, where a function belongs"),
    "a built-in as function": (with_config(module="builtins", class_name="function", config="L2", registered_name="function"), ConfigError, "'L2' is a class, where a function belongs"),
    "a function without name": (with_config(class_name="function", config={}), ConfigError, "a function's config is"),
    "strength -0.1": (with_config(config={"l2": -0.1}), StrengthError, r"weights\['0.weight'\]: l2 must be a finite real number >= 0, got -0.1"),
    "strength text": (with_config(config={"l2": "0.1"}), StrengthError, "l2 must be a finite real number >= 0, got '0.1'"),
    "strength true": (with_config(config={"l2": True}), StrengthError, "l2 must be a finite real number >= 0, got True"),
    "strength null": (with_config(config={"l2": None}), StrengthError, "L2: l2 must be a finite real number >= 0, got None"),
    "strength object": (with_config(config={"l2": {}}), StrengthError, "l2 must be a finite real number"),
    "mode list": (with_config(class_name="OrthogonalRegularizer", config={"factor": 1, "mode": ["rows"]}), ArgumentError, "mode must be"),
    "NaN": (with_config(config={"l2": float("nan")}), ConfigError, "NaN is no JSON number"),
    "Infinity": (with_config(config={"l2": float("inf")}), ConfigError, "Infinity is no JSON number"),
    "10^400": (with_config(config={"l2": 10**400}), ConfigError, "a number of 401 characters"),
}  # fmt: skip


@pytest.mark.parametrize(("plan", "error", "message"), BAD.values(), ids=BAD)
def test_what_is_no_plan_is_refused_by_file_and_key(plan, error, message, tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan))
    model = mlp()
    before = state(model)
    with pytest.raises(error, match=message) as caught:
        Penalties.load(model, path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert type(caught.value) is error
    assert unchanged(model, before)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        (b"\xff", "not UTF-8"),
        ("\ufeff{}", "no JSON"),
        ("[" * 10**5, "nested deeper than 64"),
        ('{"format": 1, "format": 2}', "the key 'format' stands twice"),
        ('{"weights": {"a": null, "a": null}}', "the key 'a' stands twice"),
        (None, "expected JSON text, got NoneType"),
        ({"format": "penalize.penalties"}, "expected JSON text, got dict"),
    ],
    ids=range(9),
)
def test_what_is_no_json_is_refused(text, message):
    with pytest.raises(ConfigError, match=f"the JSON of penalties: {message}"):
        Penalties.from_json(mlp(), text)


def test_a_strength_that_overflows_is_refused():
    text = json.dumps(plan_of_mlp()).replace('"l2": 0.1', '"l2": 1e999')
    with pytest.raises(StrengthError, match=r"weights\['0.weight'\]: l2 must be a finite real number >= 0, got inf"):
        Penalties.from_json(mlp(), text)


_watched: list[str] | None = None


def _audit(event, arguments):
    if _watched is not None:
        _watched.append(f"{event} {arguments[:1]}")


def test_a_plan_imports_opens_and_executes_nothing():
    global _watched
    texts = [
        json.dumps(plan) for plan, _, _ in BAD.values() if isinstance(plan, dict) and len(json.dumps(plan)) < 10**4
    ]
    texts += [json.dumps(plan_of_mlp())]
    for text in texts:  # what is imported when first used by Python or torch themselves
        _try(mlp(), text)
    sys.addaudithook(_audit)
    model = mlp()
    _watched = []
    try:
        results = [_try(model, text) for text in texts]
        events = _watched
    finally:
        _watched = None
    assert results.count(True) == 1
    assert [
        event
        for event in events
        if event.startswith(
            ("import", "exec", "compile", "open", "marshal", "pickle", "socket", "subprocess", "os.system", "ctypes")
        )
    ] == []


# Texts that are almost plans.


def _try(model, text):
    """Whether the plan was taken; the model is as it was, either way."""
    before = state(model)
    try:
        loaded = Penalties.from_json(model, text)
    except PenalizeError:
        assert unchanged(model, before)
        return False
    assert attached(model) == [loaded]
    loaded.value()
    loaded.detach()
    assert unchanged(model, before)
    return True


def rich_plan():
    weights = {
        "0.weight": L2(0.1),
        "0.bias": L1L2(0.1, 0.25),
        "1.weight": OrthogonalRegularizer(0.5, "columns"),
        "2.bias": Cubes(0.5, (0,)),
        "2.weight": largest,
    }
    return attach(declaring(), weights=weights, activity={"": L1(1e-9)}).to_json()


TEXT = rich_plan()


def test_a_plan_that_is_cut_anywhere_is_refused():
    model = declaring()
    assert _try(model, TEXT)
    for end in range(len(TEXT)):
        assert not _try(model, TEXT[:end])


def test_flipped_bits_give_our_errors_or_a_plan():
    model, taken = declaring(), []

    @settings(max_examples=1500, deadline=None, derandomize=True)
    @given(st.lists(st.integers(0, 8 * len(TEXT) - 1), min_size=1, max_size=3))
    def flip(bits):
        changed = bytearray(TEXT.encode())
        for bit in bits:
            changed[bit // 8] ^= 1 << bit % 8
        taken.append(_try(model, bytes(changed)))

    flip()
    assert 0 < sum(taken) < len(taken)


def test_every_single_flipped_bit_of_a_strength_gives_our_errors_or_a_plan():
    model = declaring()
    start = TEXT.index('"l1": 0.1') + len('"l1": ')
    taken = []
    for bit in range(8 * start, 8 * (start + 3)):
        changed = bytearray(TEXT.encode())
        changed[bit // 8] ^= 1 << bit % 8
        taken.append(_try(model, bytes(changed)))
    assert 0 < sum(taken) < len(taken)


def places(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from places(item, (*path, key))


PLACES = list(places(json.loads(TEXT)))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=8) | st.sampled_from(["L2", "function", "0.weight", "test_plans>Cubes", "test_plans>largest", "l1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["l1", "l2", "config", "0.bias"]) | st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def test_deleted_renamed_and_changed_keys_give_our_errors_or_a_plan():
    model, taken = declaring(), []
    names = st.sampled_from([place[-1] for place in PLACES]) | st.text(max_size=5)

    @settings(max_examples=1500, deadline=None, derandomize=True)
    @given(
        st.lists(
            st.tuples(st.sampled_from(PLACES), st.sampled_from(["delete", "rename", "change"]), names, JSON),
            min_size=1,
            max_size=2,
        )
    )
    def mutate(changes):
        plan = json.loads(TEXT)
        for place, what, name, value in changes:
            part = plan
            for key in place[:-1]:
                part = part.get(key) if isinstance(part, dict) else None
            if isinstance(part, dict) and place[-1] in part:
                old = part.pop(place[-1]) if what != "change" else None
                if what != "delete":
                    part[name if what == "rename" else place[-1]] = old if what == "rename" else value
        taken.append(_try(model, json.dumps(plan)))

    mutate()
    assert 0 < sum(taken) < len(taken)


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_every_key_is_needed_but_those_that_list_a_target(place):
    plan = part = json.loads(TEXT)
    for key in place[:-1]:
        part = part[key]
    del part[place[-1]]
    lists_a_target = len(place) == 2
    assert _try(declaring(), json.dumps(plan)) == (lists_a_target or place[-1] in ("strength", "axes"))
