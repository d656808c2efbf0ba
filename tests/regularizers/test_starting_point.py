"""L2SP: which weights it starts from, and what of them is kept in copies, files and plans."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

import penalize
from penalize.errors import ArgumentError, ConfigError, ShapeError
from penalize.regularizers import L2SP, deserialize, serialize


def moved(tensor, by=1.0):
    with torch.no_grad():
        tensor.add_(by)


def test_it_starts_from_the_weights_at_the_time_of_attaching():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 2))
    regularizer = L2SP(0.5)
    penalties = penalize.attach(model, weights={"*.weight": regularizer})
    assert penalties.value() == 0
    for index, size in (("0", 6), ("1", 12), ("2", 8)):
        layer = model[int(index)]
        moved(layer.weight)
        assert float(penalties[f"{index}.weight"].regularizer(layer.weight.detach())) == pytest.approx(0.5 * size)
    assert penalties.value() == pytest.approx(0.5 * 26)
    assert regularizer.needs_start


def test_binding_pulls_back_to_the_start():
    model = nn.Linear(2, 2)
    start = model.weight.detach().clone()
    penalties = penalize.attach(model, weights={"weight": L2SP(0.5)})
    moved(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    penalties.bind(optimizer)
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), start)


def test_a_new_strength_keeps_the_start_and_a_new_regularizer_takes_another():
    model = nn.Linear(2, 2)
    penalties = penalize.attach(model, weights={"weight": L2SP(1.0)})
    moved(model.weight)
    penalties["weight"].strength = 2.0
    assert penalties.value() == pytest.approx(8.0)
    penalties["weight"].regularizer = "l2sp"
    assert penalties.value() == 0
    moved(model.weight)
    assert penalties.value() == pytest.approx(0.04)


def test_copies_of_a_model_keep_the_start():
    model = nn.Linear(2, 2)
    penalize.attach(model, weights={"weight": L2SP(1.0)})
    moved(model.weight)
    other = copy.deepcopy(model)
    assert penalize.attached(other)[0].value() == pytest.approx(4.0)
    moved(other.weight)
    assert penalize.attached(other)[0].value() == pytest.approx(16.0)
    assert penalize.attached(model)[0].value() == pytest.approx(4.0)


def test_the_start_is_in_kerass_layout_in_our_layers():
    dense = penalize.layers.Dense(2)
    dense.build((None, 3))
    penalties = penalize.attach(dense, weights={"weight": L2SP(1.0)})
    moved(dense.weight)
    assert penalties.value() == pytest.approx(6.0)
    assert float(penalties["weight"].regularizer(dense.kernel.detach())) == pytest.approx(6.0)


def test_a_layer_starts_from_the_weights_that_were_loaded_into_it():
    dense = penalize.layers.Dense(2, kernel_regularizer=L2SP(1.0))
    dense.build((None, 3))
    pretrained = [np.full((3, 2), 5.0, dtype=np.float32), np.zeros(2, dtype=np.float32)]
    dense.set_weights(pretrained)
    assert [float(value.detach()) for value in dense.losses] == [0.0]
    dense.set_weights([pretrained[0] + 1, pretrained[1]])
    assert [float(value.detach()) for value in dense.losses] == [pytest.approx(6.0)]
    dense.kernel_regularizer = L2SP(1.0)
    assert [float(value.detach()) for value in dense.losses] == [0.0]


def test_a_saved_model_starts_from_what_it_is_loaded_with(tmp_path):
    model = penalize.Sequential([penalize.Input((3,)), penalize.layers.Dense(2, kernel_regularizer=L2SP(1.0))])
    moved(model.layers[0].weight, 3.0)
    model.save(tmp_path / "model.keras")
    loaded = penalize.models.load_model(tmp_path / "model.keras")
    assert [float(value.detach()) for value in loaded.losses] == [0.0]
    moved(loaded.layers[0].weight)
    assert [float(value.detach()) for value in loaded.losses] == [pytest.approx(6.0)]


def test_a_plan_says_none_of_a_start_and_keeps_a_given_reference():
    model, other = nn.Linear(2, 1), nn.Linear(2, 1)
    given = L2SP(0.5, reference=[0.1])
    text = penalize.attach(model, weights={"weight": L2SP(0.1), "bias": given}).to_json()
    weights = json.loads(text)["weights"]
    assert weights["weight"]["config"] == {"strength": 0.1, "reference": None}
    assert weights["bias"]["config"] == {"strength": 0.5, "reference": [0.1]}
    penalties = penalize.Penalties.from_json(other, text)
    with torch.no_grad():
        other.bias.fill_(2.1)
    moved(other.weight)
    assert float(penalties["weight"].regularizer(other.weight.detach())) == pytest.approx(0.2)
    assert float(penalties["bias"].regularizer(other.bias.detach())) == pytest.approx(2.0)


REFERENCE = [[0.5, -1.0], [0.25, 2.0], [0.0, 3.0]]


@pytest.mark.parametrize("given", [REFERENCE, np.array(REFERENCE, np.float32), torch.tensor(REFERENCE)])
def test_a_given_reference_of_every_kind(given):
    regularizer = L2SP(0.5, given)
    x = torch.randn(3, 2, dtype=torch.float64)
    start = torch.tensor(REFERENCE, dtype=torch.float64)
    assert float(regularizer(x)) == pytest.approx(0.5 * float((x - start).square().sum()))
    torch.testing.assert_close(regularizer.gradient(x), x - start)
    step = torch.rand(3, 2, dtype=torch.float64)
    torch.testing.assert_close(regularizer.prox(x, step), (x + step * start) / (1 + step))
    assert float(regularizer(x.numpy())) == pytest.approx(float(regularizer(x)))
    assert deserialize(json.loads(json.dumps(serialize(regularizer)))).get_config() == regularizer.get_config()
    assert repr(regularizer) == "L2SP(strength=0.5, reference=<(3, 2)>)"


def test_changes_of_a_tensor_that_was_given_do_not_count():
    given = torch.zeros(2)
    regularizer = L2SP(1.0, given)
    given.fill_(7.0)
    assert float(regularizer(torch.ones(2))) == 2.0


def test_without_reference_a_call_is_refused():
    for ask in (lambda r: r(torch.ones(2)), lambda r: r.gradient(torch.ones(2)), lambda r: r.prox(torch.ones(2), 1.0)):
        with pytest.raises(ArgumentError, match="L2SP has no reference: attach it to weights"):
            ask(L2SP())
    model = nn.Sequential(nn.Linear(2, 2))
    penalize.attach(model, activity={"0": L2SP()})
    with pytest.raises(ArgumentError, match="L2SP has no reference"):
        model(torch.ones(1, 2))


def test_other_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"the shape of its reference, \(2,\), got \(3,\)"):
        L2SP(reference=[1.0, 2.0])(torch.ones(3))
    with pytest.raises(ShapeError, match=r"weight: L2SP takes a tensor of the shape of its reference"):
        penalize.attach(nn.Linear(2, 2), weights={"weight": L2SP(reference=[1.0, 2.0])})


@pytest.mark.parametrize(
    "bad",
    ["0.1", ["0.1"], [[1.0], [1.0, 2.0]], [None], True, [True], float("nan"), [float("inf")], 1j, {"a": 1}, [10**400]],
)
def test_bad_references_are_refused(bad):
    with pytest.raises(ArgumentError, match="reference must be a tensor, an array, nested lists or a number"):
        L2SP(reference=bad)
    with pytest.raises(ArgumentError, match="reference must be"):
        deserialize({"class_name": "L2SP", "config": {"strength": 0.1, "reference": bad}})


def test_bad_reference_tensors_are_refused():
    for bad in (torch.ones(2, dtype=torch.int64), torch.ones(2, device="meta"), torch.tensor([float("nan")])):
        with pytest.raises(ArgumentError, match="reference must be"):
            L2SP(reference=bad)


def test_a_large_reference_works_but_is_not_written_to_configs():
    regularizer = L2SP(1.0, torch.zeros(101, 100))
    assert float(regularizer(torch.ones(101, 100))) == 10100.0
    with pytest.raises(ConfigError, match="L2SP: a reference of 10100 values is not written to a config"):
        serialize(regularizer)
    model = nn.Linear(100, 101)
    penalties = penalize.attach(model, weights={"weight": regularizer})
    with pytest.raises(ConfigError, match=r"weights\['weight'\]: L2SP: a reference of 10100 values"):
        penalties.to_json()


def test_meta_weights_start_when_they_have_values():
    with torch.device("meta"):
        model = nn.Linear(2, 2)
    penalties = penalize.attach(model, weights={"weight": L2SP(1.0)})
    model.to_empty(device="cpu")
    with torch.no_grad():
        model.weight.fill_(3.0)
    assert penalties.value() == 0
    moved(model.weight)
    assert penalties.value() == pytest.approx(4.0)


def test_swapped_weights_do_not_become_the_start():
    dense = penalize.layers.Dense(2, use_bias=False, kernel_regularizer=L2SP(1.0))
    dense.build((None, 2))

    def loss(weight):
        return torch.func.functional_call(Losses(dense), {"layer.weight": weight}, ())

    with pytest.raises(ArgumentError, match="L2SP has no reference"):
        torch.func.vmap(loss)(torch.ones(3, 2, 2))
    assert dense.kernel_regularizer.needs_start


class Losses(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self):
        return self.layer.losses[0]
