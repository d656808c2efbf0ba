"""`clone_model`: the same model anew, with weights and regularizer objects of its own."""

from __future__ import annotations

import copy
from typing import Any

from penalize.errors import ArgumentError
from penalize.layers import InputLayer, Layer
from penalize.layers.cloning import fresh_copy
from penalize.layers.symbolic import Node
from penalize.models.functional import takes_a_graph
from penalize.models.model import Model
from penalize.models.sequential import Sequential

__all__ = ["clone_model"]


def clone_model(model: Model) -> Model:
    """A model of the same layers, arguments and names, as they are now, with fresh weights.

    Regularizers are copies, so that changing a strength here leaves the other model alone; also those that were set
    after building, and those of the model itself. A layer that stands in several places stands in all of them again.
    `trainable` of every layer and the settings of `compile` are kept. A subclass of `Model` is made anew from its
    arguments, each of which must be an attribute of the same name.

    Raises ArgumentError for what is no Model. Source: Keras 3.15.1, `keras.models.clone_model`.

    >>> import penalize
    >>> model = penalize.Sequential([penalize.Input((3,)), penalize.layers.Dense(2, kernel_regularizer="l2")])
    >>> clone = clone_model(model)
    >>> clone.layers[0].kernel_regularizer
    L2(l2=0.01)
    """
    if not isinstance(model, Model):
        raise ArgumentError(f"clone_model takes a Model, got {type(model).__name__}: {model!r:.80}")
    clones: dict[int, Any] = {}
    clone = _cloned(model, clones)
    assert isinstance(clone, Model)
    return clone


def _cloned(layer: Any, clones: dict[int, Any]) -> Any:
    """The clone of a layer or model, made once."""
    if id(layer) not in clones:
        if isinstance(layer, Sequential):
            clone: Any = _like(layer, Sequential)
            if layer.input_layer is not None:
                clone.add(_cloned(layer.input_layer, clones))
            for part in layer.stack:
                clone.add(_cloned(part, clones))
        elif isinstance(layer, Model) and layer.graph is not None and takes_a_graph(type(layer)):
            clone = _functional(layer, clones)
        elif isinstance(layer, InputLayer):
            clone = InputLayer(batch_shape=layer.batch_shape, dtype=layer.dtype, name=layer.name)
        else:
            clone = fresh_copy(layer)
        if isinstance(layer, Model):
            clone.copy_compilation(layer)
        _keep_settings(layer, clone)
        clones[id(layer)] = clone
    return clones[id(layer)]


def _like(model: Model, kind: type[Model], **arguments: Any) -> Model:
    """A model with the arguments that every layer has."""
    return kind(
        **arguments,
        activity_regularizer=fresh_copy(model.activity_regularizer),
        mask_activity=model.mask_activity,
        dtype=model.dtype_policy if model.dtype_given else None,
        autocast=model.autocast,
        name=model.name,
    )


def _functional(model: Model, clones: dict[int, Any]) -> Model:
    """Every call of the graph again, with the clones of its layers."""
    graph = model.graph
    assert graph is not None

    def cloned(node: Node) -> Any:
        function = graph.function(node, model._modules)
        return _cloned(function, clones) if isinstance(function, Layer) else function

    sources = [cloned(source.node).symbolic() for source in graph.sources]
    inputs, outputs, added = graph.applied_to(sources, cloned)
    clone = _like(model, type(model), inputs=inputs, outputs=outputs)
    for tensor in added:
        clone.add_loss(tensor)
    return clone


def _keep_settings(layer: Any, clone: Any) -> None:
    """What was set on the layers after they were made: names, penalties, constraints, frozen weights."""
    _build_alike(layer, clone)
    ours = [part for part in layer.modules() if isinstance(part, Layer)]
    theirs = [part for part in clone.modules() if isinstance(part, Layer)]
    if [type(part) for part in ours] != [type(part) for part in theirs]:
        raise ArgumentError(
            f"{layer.name}: cannot be made anew: {type(layer).__name__} of the same arguments has other layers inside"
        )
    memo: dict[int, Any] = {}
    for mine, copied in zip(ours, theirs, strict=True):
        copied._name, copied._trainable = mine._name, mine._trainable
        copied.mask_activity = mine.mask_activity
        copied.declarations.activity.regularizer = copy.deepcopy(mine.declarations.activity.regularizer, memo)
        for name, weight in mine._own_weights().items():
            if name in copied.declarations.weights:
                own = copied.own_weight(name)
                own.regularizer, own.constraint = copy.deepcopy((weight.regularizer, weight.constraint), memo)
        for attribute, parameter in copied.named_parameters(recurse=False):
            held = mine._parameters.get(attribute)
            if held is not None:
                parameter.requires_grad_(held.requires_grad)


def _build_alike(layer: Any, clone: Any) -> None:
    """Build what is built there, each before the modules in it are asked for: some are only made then."""
    for mine, copied in zip(layer.modules(), clone.modules(), strict=False):
        if type(mine) is not type(copied):
            return
        if isinstance(mine, Layer) and mine.built and not copied.built and mine.build_shape is not None:
            copied.build(mine.build_shape)
