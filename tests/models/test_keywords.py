"""Keras's further keywords of `compile`, `fit`, `evaluate` and `predict`."""

import inspect

import keras
import numpy as np
import pytest

import penalize
from penalize.errors import ArgumentError
from penalize.models.keywords import NOT_HERE

X, Y = np.ones((6, 2), dtype="float32"), np.zeros((6, 1), dtype="float32")


def called(method, **keywords):
    model = penalize.Sequential([penalize.Input((2,)), penalize.layers.Dense(1)], name="net")
    if method == "compile":
        return model.compile("sgd", "mse", **keywords)
    model.compile("sgd", "mse")
    data = {"x": X} if method == "predict" else {"x": X, "y": Y}
    return getattr(model, method)(**data, verbose=0, **keywords)


@pytest.mark.parametrize("method", NOT_HERE)
def test_every_keyword_of_keras_is_known_and_its_default_changes_nothing(method):
    theirs = dict(inspect.signature(getattr(keras.Model, method)).parameters)
    theirs.pop("kwargs", None)
    ours = inspect.signature(getattr(penalize.Model, method)).parameters
    assert set(theirs) - set(ours) == set(NOT_HERE[method])
    called(method, **{key: theirs[key].default for key in NOT_HERE[method]})


@pytest.mark.parametrize(
    ("method", "key", "value"),
    [
        ("compile", "loss_weights", 1.0),
        ("compile", "loss_weights", [1.0]),
        ("compile", "weighted_metrics", []),
        ("compile", "run_eagerly", True),
        ("compile", "jit_compile", False),
        ("compile", "auto_scale_loss", False),
        ("evaluate", "callbacks", []),
    ],
)
def test_values_that_change_nothing_are_taken(method, key, value):
    called(method, **{key: value})


@pytest.mark.parametrize(
    ("method", "key", "value", "instead"),
    [
        ("compile", "loss_weights", 0.5, "multiply it in a loss function of your own"),
        ("compile", "loss_weights", {"out": 0.5}, "multiply it in a loss function of your own"),
        ("compile", "loss_weights", np.ones(2), "multiply it in a loss function of your own"),
        ("compile", "weighted_metrics", ["mae"], "give them as metrics"),
        ("compile", "run_eagerly", "yes", "always run eagerly"),
        ("compile", "steps_per_execution", 8, "every step is run by itself"),
        ("compile", "steps_per_execution", True, "every step is run by itself"),
        ("compile", "jit_compile", True, "torch.compile"),
        ("fit", "initial_epoch", 2, "a further fit goes on where the last one stopped"),
        ("fit", "steps_per_epoch", 2, "limit_train_batches"),
        ("fit", "validation_steps", 2, "limit_val_batches"),
        ("fit", "validation_freq", [1, 3], "check_val_every_n_epoch"),
        ("evaluate", "steps", 2, "limit_val_batches"),
        ("predict", "steps", 2, "limit_predict_batches"),
        ("predict", "callbacks", [print], "fit takes them"),
    ],
)
def test_other_values_are_refused_with_what_to_do_instead(method, key, value, instead):
    with pytest.raises(ArgumentError, match=rf"net: {method}: {key}=.* is not available in penalize: .*{instead}"):
        called(method, **{key: value})


@pytest.mark.parametrize(
    ("method", "key", "meant"),
    [
        ("compile", "metric", "metrics"),
        ("fit", "epoch", "epochs"),
        ("evaluate", "batchsize", "batch_size"),
        ("predict", "step", "steps"),
    ],
)
def test_a_misspelt_keyword_is_named(method, key, meant):
    with pytest.raises(ArgumentError, match=rf"net: {method}: unknown argument '{key}': did you mean .*'{meant}'"):
        called(method, **{key: 1})


def test_what_is_advised_does_what_keras_does():
    model = penalize.Sequential([penalize.Input((2,)), penalize.layers.Dense(1, use_bias=False)])
    model.set_weights([np.zeros((2, 1))])
    model.compile(penalize.optimizers.SGD(0.0), "mse")
    y = np.arange(6.0)
    history = model.fit(
        X, y, 1, 3, 0, shuffle=False, validation_data=(X, y), trainer={"limit_train_batches": 2, "limit_val_batches": 3}
    )
    assert history.history["loss"] == [0.5] * 3
    assert history.history["val_loss"] == pytest.approx([5 / 3] * 3)
    options = {"check_val_every_n_epoch": 2}
    history = model.fit(X, y, 1, 3, 0, validation_data=(X, y), trainer=options).history
    assert len(history["loss"]) == 3
    assert len(history["val_loss"]) == 1
    assert model.evaluate(X, y, 1, 0, trainer={"limit_val_batches": 3}) == pytest.approx(5 / 3)
    assert len(model.predict(X, 1, 0, trainer={"limit_predict_batches": 3})) == 3
