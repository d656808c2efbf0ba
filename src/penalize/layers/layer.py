"""`Layer`: a torch module with Keras's life of a layer: declare, build at the first call, call, record penalties."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from penalize import initializers
from penalize.arguments import as_dtype, integer
from penalize.errors import ArgumentError, ShapeError, naming, nearest
from penalize.evaluation import activity_losses, weight_losses
from penalize.layers.inputs import as_tensors, shapes_of
from penalize.layers.naming import unique_name
from penalize.layers.tracking import as_container, declared_targets, weights_below
from penalize.layers.weights import Weight
from penalize.placement import (
    Declarations,
    Layout,
    enter_call,
    exit_call,
    output_tensors,
    record_activity,
    record_value,
    records_below,
)

__all__ = ["Layer"]

# What every module keeps of itself, its table of modules among it.
TORCHS_OWN = frozenset(vars(nn.Module()))

BASE_ARGUMENTS = ("activity_regularizer", "trainable", "dtype", "name", "input_shape", "input_dim")


class Layer(nn.Module):
    """The base of all layers, and of your own: an `nn.Module` that works inside any PyTorch model.

    A subclass defines `call(inputs)` and, where its weights depend on the input, `build(input_shape)`, which creates
    them with `add_weight`. It is built at the first call. Parameters have torch's layout and torch's names, so that
    `state_dict` fits torch checkpoints; regularizers see Keras's layout.

    Parameters
    ----------
    activity_regularizer
        Penalizes the output: anything that `regularizers.get` takes. The penalty is divided by the size of axis 0 (an
        empty batch gives 0, a rank-0 output is not divided). Can be set later, on every layer.
    trainable
        False freezes the layer's weights: they take no gradient and pay no penalty; its activity still does.
    dtype
        Of the weights: a torch dtype or its name; default "float32".
    name
        Shown in `summary` and in errors; default the class's name in snake case, numbered.
    input_shape, input_dim
        The shape of one input without the batch axis, for the first layer of a `Sequential`.

    Raises ArgumentError for unknown or bad arguments. Source: Keras 3.15.1, `keras.layers.Layer`.

    >>> import torch, penalize
    >>> class Scale(penalize.Layer):
    ...     def build(self, input_shape):
    ...         self.scale = self.add_weight((input_shape[-1],), initializer="ones", regularizer="l2")
    ...     def call(self, inputs):
    ...         return inputs * self.scale
    >>> layer = Scale(activity_regularizer="l1")
    >>> layer(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    >>> [round(loss.item(), 4) for loss in layer.losses]
    [0.03, 0.03]
    """

    _call_takes_training: ClassVar[bool] = False

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        name: str | None = None,
        input_shape: Sequence[int | None] | None = None,
        input_dim: int | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        self._penalize_declarations = Declarations()
        kind = type(self).__name__
        if unknown:
            key = next(iter(unknown))
            known = [*inspect.signature(type(self)).parameters, *BASE_ARGUMENTS]
            raise ArgumentError(f"{kind}: unknown argument {key!r}: {nearest(key, known)}")
        self._name = unique_name(kind) if name is None else str(name)
        self._dtype = as_dtype(dtype, kind)
        self._trainable = bool(trainable)
        self.declarations.built = False
        if input_dim is not None:
            input_shape = (integer("input_dim", input_dim, kind),)
        self.input_shape_argument = None if input_shape is None else tuple(input_shape)
        self.activity_regularizer = activity_regularizer

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._call_takes_training = "training" in inspect.signature(cls.call).parameters
        if "build" in cls.__dict__:
            cls.build = _marking_built(cls.__dict__["build"])  # type: ignore[method-assign]

    # What a subclass defines.

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of this shape, batch axis included; nested as the inputs are."""

    def call(self, inputs: Any) -> Any:
        """The output for these inputs; a `training` argument, if there is one, is given the layer's mode."""
        raise NotImplementedError(f"{type(self).__name__} must define call(inputs)")

    # What a subclass uses.

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        regularizer: Any = None,
        name: str | None = None,
    ) -> nn.Parameter:
        """A new parameter of this layer, with its regularizer; `initializer` is "glorot_uniform" by default.

        Assigned to an attribute, it takes that name in `state_dict`. A weight with `trainable=False` pays no penalty.
        """
        declarations = self.declarations.weights
        weight_name = name if name is not None else f"weight_{len(declarations)}"
        if weight_name in declarations:
            raise ArgumentError(f"{self.name}: there is a weight named {weight_name!r} already")
        attribute = weight_name if weight_name.isidentifier() and not hasattr(self, weight_name) else f"_{weight_name}"
        attribute = re.sub(r"\W", "_", attribute)
        start = "glorot_uniform" if initializer is None else initializer
        self.declare_weight(weight_name, start, regularizer, attribute=attribute, trainable=trainable)
        parameter: nn.Parameter = self.build_weight(weight_name, shape, dtype)
        return parameter

    def declare_weight(
        self,
        name: str,
        initializer: Any,
        regularizer: Any = None,
        *,
        attribute: str | None = None,
        layout: Layout | None = None,
        trainable: bool = True,
        buffer: bool = False,
    ) -> None:
        """Describe a weight that `build_weight` creates later; until then the attribute that will hold it is None.

        A `buffer` is no parameter: the layer changes it by itself, as running statistics.
        """
        attribute = name if attribute is None else attribute
        with naming(f"{self.name}: {name}_initializer"):
            start = initializers.get(initializer)
        with naming(f"{self.name}: {name.removesuffix('_kernel')}_regularizer"):
            weight = Weight(name, attribute, start, regularizer, layout or Layout(), trainable, buffer)
        self.declarations.weights[name] = weight
        if buffer:
            self.register_buffer(attribute, None)
        else:
            self.register_parameter(attribute, None)

    def build_weight(self, name: str, shape: Sequence[int], dtype: Any = None) -> Any:
        """Create a declared weight of this shape, which is that of Keras's layout."""
        weight = self._own_weights()[name]
        kind = self._dtype if dtype is None else as_dtype(dtype, self.name)
        with torch.no_grad():
            start = weight.initializer(tuple(int(size) for size in shape), dtype=kind)
            start = weight.layout.to_torch(start).to(self._build_device, copy=True).contiguous()
        if weight.buffer:
            self.register_buffer(weight.attribute, start)
            return start
        parameter = nn.Parameter(
            start, requires_grad=weight.trainable and self._trainable and start.is_floating_point()
        )
        self.register_parameter(weight.attribute, parameter)
        return parameter

    def add_loss(self, loss: Any) -> None:
        """Add a scalar tensor (or a nested structure of tensors, each summed) to `losses`, until the next call.

        Raises ArgumentError for Python numbers and functions, which have no gradient.
        """
        values = loss if isinstance(loss, list | tuple) else [loss]
        for value in values:
            if isinstance(value, list | tuple):
                self.add_loss(value)
            elif isinstance(value, torch.Tensor):
                record_value(self.declarations.added, value if value.ndim == 0 else value.sum())
            else:
                raise ArgumentError(f"{self.name}: add_loss takes tensors, got {type(value).__name__}: {value!r:.80}")

    # What a user sees.

    @property
    def name(self) -> str:
        """The layer's name in `summary` and in errors."""
        return self._name

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that weights are created in."""
        return self._dtype

    @property
    def declarations(self) -> Declarations:
        """What this layer declares to penalize: its weights by Keras's names, its activity, and the record of calls."""
        return self._penalize_declarations

    @property
    def built(self) -> bool:
        """Whether the layer's weights exist: after the first call or `build`."""
        return self.declarations.built

    @built.setter
    def built(self, value: bool) -> None:
        self.declarations.built = bool(value)

    @property
    def activity_regularizer(self) -> Any:
        """The regularizer of the output; setting it takes effect at the next call."""
        return self.declarations.activity.regularizer

    @activity_regularizer.setter
    def activity_regularizer(self, identifier: Any) -> None:
        with naming(f"{self.name}: activity_regularizer"):
            self.declarations.activity.regularizer = identifier

    @property
    def trainable(self) -> bool:
        """Whether this layer's weights are trained and penalized; setting it sets all layers inside, too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for module in self.modules():
            if isinstance(module, Layer):
                module._trainable = bool(value)
                declared = {weight.attribute: weight for weight in module._own_weights().values()}
            for attribute, parameter in module.named_parameters(recurse=False):
                own = declared.get(attribute) if isinstance(module, Layer) else None
                parameter.requires_grad_(
                    bool(value) and (own is None or own.trainable) and parameter.is_floating_point()
                )

    @property
    def losses(self) -> list[torch.Tensor]:
        """The penalties of this layer and all in it, as scalars.

        First all `add_loss` and activity penalties of the last outermost call, in call order; then all weight
        penalties, in creation order, depth first. Frozen and shared weights: none, and once.
        """
        weights, activities = declared_targets(self)
        return [value for _, value in [*activity_losses(activities), *weight_losses(weights)]]

    @property
    def weights(self) -> list[torch.Tensor]:
        """All weights, running statistics among them, in creation order, depth first; a shared one once.

        Each is in torch's layout.
        """
        return [parameter for _, parameter in weights_below(self)]

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights as NumPy arrays, in Keras's layout and order."""
        return [layout.to_keras(parameter.detach()).cpu().numpy().copy() for layout, parameter in weights_below(self)]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all weights from arrays in Keras's layout and order; nothing is set when one does not fit."""
        own = weights_below(self)
        if len(own) != len(weights):
            raise ShapeError(f"{self.name}: expected {len(own)} arrays, got {len(weights)}")
        arrays = [np.asarray(array) for array in weights]
        for index, ((layout, parameter), array) in enumerate(zip(own, arrays, strict=True)):
            expected = tuple(layout.to_keras(parameter).shape)
            if array.shape != expected:
                raise ShapeError(f"{self.name}: array {index} must have shape {expected}, got {array.shape}")
        with torch.no_grad():
            for (layout, parameter), array in zip(own, arrays, strict=True):
                parameter.copy_(layout.to_torch(torch.from_numpy(array.copy())))

    def count_params(self) -> int:
        """The number of values in all weights."""
        return sum(parameter.numel() for parameter in self.weights)

    # The life of a call.

    def forward(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """`call` between the beginning and the end of a recorded call; builds first where that is still to be done."""
        if training is not None and training != self.training:
            return self._in_mode(training, args, kwargs)
        enter_call(self, records_below(self))
        try:
            inputs = [self._as_tensors(arg) for arg in args]
            if not self.built:
                self._build_for(inputs[0] if inputs else None)
            if self._call_takes_training:
                kwargs["training"] = self.training
            output = self.call(*inputs, **kwargs)
            if self.activity_regularizer is not None:
                record_activity(self.declarations.record, self.activity_regularizer, output, self.name)
            return output
        finally:
            exit_call(self)

    def _in_mode(self, training: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        modes = [(module, module.training) for module in self.modules()]
        self.train(training)
        try:
            return self(*args, **kwargs)
        finally:
            for module, mode in modes:
                module.training = mode

    def _build_for(self, inputs: Any) -> None:
        tensors = output_tensors(inputs)
        if tensors:
            self._device_of_new_weights = tensors[0].device
        # Lists that were filled after they were assigned.
        for name, value in list(vars(self).items()):
            if name not in TORCHS_OWN and as_container(value) is not value:
                delattr(self, name)
                setattr(self, name, value)
        self.build(shapes_of(inputs))
        self.built = True  # also for layers that define no build

    @property
    def _build_device(self) -> torch.device:
        device: torch.device | None = self.__dict__.get("_device_of_new_weights")
        return torch.get_default_device() if device is None else device

    def _as_tensors(self, value: Any) -> Any:
        """Arrays as tensors; floating values in the dtype of the layer's own weights, as Keras casts them.

        A layer without weights leaves tensors as they are, so that it works in models of any dtype.
        """
        own = next((p.dtype for p in self.parameters(recurse=False) if p.is_floating_point()), None)
        below = next((p for p in self.parameters() if p.is_floating_point()), None)
        device = torch.device("cpu") if below is None else below.device
        return as_tensors(value, own, (own or self._dtype) if below is None else below.dtype, device)

    def _own_weights(self) -> dict[str, Weight]:
        return {name: weight for name, weight in self.declarations.weights.items() if isinstance(weight, Weight)}

    def __setattr__(self, name: str, value: Any) -> None:
        # torch would take a regularizer that is a module for a part of the layer, and miss the property of that name.
        if isinstance(value, nn.Module) and name.endswith("_regularizer"):
            object.__setattr__(self, name, value)
            return
        if isinstance(value, nn.Parameter):
            self._rename_weight(value, name)
        super().__setattr__(name, as_container(value))

    def _rename_weight(self, parameter: nn.Parameter, attribute: str) -> None:
        """`self.scale = self.add_weight(...)`: the weight takes the attribute's name, and is registered once."""
        for weight in self._own_weights().values():
            if weight.attribute != attribute and self._parameters.get(weight.attribute) is parameter:
                del self._parameters[weight.attribute]
                weight.attribute = attribute

    def extra_repr(self) -> str:
        return f"name={self.name!r}"


def _marking_built(build: Callable[..., None]) -> Callable[..., None]:
    """A layer whose `build` was called, by whomever, is built."""

    @functools.wraps(build)
    def build_and_mark(self: Layer, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        self.built = True

    return build_and_mark
