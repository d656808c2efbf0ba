"""What is trained on 2 and on 4 processes; each case returns its largest differences from one process."""

import contextlib
import functools
import re

import pytest
import torch
import torch.distributed as dist
from tests.reach.comparison import (
    WEIGHTS,
    Centred,
    Quartics,
    RowNorms,
    adam,
    batches,
    compare,
    network,
    own,
    relative,
    same,
    variance,
    whole,
)
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel

import penalize
from penalize import layers
from penalize.errors import BindError, TargetError
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer


@functools.cache
def mesh(*sizes, names=None):
    return init_device_mesh("cpu", sizes or (dist.get_world_size(),), mesh_dim_names=names)


def refused(kind, message, call):
    with pytest.raises(kind, match=re.escape(message)):
        call()
    return {}


# DistributedDataParallel


def ddp_no_sync(model, last):
    return contextlib.nullcontext() if last else model.no_sync()


class WithUnused(nn.Sequential):
    """Its last layer takes no part."""

    def forward(self, x):
        for part in list(self)[:-1]:
            x = part(x)
        return x


def with_unused():
    return WithUnused(*network(), nn.Linear(2, 2))


def ddp_unused(model):
    return DistributedDataParallel(model, find_unused_parameters=True)


def ddp_refuses_penalties_of_unused():
    """The penalty of a parameter that the outputs do not depend on: torch's own error in loss mode, right when bound."""
    model = DistributedDataParallel(with_unused(), find_unused_parameters=True)
    penalties = penalize.attach(model, weights={"module.5.weight": L2(0.1)})
    loss = model(own(batches(1)[0])).square().mean() + penalties.loss()
    return refused(RuntimeError, "mark a variable ready only once", loss.backward)


def zero(parameters):
    """SGD whose states are spread over the processes."""
    # Imported where torch's own warnings are let pass.
    from torch.distributed.optim import ZeroRedundancyOptimizer

    return ZeroRedundancyOptimizer(list(parameters), torch.optim.SGD, lr=0.05, momentum=0.9)


DDP = {
    "ddp": functools.partial(compare, DistributedDataParallel),
    "ddp_attached_after": functools.partial(compare, DistributedDataParallel, after=True),
    "ddp_bound": functools.partial(compare, DistributedDataParallel, bound=True),
    "ddp_proximal": functools.partial(compare, DistributedDataParallel, bound=True, proximal=True, optimize=adam),
    "ddp_bound_attached_after": functools.partial(compare, DistributedDataParallel, bound=True, after=True),
    "ddp_bucket_views_bound": functools.partial(
        compare, functools.partial(DistributedDataParallel, gradient_as_bucket_view=True), bound=True
    ),
    "ddp_static_graph": functools.partial(
        compare, functools.partial(DistributedDataParallel, static_graph=True), after=True
    ),
    "ddp_zero_bound": functools.partial(
        compare, DistributedDataParallel, bound=True, optimize_wrapped=zero, after=True
    ),
    "ddp_accumulation": functools.partial(compare, DistributedDataParallel, accumulate=2, no_sync=ddp_no_sync),
    "ddp_accumulation_bound": functools.partial(
        compare, DistributedDataParallel, accumulate=2, no_sync=ddp_no_sync, bound=True
    ),
    "ddp_find_unused": functools.partial(compare, ddp_unused, build=with_unused),
    "ddp_find_unused_bound": functools.partial(
        compare, ddp_unused, build=with_unused, bound=True, weights={**WEIGHTS, "*5.*": L1L2(0.1, 0.1)}
    ),
}


# fully_shard


def sharded(model, **options):
    """The root and one module in it, each a group of its own."""
    options.setdefault("mesh", mesh())
    fully_shard(model[2], **options)
    return fully_shard(model, **options)


@contextlib.contextmanager
def fsdp_no_sync(model, last):
    model.set_requires_gradient_sync(last)
    yield


def fsdp_2d(model):
    both = mesh(2, 2, names=("data", "tensor"))
    parallelize_module(model, both["tensor"], {"2": ColwiseParallel(), "3": RowwiseParallel()})
    return fully_shard(model, mesh=both["data"])


def network_for_2d():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6), nn.Linear(6, 3), nn.Linear(3, 1))


def own_of_two_pairs(batch):
    return batch.chunk(2)[mesh(2, 2, names=("data", "tensor")).get_local_rank("data")]


