"""The hostile configs of the table: regularizers, layers, models and their JSON text, each with its benign twin."""

import json
from dataclasses import dataclass
from typing import Any

from tests.saving.ways_in import (
    FIRST,
    GOOD,
    REGULARIZER,
    caller,
    dense,
    keras_file,
    legacy_h5,
    plan,
    sequential,
)


@dataclass
class Row:
    """One case through one way in: what is loaded, its twin, and what the error must say."""

    number: int
    name: str
    way: str
    hostile: Any
    benign: Any
    match: str


# What a file must not lead to: it is no module that is loaded already, and no path that exists.
MODULE = "antigravity"
CODE = {
    "class_name": "__lambda__",
    "config": {"code": "4wEAAAAAAAAAAAAAAAAAAAABAAAA", "defaults": None, "closure": None},
}
LARGE = 10**12


def of_model(number, name, config, match, benign=GOOD):
    """A whole model's config, through the ways that read one."""
    texts = [json.dumps(each) for each in (config, benign)]
    yield Row(number, name, "model_from_json", *texts, match)
    yield Row(number, name, "layers.deserialize", config, benign, match)
    yield Row(number, name, "load_model .keras", *map(keras_file, texts), match)
    yield Row(number if number > 4 else 5, name, "load_model .h5", *map(legacy_h5, texts), match)


def of_layer(number, name, entry, match):
    yield from of_model(number, name, sequential(entry, dense("b", 2)), match)
    if "name" not in entry:
        yield Row(number, name + ", alone", "layers.deserialize", entry, dense(), match)


def of_regularizer(number, name, config, match, benign=REGULARIZER):
    yield from of_layer(number, name, dense(kernel_regularizer=config), match)
    for way in ("regularizers.deserialize", "regularizers.get"):
        yield Row(number, name, way, config, benign, match)
    for way in ("Penalties.load", "Penalties.from_json"):
        yield Row(number, name, way, json.dumps(plan(config)), json.dumps(plan()), f"{match}|missing|unknown key")


def of_text(number, name, change, match):
    """A change of JSON text; it gives text, which may hold lone surrogates, or bytes."""
    good = json.dumps(GOOD)
    bad = change(good)
    as_bytes = bad.encode("utf-8", "surrogatepass") if isinstance(bad, str) else bad
    as_text = bad if isinstance(bad, str) else bad.decode("utf-8", "surrogateescape")
    yield Row(number, name, "model_from_json", as_text, good, match)
    yield Row(number, name, "load_model .keras", keras_file(as_bytes), keras_file(good), match)
    if len(as_bytes) < 60_000:  # what an attribute holds
        yield Row(number, name, "load_model .h5", legacy_h5(as_bytes), legacy_h5(good), match)
    good = json.dumps(plan())
    bad = change(good)
    yield Row(number, name, "Penalties.load", bad, good, match)
    yield Row(number, name, "Penalties.from_json", bad, good, match)


def regularizer(**changes):
    return {key: value for key, value in {**REGULARIZER, **changes}.items() if value is not ...}


def functional(layers, outputs=(("b", 0, 0),)):
    config = {"name": "m", "layers": layers, "input_layers": [["in", 0, 0]], "output_layers": list(map(list, outputs))}
    return {"module": "keras.src.models.functional", "class_name": "Functional", "config": config}


