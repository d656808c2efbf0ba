"""Plans: which targets of a model have which regularizers, as JSON that is read strictly.

A plan is an object of four keys: "format" and "version"; "weights" and "activity", from dotted names to a
regularizer's config, as `regularizers.serialize` writes it, or null. A plan states everything: what it does not list is
not penalized, whatever the layers of a model declare. So null says no more than that a name is there and pays nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from penalize.atomic import replacing
from penalize.configs import function_config
from penalize.errors import ArgumentError, ConfigError, PenalizeError, TargetError, nearest
from penalize.placement import (
    ActivityTarget,
    Declaration,
    Target,
    WeightTarget,
    check_built,
    declared_activities,
    declared_weights,
    exact_activities,
    exact_weights,
    module_names,
    parameter_names,
)
from penalize.registry import built_ins, custom_object, custom_object_scope, is_built_in_name
from penalize.regularizers import deserialize, serialize
from penalize.strict_json import parse, read_small_file

__all__ = ["plan_text", "read_plan", "save_plan", "targets_of_plan"]

FORMAT = "penalize.penalties"
VERSION = 1
KEYS = ("format", "version", "weights", "activity")
CONFIG_KEYS = ("module", "class_name", "config", "registered_name")
MOST_TOLD = 5


def plan_text(model: nn.Module, weights: Mapping[str, WeightTarget], activities: Mapping[str, ActivityTarget]) -> str:
    """The plan of these targets of a model, sorted and indented."""
    plan = {
        "format": FORMAT,
        "version": VERSION,
        "weights": _stated("weights", weights, declared_weights(model), parameter_names(model)),
        "activity": _stated("activity", activities, declared_activities(model), module_names(model)),
    }
    text = json.dumps(plan, indent=2, sort_keys=True, allow_nan=False)
    parse(text, "these penalties could not be read back")
    return text


def save_plan(text: str, path: str | os.PathLike[str], overwrite: bool) -> None:
    """Write a plan to a file, whole or not at all."""
    with replacing(path, overwrite=overwrite) as beside:
        beside.write_bytes(f"{text}\n".encode())


def read_plan(path: str | os.PathLike[str]) -> bytes:
    """What the file of a plan holds."""
    return read_small_file(path)


def targets_of_plan(
    model: nn.Module, text: str | bytes, custom_objects: Mapping[str, Any] | None, what: str
) -> tuple[dict[str, WeightTarget], dict[str, ActivityTarget]]:
    """The targets that a plan gives to a model, which is not changed; `what` stands in front of errors."""
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"penalties are put on an nn.Module, got {type(model).__name__}")
    plan = parse(text, what)
    _check_plan(plan, what)
    with _naming(what):
        check_built(model)
    names = {"weights": parameter_names(model), "activity": module_names(model)}
    _check_names(plan, names, what)
    with custom_object_scope(custom_objects):
        weights, activities = (_regularizers(plan[kind], names[kind], f"{what}: {kind}") for kind in names)
    with _naming(what):
        return exact_weights(model, weights), exact_activities(model, activities)


def _stated(
    kind: str, targets: Mapping[str, Target], declared: Mapping[str, Declaration], names: Mapping[str, str]
) -> dict[str, Any]:
    """Config or None by name: of what is penalized, and of what is not although it was a target or is declared."""
    stated: dict[str, Any] = {
        name: None for name, declaration in declared.items() if declaration.regularizer is not None
    }
    for own_name, target in targets.items():
        name = names.get(own_name, own_name)  # of weights that were tied after attaching, the first one pays
        if target.regularizer is not None and stated.get(name) is None:
            stated[name] = _written(target.regularizer, f"{kind}[{own_name!r}]")
        elif name not in declared:
            stated.setdefault(name, None)
    return stated


def _written(regularizer: Any, where: str) -> Any:
    """The config of a regularizer, if JSON gives it back."""
    with _naming(where):
        config = serialize(regularizer)
        if parse(json.dumps(config, allow_nan=False), "its config") != _with_lists(config):
            raise ConfigError(f"the config of {regularizer!r:.80} would come back changed from JSON")
    return config


def _with_lists(value: Any) -> Any:
    """A value as JSON gives it back: tuples are lists."""
    if isinstance(value, dict):
        return {key: _with_lists(item) for key, item in value.items()}
    return [_with_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _check_plan(plan: Any, what: str) -> None:
    if not isinstance(plan, dict):
        raise ConfigError(f"{what}: the plan of penalties is a JSON object, got {type(plan).__name__}")
    _check_keys(plan, KEYS, what)
    if plan["format"] != FORMAT:
        raise ConfigError(f'{what}: "format" must be {FORMAT!r}, got {plan["format"]!r:.80}')
    if type(plan["version"]) is not int or plan["version"] != VERSION:
        raise ConfigError(f'{what}: "version" must be {VERSION}, got {plan["version"]!r:.80}')
    for kind in ("weights", "activity"):
        if not isinstance(plan[kind], dict):
            raise ConfigError(f'{what}: "{kind}" must be an object of names, got {plan[kind]!r:.80}')


def _check_keys(given: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in keys:
            raise ConfigError(f"{where}: unknown key {key!r:.80}: {nearest(key, keys)}")
    missing = [key for key in keys if key not in given]
    if missing:
        raise ConfigError(f"{where}: missing {', '.join(map(repr, missing))}")


def _check_names(plan: Mapping[str, Any], names: Mapping[str, Mapping[str, str]], what: str) -> None:
    missing = [(kind, name) for kind, known in names.items() for name in plan[kind] if name not in known]
    if not missing:
        return
    thing = {"weights": "parameter", "activity": "module"}
    told = [
        f"{kind}[{name!r:.80}] is no {thing[kind]} of the model: {nearest(name, filter(None, names[kind]))}"
        for kind, name in missing[:MOST_TOLD]
    ]
    if len(missing) > MOST_TOLD:
        told.append(f"and {len(missing) - MOST_TOLD} more")
    raise TargetError(f"{what}: {'; '.join(told)}")


def _regularizers(section: Mapping[str, Any], names: Mapping[str, str], where: str) -> dict[str, Any]:
    """The regularizer of each target, by the target's first name."""
    found: dict[str, Any] = {}
    listed: dict[str, str] = {}
    for name, config in section.items():
        here = f"{where}[{name!r:.80}]"
        first = names[name]
        other = listed.setdefault(first, name)
        if section[other] != config:
            raise ConfigError(f"{here} is the same as {other!r:.80}, which has another regularizer here")
        if first not in found:
            found[first] = None if config is None else _read(config, here)
    return found


