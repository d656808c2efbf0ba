"""Each rule of what goes and what stays, on cases small enough to count by hand; float64, eval mode."""

import copy

import pytest
import torch
from torch import nn

import penalize
from penalize import layers as L

IMAGES = torch.linspace(-1, 1, 2 * 3 * 6 * 6, dtype=torch.float64).reshape(2, 3, 6, 6).sin()
ROWS = torch.linspace(-2, 2, 5 * 4, dtype=torch.float64).reshape(5, 4).cos()


def compacted(model, example):
    """The compacted model in eval mode, after its outputs were compared, plainly, with those of the model."""
    model = model.double().eval()
    before = copy.deepcopy(model.state_dict())
    expected = model(example)
    small, report = penalize.compact(model, example)
    torch.testing.assert_close(small(example), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert report.parameters_before == sum(p.numel() for p in model.parameters())
    assert report.parameters_after == sum(p.numel() for p in small.parameters())
    return small


def mlp(*between, bias=True):
    return nn.Sequential(nn.Linear(4, 3), *between, nn.Linear(3, 2, bias=bias))


def cnn(*between, **second):
    return nn.Sequential(nn.Conv2d(3, 4, 3), *between, nn.Conv2d(4, 2, 3, **second))


@torch.no_grad()
def zero(tensor, value=0.0):
    tensor.fill_(value)


def test_a_unit_that_nobody_reads_goes():
    model = mlp(nn.ReLU())
    zero(model[2].weight[:, 1])
    small = compacted(model, ROWS)
    torch.testing.assert_close(small[0].weight, model[0].weight[[0, 2]], rtol=0, atol=0)
    torch.testing.assert_close(small[2].bias, model[2].bias, rtol=0, atol=0)


def test_one_weight_that_reads_it_keeps_a_unit():
    model = mlp(nn.ReLU())
    zero(model[2].weight[0, 1])
    assert compacted(model, ROWS)[0].out_features == 3


@pytest.mark.parametrize("bias", [0.7, -0.7])
@pytest.mark.parametrize("between", [nn.ReLU(), nn.GELU(), nn.Tanh(), nn.Sigmoid(), nn.Hardswish(inplace=True)])
def test_a_constant_unit_goes_into_the_next_bias(between, bias):
    model = mlp(between)
    zero(model[0].weight[1])
    zero(model[0].bias[1], bias)
    small = compacted(model, ROWS)
    assert (small[0].out_features, small[2].in_features) == (2, 2)
    constant = between(model[0].bias[1:2].detach().clone())
    torch.testing.assert_close(small[2].bias, model[2].bias + constant * model[2].weight[:, 1], rtol=1e-14, atol=1e-15)


def test_a_layer_without_bias_gets_one_for_a_constant_and_only_then():
    model = mlp(nn.ReLU(), bias=False)
    zero(model[0].weight[1])
    zero(model[0].bias[1], -1.0)
    assert compacted(model, ROWS)[2].bias is None
    zero(model[0].bias[1], 1.0)
    model[2].weight.requires_grad_(False)
    small = compacted(model, ROWS)
    torch.testing.assert_close(small[2].bias.detach(), model[2].weight[:, 1], rtol=1e-14, atol=1e-15)
    assert not small[2].bias.requires_grad


def test_what_is_gone_frees_units_before_it_and_behind_it():
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    zero(model[3].weight[:, 0])  # unit 0 of layer 2 goes: it alone reads unit 1 of layer 1, which alone reads unit 2
    zero(model[2].weight[1:, 1])
    zero(model[1].weight[0, 2])
    zero(model[1].weight[2:, 2])
    small = compacted(model, ROWS)
    assert [layer.out_features for layer in small] == [3, 3, 3, 4]
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    zero(model[0].weight[0])  # constant, and all that unit 1 of layer 1 reads, which is all that unit 2 reads
    zero(model[1].weight[1, 1:])
    zero(model[2].weight[2, 0])
    zero(model[2].weight[2, 2:])
    small = compacted(model, ROWS)
    assert [layer.out_features for layer in small] == [3, 3, 3, 4]


def test_one_unit_of_a_layer_stays_with_zeros_for_weights():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    zero(model[2].weight)
    small = compacted(model, ROWS)
    assert [small[place].out_features for place in (0, 2, 4)] == [1, 1, 2]
    assert not small[0].weight.any()
    assert not small[2].weight.any()
    assert not small[2].bias.any()
    assert not small[4].weight.any()
    expected = model[4].bias + model[4].weight @ model[2].bias.relu()
    torch.testing.assert_close(small[4].bias, expected, rtol=1e-13, atol=1e-14)
    again = compacted(small, ROWS)
    assert [again[place].out_features for place in (0, 2, 4)] == [1, 1, 2]


def test_outputs_of_the_last_layer_and_inputs_of_the_first_stay():
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))
    zero(model[0].weight)
    small = compacted(model, ROWS)
    assert (small[0].in_features, small[0].out_features) == (4, 3)
    alone = nn.Linear(4, 3)
    assert compacted(alone, ROWS) is not alone


