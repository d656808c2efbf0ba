"""ReversibleEmbedding beside Keras's; untied, its second table pays as well."""

import inspect

import keras
import numpy as np
import pytest
import torch

from penalize.errors import ArgumentError
from penalize.layers.reversible_embedding import ReversibleEmbedding
from penalize.masks import mask_of
from penalize.regularizers import L2

BOTH = {"embeddings_regularizer": "l1", "activity_regularizer": "l2"}
INDICES = np.array([[0, 6, 2], [2, 2, 1]])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"tie_weights": False},
        {"logit_soft_cap": 0.5, "mask_zero": True},
        {"tie_weights": False, "reverse_dtype": "float64", "logit_soft_cap": 3.0},
        {"embeddings_initializer": "ones"},
        {"dtype": "mixed_bfloat16", "reverse_dtype": "float32"},
        {"dtype": "mixed_bfloat16", "tie_weights": False},
    ],
)
def test_outputs_losses_and_gradients(arguments, reverse):
    arguments = {**BOTH, **arguments}
    theirs, ours = keras.layers.ReversibleEmbedding(7, 3, **arguments), ReversibleEmbedding(7, 3, **arguments)
    theirs.build((None, 3))
    weights = [w + 0.1 * np.arange(w.size).reshape(w.shape) for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    x = np.random.default_rng(0).normal(size=(2, 3, 3)).astype("float32") if reverse else INDICES
    if reverse and "dtype" in arguments:
        x = torch.tensor(x, dtype=torch.bfloat16)  # as layers before it give; Keras does not cast by itself here
    got, expected = ours(x, reverse=reverse), theirs(x, reverse=reverse)
    half = got.dtype == torch.bfloat16
    # Keras computes in float32 where float64 is asked for.
    assert got.dtype == (torch.float64 if reverse and arguments.get("reverse_dtype") == "float64" else expected.dtype)
    torch.testing.assert_close(got.float(), expected.float(), rtol=2e-2 if half else 1e-5, atol=1e-6)
    activity, table, *reverse_table = ours.losses
    tolerance = {"check_dtype": False, "rtol": 1e-2 if half else 1e-5, "atol": 1e-6}
    torch.testing.assert_close([activity, table], theirs.losses, **tolerance)
    assert [loss.item() for loss in reverse_table] == [
        pytest.approx(0.01 * np.abs(weight).sum(), rel=1e-5) for weight in weights[1:]
    ]
    (got.float().square().sum() + activity + table).backward()
    (expected.float().square().sum() + sum(theirs.losses)).backward()
    tolerance = {"rtol": 2e-2, "atol": 0.1} if "dtype" in arguments else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(ours.weight.grad, theirs.trainable_weights[0].value.grad, **tolerance)
    if reverse and len(weights) == 2:
        torch.testing.assert_close(ours.reverse_weight.grad.T, theirs.trainable_weights[1].value.grad, **tolerance)


def test_keywords_and_defaults_are_kerass():
    theirs, ours = (inspect.signature(c).parameters for c in (keras.layers.ReversibleEmbedding, ReversibleEmbedding))
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def test_both_tables_follow_the_regularizer():
    layer = ReversibleEmbedding(7, 3, tie_weights=False, embeddings_initializer="ones", embeddings_regularizer=L2(1.0))
    assert [loss.item() for loss in layer.losses] == [21.0, 21.0]
    layer.embeddings_regularizer = L2(2.0)
    assert [loss.item() for loss in layer.losses] == [42.0, 42.0]
    layer.embeddings_regularizer = None
    assert layer.losses == []
    assert layer.reverse_embeddings.shape == (3, 7)
    assert {name: tuple(t.shape) for name, t in layer.state_dict().items()} == {
        "weight": (7, 3),
        "reverse_weight": (7, 3),
    }
    layer.build(None)
    assert len(layer.weights) == 2


def test_a_tied_table_pays_once_and_each_call_its_activity():
    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = ReversibleEmbedding(7, 3, **BOTH)

        def forward(self, x):
            return self.table(self.table(x), reverse=True)

    import penalize

    model = Both()
    penalties = penalize.attach(model)
    model(torch.tensor(INDICES))
    assert len(penalties.losses) == 3


def test_the_mask_is_that_of_vectors_only():
    layer = ReversibleEmbedding(7, 3, mask_zero=True, mask_activity=True, activity_regularizer="l1")
    vectors = layer(torch.tensor(INDICES))
    assert torch.equal(mask_of(vectors), torch.tensor(INDICES != 0))
    torch.testing.assert_close(layer.losses[0], 0.01 * vectors.flatten(0, 1)[1:].abs().sum() / 2)
    assert mask_of(layer(vectors, reverse=True)) is None
    assert mask_of(ReversibleEmbedding(7, 3)(torch.tensor(INDICES))) is None


def test_a_table_to_begin_with_and_one_compiled_graph():
    table = np.arange(21.0, dtype="float32").reshape(7, 3)
    layer = ReversibleEmbedding(7, 3, weights=[table], **BOTH)
    x = torch.ones(2, 3)
    expected = layer(x, reverse=True)
    losses = layer.losses
    np.testing.assert_allclose(expected.detach()[0], table.sum(1))
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, reverse=True), expected)
    torch.testing.assert_close(layer.losses, losses)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ReversibleEmbedding(0, 3), "input_dim must be an integer >= 1, got 0"),
        (lambda: ReversibleEmbedding(7, 3, reverse_dtype="float31"), "unknown dtype 'float31': did you mean"),
        (lambda: ReversibleEmbedding(7, 3, logit_soft_cap=0.0), "logit_soft_cap must be a number > 0, got 0.0"),
        (
            lambda: ReversibleEmbedding(7, 3, name="mine")(torch.ones(2, 4), reverse=True),
            r"mine: the last axis of reverse inputs must be 3, got \(2, 4\)",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