def _read(config: Any, where: str) -> Any:
    """A regularizer from its config, in which nothing may be left to defaults."""
    if not isinstance(config, dict):
        raise ConfigError(f"{where} must be a regularizer's config or null, got {config!r:.80}")
    _check_keys(config, CONFIG_KEYS, where)
    values = config["config"]
    if config["class_name"] == "function":
        _check_function(config, where)
    elif not isinstance(values, dict):
        raise ConfigError(f'{where}: "config" must be an object, got {values!r:.80}')
    with _naming(where):
        regularizer = deserialize(config)
        if not callable(regularizer):
            raise ConfigError(f"a regularizer is a function of a tensor, got {type(regularizer).__name__}")
        if any(entry.factory is type(regularizer) for entry in built_ins("regularizer")):
            missing = [key for key in regularizer.get_config() if key not in values]
            if missing:
                raise ConfigError(f"its config: missing {', '.join(map(repr, missing))}")
    return regularizer


def _check_function(config: dict[str, Any], where: str) -> None:
    name = config["config"]
    if not isinstance(name, str) or config != function_config(name):
        raise ConfigError(f"{where}: a function's config is {function_config('its name')}, got {config!r:.200}")
    # A class would be called, whatever it is a class of.
    if is_built_in_name("regularizer", name) or isinstance(custom_object(name), type):
        raise ConfigError(f"{where}: {name!r:.80} is a class, where a function belongs")


@contextlib.contextmanager
def _naming(where: str) -> Iterator[None]:
    """Put `where` in front of errors. What custom regularizers raise about a plan becomes a ConfigError."""
    try:
        yield
    except PenalizeError as error:
        raise type(error)(f"{where}: {error}") from error
    except Exception as error:
        told = [*getattr(error, "__notes__", ()), f"{type(error).__name__}: {error!s:.300}"]
        raise ConfigError(f"{where}: {': '.join(told)}") from error
