"""Layer: building, declared weights, the exact meaning of `losses`, and custom layers."""

import copy
import gc
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import penalize
from penalize import layers, ops
from penalize.errors import ArgumentError, NotBuiltError, PenaltyError, ShapeError, StrengthError, UnknownNameError
from penalize.layers.naming import snake_case
from penalize.regularizers import L1, L2


def values(losses):
    return [loss.item() for loss in losses]


def test_the_example_of_every_keras_page():
    layer = layers.Dense(5, kernel_initializer="ones", kernel_regularizer=L1(0.01), activity_regularizer=L2(0.01))
    assert layer.losses == []
    layer(torch.full((5, 5), 2.0))
    assert values(layer.losses) == pytest.approx([5.0, 0.25])
    assert ops.sum(layer.losses).item() == pytest.approx(5.25)


def test_state_dicts_are_torchs():
    ours, theirs = layers.Dense(3), nn.Linear(4, 3)
    ours.build((None, 4))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 4)
    torch.testing.assert_close(ours(x), theirs(x))
    ours, theirs = layers.Conv2D(3, 2, data_format="channels_first"), nn.Conv2d(4, 3, 2)
    ours.build((None, 4, 5, 5))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(ours(x), theirs(x))


def test_the_kernel_is_a_view_in_keras_layout():
    layer = layers.Dense(3)
    with pytest.raises(NotBuiltError, match=r"dense.* has no kernel yet: call it once, or build"):
        layer.kernel  # noqa: B018
    layer.build((None, 4))
    assert tuple(layer.kernel.shape) == (4, 3)
    with torch.no_grad():
        layer.kernel[1, 2] = 7.0
    assert layer.weight[2, 1].item() == 7.0
    conv = layers.Conv3D(5, (1, 2, 3))
    conv.build((None, 4, 4, 4, 2))
    assert tuple(conv.kernel.shape) == (1, 2, 3, 2, 5)
    assert tuple(conv.weight.shape) == (5, 2, 1, 2, 3)


def test_rows_mean_what_keras_means():
    layer = layers.Dense(2, kernel_regularizer=penalize.regularizers.OrthogonalRegularizer(1.0, "rows"))
    layer.build((None, 3))
    layer.set_weights([np.array([[1, 0], [1, 0], [1, 0]]), np.zeros(2)])
    assert values(layer.losses) == [pytest.approx(1.0)]
    layer.kernel_regularizer.mode = "columns"
    assert values(layer.losses) == [0.0]


def test_regularizers_set_after_building_take_effect_at_once_and_none_removes():
    layer = layers.Dense(1, kernel_initializer="ones", kernel_regularizer=L2(0.5))
    layer(torch.ones(2, 4))
    layer.kernel_regularizer = L2(5.0)
    assert values(layer.losses) == [20.0]
    layer.bias_regularizer = "l1"
    layer.activity_regularizer = "l2"
    layer(torch.ones(2, 4))
    assert len(layer.losses) == 3
    layer.kernel_regularizer = layer.bias_regularizer = layer.activity_regularizer = None
    layer(torch.ones(2, 4))
    assert layer.losses == []
    with pytest.raises(UnknownNameError, match="unknown regularizer 'l3'"):
        layer.kernel_regularizer = "l3"


def test_a_module_can_be_a_regularizer():
    class Learned(nn.Module):
        def forward(self, x):
            return x.square().sum()

    layer = layers.Dense(1, kernel_regularizer=Learned(), kernel_initializer="ones")
    layer.build((None, 4))
    layer.activity_regularizer = Learned()
    assert list(layer.children()) == []
    layer(torch.ones(1, 4))
    assert values(layer.losses) == [16.0, 4.0]


