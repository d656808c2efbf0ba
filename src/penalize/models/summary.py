"""The table that `model.summary()` prints."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from torch import nn

from penalize.layers import Layer
from penalize.placement import declarations_of

__all__ = ["print_summary", "regularizers_of"]


def print_summary(model: Any) -> None:
    """Print the layers of a model: name, output shape, parameters, regularizers; and the totals."""
    table = Table("Layer (type)", "Output shape", "Parameters", "Regularizers", title=f"Model: {model.name}")
    shapes = getattr(model, "output_shapes", [])
    for index, layer in enumerate(model.layers):
        name = getattr(layer, "name", str(index))
        shape = str(shapes[index]) if index < len(shapes) else "?"
        if model.graph is not None and isinstance(layer, Layer):
            shape = str(model.graph.output_shape(layer))
        count = sum(parameter.numel() for parameter in layer.parameters())
        table.add_row(f"{name} ({type(layer).__name__})", shape, f"{count:,}", "\n".join(regularizers_of(layer)))
    if model.activity_regularizer is not None:
        table.add_row(f"{model.name} ({type(model).__name__})", "", "", f"activity: {model.activity_regularizer!r}")
    console = Console()
    console.print(table)
    parameters = list(model.parameters())
    total = sum(parameter.numel() for parameter in parameters)
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    console.print(f"Parameters: {total:,}, of which trainable: {trainable:,}, frozen: {total - trainable:,}")


def regularizers_of(layer: nn.Module) -> list[str]:
    """ "kernel: L2(l2=0.01)" for each regularizer of a layer and of those inside it, whose names go in front."""
    lines = []
    for path, part in layer.named_modules():
        declared = declarations_of(part)
        if declared is None:
            continue
        prefix = f"{part.name}." if path and isinstance(part, Layer) else ""
        for name, weight in declared.weights.items():
            if weight.regularizer is not None and part._parameters.get(weight.attribute) is not None:
                lines.append(f"{prefix}{name}: {_shown(weight.regularizer)}")
        if declared.activity.regularizer is not None:
            lines.append(f"{prefix}activity: {_shown(declared.activity.regularizer)}")
    return lines


def _shown(regularizer: Any) -> str:
    return str(getattr(regularizer, "__name__", repr(regularizer)))
