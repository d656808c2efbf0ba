"""Models that cross between penalize and Keras in files: the generated table of layers, directions and forms.

`python -m tests.saving.crossing` prints its figures.
"""

import tempfile
import warnings
from pathlib import Path

import numpy as np

import penalize
from tests.parity.layer_table import CASES, Row, inputs_of, keras, parameters_of

FORMS = (".keras", ".weights.h5", "JSON")
DIRECTIONS = ("penalize to Keras", "Keras to penalize")
STEPS = 10
# In training they draw random numbers, which the libraries draw differently.
RANDOM = ("Dropout", "GaussianNoise", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
LEFT_OUT = {
    "training of "
    + ", ".join(RANDOM): "they draw random numbers, each library its own; predictions and losses are compared",
    "Conv1DTranspose, Conv2DTranspose, Conv3DTranspose of batch 1 or one channel: training": "Keras 3.15.1's own training step fails on torch",
}


def rows():
    return [(name, case) for name, cases in CASES.items() for case in range(len(cases))]


def model_of(library, name, case):
    """A model around one layer with all of its regularizers, compiled with an optimizer that has states."""
    shape, given = CASES[name][case]
    arguments = {key: value(library, "float32") if callable(value) else value for key, value in given.items()}
    for key in parameters_of(name):
        if key.endswith("_regularizer") and key != "activity_regularizer":
            arguments[key] = library.regularizers.L1L2(1e-3, 1e-2)
    xs = inputs_of(Row(name, case, "", None, "float32"), shape)
    inputs = [library.Input(x.shape[1:], dtype=str(x.dtype)) for x in xs]
    layer = getattr(library.layers, name)(**arguments, name="subject")
    outputs = layer(*inputs)
    parts = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    flat = []
    for index, part in enumerate(parts):
        # Keras does not know the length of the sequence behind that one.
        open_ended = (name, case) == ("EinsumDense", 0)
        pool = library.layers.GlobalAveragePooling1D if open_ended else library.layers.Flatten
        flat.append(pool(name=f"flat{index}")(part))
    hidden = flat[0] if len(flat) == 1 else library.layers.Concatenate(name="together")(flat)
    out = library.layers.Dense(1, name="out", activity_regularizer=library.regularizers.L2(1e-2))(hidden)
    model = library.Model(inputs, out, name="crossing")
    model.compile(library.optimizers.SGD(1e-3, momentum=0.9), "mse")
    return model, xs if len(xs) > 1 else xs[0]


def targets(x):
    count = len(x[0]) if isinstance(x, list) else len(x)
    return np.linspace(-1, 1, count, dtype="float32")[:, None]


def train(model, x, steps):
    """So many steps on the same batch; their mean loss, and the predictions afterwards."""
    count = len(targets(x))
    many = [np.concatenate([part] * steps) for part in x] if isinstance(x, list) else np.concatenate([x] * steps)
    y = np.concatenate([targets(x)] * steps)
    history = model.fit(many, y, batch_size=count, shuffle=False, verbose=0).history["loss"]
    return [*history, *model.predict(x, verbose=0).ravel()]


def crossed(model, source, target, form, name, case, folder):
    """The same model in the other library, by one of the forms."""
    path = Path(folder, f"model{form}")
    if form == ".keras":
        model.save(path)
        return target.models.load_model(path)
    if form == "JSON":
        other = target.models.model_from_json(model.to_json())
        other.set_weights(model.get_weights())
    else:
        model.save_weights(path)
        other, _ = model_of(target, name, case)
        other.load_weights(path)
    other.compile(target.optimizers.SGD(1e-3, momentum=0.9), "mse")
    model.compile(source.optimizers.SGD(1e-3, momentum=0.9), "mse")
    return other


def difference(got, expected):
    got, expected = (np.asarray(value, dtype="float64") for value in (got, expected))
    assert got.shape == expected.shape, (got.shape, expected.shape)
    return float(np.abs(got - expected).max(initial=0.0) / max(np.abs(expected).max(initial=0.0), 1e-6))


def losses_of(model, x):
    model(x, training=False)
    # Keras gives those of nested layers in another order (T05).
    return sorted(float(loss.detach()) for loss in model.losses)


def cross(name, case, direction, form, train_too=True):
    """The largest relative differences of predictions, losses and the next training steps."""
    source, target = (penalize, keras) if direction == DIRECTIONS[0] else (keras, penalize)
    keras.utils.set_random_seed(0)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        model, x = model_of(source, name, case)
        trains = train_too and name not in RANDOM and not (name.endswith("Transpose") and len(x) == 1)
        if trains:
            train(model, x, 2)
        other = crossed(model, source, target, form, name, case, folder)
        result = {
            "predictions": difference(other.predict(x, verbose=0), model.predict(x, verbose=0)),
            "losses": difference(losses_of(other, x), losses_of(model, x)),
        }
        if trains:
            result["training"] = difference(train(other, x, STEPS), train(model, x, STEPS))
    return result


def main():
    for direction in DIRECTIONS:
        for form in FORMS:
            worst = {"predictions": 0.0, "losses": 0.0, "training": 0.0}
            for name, case in rows():
                for key, value in cross(name, case, direction, form).items():
                    worst[key] = max(worst[key], value)
            figures = ", ".join(f"{key} {value:.1e}" for key, value in worst.items())
            print(
                f"{direction}, {form}: {len(rows())} rows, {len(CASES)} layers: largest relative difference: {figures}"
            )
    for what, reason in LEFT_OUT.items():
        print(f"left out: {what}: {reason}")


if __name__ == "__main__":
    main()
