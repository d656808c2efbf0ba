"""Weights alone: three forms, strict by default."""

import h5py
import keras
import numpy as np
import pytest
import safetensors.torch
import torch

import penalize
from penalize import layers
from penalize.errors import ArgumentError, FileError, FileFormatError, NotBuiltError, ShapeError

FORMS = ("model.weights.h5", "model.safetensors", "model.pt", "model.pth", "plain")


def made(units=3, bias=True, dtype="float32"):
    return penalize.Sequential(
        [
            penalize.Input((4,)),
            layers.Dense(units, use_bias=bias, dtype=dtype, name="first"),
            layers.BatchNormalization(name="norm", dtype=dtype),
            layers.Dense(2, name="last", dtype=dtype),
        ],
        name="m",
    )


def weights(model):
    return [array.copy() for array in model.get_weights()]


@pytest.mark.parametrize("name", FORMS)
def test_weights_come_back(name, tmp_path):
    model, other = made(), made()
    model.save_weights(tmp_path / name)
    assert other.load_weights(tmp_path / name) == []
    for got, expected in zip(weights(other), weights(model), strict=True):
        np.testing.assert_array_equal(got, expected)
    with pytest.raises(FileError, match="exists already; pass overwrite=True"):
        model.save_weights(tmp_path / name, overwrite=False)


def test_a_path_without_a_suffix_is_safetensors(tmp_path):
    made().save_weights(tmp_path / "plain")
    assert set(safetensors.torch.load_file(tmp_path / "plain.safetensors")) == set(made().state_dict())


def test_torch_and_safetensors_files_hold_torchs_state_dict(tmp_path):
    model = made()
    model.save_weights(tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    plain = torch.nn.Sequential(torch.nn.Linear(4, 3))
    plain.load_state_dict({name: state[name] for name in ("0.weight", "0.bias")})
    torch.save({**state, "0.bias": torch.full((3,), 7.0)}, tmp_path / "other.pt")
    model.load_weights(tmp_path / "other.pt")
    assert model.layers[0].bias.tolist() == [7.0, 7.0, 7.0]


MISMATCHES = [
    (
        lambda: made(units=5),
        r"first\.kernel: expected \(4, 5\), found \(4, 3\)|0\.weight: expected \(5, 4\), found \(3, 4\)",
    ),
    (lambda: made(bias=False), r"'layers/dense/vars/1': not in the model|'0\.bias': not in the model"),
]


@pytest.mark.parametrize("name", FORMS[:3])
@pytest.mark.parametrize(("other", "message"), MISMATCHES, ids=["shape", "extra"])
def test_each_mismatch_is_named_and_nothing_changed(name, other, message, tmp_path):
    saved = made()
    saved.layers[2].bias.data.fill_(3.0)
    saved.save_weights(tmp_path / name)
    model = other()
    before = weights(model)
    with pytest.raises(ShapeError, match=f"{name} does not fit m: .*({message})"):
        model.load_weights(tmp_path / name)
    for got, expected in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(got, expected)
    with pytest.warns(UserWarning, match=f"{name}: skipped .*({message})"):
        skipped = model.load_weights(tmp_path / name, skip_mismatch=True)
    assert any(word in " ".join(skipped) for word in ("expected", "not in the model"))
    assert weights(model)[-1].tolist() == [3.0, 3.0], "what fits was loaded"


def test_what_a_file_lacks_is_named(tmp_path):
    made(bias=False).save_weights(tmp_path / "model.safetensors")
    with pytest.raises(ShapeError, match=r"0\.bias: expected \(3,\), found nothing at '0\.bias'"):
        made().load_weights(tmp_path / "model.safetensors")
    made(bias=False).save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ShapeError, match=r"first\.bias: expected \(3,\), found nothing at 'layers/dense/vars/1'"):
        made().load_weights(tmp_path / "model.weights.h5")


def test_dtypes_are_cast_among_floats_and_refused_otherwise(tmp_path):
    model = made()
    for name in FORMS[:3]:
        made(dtype="bfloat16").save_weights(tmp_path / name)
        model.load_weights(tmp_path / name)
        assert model.layers[0].weight.dtype == torch.float32
    state = {name: tensor.long() for name, tensor in model.state_dict().items()}
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(ShapeError, match=r"0\.weight: expected torch\.float32, found torch\.int64"):
        model.load_weights(tmp_path / "model.pt")
    with h5py.File(tmp_path / "model.weights.h5", "r+") as file:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = np.ones((4, 3), "int32")
    with pytest.raises(ShapeError, match=r"first\.kernel: expected torch\.float32, found int32"):
        model.load_weights(tmp_path / "model.weights.h5")


