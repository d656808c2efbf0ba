"""Choosing targets: what modules declare, and rules from patterns to regularizers, the last match winning."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from penalize.errors import ArgumentError, ArrayError, PenalizeError, TargetError, nearest
from penalize.placement.computed import computed_weights, present_weight
from penalize.placement.declared import declarations_of
from penalize.placement.records import Record
from penalize.placement.targets import SAME_LAYOUT, ActivityTarget, Declaration, WeightDeclaration, WeightTarget
from penalize.regularizers import get

__all__ = [
    "Rules",
    "aliases",
    "check_built",
    "declared_activities",
    "declared_weights",
    "exact_activities",
    "exact_weights",
    "module_names",
    "parameter_names",
    "select_activities",
    "select_weights",
]

Rules = Mapping[Any, Any]


@dataclass
class _Candidate:
    """One parameter, or one module, under all the names that the model has for it.

    For a weight that a module computes, `thing` stands for it, and `made_of` are the parameters behind it.
    """

    names: list[str]
    module: nn.Module
    attribute: str
    thing: Any
    made_of: Sequence[nn.Parameter] = ()

    def matches(self, key: Any) -> bool:
        if isinstance(key, str):
            return any(fnmatch.fnmatchcase(name, key) for name in self.names)
        if isinstance(key, type):
            return isinstance(self.module, key)
        thing = present_weight(self.module, self.attribute, self.names[0]) if self.made_of else self.thing
        return any(key(name, thing) for name in self.names)


def select_weights(model: nn.Module, rules: Rules) -> dict[str, WeightTarget]:
    """The weight targets of a model by dotted name: declared ones, overridden by rules. A tied weight is one target."""
    targets = {}
    check_built(model)
    candidates = _parameters(model)
    chosen = _apply(rules, candidates, "weights", "parameter")
    for candidate in candidates:
        declaration = _declared_weight(candidate.module, candidate.attribute)
        if id(candidate.thing) in chosen:
            layout = SAME_LAYOUT if declaration is None else declaration.layout
            declaration = WeightDeclaration(candidate.attribute, chosen[id(candidate.thing)], layout)
        # A weight that is declared without a regularizer may be given one later.
        if declaration is not None and (declaration.regularizer is not None or id(candidate.thing) not in chosen):
            target = WeightTarget(candidate.names[0], candidate.module, declaration)
            if declaration.regularizer is not None:
                _check_weight(target)
            targets[target.name] = target
    return targets


def select_activities(model: nn.Module, rules: Rules) -> dict[str, ActivityTarget]:
    """The activity targets of a model by dotted name (the model itself is ""): declared ones, overridden by rules."""
    targets = {}
    candidates = _modules(model)
    chosen = _apply(rules, candidates, "activity", "module")
    for candidate in candidates:
        name = candidate.names[0]
        declared = declarations_of(candidate.module)
        added = None if declared is None else declared.added
        if id(candidate.thing) in chosen:
            # A rule stands in the place of the declared regularizer; what the module adds by itself stays.
            if chosen[id(candidate.thing)] is not None or added is not None:
                declaration = Declaration(chosen[id(candidate.thing)])
                targets[name] = ActivityTarget(name, candidate.module, declaration, Record(), added)
        elif declared is not None:
            targets[name] = ActivityTarget(name, candidate.module, declared.activity, declared.record, added)
    return targets


def declared_weights(model: nn.Module) -> dict[str, WeightDeclaration]:
    """What layers declare of the weights of a model, by their first names."""
    found = {each.names[0]: _declared_weight(each.module, each.attribute) for each in _parameters(model)}
    return {name: declaration for name, declaration in found.items() if declaration is not None}


def declared_activities(model: nn.Module) -> dict[str, Declaration]:
    """What layers declare of their outputs, by their first names."""
    found = {each.names[0]: declarations_of(each.module) for each in _modules(model)}
    return {name: declared.activity for name, declared in found.items() if declared is not None}


def exact_weights(model: nn.Module, regularizers: Mapping[str, Any]) -> dict[str, WeightTarget]:
    """A target for each of these parameters, under the first name that the model has for it, whatever layers declare.

    What is declared but not given is a target without regularizer, which may be given one later.
    """
    targets = {}
    for candidate in _parameters(model):
        name = candidate.names[0]
        declared = _declared_weight(candidate.module, candidate.attribute)
        if declared is not None or name in regularizers:
            layout = SAME_LAYOUT if declared is None else declared.layout
            declaration = WeightDeclaration(candidate.attribute, regularizers.get(name), layout)
            targets[name] = WeightTarget(name, candidate.module, declaration)
            if declaration.regularizer is not None:
                _check_weight(targets[name])
    return targets


def exact_activities(model: nn.Module, regularizers: Mapping[str, Any]) -> dict[str, ActivityTarget]:
    """The same for modules, whose outputs are penalized. What a module adds by itself (`add_loss`) stays."""
    targets = {}
    for candidate in _modules(model):
        name = candidate.names[0]
        declared = declarations_of(candidate.module)
        if declared is not None or name in regularizers:
            added = None if declared is None else declared.added
            declaration = Declaration(regularizers.get(name))
            targets[name] = ActivityTarget(name, candidate.module, declaration, Record(), added)
    return targets


def aliases(model: nn.Module) -> dict[str, str]:
    """From every name of a parameter or module to the first one, which names its target."""
    return {**module_names(model), **parameter_names(model)}


def parameter_names(model: nn.Module) -> dict[str, str]:
    """From every name of a parameter to the first one."""
    return _first_names(_parameters(model))


def module_names(model: nn.Module) -> dict[str, str]:
    """From every name of a module to the first one; the model itself is ""."""
    return _first_names(_modules(model))


def check_built(model: nn.Module) -> None:
    """Refuse a model with layers whose weights are not known yet."""
    for path, module in model.named_modules():
        declared = declarations_of(module)
        if declared is not None and not declared.built:
            name = getattr(module, "name", path)
            raise TargetError(f"{name} is not built, so its weights are not known; call the model once, then attach")


def _first_names(candidates: list[_Candidate]) -> dict[str, str]:
    return {name: candidate.names[0] for candidate in candidates for name in candidate.names}


def _parameters(model: nn.Module) -> list[_Candidate]:
    found: dict[Any, _Candidate] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        before = f"{prefix}." if prefix else ""
        for attribute, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            known = found.setdefault(id(parameter), _Candidate([], module, attribute, parameter))
            known.names.append(f"{before}{attribute}")
        for attribute, made_of in computed_weights(module).items():
            known = found.setdefault((module, attribute), _Candidate([], module, attribute, object(), made_of))
            known.names.append(f"{before}{attribute}")
    return list(found.values())


def _modules(model: nn.Module) -> list[_Candidate]:
    found: dict[int, _Candidate] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        found.setdefault(id(module), _Candidate([], module, "", module)).names.append(name)
    return list(found.values())


def _apply(rules: Rules, candidates: list[_Candidate], argument: str, kind: str) -> dict[int, Any]:
    """From the identity of each matched thing to the regularizer of the last rule that matches it."""
    if not isinstance(rules, Mapping):
        raise ArgumentError(f"{argument} must be a dict from patterns to regularizers, got {type(rules).__name__}")
    chosen: dict[int, Any] = {}
    for key, identifier in rules.items():
        _check_key(key, argument)
        try:
            regularizer = get(identifier)
        except PenalizeError as error:
            raise type(error)(f"{argument}[{_shown(key)}]: {error}") from error
        matched = [candidate for candidate in candidates if candidate.matches(key)]
        if not matched:
            names = [name for candidate in candidates for name in candidate.names if name]
            hint = nearest(key, names) if isinstance(key, str) else nearest("", names)
            raise TargetError(f"{argument}[{_shown(key)}] matches no {kind} of the model: {hint}")
        # A key that matches a computed weight means that one, and not also what it is computed from.
        behind = {id(parameter) for candidate in matched for parameter in candidate.made_of}
        for candidate in matched:
            if id(candidate.thing) not in behind:
                chosen[id(candidate.thing)] = regularizer
    return chosen


def _check_key(key: Any, argument: str) -> None:
    if isinstance(key, type) and not issubclass(key, nn.Module):
        raise ArgumentError(f"{argument}: a class used as a key must be an nn.Module class, got {key.__name__}")
    if isinstance(key, nn.Module) or (not isinstance(key, str) and not callable(key)):
        raise ArgumentError(
            f"{argument}: a key is a glob pattern, an nn.Module class or a predicate (name, object) -> bool, "
            f"got {key!r:.80}"
        )


def _shown(key: str | type | Callable[..., Any]) -> str:
    return repr(key) if isinstance(key, str) else getattr(key, "__name__", repr(key))


def _declared_weight(module: nn.Module, attribute: str) -> WeightDeclaration | None:
    declared = declarations_of(module)
    if declared is None:
        return None
    return next((weight for weight in declared.weights.values() if weight.attribute == attribute), None)


def _check_weight(target: WeightTarget) -> None:
    """Refuse now what would fail at the first step: weights without values, regularizers that do not fit them."""
    tensor = target.tensor()
    if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
        raise TargetError(f"{target.name}: the parameter has no shape yet; call the model once, then attach")
    if not tensor.dtype.is_floating_point:
        raise ArrayError(f"{target.name}: only real floating-point weights can be penalized, got dtype {tensor.dtype}")
    target.regularizer = target.regularizer
