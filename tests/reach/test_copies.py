"""Copies, pickles and files of a model with penalties: complete, and independent of the original."""

import copy
import io
import pickle

import pytest
import torch
from tests.reach.by_hand import check, modes, network, usual_step, ways

import penalize


def deep(model):
    return copy.deepcopy(model)


def pickled(model):
    return pickle.loads(pickle.dumps(model))


def in_a_file(model):
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


copying = pytest.mark.parametrize("copied", [deep, pickled, in_a_file])


@copying
@ways
def test_a_copy_trains_as_the_original(kind, bound, copied):
    model, penalties = network(kind)
    if bound:
        penalties.bind(torch.optim.SGD(model.parameters(), lr=0.1))
    model(torch.ones(2, 4).double())
    before = [parameter.clone() for parameter in model.parameters()]
    value, losses = penalties.value(), len(penalties.losses)
    other = copied(model)
    (own,) = penalize.attached(other)
    assert not own.bound, "no optimizer holds the weights of the copy"
    assert len(own.losses) == losses - 2, "what a call recorded is not copied"
    check(other, own, bound, usual_step(other, own))
    torch.testing.assert_close(list(model.parameters()), before, rtol=0, atol=0)
    assert penalties.value() == value
    assert penalties.bound is bound


@copying
@ways
def test_the_original_trains_on_beside_its_copy(kind, bound, copied):
    model, penalties = network(kind)
    other = copied(model)
    (own,) = penalize.attached(other)
    for name in list(own):
        own[name].regularizer = None
    own.detach()
    assert penalize.attached(other) == []
    check(model, penalties, bound, usual_step(model, penalties))


@copying
@modes
def test_changed_strengths_travel_and_stay_apart(bound, copied):
    model, penalties = network("torch")
    penalties["0.weight"].strength = 0.5
    (own,) = penalize.attached(copied(model))
    assert own["0.weight"].strength == 0.5
    own["0.weight"].regularizer.l1 = 0.25
    assert penalties["0.weight"].strength == 0.5
    own["1"].strength = 0.75
    assert penalties["1"].strength == 0.05


@pytest.mark.parametrize("kind", ["torch", "layers"])
def test_a_copy_of_the_penalties_brings_its_own_model(kind):
    model, penalties = network(kind)
    other = copy.deepcopy(penalties)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert penalties.value() == 0
    assert other.value() > 0
