"""Exported models: the same outputs, for any batch size, without a trace of penalties or of this package."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import penalize
from penalize import layers
from penalize.errors import ArgumentError, ExportError, FileError, MissingExtraError
from penalize.saving import export

onnxruntime = pytest.importorskip("onnxruntime")


def sequential(*stack, shape=(6, 4), **options):
    return penalize.Sequential([penalize.Input(shape, **options), *stack])


def dense(**kwargs):
    return penalize.Sequential([penalize.Input((4,)), layers.Dense(3, "relu", **kwargs)], name="small")


def images():
    return sequential(
        layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(2, padding="same"),
        layers.DepthwiseConv2D(2, depth_multiplier=2, padding="same"),
        layers.SeparableConv2D(4, 2, padding="same"),
        layers.Conv2DTranspose(3, 3, strides=2, padding="same"),
        layers.AveragePooling2D(2, padding="same"),
        layers.GroupNormalization(3),
        layers.PReLU(),
        layers.Flatten(),
        layers.Dense(2),
        shape=(8, 9, 3),
    )


def images_of_any_size():
    return sequential(
        layers.Conv2D(4, 3, strides=3, padding="same"),
        layers.Conv2DTranspose(3, 2),
        layers.AveragePooling2D((2, 1), padding="same"),
        shape=(None, None, 2),
    )


def steps_of_any_number():
    return sequential(
        layers.MaxPooling1D(3, padding="same"), layers.UpSampling1D(2), layers.Softmax(1), shape=(None, 2)
    )


def sequences():
    return sequential(
        layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
        layers.GRU(4, return_sequences=True),
        layers.TimeDistributed(layers.Dense(3)),
        layers.LayerNormalization(),
        layers.SimpleRNN(2, go_backwards=True),
    )


def tokens(length=5):
    return sequential(layers.Embedding(9, 4, mask_zero=True), layers.LSTM(3), shape=(length,), dtype="int32")


def attention():
    ids = penalize.Input((None,), dtype="int32", name="ids")
    embedded = layers.Embedding(9, 4, mask_zero=True)(ids)
    attended = layers.MultiHeadAttention(2, 3)(embedded, embedded)
    pooled = layers.GlobalAveragePooling1D()(layers.Add()([embedded, attended]))
    return penalize.Model(ids, layers.Dense(2, name="scores")(pooled))


def two_inputs():
    left, right = penalize.Input((None, 3), name="left"), penalize.Input((None, 3), name="right")
    both = layers.Concatenate()([left, right])
    return penalize.Model([left, right], {"sum": layers.Add()([left, right]), "dense": layers.Dense(2)(both)})


class Net(penalize.Model):
    """A subclass, with a penalty of its own on its input."""

    def __init__(self, paying=True, **kwargs):
        super().__init__(**kwargs)
        self.first, self.paying = layers.Dense(3), paying

    def call(self, inputs):
        if self.paying:
            self.add_loss(1e-3 * (inputs["x"] ** 2).sum())
        return self.first(inputs["x"]), inputs["x"].mean(-1)


def example(tensor, batch, size=7):
    shape = [batch, *(size if n is None else n for n in tensor.shape[1:])]
    return torch.randn(shape) if tensor.dtype.is_floating_point else torch.randint(0, 9, shape, dtype=tensor.dtype)


def examples(model, batch, size=7):
    if model.graph is None:
        layer = model.input_layer
        return example(penalize.Input(batch_shape=layer.batch_shape, dtype=layer.dtype), batch, size)
    found = [example(tensor, batch, size) for tensor in model.inputs]
    return found if isinstance(model.graph.inputs, list) else found[0]


def flat(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [item for part in (value.values() if isinstance(value, dict) else value) for item in flat(part)]


@torch.no_grad()
def expected(model, x):
    modes = [(module, module.training) for module in model.modules()]
    y = model.eval()(x)
    for module, mode in modes:
        module.training = mode
    return flat(y)


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def code_of(path):
    """The graph's code, with values numbered in order."""
    names = {}
    code = torch.export.load(path).graph_module.code
    return re.sub(r"\b[a-z_]+(_\d+)?\b(?= = |;|,|\)| =)", lambda m: names.setdefault(m[0], f"v{len(names)}"), code)


