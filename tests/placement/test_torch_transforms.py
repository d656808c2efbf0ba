"""Layers and recorded activity under torch's own ways to run a model: export, compile, checkpointing, vmap."""

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.utils.checkpoint import checkpoint

import penalize
from penalize import attach, layers
from penalize.regularizers import L1, L2


class Checkpointed(nn.Module):
    """An MLP whose hidden part is run under checkpointing, or not."""

    def __init__(self, use):
        super().__init__()
        torch.manual_seed(0)
        self.use = use
        self.hidden = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh())
        self.head = nn.Linear(5, 1)

    def forward(self, x):
        if self.use:
            return self.head(checkpoint(self.hidden, x, use_reentrant=False))
        return self.head(self.hidden(x))


def test_checkpointing_neither_doubles_nor_loses_activity():
    x = torch.randn(3, 4)
    results = []
    for use in (False, True):
        model = Checkpointed(use)
        penalties = attach(model, weights={"*.weight": L2(0.1)}, activity={"hidden.1": L1(0.5), "hidden": L2(0.2)})
        loss = model(x).sum() + penalties.loss()
        count = len(penalties.losses)
        loss.backward()
        results.append((count, loss.detach(), [parameter.grad for parameter in model.parameters()]))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("strict", [False, True])
def test_export_leaves_no_trace_of_penalties(strict):
    model = penalize.Sequential(
        [
            penalize.Input((4,)),
            layers.Dense(3, "relu", kernel_regularizer="l2", activity_regularizer="l1"),
            nn.Linear(3, 1),
        ]
    )
    penalties = attach(model, activity={"1": L1(0.5)})
    x = torch.randn(2, 4)
    expected = model(x)
    before = penalties.value()
    program = torch.export.export(model, (x,), strict=strict)
    operations = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not any(name in operation for operation in operations for name in ("abs", "sum", "pow", "div", "square"))
    torch.testing.assert_close(program.module()(x), expected)
    model(x)
    assert penalties.value() == pytest.approx(before)


class OfTwo(nn.Module):
    """A layer of two inputs that also pays for its activity, called on a list of them or on one after the other."""

    def __init__(self, kind, together=True, called=None, masked=False, **arguments):
        super().__init__()
        self.layer = getattr(layers, kind)(activity_regularizer="l2", **arguments)
        self.masking = layers.Masking() if masked else nn.Identity()
        self.together = together
        self.called = called or {}

    def forward(self, first, second):
        first, second = self.masking(first), self.masking(second)
        return self.layer([first, second], **self.called) if self.together else self.layer(first, second, **self.called)


