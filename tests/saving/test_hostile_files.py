"""The table of hostile files, run in a process of its own with little memory; and what its rows cannot say."""

import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

import penalize
from penalize import regularizers
from penalize.errors import ArgumentError, ConfigError, RegistrationError, ShapeError
from penalize.models import load_model, model_from_json
from penalize.saving import register_serializable
from tests.saving.ways_in import GOOD, WAYS, caller, dense, keras_file, legacy_h5, put_weights, sequential, weights_h5


def test_every_case_is_refused_by_every_way_in():
    done = subprocess.run(
        [sys.executable, "-m", "tests.saving.hostile_files"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    last = done.stdout.splitlines()[-1]
    figures = [int(number) for number in re.findall(r"(?:cases|files|ways in|refused|loaded): (\d+)", last)]
    cases, files, ways, refused, twins = figures
    assert (cases, ways, refused) == (37, len(WAYS), files)
    # Weights of the two kinds that are never read have no twin.
    assert twins == files - 2 > 1000


def test_built_ins_win_over_custom_objects_of_their_names():
    for name in ("L2", "Dense", "relu", "he_normal", "mse"):
        with pytest.raises(RegistrationError, match=f"'{name}' is the name of a built-in"):
            register_serializable(package="hostile", name=name)(type("Mine", (), {}))
    customs = {"L2": dict, "Dense": dict, "relu": dict, "Zeros": dict}
    config = sequential(dense(activation="relu", kernel_initializer="zeros"))
    layer = penalize.layers.deserialize(config, customs).layers[0]
    assert type(layer) is penalize.layers.Dense
    assert type(layer.kernel_regularizer) is regularizers.L2
    assert layer.activation is penalize.activations.relu


@pytest.mark.parametrize("form", ["safetensors", "weights.h5", "pt"])
def test_weights_that_are_nan_or_infinite_are_loaded_as_they_are(form, tmp_path):
    model, other = caller(), caller()
    with torch.no_grad():
        model.layers[0].kernel[0, 0] = float("nan")
        model.layers[1].bias[0] = -float("inf")
    model.save_weights(tmp_path / f"w.{form}")
    other.load_weights(tmp_path / f"w.{form}")
    model.save(tmp_path / "m.keras")
    for again in (other, load_model(tmp_path / "m.keras")):
        for mine, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
            assert mine.tobytes() == theirs.tobytes()


def test_a_file_that_breaks_off_while_weights_are_read_changes_nothing(tmp_path, monkeypatch):
    from penalize.saving import hdf5

    (tmp_path / "w.weights.h5").write_bytes(weights_h5())
    model = caller()
    before = model.get_weights()
    reads = iter(range(3))
    read = hdf5.File.read

    def breaking(self, dataset, out):
        if next(reads) == 2:
            with self.named(dataset.path):
                raise OSError("the disk is gone")
        read(self, dataset, out)

    monkeypatch.setattr(hdf5.File, "read", breaking)
    with pytest.raises(penalize.errors.FileFormatError, match=r"w\.weights\.h5: cannot be read at '.*the disk is gone"):
        model.load_weights(tmp_path / "w.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_what_is_skipped_is_told_in_short(tmp_path):
    def fill(file):
        put_weights(file)
        file["layers/" + "x" * 10_000] = np.zeros(1, "float32")

    (tmp_path / "w.weights.h5").write_bytes(weights_h5(fill=fill))
    model = caller()
    with pytest.raises(ShapeError, match="'layers/x+': not in the model") as raised:
        model.load_weights(tmp_path / "w.weights.h5")
    assert len(str(raised.value)) < 500
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(model.load_weights(tmp_path / "w.weights.h5", skip_mismatch=True)) == 1


def test_more_weights_than_by_default_are_asked_for():
    import json

    text = json.dumps(GOOD)
    assert model_from_json(text, most_values=23).count_params() == 23
    with pytest.raises(ConfigError, match=r"a weight of shape \(2,\) has more values than a config may ask for"):
        model_from_json(text, most_values=22)
    with pytest.raises(ArgumentError, match="most_values must be an integer >= 1, got 0"):
        model_from_json(text, most_values=0)


def test_a_long_recurrent_layer_is_not_computed(tmp_path):
    first = {"class_name": "InputLayer", "config": {"batch_shape": [None, 10**7, 1], "name": "in"}}
    config = {"units": 2, "name": "r"}
    model = {"class_name": "Sequential", "config": {"layers": [first, {"class_name": "SimpleRNN", "config": config}]}}
    with pytest.raises(ConfigError, match="building takes more than 400000 computations"):
        penalize.layers.deserialize(model)


def test_members_and_attributes_that_are_packed_are_read(tmp_path):
    (tmp_path / "m.keras").write_bytes(keras_file(weights=weights_h5(_packed)))
    assert load_model(tmp_path / "m.keras").count_params() == 23
    import json

    (tmp_path / "m.h5").write_bytes(legacy_h5(json.dumps(GOOD)))
    assert load_model(tmp_path / "m.h5").count_params() == 23


def _packed(file):
    values = np.arange(12, dtype="float32").reshape(4, 3)
    del file["layers/dense/vars/0"]
    file.create_dataset("layers/dense/vars/0", data=values, chunks=(3, 2), compression="gzip", shuffle=True)
