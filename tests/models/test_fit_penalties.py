"""The penalty that `fit` pays and logs is the sum of `model.losses`, whatever changes while it trains."""

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

import penalize
from penalize import layers
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer

X = np.random.default_rng(0).normal(size=(12, 5)).astype("float32")
Y = np.arange(12) % 3


def network(**settings):
    hidden = layers.Dense(4, "tanh", **settings)
    return penalize.Sequential([penalize.Input((5,)), hidden, layers.Dense(3, "softmax", kernel_regularizer=L2(0.3))])


def penalty_of_an_epoch(model, callbacks=()):
    """What `fit` logs; the learning rate is 0, so that weights stay."""
    model.compile(optimizer=penalize.optimizers.SGD(0.0), loss="sparse_categorical_crossentropy")
    return model.fit(X, Y, batch_size=12, verbose=0, callbacks=list(callbacks)).history["penalty"][0]


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_regularizer": L1L2(0.1, 0.2), "bias_regularizer": L2(1.0)},
        {"kernel_regularizer": OrthogonalRegularizer(0.5), "activity_regularizer": L1(0.1)},
        {"kernel_regularizer": lambda x: x.square().mean()},
        {"kernel_regularizer": L1(0.0)},
    ],
    ids=["fused", "orthogonal and activity", "function", "zero strength"],
)
def test_it_is_the_sum_of_losses(settings):
    model = network(**settings)
    model(X)
    expected = sum(model.losses).item()
    assert penalty_of_an_epoch(model) == pytest.approx(expected, rel=1e-5)


def test_regularizers_that_change_between_steps_count_from_then_on():
    model = network()
    paid = []

    class Change(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            hidden, last = model.layers
            if batch_idx == 1:
                hidden.kernel_regularizer = L1(0.2)
            elif batch_idx == 2:
                last.kernel_regularizer = None
                hidden.bias_regularizer = L2(1.0)
            elif batch_idx == 3:
                hidden.trainable = False
                last.bias_regularizer = L2(1.0)
            paid.append(sum(model.losses).item())

    with torch.no_grad():
        for layer in model.layers:
            layer.bias.fill_(0.5)
    model.compile(optimizer=penalize.optimizers.SGD(0.0), loss="sparse_categorical_crossentropy")
    logged = model.fit(X, Y, batch_size=3, verbose=0, callbacks=[Change()]).history["penalty"][0]
    assert len({round(value, 5) for value in paid}) == 4
    assert logged == pytest.approx(sum(paid) / 4, rel=1e-5)


def test_a_model_without_penalties_logs_none():
    model = network()
    model.trainable = False
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    with pytest.warns(UserWarning, match="no trainable weights"):
        assert "penalty" not in model.fit(X, Y, verbose=0).history


def test_a_list_of_losses_of_the_models_own_is_paid():
    class Own(penalize.Sequential):
        @property
        def losses(self):
            return [self.layers[0].kernel.square().sum() * 2.0]

    model = Own([penalize.Input((5,)), layers.Dense(3, "softmax")])
    assert penalty_of_an_epoch(model) == pytest.approx(model.losses[0].item(), rel=1e-6)


def test_bound_penalties_are_logged_whole():
    model = network(activity_regularizer=L1(0.1))
    penalties = penalize.attach(model)
    model.compile(optimizer=penalize.optimizers.SGD(0.0), loss="sparse_categorical_crossentropy")
    penalties.bind(model.make_optimizer())
    logged = model.fit(X, Y, batch_size=12, verbose=0).history["penalty"][0]
    model(X)
    assert logged == pytest.approx(penalties.value(), rel=1e-5)