@pytest.mark.parametrize(
    ("padding", "value", "left"),
    [
        ({"padding": 0}, 0.5, 3),
        ({"padding": 1}, 0.5, 4),
        ({"padding": 1}, -0.5, 3),
        ({"padding": "same"}, 0.5, 4),
        ({"padding": "valid"}, 0.5, 3),
        ({"padding": (0, 1)}, 0.5, 4),
        ({"padding": 1, "padding_mode": "reflect"}, 0.5, 3),
        ({"padding": 1, "padding_mode": "circular"}, 0.5, 3),
    ],
)
def test_before_zero_padding_only_a_constant_of_zero_goes(padding, value, left):
    model = cnn(nn.ReLU(), **padding)
    zero(model[0].weight[2])
    zero(model[0].bias[2], value)
    assert compacted(model, IMAGES)[0].out_channels == left


def test_before_padding_a_channel_that_nobody_reads_goes():
    model = cnn(nn.ReLU(), padding=1)
    zero(model[2].weight[:, 2])
    assert compacted(model, IMAGES)[0].out_channels == 3


def test_padding_of_the_layer_itself_leaves_its_dead_channel_constant():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    zero(model[0].weight[2])
    zero(model[0].bias[2], 1.0)
    assert compacted(model, IMAGES)[0].out_channels == 3


@pytest.mark.parametrize(
    ("between", "left"),
    [
        (nn.MaxPool2d(3, 1, padding=1), 3),
        (nn.AvgPool2d(3, 1), 3),
        (nn.AvgPool2d(3, 1, padding=1), 4),
        (nn.AvgPool2d(3, 1, padding=1, count_include_pad=False), 3),
        (nn.AvgPool2d(3, 1, divisor_override=2), 4),
        (nn.AvgPool2d(3, 2, ceil_mode=True), 3),
        (nn.AdaptiveAvgPool2d(4), 3),
        (nn.AdaptiveMaxPool2d((4, 3)), 3),
        (nn.ZeroPad2d(1), 4),
        (nn.ConstantPad2d(1, 0.5), 3),
        (nn.ConstantPad2d(1, 0.25), 4),
        (nn.ReflectionPad2d(1), 3),
        (nn.ReplicationPad2d(1), 3),
        (nn.CircularPad2d(1), 3),
        (nn.Dropout2d(), 3),
    ],
)
def test_what_poolings_and_paddings_make_of_a_constant(between, left):
    model = cnn(between)
    zero(model[0].weight[2])
    zero(model[0].bias[2], 0.5)
    assert compacted(model, IMAGES.repeat(1, 1, 2, 2))[0].out_channels == left
    zero(model[0].bias[2])
    zeros = 4 if isinstance(between, nn.ConstantPad2d) and between.value else 3
    assert compacted(model, IMAGES.repeat(1, 1, 2, 2))[0].out_channels == zeros


def with_statistics(norm):
    """A BatchNorm with statistics and parameters of all kinds."""
    size = len(norm.running_mean)
    with torch.no_grad():
        norm.running_mean.copy_(torch.linspace(-1, 1, size))
        norm.running_var.copy_(torch.linspace(0.5, 2, size))
        norm.weight.copy_(torch.linspace(-1, 2, size) + 0.1)
        norm.bias.copy_(torch.linspace(0.3, 1, size))
    return norm


