"""Every public way in, as functions that prepare an object of a stranger and give what tries to load it."""

import io
import json
import zipfile

import h5py
import numpy as np
import torch
from torch import nn

import penalize
from penalize import Penalties, attach, layers, regularizers
from penalize.models import load_model, model_from_json

REGULARIZER = regularizers.serialize(regularizers.L2(0.1))
FIRST = {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, 4], "name": "in"}}
MADE = []


@penalize.saving.register_serializable(package="hostile")
class Trap(penalize.Layer):
    """A class of the user's, which no regularizer's config may make."""

    def __init__(self, *args, **kwargs):
        MADE.append(type(self).__name__)
        super().__init__(*args, **kwargs)


@penalize.saving.register_serializable(package="hostile")
class Own(penalize.Regularizer):
    def __call__(self, x):
        return x.abs().max()


def dense(name="a", units=3, **config):
    values = {"name": name, "units": units, "kernel_regularizer": REGULARIZER, **config}
    return {"module": "keras.layers", "class_name": "Dense", "config": values}


def sequential(*entries, **config):
    """The config of a whole model, made of entries of layers."""
    values = {"name": "m", "layers": [FIRST, *entries], **config}
    return {"module": "keras", "class_name": "Sequential", "config": values}


GOOD = sequential(dense("a"), dense("b", 2))


def caller():
    """The model of the caller, which no file may change but by success."""
    torch.manual_seed(7)
    return model_from_json(json.dumps(GOOD))


def put_weights(group):
    """Weights that fit GOOD, in Keras's layout."""
    for name, shape in (("dense", (4, 3)), ("dense_1", (3, 2))):
        group[f"layers/{name}/vars/0"] = np.full(shape, 0.5, "float32")
        group[f"layers/{name}/vars/1"] = np.zeros(shape[1], "float32")


def put_legacy(file, root):
    root.attrs["layer_names"] = np.array([b"a", b"b"])
    for name, shape in (("a", (4, 3)), ("b", (3, 2))):
        root.create_group(name).attrs["weight_names"] = np.array([f"{name}/kernel".encode(), f"{name}/bias".encode()])
        root[f"{name}/{name}/kernel"] = np.full(shape, 0.5, "float32")
        root[f"{name}/{name}/bias"] = np.zeros(shape[1], "float32")


def weights_h5(change=None, fill=put_weights):
    """The bytes of an HDF5 file of weights, after a change to it."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        fill(file)
        if change is not None:
            change(file)
    return content.getvalue()


def legacy_h5(text=None, change=None, root="model_weights"):
    def fill(file):
        put_legacy(file, file.require_group(root) if root else file)
        if text is not None:
            file.attrs["model_config"] = text

    return weights_h5(change, fill)


def keras_file(config=None, weights=None, members=None):
    """The bytes of a .keras file; `members` are further (name or ZipInfo, content)."""
    content = io.BytesIO()
    text = json.dumps(GOOD) if config is None else config
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", text)
        archive.writestr("model.weights.h5", weights_h5() if weights is None else weights)
        for name, value in members or ():
            archive.writestr(name, value)
    return content.getvalue()


def torch_file(state=None):
    content = io.BytesIO()
    torch.save(caller().state_dict() if state is None else state, content)
    return content.getvalue()


def safetensors_bytes(header=None, data=b"\0" * 8):
    header = json.dumps(header) if isinstance(header, dict) else header
    return len(header).to_bytes(8, "little") + header.encode() + data


# What is put into a folder, and how it is loaded. Each gives a function without arguments, and the model it could change.


def file_way(name, load):
    def prepare(content, folder):
        path = content if hasattr(content, "exists") else folder / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        model = caller()
        return (lambda: load(model, path)), model, str(path)

    return prepare


def object_way(load):
    def prepare(content, folder):
        model = caller()
        return (lambda: load(content)), model, ""

    return prepare


def plan_model():
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def plan_way(load):
    def prepare(content, folder):
        model = plan_model()
        path = folder / "plan.json"
        if isinstance(content, bytes | str):
            path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        path = content if hasattr(content, "exists") else path
        return (lambda: load(model, content, path)), model, str(path) if load is load_plan else ""

    return prepare


def load_plan(model, _, path):
    return Penalties.load(model, path)


def plan(config=REGULARIZER):
    made = json.loads(attach(plan_model(), weights={"0.weight": regularizers.L2(0.1)}).to_json())
    made["weights"]["0.weight"] = config
    return made


WAYS = {
    "load_model .keras": file_way("model.keras", lambda model, path: load_model(path)),
    "load_model .h5": file_way("model.h5", lambda model, path: load_model(path)),
    "load_weights .weights.h5": file_way("model.weights.h5", lambda model, path: model.load_weights(path)),
    "load_weights .h5": file_way("old.h5", lambda model, path: model.load_weights(path)),
    "load_weights .safetensors": file_way("model.safetensors", lambda model, path: model.load_weights(path)),
    "load_weights .pt": file_way("model.pt", lambda model, path: model.load_weights(path)),
    "load_weights .npz": file_way("model.npz", lambda model, path: model.load_weights(path)),
    "load_weights .json": file_way("model.weights.json", lambda model, path: model.load_weights(path)),
    "model_from_json": object_way(model_from_json),
    "layers.deserialize": object_way(layers.deserialize),
    "regularizers.deserialize": object_way(regularizers.deserialize),
    "regularizers.get": object_way(regularizers.get),
    "Penalties.load": plan_way(load_plan),
    "Penalties.from_json": plan_way(lambda model, text, _: Penalties.from_json(model, text)),
}