def called(entry, *sources):
    args = [{"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}} for name in sources]
    return {
        **entry,
        "name": entry["config"]["name"],
        "inbound_nodes": [{"args": args, "kwargs": {}}] if sources else [],
    }


def with_argument(value):
    entry = called(dense("b"), "in")
    entry["inbound_nodes"][0]["kwargs"] = {"mask": value}
    return functional([called(FIRST), entry])


def layer(class_name, module="keras.layers", **config):
    return {"module": module, "class_name": class_name, "config": {"name": "l", **config}}


def classes():
    unknown = "unknown (layer|regularizer)|no regularizer"
    yield from of_layer(1, "Lambda with bytecode", layer("Lambda", function=CODE), "function must be one|Lambda")
    yield from of_regularizer(1, "bytecode as a regularizer", CODE, unknown)
    activation = dense(activation=CODE)
    yield from of_layer(1, "bytecode as an activation", activation, "an activation's config has the class_name")
    for module in (MODULE, "os", "builtins"):
        yield from of_layer(2, f"module {module}", layer("system", module, command="true"), "unknown layer 'system'")
        yield from of_layer(2, f"Dense of {module}", {**dense(), "module": module}, "module must be 'keras.layers'")
        yield from of_regularizer(2, f"L2 of {module}", regularizer(module=module), "module must be|disagree")
        yield from of_regularizer(2, f"a class of {module}", regularizer(module=module, class_name="system"), unknown)
    for name, module in (("os.system", "builtins"), ("get_file", "keras.utils"), ("load_model", "keras.saving")):
        function = {"module": module, "class_name": "function", "config": name, "registered_name": name}
        match = "unknown|disagree|a function's config is"
        yield from of_regularizer(3, f"function {name}", function, match)
        yield from of_layer(3, f"activation {name}", dense(activation=function), match)
        yield from of_layer(3, f"layer {name}", function, match)
    trap = {"module": "builtins", "class_name": "function", "config": "hostile>Trap", "registered_name": "function"}
    match = "is no (regularizer|constraint|initializer)|is a class, where|a regularizer is a function|is no class"
    yield from of_regularizer(3, "a registered class of another kind", trap, match)
    for key in ("kernel_initializer", "kernel_constraint", "activation"):
        yield from of_layer(3, f"a class of another kind as {key}", dense(**{key: trap}), match)
    unsafe = {"class_name": "function", "module": "keras.config", "config": "enable_unsafe_deserialization"}
    yield from of_layer(4, "a function that turns safety off", unsafe, "disagree|unknown")
    yield from of_layer(4, "safe_mode of a layer", dense(safe_mode=False), "safe_mode")
    yield from of_model(4, "safe_mode of a model", {**GOOD, "safe_mode": False}, "unknown key 'safe_mode'")
    yield from of_layer(
        4, "safe_mode of a Lambda", layer("Lambda", function=CODE, safe_mode=False), "safe_mode|function"
    )
    module = {
        "class_name": "__bytes__",
        "config": {"value": "gASVIAAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAR0cnVllIWUUpQu"},
    }
    yield from of_layer(6, "TorchModuleWrapper", layer("TorchModuleWrapper", module=module), "module|Wrapper")
    for name in ("TFSMLayer", "JaxLayer", "FlaxLayer"):
        outside = layer(name, filepath="/named/by/the/file")
        yield from of_layer(7, name, outside, f"unknown layer '{name}'")
    for text in ("/named/by/the/file", "https://named.example/x", "file:///named/by/the/file"):
        yield from of_regularizer(8, f"regularizer {text}", text, "unknown regularizer|config or null")
        yield from of_layer(8, f"initializer {text}", dense(kernel_initializer=text), "unknown initializer")
        vocabulary = layer("StringLookup", vocabulary=text)
        yield from of_layer(8, f"vocabulary {text}", vocabulary, "unknown layer 'StringLookup'")


def names():
    match = "disagree|module must be|registered_name must be|unknown"
    for changes in (
        {"module": "keras.layers"},
        {"registered_name": "L1"},
        {"registered_name": "hostile>Own"},
        {"registered_name": 3},
        {"class_name": "Own", "module": "keras.regularizers", "registered_name": "hostile>Own", "config": {}},
        {"class_name": "Other", "module": "here", "registered_name": "hostile>Own", "config": {}},
        {"class_name": "hostile>Own", "module": "here", "registered_name": "hostile>Trap", "config": {}},
    ):
        yield from of_regularizer(9, f"disagree: {changes}", regularizer(**changes), match)
    yield from of_layer(9, "Dense of two names", {**dense(), "registered_name": "Conv2D"}, match)
    yield from of_layer(10, "a custom name of a built-in", {**dense(), "registered_name": "hostile>Dense"}, match)
    yield from of_regularizer(11, "a layer as a regularizer", dense(), "unknown regularizer 'Dense'|missing")
    yield from of_regularizer(11, "a list as class_name", regularizer(class_name=["L2"]), 'string "class_name"')
    yield from of_regularizer(11, "no class_name", regularizer(class_name=...), 'string "class_name"')
    yield from of_regularizer(11, "a further key", regularizer(code="x"), "unknown key 'code'")
    yield from of_regularizer(11, "a further argument", regularizer(config={"l2": 0.1, "l3": 1}), "unknown key 'l3'")
    yield from of_regularizer(11, "a list as config", regularizer(config=[0.1]), "must be a dict|must be an object")
    for way in ("regularizers.deserialize", "regularizers.get"):
        config = regularizer(config={"l2": 0.1, 3: 1})
        yield Row(11, "a key that is no string", way, config, REGULARIZER, "unknown key '3'")
    bad = dense(units=3)
    bad["config"][3] = 3
    yield Row(11, "a key that is no string", "layers.deserialize", bad, dense(), "an argument's name is")
    for value in (-0.1, "0.1", True, None, 10**30 * -1, [0.1]):
        config = regularizer(config={"l2": value})
        yield from of_regularizer(12, f"strength {value!r}", config, "l2 must be a finite real number >= 0")
    for value in (float("nan"), float("inf"), -float("inf"), 10**400):
        config = regularizer(config={"l2": value})
        for way in ("regularizers.deserialize", "regularizers.get"):
            yield Row(12, f"strength {value!r:.20}", way, config, REGULARIZER, "l2 must be a finite real number >= 0")
        yield Row(
            12, f"strength {value!r:.20}", "layers.deserialize", dense(kernel_regularizer=config), dense(), "l2 must"
        )
    for value in ("1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1" + "0" * 400):
        match = "too large a number|no JSON number|a number of 401 characters"
        yield from of_text(12, f"strength {value:.20}", lambda text, v=value: text.replace("0.1", v), match)


def texts():
    twice = "stands twice in one object"
    yield from of_text(13, "a key twice", lambda text: text.replace('"l2":', '"l2": 0.1, "l2":'), twice)
    yield from of_text(13, "an escaped key twice", lambda text: text.replace('"l2":', '"\\u006c2": 1, "l2":'), twice)
    yield from of_text(14, "10^5 brackets", lambda text: "[" * 10**5, "nested deeper than 64")
    yield from of_text(14, "3,000 objects", lambda text: '{"a":' * 3000 + "1" + "}" * 3000, "nested deeper than 64")
    nested = REGULARIZER
    for _ in range(3000):
        nested = {"class_name": "TimeDistributed", "config": {"layer": nested}}
    for way, benign in (("layers.deserialize", dense()), ("regularizers.deserialize", REGULARIZER)):
        yield Row(14, "3,000 nested dicts", way, nested, benign, "nested deeper than 64")
    yield from of_text(15, "17 MB", lambda text: text + " " * 2**24, "more than 16777216|bytes")
    yield from of_text(15, "a million values", lambda text: "[" + "1," * 10**6 + "1]", "more than 1000000 values")
    yield from of_text(15, "5,000 digits", lambda text: text.replace("0.1", "1" * 5000), "a number of 5000 char")
    yield from of_text(15, "half a pair", lambda text: text.replace('"L2"', '"\\ud800"'), "surrogate pair")
    yield from of_text(15, "a byte order mark", lambda text: "\ufeff" + text, "no JSON")
    for name, bad in (("UTF-16", "utf-16"), ("Latin-1", "latin-1")):
        broken = json.dumps(GOOD).replace('"m"', '"m\xe9"').encode(bad)
        yield Row(15, name, "load_model .keras", keras_file(broken), keras_file(), "not UTF-8")
        broken = json.dumps(plan()).replace('"L2"', '"L2\xe9"').encode(bad)
        yield Row(15, name, "Penalties.load", broken, json.dumps(plan()), "not UTF-8")


def sizes():
    small = "largest size|more values than|values are the most|characters|axes are the most|least|>= 1|integer"
    yield from of_layer(16, "units", dense(units=LARGE), small)
    yield from of_model(16, "units below the largest size", sequential(dense(units=2**30), dense("b", 2)), small)
    for name, entry in {
        "RepeatVector": layer("RepeatVector", n=10**9),
        "Reshape": layer("Reshape", target_shape=[2, 2, 10**9]),
        "Embedding": layer("Embedding", input_dim=2**30, output_dim=2**30),
    }.items():
        yield from of_model(16, name, sequential(entry), small + "|cannot give")
    for name, entry in {
        "Conv2D": layer("Conv2D", filters=10**9, kernel_size=[10**4, 10**4]),
        "UpSampling2D": layer("UpSampling2D", size=[10**5, 10**5]),
        "ZeroPadding2D": layer("ZeroPadding2D", padding=10**6),
        "Conv2DTranspose": layer("Conv2DTranspose", filters=1, kernel_size=2, strides=10**6),
    }.items():
        image = {"class_name": "InputLayer", "config": {"batch_shape": [None, 4, 4, 1], "name": "in"}}
        bad = {"class_name": "Sequential", "config": {"name": "m", "layers": [image, entry]}}
        yield from of_model(16, name, bad, small + "|cannot")
    for shape in ([None, 10**9], [None, LARGE], [None, 2**20, 2**20, 2**20], [10**9, 4], [None, *[1] * 5000]):
        first = {"class_name": "InputLayer", "config": {"batch_shape": shape, "name": "in"}}
        bad = {"class_name": "Sequential", "config": {"name": "m", "layers": [first, dense()]}}
        yield from of_model(16 if len(shape) < 9 else 17, f"Input {shape!s:.30}", bad, small)
        yield from of_model(
            17, f"functional Input {shape!s:.30}", functional([called(first), called(dense("b"), "in")]), small
        )
    metric = {"class_name": "AUC", "config": {"num_thresholds": 10**9}}
    compiled = {"optimizer": "sgd", "loss": "mse", "metrics": [metric]}
    good = {**compiled, "metrics": [{"class_name": "AUC", "config": {"num_thresholds": 10}}]}
    texts_of_models = [json.dumps({**GOOD, "compile_config": each}) for each in (compiled, good)]
    yield Row(
        16, "a metric's table", "load_model .keras", *map(keras_file, texts_of_models), "AUC: num_thresholds is at"
    )
    for value in (-3, 0, True, 2.5, "3", 2**64 + 3, 2**32 + 3, None, [3], {}):
        yield from of_layer(17, f"units {value!r}", dense(units=value), "units")
    for value in ([2**32, 2**32], [-1, 0], [True], ["4"], [2.5]):
        yield from of_layer(17, f"target_shape {value}", layer("Reshape", target_shape=value), "shape|cannot")


def graphs():
    twin = sequential(dense("a"), dense("a", 2))
    yield from of_model(18, "two layers of one name", twin, "two different layers are named 'a'")
    good = [called(FIRST), called(dense("a"), "in"), called(dense("b", 2), "a")]
    benign = functional(good)
    yield from of_model(18, "functional, one name", functional([*good, called(dense("a"), "in")]), "two layers", benign)
    cycle = [called(FIRST), called(dense("a"), "b"), called(dense("b", 2), "a")]
    yield from of_model(18, "a cycle", functional(cycle), "in a cycle", benign)
    itself = [called(FIRST), called(dense("b"), "b")]
    yield from of_model(18, "a layer of itself", functional(itself), "in a cycle", benign)
    yield from of_model(18, "a call of none", functional([called(FIRST), called(dense("b"), "c")]), "no call 0", benign)
    for tag in ("__numpy__", "__tensor__", "__typespec__", "__bytes__", "__class__", "__anything__"):
        value = {"class_name": tag, "config": {"value": [1.0], "dtype": "float32"}}
        yield from of_regularizer(19, f"strength {tag}", regularizer(config={"l2": value}), "l2 must be a finite real")
        yield from of_layer(19, f"units {tag}", dense(units=value), "units must be an integer")
        yield from of_layer(19, f"layer {tag}", {**value, "config": {**value["config"]}}, f"unknown layer '{tag}'")
        yield from of_model(19, f"argument {tag}", with_argument(value), "cannot be an argument of a call", benign)


def shown():
    """Names that would fill a screen, or change what stands before them."""
    for name in ("x" * 10**5, "a\nb\x1b[31m\u202e", "\x00"):
        yield from of_layer(36, f"class {name!r:.10}", {**dense(), "class_name": name}, "unknown layer")
        yield from of_layer(36, f"layer {name!r:.10}", dense(name), "name must be a string")
        yield from of_layer(36, f"argument {name!r:.10}", dense(**{name: 1}), "an argument's name is an identifier")
        yield from of_regularizer(36, f"class {name!r:.10}", regularizer(class_name=name), "unknown regularizer")
        yield from of_regularizer(36, f"key {name!r:.10}", regularizer(**{name: 1}), "unknown key")
        yield from of_regularizer(36, f"registered {name!r:.10}", regularizer(registered_name=name), "registered_name")
        config = regularizer(config={name: 1})
        yield from of_regularizer(36, f"argument of L2 {name!r:.10}", config, "unknown key|missing")
        yield from of_regularizer(36, f"no values {name!r:.10}", regularizer(class_name=name, config=3), "must be a")
        function = {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
        yield from of_regularizer(36, f"function {name!r:.10}", function, "unknown")
        yield from of_layer(36, f"activation {name!r:.10}", dense(activation=name), "unknown activation")
    for key in ("layers", "module", "build_config"):
        bad = json.loads(json.dumps(GOOD))
        bad["config"][key + "x" * 10**5] = 1
        yield from of_model(36, f"key of a model {key}", bad, "argument|key")


def rows():
    for part in (classes, names, texts, sizes, graphs, shown):
        yield from part()


assert caller().built