def fsdp_communicates_scalars():
    """L1, L2 and L1L2: one all-reduce for the value of all, none for a step in bound mode, and nothing else."""
    model = sharded(network())
    penalties = penalize.attach(model, weights={"*.weight": L1(0.1), "*.bias": L2(0.1), "4.*": L1L2(0.1, 0.2)})
    with CommDebugMode() as mode:
        penalties.loss().backward()
    assert {str(name): count for name, count in mode.get_comm_counts().items()} == {"c10d_functional.all_reduce": 1}
    penalties.bind(torch.optim.SGD(model.parameters(), lr=0.1))
    with CommDebugMode() as mode:
        penalties.optimizer.step()
    assert mode.get_total_counts() == 0, mode.get_comm_counts()
    return {}


def fsdp_proximal_of_groups_refused():
    """A proximal step that is not of elements would need the weights of all processes."""

    class Groups(RowNorms):
        def prox(self, x, step):
            return x

    model = sharded(network())
    penalties = penalize.attach(model, weights={"0.weight": Groups(0.1)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return refused(
        BindError,
        "0.weight: the proximal step of Groups",
        lambda: penalties.bind(optimizer, proximal=True),
    )


def fsdp_mixed_precision():
    """The penalty is that of the sharded float32 weights, also where bfloat16 ones stand in their place."""
    torch.manual_seed(0)
    plain = network().float()
    torch.manual_seed(0)
    model = sharded(network().float(), mp_policy=MixedPrecisionPolicy(torch.bfloat16, torch.bfloat16))
    weights = {"*.weight": L1L2(0.1, 0.2), "2.weight": OrthogonalRegularizer()}
    expected, penalties = (penalize.attach(each, weights=weights) for each in (plain, model))
    model(own(batches(1)[0]).bfloat16())
    assert not isinstance(model[0].weight, DTensor)
    result = {"value": abs(penalties.value() / expected.value() - 1)}
    penalties.loss().backward()
    expected.loss().backward()
    model.reshard()
    result["gradient"] = max(
        relative(dict(model.named_parameters())[name].grad, parameter.grad)
        for name, parameter in plain.named_parameters()
        if parameter.grad is not None
    )
    return {name: value * 1e-6 for name, value in result.items()}  # float32


def fsdp_sum_of_gradients():
    """Where the user sums gradients instead of averaging them, one penalty is still paid once."""
    model = sharded(network())
    model.set_gradient_divide_factor(1.0)
    penalties = penalize.attach(model, weights={"*.weight": L2(0.5)})
    weights = [whole(parameter).detach().clone() for parameter in model.parameters()]
    (model(own(batches(1)[0])).sum() * 0 + penalties.loss()).backward()
    found = [parameter.grad for parameter in model.parameters()]
    return {"gradient": max(relative(g, w) for g, w in zip(found, weights, strict=True) if w.ndim == 2)}


def fsdp_trained_strength():
    """A strength that takes gradients gets that of the whole penalty on every process."""
    strength = torch.tensor(0.5, requires_grad=True)
    model = sharded(network())
    penalties = penalize.attach(model, weights={"0.weight": L2(strength)})
    penalties.loss().backward()
    return {"gradient": relative(strength.grad, whole(model[0].weight).square().sum())}


def fsdp_scaled_gradients():
    """As a GradScaler leaves them to fused optimizers: the penalty's are scaled alike."""
    model = sharded(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalties = penalize.attach(model, weights={"*.weight": L2(0.5), "2.weight": Centred()}).bind(optimizer)
    optimizer.grad_scale = torch.tensor(8.0)
    penalties.backward()
    weight = whole(model[2].weight).detach()
    return {
        "gradient": max(
            relative(model[0].weight.grad, 8.0 * whole(model[0].weight)),
            relative(model[2].weight.grad, 8.0 * 0.2 * (weight - weight.mean())),
        )
    }


def fsdp_frozen_and_changed():
    model = sharded(network())
    penalties = penalize.attach(model, weights={"*.weight": L2(0.1)})
    model[2].weight.requires_grad_(False)
    before = penalties.value()
    penalties["0.weight"].strength = 0.0
    penalties["3.weight"].regularizer = Quartics()
    expected = 0.1 * whole(model[4].weight).square().sum() + Quartics()(whole(model[3].weight))
    assert before > penalties.value()
    assert {row.target: row.kind for row in penalties.report()}["2.weight"] == "frozen weight"
    return {"value": relative(torch.tensor(penalties.value()), expected)}


def fsdp_bound_before_sharding_refused():
    model = network()
    penalties = penalize.attach(model, weights={"*.weight": L2(0.1)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalties.bind(optimizer)
    sharded(model)
    return refused(BindError, "0.weight: the optimizer SGD does not hold this parameter", optimizer.step)


def fsdp1_refused_after():
    results = {}
    for original in (True, False):
        model = FullyShardedDataParallel(network(), use_orig_params=original, device_id=torch.device("cpu"))
        results |= refused(
            TargetError, "FullyShardedDataParallel flattened", lambda m=model: penalize.attach(m, weights={"*": L2()})
        )
    return results


def fsdp1_refused_before():
    results = {}
    for original in (True, False):
        model = network()
        penalties = penalize.attach(model, weights={"*": L2()})
        wrapped = FullyShardedDataParallel(model, use_orig_params=original, device_id=torch.device("cpu"))
        results |= refused(TargetError, "FullyShardedDataParallel flattened", penalties.loss)
        wrapped(own(batches(1)[0]))
        results |= refused(TargetError, "FullyShardedDataParallel flattened", penalties.value)
    return results


FSDP = {
    f"fsdp{'_bound' if bound else ''}{'_attached_after' if after else ''}": functools.partial(
        compare, sharded, bound=bound, after=after
    )
    for bound in (False, True)
    for after in (False, True)
} | {
    "fsdp_proximal": functools.partial(compare, sharded, bound=True, proximal=True),
    "fsdp_proximal_adam": functools.partial(compare, sharded, bound=True, proximal=True, optimize=adam, after=True),
    "fsdp_proximal_of_groups_refused": fsdp_proximal_of_groups_refused,
    "fsdp_accumulation": functools.partial(compare, sharded, accumulate=2, no_sync=fsdp_no_sync),
    "fsdp_accumulation_bound": functools.partial(compare, sharded, accumulate=2, no_sync=fsdp_no_sync, bound=True),
    "fsdp_kept_whole": functools.partial(compare, functools.partial(sharded, reshard_after_forward=False)),
    "fsdp_adam_bound": functools.partial(
        compare, sharded, bound=True, optimize=functools.partial(torch.optim.AdamW, lr=0.01)
    ),
    "fsdp_communicates_scalars": fsdp_communicates_scalars,
    "fsdp_mixed_precision": fsdp_mixed_precision,
    "fsdp_sum_of_gradients": fsdp_sum_of_gradients,
    "fsdp_trained_strength": fsdp_trained_strength,
    "fsdp_scaled_gradients": fsdp_scaled_gradients,
    "fsdp_frozen_and_changed": fsdp_frozen_and_changed,
    "fsdp_bound_before_sharding_refused": fsdp_bound_before_sharding_refused,
    "fsdp1_refused_after": fsdp1_refused_after,
    "fsdp1_refused_before": fsdp1_refused_before,
}


# parallelize_module


def tensor_parallel(model, whole_outputs=False):
    columns = ColwiseParallel(use_local_output=not whole_outputs)
    rows = RowwiseParallel(use_local_output=not whole_outputs)
    return parallelize_module(model, mesh(), {"0": columns, "2": rows, "3": ColwiseParallel(), "4": RowwiseParallel()})


def even_network():
    """Sizes that 2 processes divide, which torch asks of plain parts of outputs."""
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5), nn.Linear(5, 4), nn.Linear(4, 1))


tp = functools.partial(compare, build=even_network, split=same)
# The activity of "1" is that of a plain part; of "0", "2" and "4" it is known whole.
TP_ACTIVITY = {"0": L1(0.03), "2": OrthogonalRegularizer(0.2), "4": L2(0.02)}


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.last = nn.Linear(6, 2)
        with torch.no_grad():
            self.norm.weight.add_(torch.randn(6))

    def forward(self, x):
        return self.last(self.norm(x))


def tp_sequence(model):
    """Weights that every process holds whole, whose gradients are sums over processes still to be taken."""
    rows = ColwiseParallel(input_layouts=Shard(0), output_layouts=Replicate())
    return parallelize_module(model, mesh(), {"norm": SequenceParallel(sequence_dim=0), "last": rows})


normed = functools.partial(
    tp, tp_sequence, build=Normed, weights={"*": L1L2(0.02, 0.03), "norm.bias": variance}, activity={"norm": L1(0.1)}
)


def tp_plain_parts():
    """Of an activity in the middle each process knows its own part: gradients are right, values are of the part."""
    result = tp(tensor_parallel, activity={"1": L1(0.03)}, split=lambda batch: batch)
    assert result.pop("value") > 1e-3
    return result


TP = {
    f"tp{'_bound' if bound else ''}{'_attached_after' if after else ''}": functools.partial(
        tp, tensor_parallel, bound=bound, after=after, activity=TP_ACTIVITY
    )
    for bound in (False, True)
    for after in (False, True)
} | {
    "tp_outputs_are_dtensors": functools.partial(
        tp,
        lambda model: parallelize_module(
            model,
            mesh(),
            {"0": ColwiseParallel(use_local_output=False), "2": RowwiseParallel()},
        ),
        activity={"0": L1(0.03), "1": L2(0.1)},
    ),
    "tp_activity_of_plain_parts": tp_plain_parts,
    "tp_sequence": normed,
    "tp_sequence_bound_attached_after": functools.partial(normed, bound=True, after=True),
}


# penalize's own layers


def keras_network():
    model = penalize.Sequential(
        [
            penalize.Input((4, 4, 3)),
            layers.DepthwiseConv2D(2, depth_multiplier=2, depthwise_regularizer=L1L2(0.01, 0.02)),
            layers.Conv2D(5, 2, kernel_regularizer=OrthogonalRegularizer(0.1, mode="columns", flatten=True)),
            layers.Flatten(),
            layers.Dense(3, activation="tanh", kernel_regularizer=RowNorms(0.02), activity_regularizer=L1(0.03)),
            layers.Dense(1, kernel_regularizer=L2(0.02), bias_regularizer=L1(0.1)),
        ]
    )
    return model.double()


class FromLayers:
    """`model.losses` with the interface of penalties."""

    def __init__(self, model, weights, activity):
        self.model = model

    def loss(self):
        return sum(self.model.losses)

    def value(self):
        return self.loss().item()

    def report(self):
        return []

    def detach(self):
        pass


keras = functools.partial(compare, build=keras_network, weights=None, activity=None, shape=(4, 4, 3))


def layers_sharded(model):
    fully_shard(model.layers[-2], mesh=mesh())
    return fully_shard(model, mesh=mesh())


KERAS = {
    "layers_ddp": functools.partial(keras, DistributedDataParallel),
    "layers_ddp_bound_attached_after": functools.partial(keras, DistributedDataParallel, bound=True, after=True),
    "layers_ddp_losses": functools.partial(keras, DistributedDataParallel, attach=FromLayers),
    "layers_fsdp": functools.partial(keras, layers_sharded),
    "layers_fsdp_bound_attached_after": functools.partial(keras, layers_sharded, bound=True, after=True),
    "layers_fsdp_losses": functools.partial(keras, layers_sharded, attach=FromLayers, after=True),
}


# Meshes of two axes, and parameters that are kept in parts on one of them between forward and backward.


def replicated_and_sharded(model):
    return sharded(model, mesh=mesh(2, 2, names=("copies", "parts")))


FOUR = {
    "fsdp_resharded_to_two": functools.partial(compare, functools.partial(sharded, reshard_after_forward=2)),
    "hsdp": functools.partial(compare, replicated_and_sharded),
    "hsdp_bound": functools.partial(compare, replicated_and_sharded, bound=True),
    "fsdp_and_tp": functools.partial(compare, fsdp_2d, build=network_for_2d, split=own_of_two_pairs),
    "fsdp_and_tp_bound": functools.partial(
        compare, fsdp_2d, build=network_for_2d, split=own_of_two_pairs, bound=True, after=True
    ),
}

# What leaves a process group unusable comes last.
LAST = {"ddp_penalty_of_unused_refused_by_torch": ddp_refuses_penalties_of_unused}

EVERY = {**DDP, **FSDP, **KERAS, **TP, **FOUR, **LAST}
# What differs with the number of processes; the rest is about one process's own steps.
AGAIN = [
    "ddp",
    "ddp_bound",
    "ddp_accumulation",
    "ddp_accumulation_bound",
    "ddp_find_unused",
    "ddp_find_unused_bound",
    "ddp_zero_bound",
    "fsdp",
    "fsdp_bound_attached_after",
    "fsdp_accumulation",
    "fsdp_communicates_scalars",
    "fsdp_mixed_precision",
    "fsdp_sum_of_gradients",
    "layers_ddp_losses",
    "layers_fsdp_bound_attached_after",
    "layers_fsdp_losses",
]
NAMES = {2: [name for name in EVERY if name not in FOUR], 4: [*AGAIN, *FOUR]}


def cases_for(world):
    return {name: EVERY[name] for name in NAMES[world]}