def test_a_constant_goes_through_batch_norm_by_its_running_statistics():
    model = cnn(with_statistics(nn.BatchNorm2d(4, eps=0.1)), nn.Sigmoid())
    zero(model[0].weight[2])
    small = compacted(model, IMAGES)
    assert small[1].num_features == 3
    torch.testing.assert_close(small[1].running_var, model[1].running_var[[0, 1, 3]], rtol=0, atol=0)


def test_a_gamma_of_zero_makes_a_unit_the_constant_beta():
    model = cnn(with_statistics(nn.BatchNorm2d(4)), nn.Tanh())
    zero(model[1].weight[2])
    assert compacted(model, IMAGES)[0].out_channels == 3


def test_behind_flatten_a_unit_goes_only_with_all_of_its_positions():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), with_statistics(nn.BatchNorm1d(64)), nn.Linear(64, 2))
    zero(model[3].weight[:, 16:31])
    assert compacted(model, IMAGES)[0].out_channels == 4
    zero(model[3].weight[:, 31])
    small = compacted(model, IMAGES)
    assert (small[0].out_channels, small[2].num_features, small[3].in_features) == (3, 48, 48)
    zero(model[0].weight[3])
    assert compacted(model, IMAGES)[0].out_channels == 2


def test_flatten_of_some_axes_leaves_the_channels_where_they_are():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.Conv1d(4, 2, 3))
    zero(model[0].weight[2])
    assert compacted(model, IMAGES)[0].out_channels == 3


@pytest.mark.parametrize("slopes", [1, 4])
def test_prelu_is_cut_with_its_units(slopes):
    model = cnn(nn.PReLU(slopes))
    with torch.no_grad():
        model[1].weight.copy_(torch.linspace(0.1, 0.9, slopes))
    zero(model[0].weight[2])
    zero(model[0].bias[2], -2.0)
    small = compacted(model, IMAGES)
    assert small[0].out_channels == 3
    assert small[1].num_parameters == min(slopes, 3)


def test_every_rank_of_convolution():
    for rank, conv in enumerate([nn.Conv1d, nn.Conv2d, nn.Conv3d], start=1):
        model = nn.Sequential(conv(2, 3, 2), nn.ReLU(), conv(3, 2, 2))
        zero(model[0].weight[0])
        zero(model[0].bias[0], 0.5)
        assert (
            compacted(model, torch.ones(2, 2, *(4,) * rank, dtype=torch.float64).cumsum(-1).sin())[0].out_channels == 2
        )


def test_a_linear_layer_of_sequences_and_nested_chains():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), nn.Sequential(), nn.Sequential(nn.Linear(3, 2)))
    zero(model[0][0].weight[1])
    zero(model[0][0].bias[1], 1.0)
    assert compacted(model, ROWS.reshape(1, 5, 4))[0][0].out_features == 2


def test_one_stateless_module_may_stand_in_several_places():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 3), relu, nn.Linear(3, 3), relu, nn.Linear(3, 2))
    zero(model[2].weight[:, 1])
    assert compacted(model, ROWS)[0].out_features == 2


