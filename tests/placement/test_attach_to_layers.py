"""Rules of `attach` for the outputs of penalize's own layers are paid as the layers pay for their own activity."""

import copy

import pytest
import torch
from torch import nn

import penalize
from penalize import layers
from penalize.regularizers import L1, L2

SEQUENCES = torch.linspace(-1, 1, 24).reshape(2, 3, 4)


def declared(layer, *inputs, rule):
    layer.activity_regularizer = rule
    layer(*inputs)
    return [loss.item() for loss in layer.losses]


def attached(layer, *inputs, rule, name=""):
    penalties = penalize.attach(layer, activity={name: rule})
    layer(*inputs)
    values = [loss.item() for loss in penalties.losses]
    penalties.detach()
    return values


LAYERS = {
    "Dense": lambda: layers.Dense(3),
    "LSTM": lambda: layers.LSTM(3),
    "LSTM with states": lambda: layers.LSTM(3, return_state=True, return_sequences=True),
    "GRU steps": lambda: layers.GRU(3, use_cudnn=False),
    "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(3, return_state=True)),
    "Masked": lambda: layers.LSTM(3, return_sequences=True, mask_activity=True),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_rule_pays_what_the_declared_activity_pays(make):
    layer = make()
    inputs = SEQUENCES.clone()
    if layer.mask_activity:
        inputs = layers.Masking()(inputs * torch.tensor([[[1.0], [1.0], [0.0]]]))
    layer(inputs)
    expected = declared(copy.deepcopy(layer), inputs, rule=L1(0.3))
    assert len(expected) == 1
    assert attached(layer, inputs, rule=L1(0.3)) == pytest.approx(expected, rel=1e-6)


def test_a_cell_inside_a_recurrent_layer_is_paid_once_for_all_its_outputs():
    for use_cudnn in (False, "auto"):
        layer = layers.LSTM(3, return_sequences=True, use_cudnn=use_cudnn)
        output = layer(SEQUENCES)
        assert attached(layer, SEQUENCES, rule=L1(0.3), name="cell") == pytest.approx(
            [0.3 * output.abs().sum().item() / 2], rel=1e-6
        )


def test_inside_time_distributed_the_batch_size_divides():
    layer = layers.TimeDistributed(layers.Dense(3))
    output = layer(SEQUENCES)
    assert attached(layer, SEQUENCES, rule=L2(0.3), name="layer") == pytest.approx(
        [0.3 * output.square().sum().item() / 2], rel=1e-6
    )


def test_attention_pays_for_its_output_and_not_for_its_scores():
    layer = layers.MultiHeadAttention(2, 3)
    output, _ = layer(SEQUENCES, SEQUENCES, return_attention_scores=True)
    penalties = penalize.attach(layer, activity={"": L1(0.5)})
    layer(SEQUENCES, SEQUENCES, return_attention_scores=True)
    assert [v.item() for v in penalties.losses] == pytest.approx([0.5 * output.abs().sum().item() / 2], rel=1e-6)


def test_entries_keep_the_order_of_the_calls_and_the_declared_record_stays():
    model = penalize.Sequential([layers.Dense(3, activity_regularizer=L1(1.0)), nn.ReLU(), layers.Dense(2)])
    model(torch.ones(2, 4))
    penalties = penalize.attach(model, activity={"": L1(0.1), "2": L1(0.2), "1": L1(0.4)})
    model(torch.ones(2, 4))
    assert [name for name, _ in penalties.named_losses()] == ["", "0", "1", "2"]
    assert len(model.losses) == 1
    penalties.detach()
    model(torch.ones(2, 4))
    assert [len(record) for record in (model.losses, model.layers[0].declarations.placed)] == [1, 0]


def test_a_copy_of_the_model_pays_for_itself():
    model = penalize.Sequential([layers.Dense(3)])
    model(torch.ones(2, 4))
    penalties = penalize.attach(model, activity={"0": L1(0.1)})
    other = copy.deepcopy(model)
    other(torch.ones(2, 4) * 2)
    assert not penalties.losses
    assert len(penalize.attached(other)[0].losses) == 1


def test_a_call_with_training_runs_hooks_once():
    model = penalize.Sequential([layers.Dropout(0.5), layers.Dense(3)])
    model(torch.ones(2, 4))
    model.eval()
    calls = []
    model.register_forward_hook(lambda *_: calls.append(None))
    penalties = penalize.attach(model, activity={"": L1(0.1)})
    model(torch.ones(2, 4), training=True)
    assert (len(calls), len(penalties.losses), model.training) == (1, 1, False)


def test_training_true_reaches_layers_that_were_put_into_eval():
    model = penalize.Sequential([layers.Dropout(0.999)])
    model.train()
    model.layers[0].eval()
    assert float(model(torch.ones(1, 100), training=True).ne(1).sum()) == 100
    assert not model.layers[0].training


def test_a_symbolic_call_of_an_attached_layer_works():
    inputs = penalize.Input((4,))
    layer = layers.Dense(3)
    model = penalize.Model(inputs, layer(inputs))
    penalties = penalize.attach(model, activity={"*": L1(0.1)})
    assert layer(inputs).shape == (None, 3)
    model(torch.ones(2, 4))
    assert len(penalties.losses) == 3  # the model itself, the input and the layer


def test_what_is_put_below_a_frozen_parent_pays_nothing():
    model = penalize.Sequential([layers.Dense(3, kernel_regularizer="l2")])
    model.trainable = False
    model.add(layers.Dense(2, kernel_regularizer="l2", name="later"))
    model(torch.ones(2, 4))
    assert penalize.attach(model).loss().item() == 0
    assert (model.losses, [p.requires_grad for p in model.parameters()]) == ([], [False] * 4)
    model.trainable = True
    assert len(model.losses) == 2
