"""Texts that are no plans, or almost: each is refused by file and key, and nothing is attached."""

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penalize import Penalties, attach, attached
from penalize.errors import (
    ArgumentError,
    ConfigError,
    PenalizeError,
    StrengthError,
    TargetError,
    UnknownNameError,
)
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer
from tests.binding.plan_models import (
    Cubes,
    declaring,
    largest,
    mlp,
    plan_of_mlp,
    state,
    unchanged,
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
    with pytest.raises(ConfigError, match="the JSON of penalties: 1e999 is too large a number"):
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