# Of each layer: how it is made, and the shapes of two samples; no size is that of a batch below.
ATTENTION = {"together": False, "num_heads": 2, "key_dim": 3}
GROUPED = {"kind": "GroupQueryAttention", "together": False, "head_dim": 3, "num_query_heads": 2}
OF_TWO = [
    *(({"kind": kind}, (3, 4), (3, 4)) for kind in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")),
    ({"kind": "Add"}, (3, 4), (4,)),
    ({"kind": "Multiply"}, (3, 1), (1, 4)),
    *(({"kind": kind, "masked": True}, (3, 4), (3, 4)) for kind in ("Add", "Multiply", "Maximum", "Concatenate")),
    ({"kind": "Concatenate"}, (3, 4), (3, 2)),
    ({"kind": "Concatenate", "axis": 1}, (3, 4), (2, 4)),
    ({"kind": "Dot", "axes": -1}, (3, 4), (2, 4)),
    ({"kind": "Dot", "axes": 1, "normalize": True}, (4,), (4,)),
    ({"kind": "MultiHeadAttention", **ATTENTION}, (3, 4), (5, 4)),
    ({"kind": "MultiHeadAttention", **ATTENTION, "masked": True}, (3, 4), (5, 4)),
    ({"kind": "MultiHeadAttention", **ATTENTION, "attention_axes": 2}, (2, 3, 4), (2, 5, 4)),
    ({"kind": "MultiHeadAttention", **ATTENTION, "called": {"use_causal_mask": True}}, (3, 4), (3, 4)),
    ({**GROUPED, "num_key_value_heads": 1}, (3, 4), (5, 4)),
]
TRAINED_ON, OTHER = 6, 7


def pair(first, second, batch):
    random = torch.Generator().manual_seed(batch)
    return tuple(torch.randn(batch, *shape, generator=random) for shape in (first, second))


@pytest.mark.parametrize(("made", "first", "second"), OF_TWO)
def test_layers_of_several_inputs_are_exported_with_an_open_batch_size(made, first, second):
    model = OfTwo(**made)
    inputs = pair(first, second, TRAINED_ON)
    model(*inputs)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(model.eval(), inputs, dynamic_shapes=({0: batch}, {0: batch})).module()
    for size in (TRAINED_ON, OTHER):
        inputs = pair(first, second, size)
        torch.testing.assert_close(program(*inputs), model(*inputs))


@pytest.mark.parametrize(("made", "first", "second"), OF_TWO)
def test_layers_of_several_inputs_are_compiled_once_for_all_batch_sizes(made, first, second):
    model = OfTwo(**made).eval()
    model(*pair(first, second, TRAINED_ON))
    torch.compiler.reset()
    counter = CompileCounter()
    compiled = torch.compile(model, backend=counter, dynamic=True, fullgraph=True)
    for size in (TRAINED_ON, OTHER, OTHER + 1):
        inputs = pair(first, second, size)
        torch.testing.assert_close(compiled(*inputs), model(*inputs))
    assert counter.frame_count == 1


@pytest.mark.parametrize("kind", ["sequential", "einsum", "normalization"])
@pytest.mark.parametrize("training", [False, True])
def test_shapes_that_are_given_are_compared_with_open_sizes(kind, training):
    model = {
        "sequential": lambda: penalize.Sequential([penalize.Input((3, 4)), layers.Dense(5, kernel_regularizer="l2")]),
        "einsum": lambda: layers.EinsumDense("abc,cd->abd", output_shape=(3, 5), kernel_regularizer="l2"),
        "normalization": lambda: layers.BatchNormalization(gamma_regularizer="l2"),
    }[kind]()
    model.build((None, 3, 4))
    model.train(training)
    torch.compiler.reset()
    counter = CompileCounter()
    compiled = torch.compile(model, backend=counter, dynamic=True, fullgraph=True)
    for size in (TRAINED_ON, OTHER, OTHER + 1):
        x = torch.randn(size, 3, 4)
        torch.testing.assert_close(compiled(x), model(x))
    assert counter.frame_count == 1


@pytest.mark.parametrize("autocast", [False, True])
def test_matrix_products_of_penalties_stay_float32_in_one_graph_under_autocast(autocast):
    orthogonal = penalize.regularizers.OrthogonalRegularizer(1.0)
    kept = layers.Dense(5, kernel_regularizer=orthogonal, activity_regularizer=orthogonal)
    model = penalize.Sequential([penalize.Input((8,)), kept, layers.Dense(2)])

    def losses_of(x):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = model(x)
            return output, model.losses

    torch.compiler.reset()
    counter = CompileCounter()
    compiled = torch.compile(losses_of, backend=counter, dynamic=True, fullgraph=True)
    for size in (TRAINED_ON, OTHER):
        x = torch.randn(size, 8)
        kernel = kept.kernel.detach()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = kept(x)
        expected = [orthogonal(output) / size, orthogonal(kernel)]
        for run in (losses_of, compiled):
            torch.testing.assert_close([loss.detach() for loss in run(x)[1]], expected)
    assert counter.frame_count == 1
    inputs = (torch.randn(TRAINED_ON, 8),)
    open_batch = (({0: torch.export.Dim("batch", min=2)},),)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        program = torch.export.export(model, inputs, dynamic_shapes=open_batch).module()
        torch.testing.assert_close(program(x), model(x))


def test_vmap_gives_each_sample_its_own_activity():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    penalties = attach(model, activity={"1": L1(1.0)})

    def penalty(sample):
        model(sample[None])
        return penalties.loss()

    x = torch.randn(5, 4)
    with torch.no_grad():
        torch.testing.assert_close(torch.func.vmap(penalty)(x), torch.relu(model[0](x)).sum(1))


def test_ensembles_of_models_have_their_own_penalties():
    model = nn.Linear(2, 1, bias=False)
    penalties = attach(model, weights={"weight": L2(1.0)})

    class Objective(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self):
            return penalties.loss()

    weights = torch.arange(6.0).reshape(3, 1, 2)
    objective = Objective()
    gradient, value = torch.func.vmap(
        torch.func.grad_and_value(lambda w: torch.func.functional_call(objective, {"model.weight": w}, ()))
    )(weights)
    torch.testing.assert_close(gradient, 2 * weights)
    torch.testing.assert_close(value, weights.square().sum((1, 2)))
