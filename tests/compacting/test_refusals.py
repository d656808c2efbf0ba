"""What cannot be proven is refused by the name of the module, before anything is computed or changed."""

import re

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import penalize
from penalize import layers as L
from penalize.errors import ArgumentError, CompactError

ROWS = torch.ones(5, 4)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x):
        return x + self.inner(x)


class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Backwards(nn.Sequential):
    def forward(self, x):
        for module in reversed(self):
            x = module(x)
        return x


class Skipping(penalize.Sequential):
    def call(self, inputs):
        return inputs + super().call(inputs)


class Small(penalize.Model):
    def __init__(self):
        super().__init__()
        self.dense = L.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)


def between(*modules):
    return nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), *modules), nn.Linear(3, 2))


def built(layer, *shape):
    layer(torch.ones(shape))
    return layer


def functional():
    inputs = penalize.Input((3,))
    return penalize.Model(inputs, L.Dense(3)(inputs))


def replaced():
    layer = nn.Linear(3, 3)
    layer.forward = lambda x: x
    return layer


def replaced_call():
    layer = built(L.Dense(3), 2, 3)
    layer.call = lambda x: x
    return layer


def replaced_chain():
    chain = nn.Sequential(nn.Linear(3, 3))
    chain.forward = lambda x: x
    return chain


def hooked():
    layer = nn.Linear(3, 3)
    layer.register_forward_hook(lambda module, args, output: output + 1)
    return layer


def extended():
    layer = nn.Linear(3, 3)
    layer.scale = nn.Parameter(torch.ones(3))
    return layer


@pytest.mark.parametrize(
    ("module", "name", "why"),
    [
        (Residual, "Residual", "has a forward of its own"),
        (Doubling(3, 3), "Doubling", "is of a class that is not known"),
        (Backwards(nn.Linear(3, 3)), "Backwards", "has a forward of its own"),
        (lambda: built(Skipping([L.Dense(3)]), 2, 3), "Skipping", "has a forward of its own"),
        (lambda: built(Small(), 2, 3), "Small", "has a forward of its own"),
        (functional, "Model", "has a forward of its own"),
        (replaced, "Linear", "has a forward that was replaced"),
        (replaced_call, "Dense", "has a forward that was replaced"),
        (replaced_chain, "Sequential", "has a forward that was replaced"),
        (hooked, "Linear", "has the forward hook hooked.<locals>.<lambda>, which may change"),
        (extended, "Linear", "has a parameter 'scale', which its class does not have"),
        (nn.LayerNorm(3), "LayerNorm", "normalizes over several units together"),
        (nn.RMSNorm(3), "RMSNorm", "normalizes over several units together"),
        (nn.GroupNorm(1, 3), "GroupNorm", "normalizes over several units together"),
        (nn.InstanceNorm1d(3), "InstanceNorm1d", "normalizes over several units together"),
        (lambda: built(L.LayerNormalization(), 2, 3), "LayerNormalization", "normalizes over several"),
        (nn.BatchNorm1d(3, track_running_stats=False), "BatchNorm1d", "has no running statistics"),
        (nn.Softmax(1), "Softmax", "mixes or moves units between layers"),
        (nn.Unflatten(1, (1, 3)), "Unflatten", "mixes or moves units between layers"),
        (lambda: built(L.Activation("softmax"), 2, 3), "Activation", "has the activation softmax"),
        (lambda: built(L.Activation(lambda x: x), 2, 3), "Activation", "has the activation <lambda>"),
        (lambda: built(L.Dense(3, "softmax"), 2, 3), "Dense", "has the activation softmax"),
        (lambda: built(L.Dense(3, nn.PReLU()), 2, 3), "Dense", "has the activation PReLU"),
        (lambda: built(L.Rescaling([1.0, 2.0, 3.0]), 2, 3), "Rescaling", "has a scale for each unit"),
        (lambda: built(L.Dropout(0.5, (None, 3)), 2, 3), "Dropout", "has the noise_shape (None, 3)"),
        (nn.GLU(), "GLU", "is of a class that is not known"),
        (nn.RReLU(), "RReLU", "is of a class that is not known"),
        (nn.LSTM(3, 3), "LSTM", "is recurrent"),
        (nn.GRU(3, 3), "GRU", "is recurrent"),
        (nn.MultiheadAttention(3, 1), "MultiheadAttention", "is attention"),
        (nn.Embedding(4, 3), "Embedding", "is an embedding"),
        (nn.ConvTranspose1d(3, 3, 1), "ConvTranspose1d", "is a transposed convolution"),
        (lambda: built(L.DepthwiseConv2D(2), 1, 3, 3, 3), "DepthwiseConv2D", "is a depthwise convolution"),
        (nn.LazyLinear(3), "LazyLinear", "is lazy and not initialized"),
        (L.Dense(3), "Dense", "is not built"),
        (nn.Linear(3, 3, device="meta"), "Linear", "has no values of its weight"),
        (lambda: parametrizations.weight_norm(nn.Linear(3, 3)), "ParametrizedLinear", "has parametrized weights"),
        (lambda: prune.l1_unstructured(nn.Linear(3, 3), "weight", 0.5), "Linear", "has the forward hook L1Unstruct"),
        (nn.MaxPool1d(1, return_indices=True), "MaxPool1d", "returns indices"),
    ],
)
def test_what_is_no_chain_of_units_is_refused_by_name(module, name, why):
    model = between(module if isinstance(module, nn.Module) else module())
    with pytest.raises(CompactError, match=re.escape(f"compact: 1.1 ({name}) {why}")):
        penalize.compact(model, ROWS)


