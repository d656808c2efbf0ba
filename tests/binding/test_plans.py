"""Plans: what attach chose comes back from JSON, exactly and alone, on every model that has its names."""

import json
import os

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
    FileError,
    RegistrationError,
    ShapeError,
    TargetError,
    UnknownNameError,
)
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer
from tests.binding.plan_models import (
    Cubes,
    Tied,
    adding,
    convolutional,
    declaring,
    largest,
    mlp,
    plan_of_mlp,
    state,
    unchanged,
)


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


def test_a_name_that_no_file_can_hold_is_refused():
    penalties = attach(nn.ModuleDict({"\ud800": nn.Linear(1, 1)}), weights={"*": "l1"})
    with pytest.raises(
        ConfigError, match="these penalties could not be read back: a string holds half of a surrogate pair"
    ):
        penalties.to_json()


def test_a_config_that_makes_no_regularizer_is_refused():
    @penalize.saving.register_serializable(package="test_plans_none")
    class Makes(Cubes):
        @classmethod
        def from_config(cls, config):
            return None

    text = attach(mlp(), weights={"0.bias": Makes()}).to_json()
    with pytest.raises(
        ConfigError, match=r"weights\['0.bias'\]: a regularizer is a function of a tensor, got NoneType"
    ):
        Penalties.from_json(mlp(), text)


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
            r"weights\['0.weight'\]: Cubes: its config does not fit: could not convert string to float: 'much'",
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
    with pytest.raises(FileError, match=f"{path}: exists already; pass overwrite=True"):
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
