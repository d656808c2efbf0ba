"""MultiHeadAttention and GroupQueryAttention beside Keras's; their projections pay, at any time, and once each."""

import copy
import inspect
import pickle

import keras
import numpy as np
import pytest
import torch
from torch import nn

from penalize.errors import ArgumentError, ShapeError, UnknownNameError
from penalize.layers.attention import MultiHeadAttention
from penalize.layers.grouped_attention import GroupQueryAttention
from penalize.masks import mask_of
from penalize.regularizers import L1, L2

PENALTIES = {"kernel_regularizer": "l1", "bias_regularizer": "l2", "activity_regularizer": "l2"}
LAYERS = {"MultiHeadAttention": MultiHeadAttention, "GroupQueryAttention": GroupQueryAttention}
HEADS = {"num_heads": 2, "key_dim": 3}
GROUPS = {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}
PROJECTIONS = ("query_dense", "key_dense", "value_dense", "output_dense")


def random(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=shape).astype("float32"))


def lower(*shape):
    return torch.ones(shape, dtype=torch.bool).tril()


def with_mask(x, mask):
    x._keras_mask = mask
    return x


PADDED = torch.tensor([[True, True, False], [True, False, False]])
SOME = torch.tensor([[[True, False, True]] * 3, [[False, True, True]] * 3])

# Arguments, call arguments, and shapes of query, value and key.
CASES = [
    ("MultiHeadAttention", {**HEADS, **PENALTIES}, {}, [(2, 3, 4), (2, 3, 4)]),
    ("MultiHeadAttention", {**HEADS, "value_dim": 5, **PENALTIES}, {}, [(2, 3, 4), (2, 6, 7), (2, 6, 5)]),
    ("MultiHeadAttention", {**HEADS, "use_bias": False, "kernel_regularizer": "l1"}, {}, [(2, 3, 4), (2, 6, 4)]),
    ("MultiHeadAttention", {**HEADS, "output_shape": (3, 2), **PENALTIES}, {}, [(2, 3, 4), (2, 3, 4)]),
    ("MultiHeadAttention", {**HEADS, "output_shape": 7, **PENALTIES}, {}, [(2, 3, 4), (2, 3, 4)]),
    ("MultiHeadAttention", {**HEADS, "use_gate": True, "value_dim": 5, **PENALTIES}, {}, [(2, 3, 4), (2, 6, 4)]),
    ("MultiHeadAttention", {**HEADS, **PENALTIES}, {"use_causal_mask": True}, [(2, 3, 4), (2, 5, 4)]),
    ("MultiHeadAttention", {**HEADS, "sliding_window": 2, **PENALTIES}, {}, [(2, 6, 4), (2, 6, 4)]),
    ("MultiHeadAttention", {**HEADS, "sliding_window": 2}, {"use_causal_mask": True}, [(2, 6, 4), (2, 6, 4)]),
    ("MultiHeadAttention", {**HEADS, **PENALTIES}, {"attention_mask": SOME}, [(2, 3, 4), (2, 3, 4)]),
    ("MultiHeadAttention", {**HEADS, **PENALTIES}, {"attention_mask": ~SOME & SOME}, [(2, 3, 4), (2, 3, 4)]),
    ("MultiHeadAttention", HEADS, {"attention_mask": lower(3, 3)}, [(2, 3, 4), (2, 3, 4)]),
    ("MultiHeadAttention", HEADS, {"attention_mask": lower(2, 2, 3, 3)}, [(2, 3, 4), (2, 3, 4)]),
    ("MultiHeadAttention", HEADS, {"attention_mask": SOME.numpy().astype("int32")}, [(2, 3, 4), (2, 3, 4)]),
    ("MultiHeadAttention", HEADS, {"value_mask": PADDED, "use_causal_mask": True}, [(2, 3, 4), (2, 3, 4)]),
    ("MultiHeadAttention", HEADS, {"key_mask": PADDED, "attention_mask": SOME}, [(2, 3, 4), (2, 3, 4), (2, 3, 6)]),
    ("MultiHeadAttention", {**HEADS, **PENALTIES}, {}, [(2, 2, 3, 4), (2, 5, 3, 4)]),
    ("MultiHeadAttention", {**HEADS, "attention_axes": 2, **PENALTIES}, {}, [(2, 5, 3, 4), (2, 5, 6, 4)]),
    ("MultiHeadAttention", {**HEADS, "attention_axes": [-3], **PENALTIES}, {}, [(2, 3, 5, 4), (2, 6, 5, 4)]),
    ("MultiHeadAttention", {**HEADS, "attention_axes": (2, 1)}, {}, [(2, 3, 5, 4), (2, 6, 2, 4)]),
    ("MultiHeadAttention", {**HEADS, "attention_axes": 2}, {"attention_mask": SOME}, [(2, 5, 3, 4), (2, 5, 3, 4)]),
    ("MultiHeadAttention", HEADS, {"attention_mask": lower(2, 2, 3, 2, 3)}, [(2, 2, 3, 4), (2, 2, 3, 4)]),
    ("MultiHeadAttention", {**HEADS, "dropout": 0.5, **PENALTIES}, {"attention_mask": SOME}, [(2, 3, 4), (2, 3, 4)]),
    ("MultiHeadAttention", {**HEADS, "dropout": 0.5}, {"attention_mask": ~SOME & SOME}, [(2, 3, 4), (2, 3, 4)]),
    ("MultiHeadAttention", {**HEADS, "flash_attention": False, **PENALTIES}, {}, [(2, 3, 4), (2, 3, 4)]),
    ("MultiHeadAttention", {**HEADS, **PENALTIES}, {}, [(1, 3, 4), (2, 5, 4)]),
    ("GroupQueryAttention", {**GROUPS, **PENALTIES}, {}, [(2, 3, 4), (2, 3, 4)]),
    ("GroupQueryAttention", {**GROUPS, "use_bias": False, **PENALTIES}, {}, [(2, 3, 4), (2, 6, 7), (2, 6, 5)]),
    ("GroupQueryAttention", {**GROUPS, "use_gate": True, **PENALTIES}, {}, [(2, 3, 4), (2, 5, 4)]),
    ("GroupQueryAttention", {**GROUPS, "sliding_window": 2}, {"use_causal_mask": True}, [(2, 6, 4), (2, 6, 4)]),
    ("GroupQueryAttention", {**GROUPS, **PENALTIES}, {"use_causal_mask": True}, [(2, 3, 4), (2, 5, 4)]),
    ("GroupQueryAttention", {**GROUPS, **PENALTIES}, {"attention_mask": SOME}, [(2, 3, 4), (2, 3, 4)]),
    ("GroupQueryAttention", {**GROUPS, **PENALTIES}, {"query_mask": PADDED}, [(2, 3, 4), (2, 5, 4)]),
    ("GroupQueryAttention", {**GROUPS, "num_key_value_heads": 4, **PENALTIES}, {}, [(2, 3, 4), (2, 3, 4)]),
]