MODELS = [images, images_of_any_size, steps_of_any_number, sequences, tokens, attention, two_inputs]


@pytest.mark.parametrize("make", MODELS)
def test_a_torch_program_computes_the_same_for_every_batch_size(tmp_path, make):
    model = make()
    model.export(tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    for batch, size in ((1, 7), (4, 12)):
        x = examples(model, batch, size)
        for got, want in zip(flat(program(x)), expected(model, x), strict=True):
            torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("make", MODELS)
def test_onnx_computes_the_same_for_every_batch_size(tmp_path, make, capfd):
    model = make()
    model.export(tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    run = session(tmp_path / "model.onnx")
    for batch, size in ((1, 7), (4, 12)):
        x = examples(model, batch, size)
        given = {own.name: tensor.numpy() for own, tensor in zip(run.get_inputs(), flat(x), strict=True)}
        for got, want in zip(run.run(None, given), expected(model, x), strict=True):
            np.testing.assert_allclose(got, want, atol=1e-5, rtol=1e-5)


def test_names_and_axes_in_onnx(tmp_path):
    two_inputs().export(tmp_path / "model.onnx")
    run = session(tmp_path / "model.onnx")
    assert [(own.name, own.shape[0], own.shape[2]) for own in run.get_inputs()] == [
        ("left", "batch", 3),
        ("right", "batch", 3),
    ]
    assert [(own.name, own.shape[0], own.shape[2]) for own in run.get_outputs()] == [
        ("sum", "batch", 3),
        ("dense", "batch", 2),
    ]


def test_mixed_precision_in_a_torch_program(tmp_path):
    model = sequential(layers.Dense(8, dtype="mixed_bfloat16"), layers.LayerNormalization(dtype="mixed_bfloat16"))
    model.export(tmp_path / "model.pt2")
    x = torch.randn(3, 6, 4)
    got = torch.export.load(tmp_path / "model.pt2").module()(x)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, expected(model, x)[0])


def penalized(paying):
    """A model of layers of all ways to pay, and the same without penalties."""
    regularizer = "l1" if paying else None
    first = layers.Dense(4, name="a", kernel_regularizer=regularizer, activity_regularizer=regularizer)
    cells = layers.GRU(3, name="b", recurrent_regularizer=regularizer)
    cells.cell.activity_regularizer = regularizer
    masked = layers.Embedding(9, 4, mask_zero=True, name="e", mask_activity=paying, activity_regularizer=regularizer)
    torchs = layers.TorchModuleWrapper(nn.Linear(3, 2), name="t")
    model = sequential(masked, first, cells, torchs, shape=(5,), dtype="int32", name="m")
    if paying:
        penalize.attach(model, weights={"*.weight": "l2"}, activity={"*": "l2"})
    return model


def test_penalties_leave_no_trace(tmp_path):
    files = []
    for paying in (False, True):
        penalized(paying).export(tmp_path / "model.pt2")
        files.append(torch.export.load(tmp_path / "model.pt2"))
    assert files[0].graph_module.code == files[1].graph_module.code
    assert len(files[1].graph_signature.user_outputs) == 1


def test_losses_that_are_added_leave_no_trace(tmp_path):
    codes = []
    for paying in (False, True):
        model = Net(paying, name="net")
        model({"x": torch.ones(2, 4)})
        model.export(tmp_path / "net.pt2")
        codes.append(code_of(tmp_path / "net.pt2"))
        x = penalize.Input((4,))
        model = penalize.Model(x, layers.Dense(2, name="d")(x), name="f")
        if paying:
            model.add_loss((x * x).sum())
        model.export(tmp_path / "f.pt2")
        codes.append(code_of(tmp_path / "f.pt2"))
    assert codes[:2] == codes[2:]


FRESH = """
import sys, torch
program = torch.export.load(sys.argv[1])
print(program.module()(torch.ones(2, 4)).tolist(), "penalize" in sys.modules)
"""


def test_a_fresh_process_needs_torch_alone(tmp_path):
    model = dense(kernel_regularizer="l1", activity_regularizer="l2")
    model.export(tmp_path / "model.pt2")
    command = [sys.executable, "-c", FRESH, str(tmp_path / "model.pt2")]
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=alone, cwd=tmp_path)
    values = expected(model, torch.ones(2, 4))[0].tolist()
    assert done.stdout.strip() == f"{values} False"


