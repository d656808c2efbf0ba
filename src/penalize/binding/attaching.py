"""`attach`: penalties on the weights and outputs of a model."""

from __future__ import annotations

from torch import nn

from penalize.binding.penalties import Penalties
from penalize.errors import ArgumentError, TargetError
from penalize.placement import Rules, declarations_of, select_activities, select_weights

__all__ = ["attach"]


def attach(model: nn.Module, weights: Rules | None = None, activity: Rules | None = None) -> Penalties:
    """Put penalties on the weights and outputs of any `nn.Module`, without changing its class, `state_dict` or outputs.

    Parameters
    ----------
    model
        The module. penalize layers in it bring the regularizers that they declare.
    weights
        From patterns to regularizers, for parameters. A pattern is a glob on dotted parameter names ("*" also matches
        dots), an `nn.Module` class (all parameters that its instances hold themselves), or a predicate
        `(name, parameter) -> bool`. A regularizer is anything that `regularizers.get` takes; `None` excludes. The last
        match wins, also over what layers declare. A tied weight is one target, whichever of its names matches.
    activity
        The same for outputs: globs on dotted module names (the model itself is ""), classes, or predicates
        `(name, module) -> bool`. The penalty of an output is divided by the size of its axis 0, unless it is one of
        averages over the batch, as `KLSparsity` and `Decorrelation` are.

    Returns
    -------
    Penalties
        Add `penalties.loss()` to the training loss, or `bind` it to the optimizer and add what is left.

    Raises
    ------
    TargetError
        A pattern matches nothing (the nearest names are offered), a parameter has no shape yet, or there is nothing to
        penalize at all. ArgumentError, StrengthError, ArrayError, ShapeError, PenaltyError: a key or regularizer that
        cannot work; each names the pattern or target. Nothing is attached then.

    Distributed training
    --------------------
    Every process pays the same penalty once, however many there are. Attach to the model or to what wraps it, before or
    after; `bind` to the optimizer of the wrapped parameters. Activity penalties are those of a process's own batch.

    - `DistributedDataParallel(find_unused_parameters=True)`: torch refuses a loss that reaches parameters on which the
      outputs do not depend, as the penalty of an unused weight does: `bind` instead.
    - DTensors (`fully_shard`, `parallelize_module`): `attach`, `loss()`, `value()`, `report()`, changes of a
      regularizer and, when bound, `optimizer.step()` communicate, so all processes must call them. Regularizers that
      are declared elementwise exchange one number for the value and nothing for the gradient; others gather the weight,
      and must give the same on every process. With mixed precision, penalties are those of the sharded weights. An
      output that tensor parallelism hands on as a plain part is penalized as that part: the gradient is right, where
      parts add up, but `value()` is that of the part.
    - `FullyShardedDataParallel`, which flattens parameters, is refused with a TargetError.

    Checkpointing, threads, computed weights
    ----------------------------------------
    - What a backward pass calls again (checkpointing) leaves the recorded penalties as they are. With
      `checkpoint(use_reentrant=True)` activity has no gradient: a loss that asks for it is refused with a TargetError.
      `torch.compile(fullgraph=True)` around a checkpointed call needs torch's
      `torch._dynamo.config.skip_fwd_side_effects_in_bwd_under_checkpoint = True`.
    - Each thread reads the activity of its own calls; one that never called the model, that of the last call in any.
      Replicas of `nn.DataParallel` refuse activity penalties with a TargetError; those of weights are right.
    - A parametrized (`torch.nn.utils.parametrizations`) or pruned weight is the target "0.weight", and not its parts,
      unless a pattern matches these alone. Its penalty goes into `loss()`; `bind` refuses it.

    Examples
    --------
    >>> import torch, penalize
    >>> from penalize.regularizers import L1, L2
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> penalties = penalize.attach(model, weights={"*.weight": L2(1e-4), "2.weight": L1(1e-3)}, activity={"1": L1()})
    >>> list(penalties)
    ['0.weight', '2.weight', '1']
    >>> loss = model(torch.ones(5, 4)).square().mean() + penalties.loss()
    >>> penalties["2.weight"].strength = 2e-3
    >>> penalties.detach()
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"attach takes an nn.Module, got {type(model).__name__}")
    weight_targets = select_weights(model, {} if weights is None else weights)
    activity_targets = select_activities(model, {} if activity is None else activity)
    declares = any(declarations_of(module) is not None for module in model.modules())
    if not weights and not activity and not declares:
        raise TargetError("nothing to penalize: give weights or activity; no layer of the model declares a regularizer")
    return Penalties(model, weight_targets, activity_targets)
