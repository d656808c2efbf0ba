"""`Model`: a layer that can be compiled, trained, evaluated and asked to predict."""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from penalize import losses, metrics, optimizers
from penalize.arguments import integer
from penalize.binding import attached
from penalize.errors import (
    ArgumentError,
    BindError,
    DataError,
    MissingExtraError,
    NotBuiltError,
    NotCompiledError,
    nearest,
)
from penalize.layers import Layer
from penalize.layers.symbolic import trial
from penalize.models import compilation
from penalize.models.data import (
    as_loader,
    class_weights,
    concatenated,
    first_inputs,
    number_of_batches,
    split,
    validation,
)
from penalize.models.history import History, Logs, print_epoch
from penalize.models.keywords import refuse_keywords
from penalize.models.persistent import Persistent
from penalize.registry import built_in

__all__ = ["Model"]


@built_in("layer", module="keras.src.models.functional", class_name="Functional")
class Model(Persistent):
    """A layer made of layers, with Keras's way to train: `compile`, `fit`, `evaluate`, `predict`, `summary`.

    Subclass it and define `call`; use `Sequential`; or give `inputs`, made with `Input`, and `outputs`, made by calling
    layers with them (each may be a list or dict): `Model(inputs, outputs)`. The penalties of all layers inside are part
    of the loss that is trained on and reported; penalties of `penalize.attach` on the model stand in their place, as
    they contain what the layers declare. It is an `nn.Module`, so it also trains in a loop of your own: `loss =
    criterion(model(x), y) + sum(model.losses)`. Source: Keras 3.15.1, `keras.Model`.

    >>> import numpy as np, penalize
    >>> class Net(penalize.Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.dense = penalize.layers.Dense(1, kernel_regularizer="l2")
    ...     def call(self, inputs):
    ...         return self.dense(inputs)
    >>> model = Net()
    >>> model.compile(optimizer="sgd", loss="mse")
    >>> history = model.fit(np.ones((8, 3)), np.ones(8), epochs=2, verbose=0)
    >>> sorted(history.history)
    ['loss', 'penalty']
    """

    def __init__(self, inputs: Any = None, outputs: Any = None, **kwargs: Any) -> None:
        super().__init__(inputs, outputs, **kwargs)
        self._loss: losses.Loss | None = None
        self._make_metrics: Callable[[], list[Any]] | None = None
        self._optimizer_spec: Any = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._compiled_with: tuple[Any, Any, tuple[Any, ...]] | None = None

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Sequence[Any] | None = None, **unused: Any
    ) -> None:
        """Choose how the model is trained; nothing is computed yet, and weights stay as they are.

        Parameters
        ----------
        optimizer
            A name ("adam"), a spec (`penalize.optimizers.Adam(1e-3)`), a `torch.optim` class, or one made of this
            model's parameters. Specs follow Keras's update rules and defaults.
        loss
            A name ("mse"), a `penalize.losses` object, a function (y_true, y_pred) -> values, a `torch.nn` loss, or
            None to train on the penalties alone.
        metrics
            A list of names ("accuracy"), `penalize.metrics` objects, torchmetrics objects or functions.
        unused
            Keras's further keywords, here and in the methods below, at the values that change nothing.

        Raises UnknownNameError, which offers the nearest name, and ArgumentError.
        """
        refuse_keywords(self.name, self.compile, unused)
        if metrics is not None and (isinstance(metrics, str) or not isinstance(metrics, Sequence)):
            raise ArgumentError(f'metrics must be a list such as ["accuracy"], got {metrics!r:.80}')
        spec, chosen = optimizers.get(optimizer), losses.get(loss)
        make = functools.partial(_make_metrics, tuple(metrics or ()), chosen)
        make()
        self._optimizer_spec, self._loss, self._make_metrics, self._optimizer = spec, chosen, make, None
        self._compiled_with = (spec, loss, tuple(metrics or ()))

    def get_compile_config(self) -> dict[str, Any] | None:
        """What `compile` was given, in Keras's form; None for a model that is not compiled.

        Raises ConfigError for torch's optimizers and losses, and for functions that are not registered.
        """
        if self._compiled_with is None:
            return None
        return compilation.config_of_compilation(*self._compiled_with, self._optimizer)

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile as a config says. Raises ConfigError for what cannot be read."""
        compilation.compile_from_config(self, config)

    def copy_compilation(self, other: Model) -> None:
        """Compile as another model is compiled, with an optimizer of its own.

        An optimizer that was made of the other model's parameters cannot be copied: this model is then not compiled.
        """
        if not isinstance(other._optimizer_spec, torch.optim.Optimizer):
            self._optimizer_spec, self._loss = copy.deepcopy((other._optimizer_spec, other._loss))
            self._make_metrics, self._optimizer = other._make_metrics, None
            self._compiled_with = copy.deepcopy(other._compiled_with)

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The torch optimizer; None before the first `fit`, which makes it."""
        return self._optimizer

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Sequence[Any] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        validation_batch_size: int | None = None,
        trainer: Mapping[str, Any] | None = None,
        **unused: Any,
    ) -> History:
        """Train for `epochs` passes over the data; a second call goes on where the first one stopped.

        Parameters
        ----------
        x, y
            Arrays or tensors with the same first axis; x may be a list or dict of them for a model of several inputs,
            or a DataLoader of (x, y) or (x, y, sample_weight).
        batch_size
            32 by default; the last batch of an epoch may be smaller.
        verbose
            "auto" or 1: a progress bar when the output is a terminal. 2: a line an epoch. 0: nothing.
        callbacks
            Lightning callbacks; they see "loss", "val_loss", "penalty" and the metrics by these names.
        validation_split, validation_data
            The last share of the samples, or (x, y), (x, y, sample_weight) or a DataLoader, evaluated each epoch.
        class_weight, sample_weight
            Weights of the data loss, a class or a sample; penalties are not weighted.
        trainer
            Further options of `lightning.Trainer`, such as {"devices": 2, "precision": "bf16-mixed"}.

        Returns
        -------
        History
            "loss" is the mean over samples of what was minimized, penalties included, each batch as it was before its
            update; "penalty" is the penalties' part of it. "val_" are the same after the epoch, and metrics.

        Raises
        ------
        NotCompiledError, DataError, ArgumentError
            Before training begins. Source: Keras 3.15.1, `keras.Model.fit`.
        """
        refuse_keywords(self.name, self.fit, unused)
        self._require_compiled("fit")
        epochs = integer("epochs", epochs, "fit", least=0)
        if validation_split:
            if validation_data is not None:
                raise ArgumentError("give either validation_split or validation_data, got both")
            training, validation_data = split(x, y, sample_weight, validation_split)
            x, y, sample_weight = training[:]
        if class_weight is not None:
            sample_weight = class_weights(y, sample_weight, class_weight)
        loader = as_loader(x, y, sample_weight, batch_size=batch_size, shuffle=shuffle)
        others = None
        if validation_data is not None:
            vx, vy, vw = validation(validation_data)
            size = batch_size if validation_batch_size is None else validation_batch_size
            own = None if isinstance(vx, torch.utils.data.DataLoader) else size
            others = as_loader(vx, vy, vw, batch_size=own, shuffle=False)
        self._build_from(loader)
        history = History({"epochs": epochs, "batches": number_of_batches(loader), "verbose": verbose})
        report = functools.partial(print_epoch, epochs) if verbose == 2 else None
        optimizer = self.make_optimizer()
        for penalties in attached(self):
            if penalties.bound and penalties.optimizer is not optimizer:
                raise BindError(
                    f"{self.name}: its penalties are bound to another optimizer than fit uses, so they would not act; "
                    "unbind() them, or compile with the optimizer that they are bound to"
                )
        module = self._training_module(optimizer, history, report)
        with self._runner(epochs, verbose, callbacks, trainer) as runner:
            self.train()
            runner.fit(module, train_dataloaders=loader, val_dataloaders=others)
        return history

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        return_dict: bool = False,
        trainer: Mapping[str, Any] | None = None,
        **unused: Any,
    ) -> Any:
        """The loss, penalties included, and the metrics over the data, without training.

        Returns the loss alone, or [loss, metric, ...] where there are metrics; with `return_dict` a dict by name, which
        has "penalty" too. Raises as `fit` does. Source: Keras 3.15.1, `keras.Model.evaluate`.
        """
        refuse_keywords(self.name, self.evaluate, unused)
        self._require_compiled("evaluate")
        loader = as_loader(x, y, sample_weight, batch_size=batch_size, shuffle=False)
        self._build_from(loader)
        module = self._training_module(None)
        with self._runner(1, verbose, None, trainer) as runner:
            runner.validate(module, dataloaders=loader, verbose=False)
        logs = {name.removeprefix("val_"): value for name, value in module.val_logs.items()}
        if return_dict:
            return logs
        if not logs:
            raise DataError("the DataLoader is empty: at least one batch is needed")
        values = [value for name, value in logs.items() if name != "penalty"]
        return values[0] if len(values) == 1 else values

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        trainer: Mapping[str, Any] | None = None,
        **unused: Any,
    ) -> Any:
        """The outputs for all samples as NumPy arrays, nested as the outputs are; needs no `compile`.

        A DataLoader may also bring targets, which are ignored. Raises DataError and ArgumentError.
        """
        refuse_keywords(self.name, self.predict, unused)
        loader = as_loader(x, None, None, batch_size=batch_size, shuffle=False)
        self._build_from(loader)
        with self._runner(1, verbose, None, trainer) as runner:
            outputs = runner.predict(self._training_module(None), dataloaders=loader)
        if not outputs:
            raise DataError("the DataLoader is empty: at least one batch is needed")
        return concatenated(outputs)

    def summary(self) -> None:
        """Print a table of the layers: output shapes, parameters, and which regularizer sits on what."""
        if not self.built:
            raise NotBuiltError(
                f"{self.name} is not built: call it, fit it, or begin with an Input, to know its shapes"
            )
        _with_extra(importlib.import_module, "penalize.models.summary").print_summary(self)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of this name, or at this place. Raises ArgumentError, offering the nearest name."""
        if (name is None) == (index is None):
            raise ArgumentError(f"get_layer takes either a name or an index, got {name!r} and {index!r}")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ArgumentError(f"{self.name} has {len(self.layers)} layers, got index {index}")
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = [layer.name for layer in self.layers]
        raise ArgumentError(f"{self.name} has no layer {name!r}: {nearest(str(name), names)}")

    def _require_compiled(self, what: str) -> None:
        if self._make_metrics is None:
            raise NotCompiledError(f"{self.name}: compile the model before {what}, as in model.compile('adam', 'mse')")

    def _build_from(self, loader: Any) -> None:
        """Build by a call on the first inputs where weights do not exist yet."""
        if all(layer.built for layer in self.modules() if isinstance(layer, Layer)):
            return
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            with torch.no_grad(), trial():
                self(first_inputs(loader))
        finally:
            for module, mode in modes.items():
                module.training = mode

    def optimizer_for_files(self) -> torch.optim.Optimizer | None:
        """The optimizer; before the first fit, a new one that begins as it would."""
        parameters = trainable_parameters(self)
        if self._optimizer is None and isinstance(self._optimizer_spec, optimizers.Optimizer) and parameters:
            return self._optimizer_spec.build(parameters)
        return self._optimizer

    def make_optimizer(self) -> torch.optim.Optimizer | None:
        """The optimizer of the compiled model, made once, so that its state lasts over several calls of fit.

        None, with a warning, where nothing can be trained.
        """
        if self._optimizer is None:
            if self._optimizer_spec is None:
                raise NotCompiledError(f"{self.name} was compiled without an optimizer, which fit needs")
            if isinstance(self._optimizer_spec, torch.optim.Optimizer):
                self._optimizer = self._optimizer_spec
            else:
                parameters = trainable_parameters(self)
                if not parameters:
                    warnings.warn(
                        f"{self.name} has no trainable weights: fit reports its loss, and changes nothing", stacklevel=3
                    )
                    return None
                self._optimizer = self._optimizer_spec.build(parameters)
        elif not isinstance(self._optimizer_spec, torch.optim.Optimizer):
            # Layers that were unfrozen, or weights that were replaced, since the last fit.
            held = {id(parameter) for group in self._optimizer.param_groups for parameter in group["params"]}
            added = [parameter for parameter in trainable_parameters(self) if id(parameter) not in held]
            if added:
                self._optimizer.add_param_group({"params": added})
        if self._optimizer is not None:
            own = {id(parameter) for parameter in self.parameters()}
            if not any(id(parameter) in own for group in self._optimizer.param_groups for parameter in group["params"]):
                raise ArgumentError(f"{self.name}: the optimizer holds none of the model's parameters")
        return self._optimizer

    def _training_module(
        self,
        optimizer: torch.optim.Optimizer | None,
        history: History | None = None,
        report: Callable[[int, Logs], None] | None = None,
    ) -> Any:
        training = _with_extra(importlib.import_module, "penalize.models.training")
        return training.TrainingModule(self, self._loss, self._make_metrics or list, optimizer, history, report)

    @contextlib.contextmanager
    def _runner(self, epochs: int, verbose: Any, callbacks: Any, options: Any) -> Iterator[Any]:
        """Lightning's Trainer; the modes of all layers (train or eval) are afterwards what they were."""
        trainer = _with_extra(importlib.import_module, "penalize.models.trainer")
        modes = {module: module.training for module in self.modules()}
        try:
            with trainer.quiet():
                yield trainer.make_trainer(epochs=epochs, verbose=verbose, callbacks=callbacks, options=options)
        finally:
            for module, mode in modes.items():
                module.training = mode


def trainable_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that take a gradient, once each, without those under a layer that is not trainable."""
    found: dict[int, nn.Parameter] = {}

    def visit(part: nn.Module) -> None:
        if not getattr(part, "trainable", True):
            return
        for parameter in part.parameters(recurse=False):
            if parameter.requires_grad:
                found[id(parameter)] = parameter
        for child in part.children():
            visit(child)

    visit(module)
    return list(found.values())


def _make_metrics(identifiers: Sequence[Any], loss: losses.Loss | None) -> list[Any]:
    # Training and validation each count for themselves, also in a metric that the user made.
    return [copy.deepcopy(_with_extra(metrics.get, identifier, loss=loss)) for identifier in identifiers]


def _with_extra(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call what needs the libraries of the extra "train", and say so when they are missing."""
    try:
        return function(*args, **kwargs)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("lightning", "torchmetrics", "rich", "torchinfo"):
            raise MissingExtraError(f'{error.name} is not installed: pip install "penalize[train]"') from error
        raise