def test_files_name_no_file_of_this_machine(tmp_path):
    own = str(Path(penalize.__file__).parent).encode()
    model = dense()
    model.export(tmp_path / "model.pt2")
    model.export(tmp_path / "model.onnx")
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        assert not any(own in archive.read(name) for name in archive.namelist())
    assert own not in (tmp_path / "model.onnx").read_bytes()


def test_the_model_is_afterwards_what_it_was(tmp_path):
    model = sequential(
        layers.LSTM(3, stateful=True, activity_regularizer="l1", kernel_regularizer="l2"), layers.Dropout(0.5)
    )
    x = torch.randn(2, 6, 4)
    model(x)
    lstm, dropout = model.layers
    dropout.eval()
    states, losses = lstm.states, model.losses
    modes = [module.training for module in model.modules()]
    attributes = [sorted(vars(module)) for module in model.modules()]
    model.export(tmp_path / "model.pt2")
    assert lstm.states is states
    assert all(a is b for a, b in zip(losses[:1], model.losses[:1], strict=True))
    assert len(model.losses) == len(losses) == 2
    assert [module.training for module in model.modules()] == modes
    assert [sorted(vars(module)) for module in model.modules()] == attributes
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    # The program begins with zeros at every call.
    lstm.reset_state()
    program, fresh = torch.export.load(tmp_path / "model.pt2").module(), expected(model, x)[0]
    for _ in range(2):
        torch.testing.assert_close(program(x), fresh, atol=1e-6, rtol=1e-6)


class Unknown(layers.Layer):
    """Calls what ONNX has no operation for."""

    def call(self, inputs):
        self.seen = inputs
        return torch.special.bessel_j0(inputs)


class Choosing(layers.Layer):
    """Looks at values, which a graph has none of."""

    def call(self, inputs):
        return inputs if inputs.sum() > 0 else -inputs


class Doubling(layers.Layer):
    """Fixes what it computes from an unknown size."""

    def call(self, inputs):
        return torch.cat([inputs, inputs], 1).reshape(-1, int(2 * inputs.shape[1]))


def test_what_cannot_be_exported_is_named(tmp_path):
    for model, suffix, message in [
        (sequential(Choosing(name="c")), "pt2", r"c \(Choosing\) cannot be exported: .*[Dd]ata.dependent"),
        (sequential(Unknown(name="u")), "onnx", r"0 \(Unknown\) cannot be expressed in ONNX: .*bessel_j0"),
        (tokens(None), "pt2", r"lstm.* \(LSTM\) can be exported only for one size of axis 1 of the inputs"),
        (sequential(Doubling(name="d"), shape=(None,)), "pt2", r"Doubling\).* only for one size|only be one number"),
    ]:
        modes = [module.training for module in model.modules()]
        (tmp_path / f"model.{suffix}").write_text("old")
        with pytest.raises(ExportError, match=message):
            model.export(tmp_path / f"model.{suffix}")
        assert (tmp_path / f"model.{suffix}").read_text() == "old"
        assert len(list(tmp_path.iterdir())) == 1
        (tmp_path / f"model.{suffix}").unlink()
        assert [module.training for module in model.modules()] == modes