def test_activity_is_divided_by_axis_0_and_cleared_at_the_next_call():
    layer = layers.ActivityRegularization(l2=1.0)
    layer(torch.ones(2, 3, 5))
    assert values(layer.losses) == [15.0]
    layer(torch.ones(1, 3))
    assert values(layer.losses) == [3.0]
    layer(torch.zeros(0, 3))
    assert values(layer.losses) == [0.0]
    layer(torch.tensor(2.0))
    assert values(layer.losses) == [4.0]
    layer.l2 = 5.0
    layer(torch.tensor(2.0))
    assert values(layer.losses) == [20.0]
    layer.activity_regularizer = "l1"
    with pytest.raises(ArgumentError, match=r"l1 and l2 belong to L1L2, it now has L1\(l1=0.01\)"):
        layer.l1 = 3.0


class AddsLoss(penalize.Layer):
    """Adds a fixed loss at each call."""

    def __init__(self, value, **kwargs):
        super().__init__(**kwargs)
        self.value = value

    def call(self, inputs):
        self.add_loss(inputs.sum() * 0 + self.value)
        return inputs


def test_losses_are_in_call_order_at_every_depth():
    inner = penalize.Sequential([AddsLoss(3.0), AddsLoss(4.0)])
    middle = penalize.Sequential([AddsLoss(2.0), inner, AddsLoss(5.0)])
    model = penalize.Sequential([AddsLoss(1.0), middle, AddsLoss(6.0)])
    model(torch.ones(1, 1))
    assert values(model.losses) == [1, 2, 3, 4, 5, 6]
    assert values(middle.losses) == [2, 3, 4, 5]


def test_call_order_is_not_the_order_of_creation():
    class Backwards(penalize.Layer):
        def __init__(self):
            super().__init__()
            self.a, self.b = AddsLoss(1.0), AddsLoss(2.0)

        def call(self, inputs):
            return self.a(self.b(self.a(inputs)))

    model = Backwards()
    model(torch.ones(1, 1))
    assert values(model.losses) == [1, 2, 1]
    model(torch.ones(1, 1))
    assert len(model.losses) == 3


def test_a_layer_called_twice_in_one_call_has_two_activities_and_one_weight():
    layer = layers.Dense(3, kernel_regularizer=L2(1.0), activity_regularizer=L1(1.0))
    model = penalize.Sequential([penalize.Input((3,)), layer, layer])
    model(torch.ones(2, 3))
    assert len(model.losses) == 3
    assert len(model.weights) == 2


def test_a_shared_layer_called_elsewhere_rewrites_what_its_owners_report():
    layer = layers.Dense(1, kernel_initializer="ones", activity_regularizer=L1(1.0))
    model = penalize.Sequential([penalize.Input((4,)), layer])
    model(torch.ones(2, 4))
    assert values(model.losses) == [4.0]
    layer(torch.full((2, 4), 100.0))
    assert values(model.losses) == [400.0]


def test_tied_weights_count_once():
    first, second = layers.Dense(3, kernel_regularizer=L2(1.0)), layers.Dense(3, kernel_regularizer=L2(1.0))
    model = penalize.Sequential([penalize.Input((3,)), first, second])
    second.weight = first.weight
    assert len(model.losses) == 1
    assert len(model.weights) == 3


def test_frozen_layers_pay_for_activity_only():
    child = layers.Dense(2, kernel_regularizer="l2", bias_regularizer="l2", activity_regularizer="l1")
    parent = penalize.Sequential([penalize.Input((3,)), child, layers.Dense(1, kernel_regularizer="l2")])
    parent(torch.ones(1, 3))
    assert len(parent.losses) == 4
    child.trainable = False
    assert len(parent.losses) == 2
    child.trainable = True
    assert len(parent.losses) == 4
    parent.trainable = False
    assert len(parent.losses) == 1
    assert not any(parameter.requires_grad for parameter in parent.parameters())
    child.trainable = True
    assert len(parent.losses) == 1
    assert len(child.losses) == 3
    child.trainable = parent.trainable = True
    child.weight.requires_grad_(False)
    assert len(parent.losses) == 3
    late = layers.Dense(2, kernel_regularizer="l2", trainable=False)
    late.build((None, 3))
    assert late.losses == []
    assert not late.weight.requires_grad