def both(name, arguments, shapes):
    """Our layer, Keras's with the same weights, and the inputs of each."""
    theirs, ours = getattr(keras.layers, name)(**arguments), LAYERS[name](**arguments)
    inputs = [random(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    theirs(*inputs)
    ours(*inputs)
    weights = [w + 0.1 for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    return ours.eval(), theirs, inputs, [x.clone() for x in inputs]


@pytest.mark.parametrize(("name", "arguments", "called", "shapes"), CASES)
@pytest.mark.parametrize("scores", [False, True], ids=["output", "scores"])
def test_outputs_losses_and_gradients(name, arguments, called, shapes, scores):
    ours, theirs, our_inputs, their_inputs = both(name, arguments, shapes)
    for x in (*our_inputs, *their_inputs):
        x.requires_grad_()
    called = {**called, "return_attention_scores": scores}
    got, expected = ours(*our_inputs, **called), theirs(*their_inputs, **called)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    weights = sum(key in arguments for key in ("kernel_regularizer", "bias_regularizer"))
    penalized = 5 if arguments.get("use_gate") else 4
    activities = penalized if "activity_regularizer" in arguments else 0
    expected_losses = theirs.losses
    if name == "GroupQueryAttention" and activities:
        del expected_losses[: 2 if scores else 1]  # the layer's own: its last projection's once more, and the scores'
    weights -= "bias_regularizer" in arguments and arguments.get("use_bias") is False
    assert len(ours.losses) == activities + weights * penalized
    torch.testing.assert_close(ours.losses, expected_losses, rtol=1e-4, atol=1e-5)
    if scores:
        got, expected = got[0], expected[0]
    (got.square().sum() + sum(ours.losses)).backward()
    (expected.square().sum() + sum(expected_losses)).backward()
    for x, other in zip(our_inputs, their_inputs, strict=True):
        torch.testing.assert_close(x.grad, other.grad, rtol=1e-3, atol=1e-4)
    for parameter, variable in zip(ours.weights, theirs.trainable_weights, strict=True):
        torch.testing.assert_close(parameter.grad, variable.value.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_keywords_and_defaults_are_kerass(name):
    theirs = inspect.signature(getattr(keras.layers, name)).parameters
    ours = inspect.signature(LAYERS[name]).parameters
    assert list(ours) == list(theirs)
    assert [p.default for p in ours.values()] == [p.default for p in theirs.values()]
    called = list(inspect.signature(getattr(keras.layers, name).call).parameters)
    called.remove("training")
    assert list(inspect.signature(LAYERS[name].call).parameters) == called


@pytest.mark.parametrize(("name", "arguments"), [("MultiHeadAttention", HEADS), ("GroupQueryAttention", GROUPS)])
@pytest.mark.parametrize("scores", [False, True], ids=["output", "scores"])
def test_masks_that_the_inputs_carry(name, arguments, scores):
    ours, theirs, (x, v), _ = both(name, arguments, [(2, 3, 4), (2, 3, 4)])
    called = {"use_causal_mask": True, "return_attention_scores": scores}
    got = ours(with_mask(x.clone(), PADDED), with_mask(v.clone(), ~PADDED), **called)
    masks = {"query_mask": PADDED, "value_mask": ~PADDED} if name == "GroupQueryAttention" else {}
    if not masks:
        x, v = with_mask(x, PADDED), with_mask(v, ~PADDED)
    expected = theirs(x, v, **called, **masks)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(mask_of(got[0] if scores else got), PADDED)


def test_masks_stay_on_the_inputs_and_a_given_query_mask_counts():
    layer = MultiHeadAttention(2, 3)
    x = with_mask(random(2, 3, 4), PADDED)
    expected = layer(x, x)
    assert torch.equal(mask_of(x), PADDED)
    bare = x.clone()
    torch.testing.assert_close(layer(bare, bare, query_mask=PADDED, value_mask=PADDED), expected)
    assert not torch.allclose(layer(bare, bare, value_mask=PADDED), expected)


@pytest.mark.parametrize(("name", "arguments"), [("MultiHeadAttention", HEADS), ("GroupQueryAttention", GROUPS)])
def test_padding_can_be_left_out_of_activity_penalties(name, arguments):
    x = random(2, 3, 4)
    layer = LAYERS[name](**arguments, activity_regularizer=L1(1.0), mask_activity=True, bias_initializer="ones")
    layer(with_mask(x.clone(), PADDED), x)
    query, key, _, output = layer.losses
    keep = PADDED[:, :, None].float()
    projected = layer.query_dense(x).flatten(2)
    torch.testing.assert_close(query, (projected * keep).abs().sum() / 2)
    layer(with_mask(x.clone(), PADDED), x)
    torch.testing.assert_close(layer.losses[1], key)
    torch.testing.assert_close(layer.losses[3], output)
    y = layer(with_mask(x.clone(), PADDED), x)
    torch.testing.assert_close(output, (y * keep).abs().sum() / 2)


def test_masks_over_several_axes_which_keras_refuses():
    ours = MultiHeadAttention(2, 3, attention_axes=(1, 2))
    flat = MultiHeadAttention(2, 3)
    x, mask = random(2, 2, 3, 4), torch.rand(2, 2, 3) > 0.3
    ours(x, x)
    flat(x.flatten(1, 2), x.flatten(1, 2))
    flat.set_weights(ours.get_weights())
    y, scores = ours(x, x, query_mask=mask, value_mask=mask, return_attention_scores=True)
    rows = mask.flatten(1)
    expected = flat(x.flatten(1, 2), x.flatten(1, 2), query_mask=rows, value_mask=rows, return_attention_scores=True)
    torch.testing.assert_close(y.flatten(1, 2), expected[0])
    torch.testing.assert_close(scores.flatten(4, 5).flatten(2, 3), expected[1])
    # One axis that is not the first: Keras makes the causal mask from the wrong one.
    one = MultiHeadAttention(2, 3, attention_axes=2)
    y = one(x, x, use_causal_mask=True)
    changed = x.clone()
    changed[:, :, -1] += 1.0
    torch.testing.assert_close(one(changed, changed, use_causal_mask=True)[:, :, :-1], y[:, :, :-1])


@pytest.mark.parametrize(("name", "arguments"), [("MultiHeadAttention", HEADS), ("GroupQueryAttention", GROUPS)])
def test_attributes_reach_all_projections_at_any_time(name, arguments):
    penalty = L2(0.5)
    layer = LAYERS[name](
        **arguments, kernel_regularizer=penalty, activity_regularizer="l1", kernel_constraint="non_neg"
    )
    assert layer.kernel_regularizer is penalty
    assert isinstance(layer.activity_regularizer, L1)
    assert type(layer.kernel_constraint).__name__ == "NonNeg"
    assert type(layer.kernel_initializer).__name__ == "GlorotUniform"
    assert type(layer.bias_initializer).__name__ == "Zeros"
    layer.bias_regularizer = "l2"  # before it is built
    x = random(2, 3, 4)
    layer(x, x)
    assert len(layer.losses) == 12
    assert [isinstance(r, L2) for r in (p.bias_regularizer for p in layer.projections)] == [True] * 4
    before = layer.losses
    layer.kernel_regularizer = L2(1.0)
    torch.testing.assert_close(layer.losses[4::2], [2 * loss for loss in before[4::2]])
    layer.kernel_regularizer = layer.bias_regularizer = layer.activity_regularizer = layer.kernel_constraint = None
    layer(x, x)
    assert layer.losses == []
    assert layer.activity_regularizer is None
    assert layer.output_dense.kernel_constraint is None
    layer.bias_constraint = "non_neg"
    with torch.no_grad():
        layer.key_dense.bias.fill_(-1.0)
    layer.apply_constraints()
    assert not layer.key_dense.bias.any()
    layer.activity_regularizer = "l2"
    layer(x, x)
    assert len(layer.losses) == 4
    with pytest.raises(UnknownNameError, match=f"{layer.name}: activity_regularizer: unknown regularizer 'l3'"):
        layer.activity_regularizer = "l3"
    with pytest.raises(ShapeError, match="rank 2"):
        layer.kernel_regularizer = "orthogonal_regularizer"
    assert layer.kernel_regularizer is None


def test_a_regularizer_that_is_a_module_stays_the_projections():
    class Learned(nn.Module):
        def forward(self, x):
            return x.abs().sum()

    layer = MultiHeadAttention(2, 3, kernel_regularizer=Learned())
    x = random(2, 3, 4)
    layer(x, x)
    assert len(layer.losses) == 4
    assert [name for name, _ in layer.named_children()] == list(PROJECTIONS)


def test_frozen_copied_and_pickled():
    layer = MultiHeadAttention(2, 3, **PENALTIES, trainable=False)
    x = random(2, 3, 4)
    y = layer(x, x)
    assert len(layer.losses) == 4
    assert not layer.trainable_weights
    layer.trainable = True
    assert len(layer.losses) == 12
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(copied(x, x), y)
        assert len(copied.losses) == 12
        assert copied.kernel_regularizer is copied.key_dense.kernel_regularizer


@pytest.mark.parametrize("bias", [True, False])
def test_torchs_state_dict_loads(bias):
    theirs = nn.MultiheadAttention(6, 2, bias=bias, batch_first=True)
    model = nn.Sequential(theirs)
    ours = nn.Sequential(MultiHeadAttention(2, 3, use_bias=bias))
    ours[0].build((None, None, 6), (None, None, 6))
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours.load_state_dict(model.state_dict())
    q, v, k, mask = random(2, 3, 6), random(2, 4, 6, seed=1), random(2, 4, 6, seed=2), torch.rand(3, 4) > 0.3
    expected, scores = theirs(q, k, v, attn_mask=~mask, average_attn_weights=False)
    torch.testing.assert_close(ours[0](q, v, k, attention_mask=mask), expected)
    torch.testing.assert_close(ours[0](q, v, k, attention_mask=mask, return_attention_scores=True)[1], scores)
    ours[0].load_state_dict(ours[0].state_dict())
    torch.testing.assert_close(ours[0](q, v, k, attention_mask=mask), expected)


def test_torchs_state_dict_of_other_key_sizes():
    theirs = nn.MultiheadAttention(6, 2, kdim=5, vdim=7, batch_first=True)
    ours = MultiHeadAttention(2, 3)
    ours.build((None, None, 6), (None, None, 7), (None, None, 5))
    ours.load_state_dict(theirs.state_dict())
    q, v, k = random(2, 3, 6), random(2, 4, 7), random(2, 4, 5)
    torch.testing.assert_close(ours(q, v, k), theirs(q, k, v)[0])
    other = MultiHeadAttention(2, 4)
    other.build((None, None, 6), (None, None, 6))
    with pytest.raises(RuntimeError, match=r"num_heads \* key_dim = 8 and value_dim = key_dim, got \[\(6, 6\)"):
        other.load_state_dict(nn.MultiheadAttention(6, 2).state_dict())


@pytest.mark.parametrize(("name", "arguments"), [("MultiHeadAttention", HEADS), ("GroupQueryAttention", GROUPS)])
@pytest.mark.parametrize("scores", [False, True], ids=["output", "scores"])
def test_mixed_bfloat16(name, arguments, scores):
    arguments = {**arguments, **PENALTIES, "dtype": "mixed_bfloat16"}
    ours, theirs, (x, v), _ = both(name, arguments, [(2, 3, 4), (2, 5, 4)])
    got, expected = (f(x, v, return_attention_scores=scores) for f in (ours, theirs))
    assert ours.query_dense.kernel.dtype == torch.float32
    if scores:
        torch.testing.assert_close(got[1], expected[1], rtol=2e-2, atol=2e-2)
        got, expected = got[0], expected[0]
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, expected, rtol=2e-2, atol=5e-2)
    assert {loss.dtype for loss in ours.losses} == {torch.float32}
    (got.float().sum() + sum(ours.losses)).backward()
    assert {parameter.grad.dtype for parameter in ours.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("name", "arguments", "called"),
    [
        ("MultiHeadAttention", HEADS, {}),
        ("MultiHeadAttention", {**HEADS, "use_gate": True}, {"use_causal_mask": True, "query_mask": PADDED}),
        ("MultiHeadAttention", {**HEADS, "sliding_window": 2}, {"return_attention_scores": True}),
        ("GroupQueryAttention", GROUPS, {"attention_mask": SOME}),
    ],
)
def test_compiled_as_one_graph(name, arguments, called):
    layer = LAYERS[name](**arguments, **PENALTIES)
    x = random(2, 3, 4)
    expected = layer(x, x, **called)
    losses = layer.losses
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, x, **called), expected)
    torch.testing.assert_close(layer.losses, losses)
    sum(layer.losses).backward()
    assert layer.query_dense.kernel_weight.grad is not None


@pytest.mark.parametrize("seed", [None, 3])
def test_dropout(seed):
    layer = MultiHeadAttention(2, 3, dropout=0.5, seed=seed)
    x = random(2, 30, 4)
    y = layer(x, x)
    again = layer(x, x)
    assert not torch.allclose(y, again)
    calm = layer(x, x, training=False)
    torch.testing.assert_close(layer.eval()(x, x), calm)
    layer.train()
    mean = torch.stack([layer(x, x) for _ in range(200)]).mean(0)
    torch.testing.assert_close(mean, calm, atol=0.25, rtol=0.0)
    if seed is not None:
        other = MultiHeadAttention(2, 3, dropout=0.5, seed=seed)
        other(x, x, training=False)
        other.set_weights(layer.get_weights())
        torch.testing.assert_close(other(x, x), y)
    everything = MultiHeadAttention(2, 3, dropout=1.0, bias_initializer="ones")
    torch.testing.assert_close(everything(x, x), torch.ones(2, 30, 4))


def test_queries_that_may_attend_to_nothing_have_finite_gradients():
    for arguments in ({}, {"dropout": 0.1}, {"dropout": 0.1, "seed": 0}):
        layer = MultiHeadAttention(2, 3, **arguments)
        x = random(2, 3, 4).requires_grad_()
        layer(x, x, attention_mask=torch.zeros(3, 3)).sum().backward()
        assert x.grad.isfinite().all()


def test_built_where_its_inputs_are_and_beside_keras_shapes():
    layer = MultiHeadAttention(2, 3, dtype="float64")
    layer.build((None, None, 4), (None, None, 5))
    assert [w.shape for w in layer.get_weights()][:4] == [(4, 2, 3), (2, 3), (5, 2, 3), (2, 3)]
    assert layer(random(2, 3, 4).numpy(), random(2, 3, 5)).dtype == torch.float64
    meta = MultiHeadAttention(2, 3)
    x = torch.ones(2, 3, 4, device="meta")
    assert meta(query=x, value=x).is_meta
    assert {parameter.device.type for parameter in meta.parameters()} == {"meta"}


X = torch.ones(2, 3, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MultiHeadAttention(0, 3), "num_heads must be an integer >= 1, got 0"),
        (lambda: MultiHeadAttention(2, 3.0), "key_dim must be an integer >= 1, got 3.0"),
        (lambda: MultiHeadAttention(2, 3, value_dim=-1), "value_dim must be an integer >= 1, got -1"),
        (lambda: MultiHeadAttention(2, 3, dropout=1.5), "dropout must be a number between 0 and 1, got 1.5"),
        (lambda: MultiHeadAttention(2, 3, output_shape=(0,)), "output_shape must be an integer >= 1, got 0"),
        (lambda: MultiHeadAttention(2, 3, sliding_window=0), "sliding_window must be an integer >= 1, got 0"),
        (lambda: MultiHeadAttention(2, 3, attention_axes="1"), "attention_axes must be None, an integer or integers"),
        (lambda: MultiHeadAttention(2, 3, flash_attention=True, dropout=0.1), "dropout must be 0, got 0.1"),
        (lambda: MultiHeadAttention(2, 3, kernel_regularizer="l3"), "kernel_regularizer: unknown regularizer 'l3'"),
        (lambda: MultiHeadAttention(2, 3, heads=2), "unknown argument 'heads'"),
        (
            lambda: GroupQueryAttention(3, 4, 3),
            "num_query_heads must be a multiple of num_key_value_heads, got 4 and 3",
        ),
        (lambda: GroupQueryAttention(3, 4, 2)(X[None], X[None]), "query must have rank 3"),
        (lambda: MultiHeadAttention(2, 3)(X), "it takes a query and a value"),
        (lambda: MultiHeadAttention(2, 3)(X[0], X[0]), "inputs must have rank 3 or more .*, got rank 2"),
        (lambda: MultiHeadAttention(2, 3)(X, X, X[:, :2]), r"value and key must have .* \(2, 3, 4\) and \(2, 2, 4\)"),
        (lambda: MultiHeadAttention(2, 3)(X, X[None]), "must have rank 3 and the same axes"),
        (
            lambda: MultiHeadAttention(2, 3)(X, torch.ones(3, 3, 4)),
            r"same axes \(0,\), got shapes \(2, 3, 4\), \(3, 3, 4\)",
        ),
        (
            lambda: MultiHeadAttention(2, 3, attention_axes=-1)(X, X),
            r"attention_axes must be different axes .* \(-1,\)",
        ),
        (lambda: MultiHeadAttention(2, 3, attention_axes=0)(X, X), r"of inputs of rank 3, got \(0,\)"),
        (
            lambda: MultiHeadAttention(2, 3)(X, X, attention_mask=torch.ones(2, 3, 4)),
            r"must end with the axes \(3, 3\), got shape \(2, 3, 4\)",
        ),
        (
            lambda: MultiHeadAttention(2, 3)(X, X, value_mask=torch.ones(2, 4)),
            r"value_mask must have the first axes of \(2, 3\), got shape \(2, 4\)",
        ),
        (
            lambda: MultiHeadAttention(2, 3)(X[None], X[None], use_causal_mask=True),
            r"need attention over one axis, got the axes \(1, 2\)",
        ),
        (
            lambda: MultiHeadAttention(2, 3, flash_attention=True)(X, X, return_attention_scores=True),
            "flash_attention gives no scores",
        ),
        (
            lambda: MultiHeadAttention(2, 3, kernel_regularizer="orthogonal_regularizer")(X, X),
            "query: kernel_regularizer: .*rank 2",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_other_inputs_than_it_was_built_for():
    layer = MultiHeadAttention(2, 3, name="mine")
    layer(X, X)
    with pytest.raises(ShapeError, match=r"mine.value: .* must have size 4, got \(2, 3, 5\)"):
        layer(X, torch.ones(2, 3, 5), X)
    with pytest.raises(ShapeError, match="mine: query, value and key must have rank 3"):
        layer(X[0], X)
