"""`Weighted`: a module whose weights are described once, for building, penalties, reading, writing and freezing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from penalize import constraints, initializers
from penalize.arguments import as_dtype
from penalize.constraints.projection import project
from penalize.errors import ArgumentError, ShapeError, naming, nearest
from penalize.evaluation import activity_losses, weight_losses
from penalize.layers.creation import account_for, filled_later
from penalize.layers.dtypes import DTypePolicy
from penalize.layers.tracking import as_container, declared_targets, weights_below
from penalize.layers.weights import Weight
from penalize.placement import Declarations, Layout, PerThread
from penalize.regularizers.base import needs_start
from penalize.regularizers.penalty import check_penalty

__all__ = ["Weighted"]


class Computing:
    """The dtype in which a layer of mixed precision sees its own weights while it computes."""

    def __init__(self) -> None:
        self.weights_as: torch.dtype | None = None


class Weighted(nn.Module):
    """What `Layer` is made on: its weights, under Keras's names and in torch's layout."""

    def __init__(self, name: str, policy: DTypePolicy, trainable: bool) -> None:
        super().__init__()
        self._penalize_declarations = Declarations()
        self._name = name
        self._policy = policy
        self._trainable = trainable
        self._computing = PerThread(Computing)

    # What a subclass uses.

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
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
        self.declare_weight(weight_name, start, regularizer, constraint, attribute=attribute, trainable=trainable)
        parameter: nn.Parameter = self.build_weight(weight_name, shape, dtype)
        return parameter

    def declare_weight(
        self,
        name: str,
        initializer: Any,
        regularizer: Any = None,
        constraint: Any = None,
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
        argument = f"{self.name}: {name.removesuffix('_kernel')}"
        with naming(f"{argument}_initializer"):
            start = initializers.get(initializer)
        with naming(f"{argument}_constraint"):
            kept = constraints.get(constraint)
        with naming(f"{argument}_regularizer"):
            weight = Weight(name, attribute, start, regularizer, kept, layout or Layout(), trainable, buffer)
        self.declarations.weights[name] = weight
        if buffer:
            self.register_buffer(attribute, None)
        else:
            self.register_parameter(attribute, None)

    def build_weight(
        self,
        name: str,
        shape: Sequence[int],
        dtype: Any = None,
        draw: Callable[..., torch.Tensor] | None = None,
    ) -> Any:
        """Create a declared weight of this shape, which is that of Keras's layout; `draw` replaces its initializer."""
        weight = self.own_weight(name)
        kind = self.variable_dtype if dtype is None else as_dtype(dtype, self.name)
        sizes = tuple(int(size) for size in shape)
        account_for(sizes, f"{self.name}.{name}")
        with torch.no_grad():
            if filled_later():
                # Memory that is never written to takes no place, so nothing is copied.
                shape = weight.layout.to_torch(torch.empty(sizes, device="meta")).shape
                start = torch.empty(shape, dtype=kind, device=self._build_device)
            else:
                start = weight.layout.to_torch((draw or weight.initializer)(sizes, dtype=kind))
                start = start.to(self._build_device, copy=True, memory_format=torch.contiguous_format)
        if weight.buffer:
            self.register_buffer(weight.attribute, start)
            return start
        parameter = nn.Parameter(
            start, requires_grad=weight.trainable and self._trainable and start.is_floating_point()
        )
        self.register_parameter(weight.attribute, parameter)
        self.check_regularizer(weight, weight.regularizer)
        return parameter

    def own_weight(self, name: str) -> Weight:
        """The description of a weight of this layer, by Keras's name."""
        weight = self.declarations.weights.get(name)
        if not isinstance(weight, Weight):
            raise ArgumentError(f"{self.name}: no weight {name!r}: {nearest(name, self._own_weights())}")
        return weight

    def check_regularizer(self, weight: Weight, regularizer: Any) -> None:
        """Refuse a regularizer that does not fit a weight; one that is not built yet is checked when it is."""
        tensor = self._parameters.get(weight.attribute)
        # One that takes the weight for its start does so when its penalty is first asked for: after loading weights.
        if tensor is not None and not needs_start(regularizer):
            check_penalty(regularizer, weight.layout.to_keras(tensor), f"{self.name}: {weight.argument}_regularizer")

    # What a user sees.

    @property
    def name(self) -> str:
        """The layer's name in `summary` and in errors."""
        return self._name

    @property
    def dtype_policy(self) -> DTypePolicy:
        """What weights are kept in and what the layer computes in."""
        return self._policy

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that weights are created in."""
        return self._policy.variable_dtype

    @property
    def variable_dtype(self) -> torch.dtype:
        """The dtype that weights are created in."""
        return self._policy.variable_dtype

    @property
    def compute_dtype(self) -> torch.dtype:
        """The dtype that the layer computes in."""
        return self._policy.compute_dtype

    @property
    def declarations(self) -> Declarations:
        """What this layer declares to penalize: its weights by Keras's names, its activity, and the record of calls."""
        return self._penalize_declarations

    @property
    def trainable(self) -> bool:
        """Whether this layer's weights are trained and penalized; setting it sets all layers inside, too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        _set_trainable(self, bool(value))

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

    @property
    def trainable_weights(self) -> list[torch.Tensor]:
        """Those of `weights` that take a gradient."""
        return [weight for weight in self.weights if weight.requires_grad]

    @property
    def non_trainable_weights(self) -> list[torch.Tensor]:
        """Those of `weights` that take none: frozen ones and running statistics."""
        return [weight for weight in self.weights if not weight.requires_grad]

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights as NumPy arrays, in Keras's layout and order."""
        return [_as_array(layout.to_keras(parameter.detach())) for layout, parameter in weights_below(self)]

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

    @torch.no_grad()
    def apply_constraints(self) -> None:
        """Project every constrained weight, of this layer and all in it, onto its constraint.

        `fit` does it after each step of the optimizer; in a loop of your own, call it after `optimizer.step()`.
        """
        for module, weight in self.constrained_weights():
            parameter = module._parameters.get(weight.attribute)
            if parameter is not None and parameter.requires_grad:
                where = f"{module.name}: {weight.argument}_constraint"
                projected = project(weight.constraint, weight.layout.to_keras(parameter), where)
                parameter.copy_(weight.layout.to_torch(projected))

    def constrained_weights(self) -> list[tuple[Weighted, Weight]]:
        """The weights that have a constraint, of this layer and all in it, each behind the layer that holds it."""
        layers = [module for module in self.modules() if isinstance(module, Weighted)]
        own = [(layer, weight) for layer in layers for weight in layer._own_weights().values()]
        return [(layer, weight) for layer, weight in own if weight.constraint is not None]

    def parts_in_files(self) -> Iterator[tuple[str, Any]]:
        """The layers, and lists of layers, directly inside, by the names that Keras's weight files have for them."""
        for name, part in sorted(self._modules.items()):
            if part is not None:
                yield name, part

    # How it is held.

    @property
    def _build_device(self) -> torch.device:
        device: torch.device | None = self.__dict__.get("_device_of_new_weights")
        return torch.get_default_device() if device is None else device

    def _own_weights(self) -> dict[str, Weight]:
        return {name: weight for name, weight in self.declarations.weights.items() if isinstance(weight, Weight)}

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        # While a layer of mixed precision computes, it sees its own weights in the dtype that it computes in.
        if (
            self._policy.mixed
            and isinstance(value, torch.Tensor)
            and name in self._parameters
            and value.is_floating_point()
        ):
            dtype = self._computing.own.weights_as
            return value if dtype is None else value.to(dtype)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # torch would take a regularizer that is a module for a part of the layer, and miss the property of that name.
        if isinstance(value, nn.Module) and name.endswith("_regularizer"):
            object.__setattr__(self, name, value)
            return
        if isinstance(value, nn.Parameter):
            self._rename_weight(value, name)
        # torch itself sets the table of modules on the replicas that it makes.
        value = value if name == "_modules" else as_container(value)
        if isinstance(value, nn.Module):
            self._freeze_below_frozen(value)
        super().__setattr__(name, value)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        self._freeze_below_frozen(module)
        super().add_module(name, module)

    def _freeze_below_frozen(self, module: nn.Module | None) -> None:
        """What is put into a layer that is not trainable is not trainable, either."""
        if module is not None and not self.__dict__.get("_trainable", True):
            _set_trainable(module, False)

    def _rename_weight(self, parameter: nn.Parameter, attribute: str) -> None:
        """`self.scale = self.add_weight(...)`: the weight takes the attribute's name, and is registered once."""
        for weight in self._own_weights().values():
            if weight.attribute != attribute and self._parameters.get(weight.attribute) is parameter:
                del self._parameters[weight.attribute]
                weight.attribute = attribute


def _set_trainable(whole: nn.Module, value: bool) -> None:
    for module in whole.modules():
        declared = {}
        if isinstance(module, Weighted):
            module._trainable = value
            declared = {weight.attribute: weight for weight in module._own_weights().values()}
        for attribute, parameter in module.named_parameters(recurse=False):
            own = declared.get(attribute)
            parameter.requires_grad_(value and (own is None or own.trainable) and parameter.is_floating_point())


def _as_array(tensor: torch.Tensor) -> np.ndarray:
    # NumPy has no bfloat16.
    wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    array: np.ndarray = wide.cpu().numpy().copy()
    return array