def test_add_loss():
    class Builds(penalize.Layer):
        def build(self, input_shape):
            self.add_loss(torch.tensor(7.0))

        def call(self, inputs):
            return inputs

    layer = Builds()
    layer(torch.ones(1))
    assert values(layer.losses) == [7.0]
    layer(torch.ones(1))
    assert layer.losses == []
    layer.add_loss([torch.tensor(1.0), (torch.ones(3), torch.tensor(2.0))])
    assert values(layer.losses) == [1.0, 3.0, 2.0]
    layer(torch.ones(1))
    assert layer.losses == []
    for bad in (1.0, lambda: 0, "1", [1.0]):
        with pytest.raises(ArgumentError, match=r"builds.*: add_loss takes tensors, got"):
            layer.add_loss(bad)


def test_nested_outputs_have_an_entry_each():
    class Many(penalize.Layer):
        def call(self, inputs):
            return {"b": inputs, "a": (2 * inputs, [None, 3 * inputs])}

    layer = Many(activity_regularizer=L1(1.0))
    layer(torch.ones(2, 1))
    assert values(layer.losses) == [2.0, 3.0, 1.0]


def test_custom_layers_with_weights_of_their_own():
    class Scale(penalize.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", regularizer=L2(1.0), name="s")
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, regularizer=L2(1.0))

        def call(self, inputs, training=None):
            return inputs * self.scale if training else inputs

    layer = Scale()
    x = torch.full((2, 3), 2.0)
    assert torch.equal(layer(x), x)
    assert list(layer.state_dict()) == ["scale", "count"]
    assert values(layer.losses) == [3.0]
    with torch.no_grad():
        layer.scale.mul_(2)
    assert torch.equal(layer(x), 2 * x)
    assert torch.equal(layer(x, training=False), x)
    assert layer.training
    assert torch.equal(layer.eval()(x), x)
    assert [w.shape for w in layer.get_weights()] == [(3,), ()]
    layer.trainable = False
    layer.trainable = True
    assert layer.scale.requires_grad
    assert not layer.count.requires_grad
    with pytest.raises(ArgumentError, match="there is a weight named 's' already"):
        layer.add_weight(shape=(1,), name="s")


def test_a_layer_without_call_says_so():
    with pytest.raises(NotImplementedError, match=r"Empty must define call\(inputs\)"):
        type("Empty", (penalize.Layer,), {})()(torch.ones(1))


def test_layers_work_in_any_torch_model_and_have_gradients():
    layer = layers.Dense(2, kernel_regularizer=L2(0.5), activity_regularizer=L2(0.1))
    model = nn.Sequential(nn.Linear(3, 3), layer).double()
    layer.build((None, 3))
    model.double()
    x = torch.randn(4, 3).double()
    (model(x).sum() + sum(layer.losses)).backward()
    got = layer.weight.grad.clone()
    layer.zero_grad()
    y = model(x)
    (y.sum() + 0.1 * y.square().sum() / 4 + 0.5 * layer.weight.square().sum()).backward()
    torch.testing.assert_close(got, layer.weight.grad)


def test_numpy_inputs_and_other_floats_are_cast_as_keras_does():
    layer = layers.Dense(2)
    assert layer(np.ones((2, 3))).dtype == torch.float32
    assert layer(torch.ones(2, 3, dtype=torch.float16)).dtype == torch.float32
    assert layers.Dense(2, dtype="float64")(np.ones((2, 3), "float32")).dtype == torch.float64
    assert layer.half()(torch.ones(2, 3)).dtype == torch.float16


def test_float64_and_float16_activity():
    layer = layers.ActivityRegularization(l2=1.0, dtype="float64")
    layer(np.full((1, 1), 1e20))
    assert layer.losses[0].dtype == torch.float64
    assert layer.losses[0].item() == pytest.approx(1e40)
    layer = layers.ActivityRegularization(l1=1e-3, dtype="float16")
    layer(torch.ones(70000, 1))
    assert layer.losses[0].dtype == torch.float32
    assert layer.losses[0].item() == pytest.approx(1e-3)