def test_groups_are_refused_wherever_they_stand():
    for groups in ([2, 1], [1, 2]):
        model = nn.Sequential(*(nn.Conv2d(4, 4, 1, groups=number) for number in groups))
        with pytest.raises(CompactError, match=rf"compact: {groups.index(2)} \(Conv2d\) has groups=2"):
            penalize.compact(model, torch.ones(1, 4, 3, 3))
    layer = built(L.Conv2D(4, 1, groups=2), 1, 3, 3, 4)
    with pytest.raises(CompactError, match=r"compact: the model \(Conv2D\) has groups=2"):
        penalize.compact(layer, torch.ones(1, 3, 3, 4))


def test_shared_weights_are_refused():
    model = between()
    model[1].append(nn.Linear(3, 3))
    model[1].append(model[1][1])
    with pytest.raises(CompactError, match=r"1\.2 \(Linear\) shares 1\.2\.weight with 1\.1\.weight"):
        penalize.compact(model, ROWS)
    model = between(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1][2].bias = model[1][1].bias
    with pytest.raises(CompactError, match=r"1\.2 \(Linear\) shares 1\.2\.bias with 1\.1\.bias"):
        penalize.compact(model, ROWS)
    norm = nn.BatchNorm1d(3, affine=False)
    with pytest.raises(CompactError, match=r"1\.2 \(BatchNorm1d\) shares 1\.2\.running_mean with 1\.1\.running_mean"):
        penalize.compact(between(norm, norm), ROWS)


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        # Each runs, but along another axis than that of the units.
        ([nn.Conv2d(3, 4, 1), nn.Linear(6, 2)], (1, 3, 6, 6), r"1 \(Linear\) acts along axis 3, .* stand along axis 1"),
        ([nn.Linear(4, 3), nn.BatchNorm1d(5), nn.Linear(3, 2)], (2, 5, 4), r"1 \(BatchNorm1d\) acts along axis 1"),
        ([nn.Linear(4, 4), nn.MaxPool1d(2), nn.Linear(2, 2)], (5, 4), r"1 \(MaxPool1d\) acts along axis 0"),
        ([nn.Linear(4, 4), nn.PReLU(5), nn.Linear(4, 2)], (2, 5, 4), r"1 \(PReLU\) acts along axis 1, .* axis 2"),
        ([nn.Linear(6, 6), nn.Conv1d(3, 2, 1)], (1, 3, 6), r"1 \(Conv1d\) acts along axis 1, .* axis 2"),
        ([nn.Linear(6, 6), nn.ZeroPad1d(1), nn.Linear(8, 2)], (1, 3, 6), r"1 \(ZeroPad1d\) acts along axis 1"),
        ([nn.Linear(4, 4), nn.Flatten(0), nn.Linear(8, 2)], (2, 4), r"1 \(Flatten\) flattens axis 0"),
    ],
)
def test_units_along_another_axis_are_refused(model, shape, message):
    with pytest.raises(CompactError, match="compact: " + message):
        penalize.compact(nn.Sequential(*model), torch.ones(shape))


def test_arguments_that_do_not_fit():
    model = between()
    with pytest.raises(ArgumentError, match="compact takes an nn.Module, got list"):
        penalize.compact([model], ROWS)
    with pytest.raises(ArgumentError, match="example_input must be a tensor of at least one sample, got ndarray"):
        penalize.compact(model, ROWS.numpy())
    with pytest.raises(ArgumentError, match=r"example_input must be a tensor of at least one sample, got \(0, 4\)"):
        penalize.compact(model, ROWS[:0])
    with pytest.raises(
        ArgumentError, match=r"compact: 0 does not take an example_input of shape \(5, 3\), torch.float32"
    ):
        penalize.compact(model, ROWS[:, :3])
    with torch.no_grad():
        model[0].bias.fill_(float("nan"))
    with pytest.raises(CompactError, match="the model's own outputs for example_input are not finite"):
        penalize.compact(model, ROWS)


def test_outputs_that_would_change_are_an_error(monkeypatch):
    model = between()
    with torch.no_grad():
        model[0].weight[1] = 0.0
        model[0].bias[1] = 1.0
    monkeypatch.setattr("penalize.compacting.units.Units.fold", lambda units, inputs, value: None)
    with pytest.raises(CompactError, match="outputs for example_input differ by .* of the largest one, where 1e-05 is"):
        penalize.compact(model, ROWS)
