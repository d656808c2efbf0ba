"""Random chains with random zeros: outputs stay to 1e-12 in float64, and a second run finds nothing more."""

import random

import pytest
import torch
from torch import nn

import penalize
from penalize import layers as L


def torch_blocks(pick):
    """Pairs of parts of a random MLP of torch's modules."""
    width, modules = 6, []
    for _ in range(pick.randint(2, 4)):
        units = pick.randint(1, 7)
        modules.append(nn.Linear(width, units, bias=pick.random() < 0.7))
        if pick.random() < 0.5:
            modules.append(nn.BatchNorm1d(units, affine=pick.random() < 0.8))
        modules.append(pick.choice([nn.ReLU(), nn.Tanh(), nn.PReLU(units), nn.Sigmoid(), nn.Dropout(), nn.ELU()]))
        width = units
    return nn.Sequential(*modules, nn.Linear(width, 3))


def torch_convolutions(pick):
    channels, modules = 2, []
    for _ in range(pick.randint(2, 3)):
        units = pick.randint(1, 6)
        mode = pick.choice(["zeros", "replicate"])
        modules.append(
            nn.Conv2d(channels, units, 3, padding=pick.choice([0, 1]), padding_mode=mode, bias=pick.random() < 0.7)
        )
        if pick.random() < 0.6:
            modules.append(nn.BatchNorm2d(units))
        modules.append(pick.choice([nn.ReLU(), nn.GELU(), nn.PReLU(units), nn.Softplus()]))
        modules.append(
            pick.choice(
                [nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1), nn.AvgPool2d(2, 1), nn.ZeroPad2d(1), nn.Identity()]
            )
        )
        channels = units
    head = pick.choice([[nn.Flatten()], [nn.AdaptiveAvgPool2d(1), nn.Flatten()]])
    return nn.Sequential(*modules, *head, nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 3), nn.Softmax(1))


def penalize_blocks(pick):
    modules = []
    for _ in range(pick.randint(2, 4)):
        activation = pick.choice([None, "relu", "tanh", "softplus", nn.SiLU()])
        modules.append(L.Dense(pick.randint(1, 7), activation, use_bias=pick.random() < 0.7))
        if pick.random() < 0.5:
            modules.append(L.BatchNormalization(center=pick.random() < 0.8, scale=pick.random() < 0.8))
        modules.append(pick.choice([L.ReLU(), L.LeakyReLU(), L.PReLU("uniform"), L.Dropout(0.5), L.Activation("elu")]))
    return penalize.Sequential([*modules, L.Dense(3, "softmax")])


def penalize_convolutions(pick):
    data_format = pick.choice(["channels_last", "channels_first"])
    axis = -1 if data_format == "channels_last" else 1
    shape = (7, 7, 2) if axis == -1 else (2, 7, 7)
    modules = [penalize.Input(shape)]
    for _ in range(pick.randint(2, 3)):
        padding, bias = pick.choice(["same", "valid"]), pick.random() < 0.7
        strides = pick.choice([1, 2]) if padding == "same" else 1
        settings = {"padding": padding, "use_bias": bias, "strides": strides, "data_format": data_format}
        modules.append(
            L.Conv2D(pick.randint(1, 6), pick.choice([1, 2]), activation=pick.choice([None, "relu"]), **settings)
        )
        if pick.random() < 0.5:
            modules.append(L.BatchNormalization(axis=axis))
        pools = [L.MaxPooling2D, L.AveragePooling2D]
        modules.append(pick.choice(pools)(2, 1, padding="same", data_format=data_format))
        if pick.random() < 0.4:
            modules.append(L.PReLU("uniform", shared_axes=pick.choice([None, [2], [2, 3]])))
    inner = penalize.Sequential([L.Flatten(data_format), L.Dense(4, "relu")])
    return penalize.Sequential([*modules, inner, L.Dense(3)])


EXAMPLES = {
    torch_blocks: (5, 6),
    torch_convolutions: (3, 2, 7, 7),
    penalize_blocks: (5, 6),
    penalize_convolutions: (3, 7, 7, 2),
}


@torch.no_grad()
def randomize(model, pick):
    """Random weights of which whole rows and columns, and some biases and gammas, are zero."""
    rates = pick.choice([[0.0], [0.0, 0.3, 0.6], [0.3, 0.6]])
    generator = torch.Generator().manual_seed(pick.randint(0, 10**6))
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        tensor.normal_(generator=generator)
        if name.endswith("running_var"):
            tensor.abs_().add_(0.1)
        for axis in range(min(tensor.ndim, 2)):
            gone = torch.rand(tensor.shape[axis], generator=generator) < pick.choice(rates)
            if not name.endswith("running_var"):
                tensor.movedim(axis, 0)[gone] = 0.0


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("make", EXAMPLES)
def test_outputs_stay(make, seed):
    pick = random.Random(seed)
    model = make(pick)
    torch.manual_seed(seed)
    example = torch.randn(EXAMPLES[make], dtype=torch.float64)
    if make is penalize_convolutions and model.input_shape[1] == 2:
        example = example.movedim(-1, 1)
    model.eval()(example.float())
    randomize(model, pick)
    model = model.double()
    small, report = penalize.compact(model, example)
    other = torch.randn_like(example)
    for inputs in (example, other):
        expected = model(inputs).detach()
        torch.testing.assert_close(small(inputs), expected, rtol=0, atol=1e-12 * float(expected.abs().max() + 1e-300))
    again, after = penalize.compact(small, example)
    assert after.parameters_before == after.parameters_after == report.parameters_after
    torch.testing.assert_close(again(other), small(other), rtol=0, atol=0)


def test_the_random_models_lose_units():
    """So that the test above looks at something: in most of its models units go, in some none do."""
    lost = []
    for make in EXAMPLES:
        for seed in range(12):
            pick = random.Random(seed)
            model = make(pick)
            example = torch.ones(EXAMPLES[make])
            if make is penalize_convolutions and model.input_shape[1] == 2:
                example = example.movedim(-1, 1)
            model.eval()(example)
            randomize(model, pick)
            report = penalize.compact(model.double(), example.double()).report
            lost.append(report.parameters_before - report.parameters_after)
    assert 24 <= sum(loss > 0 for loss in lost) < len(lost)