def test_ten_thousand_calls_hold_no_memory():
    model = penalize.Sequential([penalize.Input((2,)), layers.Dense(2, activity_regularizer="l2")])
    x = torch.ones(1, 2)
    with torch.no_grad():
        model(x)
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(10_000):
            model(x)
        gc.collect()
        assert len(gc.get_objects()) - before < 50


def test_copies_and_pickles_are_layers_of_their_own():
    layer = layers.Dense(2, kernel_regularizer=L2(1.0), activity_regularizer="l1")
    dropout = layers.Dropout(0.5, seed=1)
    model = penalize.Sequential([penalize.Input((3,)), layer, dropout])
    model(torch.ones(1, 3))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert len(twin.losses) == 1
        twin.layers[0].kernel_regularizer.l2 = 9.0
        assert layer.kernel_regularizer.l2 == 1.0
        torch.testing.assert_close(twin.eval()(torch.ones(2, 3)), model.eval()(torch.ones(2, 3)))


def test_compile_fullgraph_keeps_the_losses():
    model = penalize.Sequential(
        [
            penalize.Input((4,)),
            layers.Dense(3, "relu", kernel_regularizer="l2", activity_regularizer="l1"),
            layers.Dense(2),
        ]
    )
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for _ in range(3):
        x = torch.randn(5, 4)
        compiled(x)
        got = values(model.losses)
        model(x)
        assert got == pytest.approx(values(model.losses))
        assert len(got) == 2