def test_a_constant_that_is_not_finite_stays():
    big = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2), nn.Hardtanh())
    zero(big[0].weight[1])
    zero(big[0].bias[1], float("inf"))
    assert compacted(big, ROWS)[0].out_features == 3


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("padding", "value", "left"), [("valid", 0.5, 3), ("same", 0.5, 4), ("same", -0.5, 3)])
def test_layers_of_penalize(data_format, padding, value, left):
    shape = (6, 6, 3) if data_format == "channels_last" else (3, 6, 6)
    axis = -1 if data_format == "channels_last" else 1
    model = penalize.Sequential(
        [
            penalize.Input(shape),
            L.Conv2D(4, 3, data_format=data_format, activation="relu"),
            L.BatchNormalization(axis=axis, scale=False),
            L.MaxPooling2D(2, 1, padding="same", data_format=data_format),
            L.PReLU("ones"),
            L.Conv2D(3, 2, padding=padding, data_format=data_format, use_bias=False),
            L.AveragePooling2D(2, 1, padding="same", data_format=data_format),
            L.ReLU(),
            L.Flatten(data_format),
            L.Dropout(0.5),
            L.Dense(2),
        ]
    )
    zero(model.layers[0].weight[2])
    zero(model.layers[0].bias[2], value)
    zero(model.layers[4].weight[1])
    small = compacted(model, IMAGES.movedim(1, axis))
    assert [layer.filters for layer in (small.layers[0], small.layers[4])] == [left, 2]
    assert small.layers[4].use_bias == (value > 0 and padding == "valid")
    assert len(small.layers[1].moving_mean) == left
    assert small.layers[3].alpha.shape[0 if axis == 1 else -1] == left


def test_prelu_with_slopes_for_each_position_keeps_a_negative_constant():
    model = penalize.Sequential([penalize.Input((6, 6, 3)), L.Conv2D(4, 3), L.PReLU(), L.Conv2D(2, 2)])
    with torch.no_grad():
        model.layers[1].alpha.copy_(torch.linspace(0, 1, 64).reshape(4, 4, 4))
    zero(model.layers[0].weight[2])
    zero(model.layers[0].bias[2], -1.0)
    assert compacted(model, IMAGES.movedim(1, -1)).layers[0].filters == 4
    zero(model.layers[0].bias[2], 1.0)
    assert compacted(model, IMAGES.movedim(1, -1)).layers[0].filters == 3


def test_prelu_with_slopes_that_all_channels_share_is_not_cut():
    model = penalize.Sequential(
        [penalize.Input((6, 6, 3)), L.Conv2D(4, 3), L.PReLU("ones", shared_axes=[3]), L.Conv2D(2, 2)]
    )
    zero(model.layers[2].weight[:, 2])
    small = compacted(model, IMAGES.movedim(1, -1))
    assert small.layers[0].filters == 3
    assert small.layers[1].alpha.shape == (4, 4, 1)


def test_a_bias_that_would_overflow_as_a_constant_does_no_harm_to_a_unit_that_nobody_reads():
    model = nn.Sequential(nn.Linear(4, 2), L.Activation("exponential"), nn.Linear(2, 2)).double()
    zero(model[0].weight, 0.1)
    zero(model[0].weight[1], -1000.0)
    zero(model[0].bias[1], 1000.0)
    zero(model[2].weight[:, 1])
    ones = torch.ones(2, 4, dtype=torch.float64)
    model(ones)
    assert compacted(model, ones)[0].out_features == 1


@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize("pool", [L.GlobalAveragePooling2D, L.GlobalMaxPooling2D])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_global_poolings(pool, keepdims, data_format):
    axis = -1 if data_format == "channels_last" else 1
    behind = [L.Flatten(data_format)] if keepdims else []
    model = nn.Sequential(
        L.Conv2D(4, 3, data_format=data_format), pool(data_format, keepdims=keepdims), *behind, L.Dense(2)
    )
    images = IMAGES.movedim(1, axis)
    model.double()(images)
    zero(model[0].weight[2])
    zero(model[0].bias[2], 0.5)
    assert compacted(model, images)[0].filters == 3


def test_causal_padding_and_zero_padding_layers():
    steps = IMAGES.flatten(2).movedim(1, -1)
    for first, second, left in [
        ([], {"padding": "causal"}, 4),
        ([L.ZeroPadding1D(1)], {}, 4),
        ([], {}, 3),
        ([L.Rescaling(2.0, 1.0)], {}, 3),
        ([L.ActivityRegularization(l1=0.1), L.SpatialDropout1D(0.5)], {}, 3),
    ]:
        model = nn.Sequential(L.Conv1D(4, 3), *first, L.Conv1D(2, 2, **second))
        model.double()(steps)
        zero(model[0].weight[2])
        zero(model[0].bias[2], 0.5)
        assert compacted(model, steps)[0].filters == left