def test_inputs_of_a_subclass(tmp_path):
    path = tmp_path / "model.pt2"
    with pytest.raises(ArgumentError, match="the shapes of its inputs are not known: .*call it once"):
        Net().export(path)
    model = Net()
    model({"x": torch.ones(2, 4)})
    model.export(path)
    x = {"x": torch.randn(3, 4)}
    for got, want in zip(torch.export.load(path).module()(x), expected(model, x), strict=True):
        torch.testing.assert_close(got, want)
    # One that was never called, with what it is called with, or its description.
    for given in ({"x": np.ones((2, 4))}, {"x": penalize.Input((4,))}):
        model = Net()
        model.export(path, example_inputs=given)
        assert model.built
        assert [tuple(y.shape) for y in torch.export.load(path).module()(x)] == [(3, 3), (3,)]


def test_integers_stay_integers(tmp_path):
    model = penalize.Sequential([layers.Embedding(9, 2), layers.GlobalMaxPooling1D()])
    x = torch.randint(0, 9, (2, 5))
    model(x)
    model.export(tmp_path / "model.onnx")
    run = session(tmp_path / "model.onnx")
    assert [own.type for own in run.get_inputs()] == ["tensor(int64)"]
    np.testing.assert_array_equal(run.run(None, {run.get_inputs()[0].name: x.numpy()})[0], expected(model, x)[0])


class Two(penalize.Model):
    """Takes two arguments."""

    def call(self, first, second):
        return first + second


def test_several_arguments(tmp_path):
    model = Two()
    model(torch.ones(2, 3), torch.ones(2, 3))
    with pytest.raises(ArgumentError, match="call takes first, second: give example_inputs, a tuple"):
        model.export(tmp_path / "model.pt2")
    model.export(tmp_path / "model.pt2", example_inputs=(torch.ones(2, 3), torch.ones(2, 3)))
    got = torch.export.load(tmp_path / "model.pt2").module()(torch.ones(4, 3), torch.ones(4, 3))
    assert torch.equal(got, torch.full((4, 3), 2.0))
    with pytest.raises(ArgumentError, match="example_inputs must be arrays, tensors or Inputs, got 'x'"):
        model.export(tmp_path / "model.pt2", example_inputs=("x", "x"))


def test_a_fixed_batch_size_stays_fixed(tmp_path):
    sequential(layers.Dense(2), shape=(4,), batch_size=3).export(tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    assert program(torch.ones(3, 4)).shape == (3, 2)
    with pytest.raises(AssertionError, match=r"size\(\)\[0\] == 3"):
        program(torch.ones(2, 4))


def test_formats_and_paths(tmp_path, capsys):
    model = dense()
    with pytest.raises(ArgumentError, match=r"ends with \.pt2 \(torch\.export\) or \.onnx, got .*model\.h5"):
        model.export(tmp_path / "model.h5")
    with pytest.raises(ArgumentError, match='format must be "torch" or "onnx", got \'litert\''):
        model.export(tmp_path / "model.pt2", format="litert")
    for path in (3, None, b"model.pt2"):
        with pytest.raises(ArgumentError, match="a path is a string or a Path, got (int|NoneType|bytes): "):
            model.export(path)
    path = tmp_path / "model"
    model.export(path, format="torch", verbose=True)
    assert capsys.readouterr().out == f"small: exported to {path}\n"
    # As Keras does, an export replaces an older one.
    model.export(path, format="torch")
    with path.open("rb") as file:
        torch.export.load(file)
    with pytest.raises(FileError, match="exists already; pass overwrite=True"):
        model.export(path, format="torch", overwrite=False)
    with pytest.raises(FileError, match="not a regular file"):
        model.export(tmp_path, format="torch")
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_onnx_without_its_libraries_and_for_too_much(tmp_path, monkeypatch):
    model = dense()
    monkeypatch.setattr(export, "LARGEST_ONNX", 50)
    with pytest.raises(ExportError, match=r"its weights take 60 bytes, and one ONNX file holds 50: .*\.pt2"):
        model.export(tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r'onnxscript is not installed: pip install "penalize\[export\]"'):
        model.export(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