def test_dropout_drops_scales_and_repeats_with_a_seed():
    x = torch.ones(1000, 20)
    layer = layers.Dropout(0.25)
    y = layer(x)
    assert y.mean().item() == pytest.approx(1.0, abs=0.02)
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert torch.equal(layer.eval()(x), x)
    assert torch.equal(layers.Dropout(0.5, seed=3)(x), layers.Dropout(0.5, seed=3)(x))
    shared = layers.Dropout(0.5, noise_shape=(None, 1))(x)
    assert (shared == shared[:, :1]).all()
    assert torch.equal(layers.Dropout(1.0)(x), torch.zeros_like(x))
    with pytest.raises(ArgumentError, match="noise_shape .* must have the rank of the inputs"):
        layers.Dropout(0.5, noise_shape=(None, 1))(torch.ones(2, 2, 2))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.Dense(0), ArgumentError, "dense.*: units must be an integer >= 1, got 0"),
        (lambda: layers.Dense(2.5), ArgumentError, "dense.*: units must be an integer >= 1, got 2.5"),
        (lambda: layers.Dense(True), ArgumentError, "dense.*: units must be an integer >= 1, got True"),
        (lambda: layers.Dense(2, "rellu"), UnknownNameError, "unknown activation 'rellu': did you mean 'relu'"),
        (lambda: layers.Dense(2, kernel_initializer="one_hot"), UnknownNameError, "dense.*: kernel_initializer: unknown initializer 'one_hot'"),
        (lambda: layers.Dense(2, kernel_regularizer="l3"), UnknownNameError, "dense.*: kernel_regularizer: unknown regularizer 'l3'"),
        (lambda: layers.Dense(2, kernel_regularizer=0.1), ArgumentError, "a regularizer is None, a name"),
        (lambda: layers.Dense(2, kernel_regulariser="l2"), ArgumentError, "Dense: unknown argument 'kernel_regulariser'.*'kernel_regularizer'"),
        (lambda: layers.Dense(2, dtype="float31"), ArgumentError, "Dense: unknown dtype 'float31': did you mean 'float32'"),
        (lambda: layers.Dense(2, input_dim=0), ArgumentError, "Dense: input_dim must be an integer >= 1, got 0"),
        (lambda: layers.Conv2D(2, (3, 3, 3)), ArgumentError, r"conv2d.*: kernel_size must be an integer or 2 integers, got \(3, 3, 3\)"),
        (lambda: layers.Conv2D(2, 3, padding="full"), ArgumentError, "conv2d.*: padding must be one of 'valid', 'same', got 'full'"),
        (lambda: layers.Conv2D(2, 3, padding="causal"), ArgumentError, "conv2d.*: padding must be one of 'valid', 'same', got 'causal'"),
        (lambda: layers.Conv2D(2, 3, data_format="NHWC"), ArgumentError, "conv2d.*: data_format must be one of"),
        (lambda: layers.Conv2D(3, 3, groups=2), ArgumentError, r"conv2d.*: filters \(3\) must be a multiple of groups \(2\)"),
        (lambda: layers.Conv2D(2, 3, strides=2, dilation_rate=2), ArgumentError, "cannot both be above 1"),
        (lambda: layers.Conv2D(2, 3, groups=2)(torch.ones(1, 5, 5, 3)), ArgumentError, r"input channels \(3\) must be a multiple of groups"),
        (lambda: layers.Conv2D(2, 3)(torch.ones(5, 5, 3)), ShapeError, r"conv2d.*: inputs must have rank 4, got shape \(5, 5, 3\)"),
        (lambda: layers.MaxPooling2D()(torch.ones(5, 5)), ShapeError, r"max_pooling2d.*: inputs must have rank 4, got shape \(5, 5\)"),
        (lambda: layers.Dense(2)(torch.ones(3)), ShapeError, r"dense.*: inputs must have rank 2 or more, got shape \(3,\)"),
        (lambda: layers.Dropout(1.5), ArgumentError, "dropout.*: rate must be a number between 0 and 1, got 1.5"),
        (lambda: layers.ActivityRegularization(-1), StrengthError, "l1 must be a finite real number >= 0, got -1"),
        (lambda: penalize.Input(), ArgumentError, "give either shape or batch_shape"),
        (lambda: penalize.Input(784), ArgumentError, "shape must be a tuple such as"),
        (lambda: penalize.Input((0,)), ArgumentError, "shape must be an integer >= 1, got 0"),
        (lambda: layers.InputLayer((3,))(torch.ones(2, 4)), ShapeError, r"expected inputs of shape \(None, 3\), got \(2, 4\)"),
    ],
)  # fmt: skip
def test_bad_arguments_name_the_layer_and_the_argument(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_calls_with_other_shapes_than_built_for_are_refused():
    dense, conv = layers.Dense(2), layers.Conv1D(2, 3)
    dense(torch.ones(1, 3))
    conv(torch.ones(1, 5, 3))
    with pytest.raises(ShapeError, match=r"dense.*: the last axis of the inputs must be 3, got \(1, 4\)"):
        dense(torch.ones(1, 4))
    with pytest.raises(ShapeError, match=r"conv1d.*: expected 3 input channels, got 4"):
        conv(torch.ones(1, 5, 4))


def test_a_regularizer_that_returns_no_scalar_names_its_weight():
    layer = layers.Dense(2, kernel_regularizer=lambda kernel: kernel, name="head")
    with pytest.raises(PenaltyError, match="head: kernel_regularizer: the regularizer <lambda> must return one real"):
        layer(torch.ones(1, 3))
    layer = layers.Dense(2, activity_regularizer=lambda y: None, name="head")
    with pytest.raises(PenaltyError, match="head: the regularizer <lambda> must return one real number, got NoneType"):
        layer(torch.ones(1, 3))
    layer.activity_regularizer = "l1"
    layer(torch.ones(1, 3))
    assert len(layer.losses) == 1


def test_weights_are_set_all_or_none():
    layer = layers.Dense(2)
    layer.build((None, 3))
    before = layer.get_weights()
    with pytest.raises(ShapeError, match="expected 2 arrays, got 1"):
        layer.set_weights(before[:1])
    with pytest.raises(ShapeError, match=r"array 1 must have shape \(2,\), got \(3,\)"):
        layer.set_weights([before[0] + 1, np.zeros(3)])
    for got, expected in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_names():
    assert [snake_case(n) for n in ("Conv2D", "Conv2DTranspose", "GroupQueryAttention", "PReLU", "LSTM")] == [
        "conv2d", "conv2d_transpose", "group_query_attention", "p_re_lu", "lstm",
    ]  # fmt: skip
    assert layers.Dense(1, name="mine").name == "mine"
    assert layers.Dense(1).name != layers.Dense(1).name
