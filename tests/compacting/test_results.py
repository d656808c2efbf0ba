"""What comes out: classes, dtypes, modes and flags as before, no trace of what belongs to the original, files, copies."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import penalize
from penalize import layers as L
from penalize.compacting import CompactReport, CompactRow
from penalize.models import clone_model, load_model

ROWS = torch.linspace(-1, 1, 20).reshape(5, 4)
IMAGES = torch.linspace(-3, 3, 2 * 6 * 6 * 3).reshape(2, 6, 6, 3).sin()


@torch.no_grad()
def mlp(dtype=torch.float32):
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2)).to(dtype)
    model[0].weight[1] = 0.0
    model[1].bias[1] = 1.0
    model[3].weight[:, 2] = 0.0
    return model


@torch.no_grad()
def images_model(nested=True):
    """A compiled model of which one channel of each convolution, and one unit of a Dense, go."""
    second = [L.Conv2D(4, 2, activation="relu", kernel_regularizer="l2"), L.Flatten()]
    model = penalize.Sequential(
        [
            penalize.Input((6, 6, 3)),
            L.Conv2D(5, 3, padding="same", use_bias=False, activity_regularizer="l1"),
            L.BatchNormalization(),
            L.PReLU(),
            L.MaxPooling2D(),
            *([penalize.Sequential(second)] if nested else second),
            L.Dense(3, "tanh", kernel_regularizer="l1", bias_constraint="non_neg"),
            L.Dense(2, use_bias=False),
        ]
    )
    model.layers[0].weight[2] = 0.0
    model.layers[1].bias[2] = 0.5
    second[0].weight[1] = 0.0
    model.layers[-2].weight[1] = 0.0
    model.layers[-2].bias[1] = 0.5
    model.compile("adam", "mse", metrics=["mae"])
    return model


def test_an_open_size_stays_open_and_the_dtype_of_a_nested_input_that_was_not_given_is_not_given():
    inner = penalize.Sequential([L.Conv2D(2, 1)])
    model = penalize.Sequential([penalize.Input((None, 6, 3)), L.Conv2D(4, 3), inner])
    model(IMAGES)
    with torch.no_grad():
        model.layers[0].weight[1] = 0.0
    small = penalize.compact(model.double(), IMAGES.double()).model
    assert small.input_shape == (None, None, 6, 3)
    assert small.layers[1].input_shape == (None, 4, 4, 3)
    assert not small.layers[1].input_layer.dtype_given
    assert small.layers[0].build_shape[1] == model.layers[0].build_shape[1]


def test_the_report():
    report = penalize.compact(mlp(), ROWS).report
    assert isinstance(report, CompactReport)
    assert list(report) == [
        CompactRow("0", "Linear", 3, 1, 15, 5),
        CompactRow("1", "BatchNorm1d", 3, 1, 6, 2),
        CompactRow("3", "Linear", 2, 2, 8, 4),
    ]
    assert report[0].layer == "0"
    assert len(report) == 3
    assert 0 <= report.difference < 1e-7
    lines = repr(report).splitlines()
    assert [line.split() for line in lines[:-1]] == [
        ["layer", "kind", "units", "now", "parameters", "now"],
        ["0", "Linear", "3", "1", "15", "5"],
        ["1", "BatchNorm1d", "3", "1", "6", "2"],
        ["3", "Linear", "2", "2", "8", "4"],
        ["all", "29", "11"],
    ]
    assert lines[-1] == f"largest difference of an output, over the largest output: {report.difference:.1e}"
    alone = penalize.compact(nn.Linear(4, 3), ROWS).report
    assert [row.layer for row in alone] == [""]
    assert "(model)" in repr(alone)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_classes_dtypes_modes_and_flags_stay(dtype):
    model = mlp(dtype)
    model[3].weight.requires_grad_(False)
    model[1].eval()
    model(ROWS.to(dtype)).sum().backward()
    small, _ = penalize.compact(model, ROWS.to(dtype))
    assert [type(module) for module in small.modules()] == [type(module) for module in model.modules()]
    assert [module.training for module in small.modules()] == [module.training for module in model.modules()]
    assert list(small.state_dict()) == list(model.state_dict())
    for mine, other in zip(small.parameters(), model.parameters(), strict=True):
        assert (mine.dtype, mine.requires_grad, mine.grad) == (dtype, other.requires_grad, None)
        assert mine.is_leaf
    assert model[0].weight.grad is not None
    alone = penalize.compact(model[0], ROWS.to(dtype)).model
    assert alone.weight.grad is None
    own = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    assert not own & {id(tensor) for tensor in small.state_dict(keep_vars=True).values()}


def test_the_given_model_stays_as_it_is():
    model = images_model()
    model(IMAGES)
    state, losses = copy.deepcopy(model.state_dict()), [loss.item() for loss in model.losses]
    config = model.get_config()
    penalize.compact(model, IMAGES + 1)
    torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)
    assert [loss.item() for loss in model.losses] == losses
    assert model.get_config() == config
    assert model.training


def test_a_batch_norm_in_training_mode_counts_with_its_running_statistics():
    model = mlp()
    with torch.no_grad():
        model[1].running_mean[1] = 0.5
        model[1].weight[1] = 2.0
    small, _ = penalize.compact(model, ROWS)
    assert small.training
    torch.testing.assert_close(small.eval()(ROWS), model.eval()(ROWS), rtol=1e-6, atol=1e-7)


def test_attached_penalties_stay_with_the_given_model_and_can_be_put_on_the_other():
    model = mlp()
    penalties = penalize.attach(model, weights={"*.weight": "l1"}, activity={"2": "l2"})
    small, _ = penalize.compact(model, ROWS)
    assert penalize.attached(model) == [penalties]
    assert penalize.attached(small) == []
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in small.modules())
    assert any(part._forward_hooks for part in model.modules())
    other = penalize.Penalties.from_json(small, penalties.to_json())
    assert float(other["0.weight"].tensor().shape[0]) == 1
    assert list(other) == list(penalties)


def test_a_part_of_a_model_with_penalties_comes_out_without_them():
    part = nn.Sequential(L.Dense(3), nn.ReLU(), nn.Linear(3, 2))
    whole = nn.ModuleDict({"part": part})
    part(ROWS)
    penalties = penalize.attach(whole, activity={"part.*": "l2"})
    small, _ = penalize.compact(part, ROWS)
    small(ROWS)
    for module in small.modules():
        assert not [*module._forward_hooks, *module._forward_pre_hooks, *module._forward_hooks_always_called]
    assert small[0].declarations.placed == []
    part(ROWS)
    assert len(penalties.losses) == 3


def test_a_chain_inside_knows_its_new_shapes():
    inner = penalize.compact(images_model(), IMAGES).model.layers[4]
    assert inner.input_shape == (None, 3, 3, 4)
    assert inner.build_shape[1:] == (3, 3, 4)
    assert inner.output_shapes == [(None, 2, 2, 3), (None, 12)]
    inner.add(L.Dense(2))
    assert inner.layers[-1].weight.shape == (2, 12)


@pytest.mark.parametrize("nested", [True, False])
def test_a_compacted_model_is_saved_loaded_cloned_trained_and_summarized(nested, tmp_path, capsys):
    model = images_model(nested)
    small, report = penalize.compact(model, IMAGES)
    shapes = [shape[-1] for shape in small.output_shapes]
    assert shapes == ([4, 4, 4, 4, 12, 2, 2] if nested else [4, 4, 4, 4, 3, 12, 2, 2])
    assert small.layers[-1].use_bias
    expected = small.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(expected, model.predict(IMAGES, verbose=0), rtol=1e-5, atol=1e-6)
    small.save(tmp_path / "small.keras")
    loaded = load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), expected)
    assert loaded.count_params() == small.count_params()
    assert [loss.item() for loss in loaded.losses] == [loss.item() for loss in small.losses]
    clone = clone_model(small)
    clone.set_weights(small.get_weights())
    np.testing.assert_array_equal(clone.predict(IMAGES, verbose=0), expected)
    again = penalize.Sequential.from_config(small.get_config())
    again.set_weights(small.get_weights())
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), expected)
    small.summary()
    assert f"Parameters: {report.parameters_after:,}" in capsys.readouterr().out
    small.add(L.Dense(1))
    assert small.output_shapes[-1] == (None, 1)
    small.pop()
    history = small.fit(IMAGES.numpy(), np.zeros((2, 2), "float32"), epochs=2, verbose=0)
    assert set(history.history) == {"loss", "mae", "penalty"}
    assert all(np.isfinite(history.history["loss"]))


def test_a_fitted_model_gives_one_with_an_optimizer_of_its_own():
    model = images_model()
    data = (IMAGES.numpy(), np.zeros((2, 2), "float32"))
    model.fit(*data, verbose=0)
    with torch.no_grad():
        model.layers[0].weight[2] = 0.0
    small, _ = penalize.compact(model, IMAGES)
    assert model.optimizer is not None
    assert small.optimizer is None
    small.fit(*data, verbose=0)
    held = {id(p) for group in small.optimizer.param_groups for p in group["params"]}
    assert held == {id(parameter) for parameter in small.parameters()}


def test_an_optimizer_of_the_given_models_parameters_is_not_taken_along():
    model = images_model()
    model.compile(torch.optim.SGD(model.parameters(), lr=0.1), "mse")
    small, _ = penalize.compact(model, IMAGES)
    with pytest.raises(penalize.errors.NotCompiledError, match="compile the model before fit"):
        small.fit(IMAGES.numpy(), np.zeros((2, 2), "float32"), verbose=0)


def test_a_mixed_policy_and_frozen_layers():
    model = penalize.Sequential([penalize.Input((4,)), L.Dense(3, "relu", dtype="mixed_bfloat16"), L.Dense(2)])
    model.layers[0].trainable = False
    with torch.no_grad():
        model.layers[0].weight[1] = 0.0
        model.layers[0].bias[1] = 1.0
    small, report = penalize.compact(model, ROWS)
    assert report.difference < 5e-2
    assert small.layers[0].weight.shape == (2, 4)
    assert not small.layers[0].weight.requires_grad
    assert not small.layers[0].trainable
    assert small.layers[0].compute_dtype == torch.bfloat16


def test_integers_as_example():
    layer = L.Dense(3)
    model = nn.Sequential(layer, nn.Linear(3, 2))
    model(torch.ones(2, 4, dtype=torch.long))
    with torch.no_grad():
        layer.weight[0] = 0.0
    assert penalize.compact(model, torch.ones(2, 4, dtype=torch.long)).model[0].units == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_on_a_gpu_stays_there():
    for model, example in ((mlp(), ROWS), (images_model(), IMAGES)):
        small, report = penalize.compact(model.cuda(), example.cuda())
        assert {tensor.device.type for tensor in small.state_dict().values()} == {"cuda"}
        assert report.parameters_after < report.parameters_before
