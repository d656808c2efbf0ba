"""`Layer`: a torch module with Keras's life of a layer: declare, build at the first call, call, record penalties."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import nn

from penalize import activations
from penalize.arguments import integer
from penalize.errors import ArgumentError, naming, nearest
from penalize.layers.described import arguments_from, config_of
from penalize.layers.dtypes import as_policy
from penalize.layers.inputs import as_tensors, cast, dtypes_of, shapes_of
from penalize.layers.naming import unique_name
from penalize.layers.symbolic import apply, find_symbolic, is_symbolic
from penalize.layers.tracking import as_container
from penalize.layers.weighted import Weighted
from penalize.masks import mask_of, masks_of, set_masks
from penalize.placement import enter_call, exit_call, output_tensors, record_activity, record_value, records_below

__all__ = ["Layer"]

# What every module keeps of itself, its table of modules among it.
TORCHS_OWN = frozenset(vars(nn.Module()))

BASE_ARGUMENTS = (
    "activity_regularizer",
    "mask_activity",
    "trainable",
    "dtype",
    "autocast",
    "name",
    "input_shape",
    "input_dim",
)

# Keywords of Keras's layers for what is not here: accepted where they say that it is not used.
NOT_HERE: Mapping[str, Any] = {
    "lora_rank": None,
    "lora_alpha": None,
    "quantization_config": None,
    "gptq_unpacked_column_size": None,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
    "synchronized": False,
}


class Layer(Weighted):
    """The base of all layers, and of your own: an `nn.Module` that works inside any PyTorch model.

    A subclass defines `call(inputs)` and, where its weights depend on the input, `build(input_shape)`, which creates
    them with `add_weight`. It is built at the first call. Parameters have torch's layout and torch's names, so that
    `state_dict` fits torch checkpoints; regularizers see Keras's layout.

    Parameters
    ----------
    activity_regularizer
        Penalizes the output: anything that `regularizers.get` takes. The penalty is divided by the size of axis 0 (an
        empty batch gives 0; a rank-0 output is not divided, nor a penalty of averages over the batch, as `KLSparsity`
        is). Can be set later, on every layer.
    mask_activity
        True: entries of the output that a mask (of `Masking`, or `Embedding(mask_zero=True)`) marks as padding count as
        zeros for `activity_regularizer`. By default they are penalized like all others, as in Keras.
    trainable
        False freezes the layer's weights: they take no gradient and pay no penalty; its activity still does.
    dtype
        A torch dtype or its name, default "float32"; or a policy: "mixed_bfloat16" and "mixed_float16" keep the weights
        in float32 and compute in half precision. Inputs are cast to it.
    autocast
        False: inputs and weights are not cast.
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

    supports_masking = False
    further_arguments: ClassVar[tuple[str, ...]] = ()
    """Arguments that a subclass takes through `**kwargs` beside those of `Layer`."""
    left_out_arguments: tuple[str, ...] = ()
    """Arguments that do not describe the layer as it is now, such as weights to begin with."""

    _call_arguments: ClassVar[tuple[str, ...]] = ()
    _call_takes_training: ClassVar[bool] = False
    _computes_mask: ClassVar[bool] = False

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        mask_activity: bool = False,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Sequence[int | None] | None = None,
        input_dim: int | None = None,
        **unknown: Any,
    ) -> None:
        kind = type(self).__name__
        super().__init__(unique_name(kind) if name is None else str(name), as_policy(dtype, kind), bool(trainable))
        self._refuse(unknown)
        self.autocast = bool(autocast)
        self.dtype_given = dtype is not None
        self.mask_activity = bool(mask_activity)
        self.declarations.built = False
        self.build_shape: Any = None
        self.build_dtypes: Any = None
        if input_dim is not None:
            input_shape = (integer("input_dim", input_dim, kind),)
        self.input_shape_argument = None if input_shape is None else tuple(input_shape)
        self.activity_regularizer = activity_regularizer

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._call_arguments = tuple(inspect.signature(cls.call).parameters)[1:]
        cls._call_takes_training = "training" in cls._call_arguments
        cls._computes_mask = cls.compute_mask is not Layer.compute_mask
        if "build" in cls.__dict__:
            cls.build = _marking_built(cls.__dict__["build"])  # type: ignore[method-assign]

    # What a subclass defines.

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of this shape, batch axis included; nested as the inputs are."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The output for these inputs.

        A `training` argument, if there is one, is given the layer's mode; a `mask` argument the mask of the inputs, and
        an argument `<name>_mask` that of the argument `<name>`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define call(inputs)")

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the output; by default that of the inputs, which is handed on where `supports_masking` is set."""
        return previous_mask

    def penalized_output(self, output: Any) -> Any:
        """What of the output `activity_regularizer` penalizes: all of it, unless a layer returns states beside it."""
        return output

    def input_dtype(self) -> torch.dtype | None:
        """The dtype that floating inputs are cast to; None leaves them as they are.

        It is that of the layer's own weights, which `.to(dtype)` may have changed, unless the policy is a mixed one.
        A layer without weights and without a dtype of its own casts nothing.
        """
        if self._policy.mixed:
            return self.compute_dtype
        for parameter in self._parameters.values():
            if parameter is not None and parameter.is_floating_point():
                return parameter.dtype
        return self.compute_dtype if self.dtype_given else None

    # What a subclass uses.

    def as_activation(self, identifier: Any, argument: str = "activation") -> Callable[[torch.Tensor], torch.Tensor]:
        """The activation function of an argument; errors name the layer and the argument."""
        with naming(f"{self.name}: {argument}"):
            function: Callable[[torch.Tensor], torch.Tensor] = activations.get(identifier)
        return function

    def add_loss(self, loss: Any) -> None:
        """Add a scalar tensor (or a nested structure of tensors, each summed) to `losses`, until the next call.

        Raises ArgumentError for Python numbers and functions, which have no gradient.
        """
        values = loss if isinstance(loss, list | tuple) else [loss]
        for value in values:
            if isinstance(value, list | tuple):
                self.add_loss(value)
            elif isinstance(value, torch.Tensor):
                value = value if value.ndim == 0 else value.sum()
                record_value(self.declarations.added, value, self.declarations.position, self.name)
            else:
                raise ArgumentError(f"{self.name}: add_loss takes tensors, got {type(value).__name__}: {value!r:.80}")

    # What a user sees.

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

    def shape_in_files(self) -> Any:
        """The shape that a file says the layer was built for; None where its config alone builds it."""
        return self.build_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as they are now, in Keras's form: plain numbers, strings, lists and dicts.

        Raises ArgumentError for an argument that is no attribute of the same name, ConfigError for one that could not
        be read back.
        """
        return config_of(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A new layer with the arguments that `get_config` gave."""
        return cls(**arguments_from(config))

    # The life of a call.

    def forward(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """`call` between the beginning and the end of a recorded call; builds first where that is still to be done."""
        if is_symbolic(args, kwargs):
            return self._call_symbolically(args, kwargs, training)
        if training is not None and any(module.training != training for module in self.modules()):
            return self._in_mode(training, args, kwargs)
        declarations = self.declarations
        position = enter_call(self, records_below(self))
        if position:
            declarations.position = position
        try:
            first = args[0] if args else kwargs.get(self._call_arguments[0], next(iter(kwargs.values()), None))
            if not declarations.built:
                self._build_for(first)
            masked = masks_of(first if len(args) == 1 and not kwargs else [*args, *kwargs.values()]) is not None
            if masked:
                self._add_masks(args, kwargs)
            if self._call_takes_training:
                kwargs["training"] = self.training
            given = [self._as_tensors(arg) for arg in args]
            named = {key: self._as_tensors(value) for key, value in kwargs.items()} if kwargs else {}
            output = self.in_compute_dtype(self.call, *given, **named)
            given_mask = named.get("mask")
            if masked or self._computes_mask or given_mask is not None:
                self._hand_on_mask(first, given_mask, output)
            if declarations.activity.regularizer is not None or declarations.placed:
                self._record_activity(output)
            return output
        finally:
            exit_call(self)

    def in_compute_dtype(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What `function` gives while the layer's own weights are seen in the dtype that it computes in."""
        if not (self._policy.mixed and self.autocast):
            return function(*args, **kwargs)
        computing = self._computing.own
        outer = computing.weights_as
        computing.weights_as = self.compute_dtype
        try:
            return function(*args, **kwargs)
        finally:
            computing.weights_as = outer

    def _record_activity(self, output: Any) -> None:
        if torch.compiler.is_exporting():
            return
        penalized = self.penalized_output(output)
        if self.declarations.collected is not None:
            self.declarations.collected.append(penalized)
            return
        if self.mask_activity:
            penalized = [_without_padding(tensor) for tensor in output_tensors(penalized)]
        for declaration, record in self.declarations.paying():
            record_activity(record, declaration, penalized, self.name, self.declarations.position)

    def _add_masks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Give `call` the masks of its inputs, under the names that it takes them by, unless the caller gave some."""
        values = {**dict(zip(self._call_arguments, args, strict=False)), **kwargs}
        for index, argument in enumerate(self._call_arguments):
            name = "mask" if index == 0 and "mask" in self._call_arguments else f"{argument}_mask"
            if name in self._call_arguments and values.get(name) is None:
                mask = masks_of(values.get(argument))
                if mask is not None:
                    kwargs[name] = mask

    def _hand_on_mask(self, inputs: Any, given: Any, output: Any) -> None:
        previous = masks_of(inputs) if given is None else given
        if self.supports_masking:
            set_masks(output, self.compute_mask(inputs, previous))
        elif previous is not None and masks_of(output) is None:
            warnings.warn(
                f"{self.name}: its input has a mask, which {type(self).__name__} does not hand on: layers behind it "
                "take padded entries for real ones",
                stacklevel=2,
            )

    def _call_symbolically(self, args: tuple[Any, ...], kwargs: dict[str, Any], training: bool | None) -> Any:
        """Symbolic outputs for symbolic inputs; zeros are run through the layer, which records nothing."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            outputs = apply(self, args, kwargs)
        finally:
            for module, mode in modes:
                module.training = mode
            for record in records_below(self):
                record.clear()
        if training is not None:
            find_symbolic([outputs])[0].node.kwargs["training"] = training
        return outputs

    def _in_mode(self, training: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        modes = [(module, module.training) for module in self.modules()]
        self.train(training)
        try:
            # Not `self(...)`: hooks run once a call.
            return self.forward(*args, **kwargs)
        finally:
            for module, mode in modes:
                module.training = mode

    def _build_for(self, inputs: Any) -> None:
        inputs = as_tensors(inputs, None, self.variable_dtype, None)
        tensors = output_tensors(inputs)
        if tensors:
            self._device_of_new_weights = tensors[0].device
        # Lists that were filled after they were assigned.
        for name, value in list(vars(self).items()):
            if name not in TORCHS_OWN and as_container(value) is not value:
                delattr(self, name)
                setattr(self, name, value)
        shapes = shapes_of(inputs)
        self.build(shapes)
        # Also for layers that define no build.
        self.built, self.build_shape, self.build_dtypes = True, shapes, dtypes_of(inputs)

    def _as_tensors(self, value: Any) -> Any:
        """Arrays as tensors; floating values in the dtype that the layer computes in, as Keras casts them."""
        dtype = self.input_dtype()
        if isinstance(value, torch.Tensor):
            return cast(value, dtype) if self.autocast else value
        below = next((p for p in self.parameters() if p.is_floating_point()), None)
        device = None if below is None else below.device
        array_dtype = dtype or (self.variable_dtype if below is None else below.dtype)
        return as_tensors(value, dtype if self.autocast else None, array_dtype, device)

    def _refuse(self, unknown: dict[str, Any]) -> None:
        kind = type(self).__name__
        for key, value in unknown.items():
            if key not in NOT_HERE:
                known = [*inspect.signature(type(self)).parameters, *BASE_ARGUMENTS]
                raise ArgumentError(f"{kind}: unknown argument {key!r}: {nearest(key, known)}")
            if value != NOT_HERE[key]:
                raise ArgumentError(
                    f"{kind}: {key} is not available in penalize; it must be {NOT_HERE[key]!r}, got {value!r:.80}"
                )

    def extra_repr(self) -> str:
        return f"name={self.name!r}"


def _without_padding(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with zeros where its mask, which has its first axes, is False."""
    mask = mask_of(tensor)
    if mask is None:
        return tensor
    return torch.where(mask.reshape(*mask.shape, *(1,) * (tensor.ndim - mask.ndim)), tensor, 0)


def _marking_built(build: Callable[..., None]) -> Callable[..., None]:
    """A layer whose `build` was called, by whomever, is built, and knows for which shape."""

    @functools.wraps(build)
    def build_and_mark(self: Layer, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        self.built, self.build_shape = True, next(iter([*args, *kwargs.values()]), None)

    return build_and_mark