def test_nan_weights_are_loaded_as_they_are(tmp_path):
    model = made()
    model.layers[0].bias.data.fill_(float("nan"))
    for name in FORMS[:3]:
        model.save_weights(tmp_path / name)
        other = made()
        other.load_weights(tmp_path / name)
        assert other.layers[0].bias.isnan().all()


@pytest.mark.parametrize("name", ["w.npz", "w.json", "w.bin", "w.keras"])
def test_other_forms_are_refused(name, tmp_path):
    with pytest.raises(ArgumentError, match=r"weights are not read|weights are kept as \.safetensors"):
        made().load_weights(tmp_path / name)
    with pytest.raises(ArgumentError, match="weights"):
        made().save_weights(tmp_path / name)
    with pytest.raises(ArgumentError, match=r"saved as \.weights\.h5, as Keras asks"):
        made().save_weights(tmp_path / "w.h5")


@pytest.mark.parametrize("path", ["", ".", "/"])
def test_a_path_without_a_name_is_refused(path):
    for act in (made().load_weights, made().save_weights):
        with pytest.raises(
            ArgumentError, match=r"weights are kept as \.safetensors, \.weights\.h5, \.pt or \.pth, got ''"
        ):
            act(path)


@pytest.mark.parametrize("name", FORMS[:3])
def test_weights_of_what_is_no_layer_are_refused(name, tmp_path):
    for act in (penalize.saving.save_weights, penalize.saving.load_weights):
        with pytest.raises(ArgumentError, match="the weights of a Layer or a Model are kept in files, got Linear"):
            act(torch.nn.Linear(4, 2), tmp_path / name)


def test_models_that_are_not_built_and_torch_modules(tmp_path):
    unbuilt = penalize.Sequential([layers.Dense(2, name="d")])
    for name in FORMS[:3]:
        with pytest.raises(NotBuiltError, match="is not built: call the model once"):
            unbuilt.save_weights(tmp_path / name)
    mixed = penalize.Sequential([penalize.Input((4,)), torch.nn.Linear(4, 2)], name="mixed")
    with pytest.raises(
        penalize.errors.ConfigError, match=r"mixed: Linear is a torch module.*save the weights as \.safetensors"
    ):
        mixed.save_weights(tmp_path / "model.weights.h5")
    mixed.save_weights(tmp_path / "model.safetensors")
    assert mixed.load_weights(tmp_path / "model.safetensors") == []


@pytest.mark.parametrize("name", FORMS[:3])
def test_a_broken_file_changes_nothing(name, tmp_path):
    model = made()
    model.save_weights(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    before = weights(model)
    for size in (0, 1, 9, 100, len(content) // 2, len(content) - 7):
        (tmp_path / name).write_bytes(content[:size])
        with pytest.raises((FileFormatError, ShapeError, penalize.errors.PenalizeError), match=name):
            model.load_weights(tmp_path / name)
    for got, expected in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_keras_reads_the_weights_of_a_subclass(tmp_path):
    def twin(library):
        class Block(library.layers.Layer):
            def __init__(self):
                super().__init__(name="block")
                self._inner = library.layers.Dense(3)
                self.many = [library.layers.Dense(3), library.layers.Dense(3)]

            def build(self, input_shape):
                self.own = self.add_weight(shape=(3,), initializer="ones", name="own")

            def call(self, inputs):
                inputs = self._inner(inputs) * self.own
                for layer in self.many:
                    inputs = layer(inputs)
                return inputs

        class Net(library.Model):
            def __init__(self):
                super().__init__()
                self.zblock = Block()
                self.head = library.layers.Dense(1)
                self.also = self.head

            def call(self, inputs):
                return self.head(self.zblock(inputs))

        return Net()

    x = np.ones((2, 4), "float32")
    for source, target in ((penalize, keras), (keras, penalize)):
        model, other = twin(source), twin(target)
        model(x), other(x)
        model.save_weights(tmp_path / "net.weights.h5")
        other.load_weights(tmp_path / "net.weights.h5")
        np.testing.assert_allclose(other.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5)
