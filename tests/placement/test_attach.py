"""attach: which targets it chooses, what it records, and that the model stays what it was."""

import copy
import gc
import io
import pickle

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

import penalize
from penalize import attach, attached, layers
from penalize.errors import (
    ArgumentError,
    ArrayError,
    DetachedError,
    PenaltyError,
    ShapeError,
    StrengthError,
    TargetError,
    UnknownNameError,
)
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer


class Net(nn.Module):
    """Encoder and head; `encoder.relu` is called once a block."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleDict({"first": nn.Linear(4, 5), "second": nn.Linear(5, 5), "relu": nn.ReLU()})
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        relu = self.encoder["relu"]
        return self.head(relu(self.encoder["second"](relu(self.encoder["first"](x)))))


def names(penalties):
    return {name: penalties[name].regularizer.get_config() for name in penalties}


def test_patterns_choose_and_the_last_match_wins():
    penalties = attach(
        Net(),
        weights={"*": L2(1.0), "encoder.*.weight": L2(2.0), "encoder.second.*": L1(3.0), "*.bias": None},
        activity={"encoder.relu": L1(1e-6)},
    )
    assert names(penalties) == {
        "encoder.first.weight": {"l2": 2.0},
        "encoder.second.weight": {"l1": 3.0},
        "head.weight": {"l2": 1.0},
        "encoder.relu": {"l1": 1e-6},
    }


def test_classes_and_predicates_choose():
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Linear(4, 3), nn.Linear(3, 2))
    penalties = attach(
        model,
        weights={nn.Linear: "l2", (lambda name, parameter: parameter.ndim == 3): "l1", "2.*": None},
        activity={nn.Conv1d: "l1", (lambda name, module: name == "2"): "l2"},
    )
    assert list(penalties) == ["0.weight", "1.weight", "1.bias", "0", "2"]


def test_rules_take_configs_classes_and_functions():
    penalties = attach(
        Net(),
        weights={
            "head.weight": {"class_name": "L2", "config": {"l2": 0.1}},
            "encoder.first.weight": L1,
            "encoder.second.weight": lambda w: w.abs().max(),
        },
    )
    assert penalties["head.weight"].regularizer.l2 == 0.1
    assert penalties["encoder.first.weight"].regularizer.l1 == 0.01
    assert len(penalties.losses) == 3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"weights": {"head.wieght": "l2"}},
            TargetError,
            r"weights\['head.wieght'\] matches no parameter.*'head.weight'",
        ),
        (
            {"activity": {"encoder.rulu": "l2"}},
            TargetError,
            r"activity\['encoder.rulu'\] matches no module.*'encoder.relu'",
        ),
        ({"weights": {nn.Conv2d: "l2"}}, TargetError, r"weights\[Conv2d\] matches no parameter"),
        ({"weights": {"head.weight": "l3"}}, UnknownNameError, r"weights\['head.weight'\]: unknown regularizer 'l3'"),
        ({"weights": {int: "l2"}}, ArgumentError, "a class used as a key must be an nn.Module class, got int"),
        ({"weights": {3: "l2"}}, ArgumentError, "a key is a glob pattern, an nn.Module class or a predicate"),
        ({"weights": ["head.weight"]}, ArgumentError, "weights must be a dict from patterns to regularizers, got list"),
        ({"weights": {"head.bias": OrthogonalRegularizer()}}, ShapeError, r"head.bias: .* takes a matrix \(rank 2\)"),
        ({"weights": {"head.bias": lambda w: w}}, PenaltyError, "head.bias: .* must return one real number"),
        (
            {"weights": {"head.weight": {"class_name": "L2", "config": {"l2": -1}}}},
            StrengthError,
            "l2 must be a finite",
        ),
        ({}, TargetError, "nothing to penalize"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_is_attached(arguments, error, message):
    model = Net()
    before = {**vars(model)}
    with pytest.raises(error, match=message):
        attach(model, **arguments)
    assert vars(model) == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_models_that_cannot_be_penalized_are_refused():
    with pytest.raises(ArgumentError, match="attach takes an nn.Module, got dict"):
        attach({}, weights={"*": "l2"})
    with pytest.raises(TargetError, match="0.weight: the parameter has no shape yet"):
        attach(nn.Sequential(nn.LazyLinear(3)), weights={"0.weight": "l2"})
    whole = nn.Linear(2, 2)
    whole.register_parameter("count", nn.Parameter(torch.ones(2, dtype=torch.int64), requires_grad=False))
    with pytest.raises(
        ArrayError, match="count: only real floating-point weights can be penalized, got dtype torch.int64"
    ):
        attach(whole, weights={"*": "l2"})


def test_losses_are_activity_in_call_order_then_weights():
    model = Net()
    penalties = attach(model, weights={"*.weight": L2(0.1)}, activity={"head": L2(1.0), "encoder.relu": L1(0.5)})
    x = torch.randn(3, 4)
    seen = []
    model.encoder["relu"].register_forward_hook(lambda m, a, out: seen.append(out))
    y = model(x)
    expected = [0.5 * seen[0].abs().sum() / 3, 0.5 * seen[1].abs().sum() / 3, y.square().sum() / 3]
    expected += [
        0.1 * layer.weight.square().sum() for layer in (model.encoder["first"], model.encoder["second"], model.head)
    ]
    torch.testing.assert_close(penalties.losses, expected)
    assert [name for name, _ in penalties.named_losses()] == [
        "encoder.relu",
        "encoder.relu",
        "head",
        "encoder.first.weight",
        "encoder.second.weight",
        "head.weight",
    ]
    torch.testing.assert_close(penalties.loss(), sum(expected))
    assert penalties.value() == pytest.approx(float(sum(expected).detach()))
    assert isinstance(penalties.value(), float)


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("penalized", ["0", "2", "4"])
@pytest.mark.parametrize(
    "regularizer",
    [L1L2(0.3, 0.2), OrthogonalRegularizer(0.5), lambda w: (w**4).sum()],
    ids=["elementwise", "orthogonal", "function"],
)
def test_each_layer_of_an_mlp_gets_the_gradient_of_its_penalty(penalized, regularizer, bound):
    """At the first, a hidden and the last layer, with two accumulated backward passes, against the hand-written sum."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    batches = [(torch.randn(7, 4).double(), torch.randn(7, 3).double()) for _ in range(2)]
    by_hand = copy.deepcopy(model)
    for x, y in batches:
        ((by_hand(x) - y) ** 2).mean().backward()
    regularizer(dict(by_hand.named_modules())[penalized].weight).backward()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    penalties = attach(model, weights={f"{penalized}.weight": regularizer})
    if bound:
        penalties.bind(optimizer)
    for index, (x, y) in enumerate(batches):
        loss = ((model(x) - y) ** 2).mean()
        (loss + penalties.loss() * (index == 1)).backward()
    optimizer.step()
    for own, expected in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(own.grad, expected.grad, rtol=1e-12, atol=1e-14)


def test_activity_penalties_reach_the_weights():
    model = Net().double()
    penalties = attach(model, activity={"encoder.relu": L1(0.5), "head": L2(0.1)})
    x = torch.randn(3, 4).double()
    model(x)
    penalties.loss().backward()
    got = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    first = torch.relu(model.encoder["first"](x))
    second = torch.relu(model.encoder["second"](first))
    by_hand = 0.5 * (first.abs().sum() + second.abs().sum()) / 3 + 0.1 * model.head(second).square().sum() / 3
    penalties.detach()
    by_hand.backward()
    torch.testing.assert_close(got, [parameter.grad for parameter in model.parameters()])


def test_a_regularizer_or_strength_changed_between_steps_takes_effect():
    model = nn.Linear(3, 2)
    nn.init.ones_(model.weight)
    shared = L2(1.0)
    penalties = attach(model, weights={"*": shared})
    nn.init.ones_(model.bias)
    assert penalties.value() == 8.0
    penalties["weight"].strength = 2.0
    assert (penalties.value(), shared.l2) == (14.0, 1.0)
    shared.l2 = 10.0
    assert penalties.value() == 12.0 + 20.0
    penalties["bias"].regularizer = "l1"
    assert penalties.value() == pytest.approx(12.02)
    penalties["bias"].regularizer = None
    assert penalties.value() == 12.0
    assert penalties["weight"].strength == 2.0
    with pytest.raises(StrengthError, match="l2 must be a finite real number >= 0, got -1"):
        penalties["weight"].strength = -1
    assert penalties.value() == 12.0
    penalties["weight"].regularizer = L1L2(1.0, 1.0)
    with pytest.raises(ArgumentError, match="weight: .* has the strengths l1 and l2; assign to .regularizer"):
        penalties["weight"].strength = 3.0
    with pytest.raises(TargetError, match="no target is named 'wait': did you mean 'weight'"):
        penalties["wait"]


def test_tied_weights_count_once_under_either_name():
    model = nn.ModuleDict({"embedding": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
    model["head"].weight = model["embedding"].weight
    for pattern in ("*", "embedding.*", "head.*"):
        penalties = attach(model, weights={pattern: L2(1.0)})
        assert list(penalties) == ["embedding.weight"]
        assert penalties.value() == pytest.approx(float(model["head"].weight.detach().square().sum()))
        assert penalties["head.weight"] is penalties["embedding.weight"]
        penalties.detach()
    assert list(attach(model, weights={"*": L2(1.0), "head.weight": None})) == []


def test_a_module_under_two_names_is_one_target():
    shared = nn.Linear(3, 3)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    penalties = attach(model, weights={"2.weight": L2(1.0)}, activity={"2": L2(1.0)})
    model(torch.ones(2, 3))
    assert [name for name, _ in penalties.named_losses()] == ["0", "0", "0.weight"]


def test_frozen_weights_pay_nothing_their_activity_does():
    model = nn.Linear(3, 2)
    penalties = attach(model, weights={"*": L2(1.0)}, activity={"": L2(1.0)})
    model.weight.requires_grad_(False)
    model(torch.ones(1, 3))
    assert [name for name, _ in penalties.named_losses()] == ["", "bias"]
    assert penalties.report()[0].kind == "frozen weight"


def test_outputs_state_dict_class_and_pickling_stay():
    model = Net()
    x = torch.randn(3, 4)
    before, keys, kind = model(x), list(model.state_dict()), type(model)
    penalties = attach(model, weights={"*.weight": "l2"}, activity={"encoder.relu": "l1"})
    assert torch.equal(model(x), before)
    assert list(model.state_dict()) == keys
    assert type(model) is kind
    assert [name for name, _ in model.named_parameters()] == keys
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(again(x), before)
    assert attached(again)[0].value() == pytest.approx(penalties.value())
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(x), before)


def test_a_deepcopy_has_penalties_of_its_own():
    model = Net()
    x = torch.randn(3, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalties = attach(model, weights={"*.weight": L2(1.0)}, activity={"encoder.relu": L1(1.0)}).bind(optimizer)
    model(x)
    twin = copy.deepcopy(model)
    (own,) = attached(twin)
    assert own is not penalties
    assert [name for name, _ in own.named_losses()] == ["encoder.first.weight", "encoder.second.weight", "head.weight"]
    twin(2 * x)
    assert len(own.losses) == len(penalties.losses) == 5
    assert own.value() != pytest.approx(penalties.value())
    own["head.weight"].regularizer.l2 = 100.0
    assert penalties["head.weight"].regularizer.l2 == 1.0
    with torch.no_grad():
        twin.head.weight.zero_()
    assert dict(penalties.named_losses())["head.weight"].item() > 0
    assert own.loss().item() == pytest.approx(own.value())
    own.detach()
    assert attached(model) == [penalties]
    assert attached(twin) == []


def test_detach_restores_the_model_and_the_optimizer():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = {**vars(model)}
    penalties = attach(model, weights={"*": "l2"}, activity={"*": "l1"}).bind(optimizer)
    other = attach(model, weights={"head.weight": "l1"})
    penalties.detach()
    assert attached(model) == [other]
    other.detach()
    assert vars(model) == before
    assert not any(
        module._forward_hooks or module._forward_pre_hooks or module._forward_hooks_always_called
        for module in model.modules()
    )
    assert not optimizer._optimizer_step_pre_hooks
    for use in (penalties.loss, penalties.value, penalties.report, penalties.detach, lambda: penalties.losses):
        with pytest.raises(DetachedError, match=r"these penalties were detached; attach\(\) to the model again"):
            use()


def test_ten_thousand_calls_hold_no_memory():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    penalties = attach(model, activity={"1": "l1"})
    x = torch.ones(1, 2)
    with torch.no_grad():
        for call in (model, model[1]):
            call(x)
            gc.collect()
            before = len(gc.get_objects())
            for _ in range(5000):
                call(x)
            gc.collect()
            assert len(gc.get_objects()) - before < 50
    assert len(penalties.losses) == 1


def test_the_outermost_call_clears_also_after_an_error():
    class Fails(nn.Module):
        def forward(self, x):
            if x.shape[0] == 1:
                raise RuntimeError("one row")
            return x

    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), Fails())
    penalties = attach(model, activity={"1": L1(1.0)})
    with pytest.raises(RuntimeError, match="one row"):
        model(torch.ones(1, 2))
    model[:2](torch.ones(3, 2))
    model(torch.ones(3, 2))
    assert len(penalties.losses) == 1
    model[1](torch.full((1, 2), 7.0))
    assert penalties.value() == 14.0


def test_nested_outputs_have_one_entry_each():
    class Many(nn.Module):
        def forward(self, x):
            return {"b": x, "a": (2 * x, [None, 3 * x])}

    model = Many()
    penalties = attach(model, activity={"": L1(1.0)})
    model(torch.ones(2, 1))
    assert [float(value) for value in penalties.losses] == [2.0, 3.0, 1.0]


def test_an_output_without_tensors_is_refused():
    class Nothing(nn.Module):
        def forward(self, x):
            return "done"

    model = Nothing()
    attach(model, activity={"": "l1"})
    with pytest.raises(TargetError, match="the model: an activity regularizer needs a tensor as output, got str"):
        model(torch.ones(1))


def test_integer_outputs_are_refused_by_name():
    model = nn.Sequential(nn.Identity())
    attach(model, activity={"0": "l1"})
    with pytest.raises(ArrayError, match="0: L1 takes real floating-point values, got dtype torch.int64"):
        model(torch.ones(2, 2, dtype=torch.int64))


def test_swapped_parameters_are_seen_inside_functional_call():
    class WithPenalty(nn.Module):
        def __init__(self, model, penalties):
            super().__init__()
            self.model, self.penalties = model, penalties

        def forward(self, x):
            return self.model(x).sum() * 0 + self.penalties.loss()

    model = nn.Linear(2, 2)
    penalties = attach(model, weights={"weight": L2(1.0)})
    swapped = {"model.weight": torch.full((2, 2), 3.0), "model.bias": torch.zeros(2)}
    assert float(torch.func.functional_call(WithPenalty(model, penalties), swapped, torch.ones(1, 2))) == 36.0
    gradient = torch.func.grad(
        lambda weights: torch.func.functional_call(WithPenalty(model, penalties), weights, torch.ones(1, 2))
    )(swapped)
    torch.testing.assert_close(gradient["model.weight"], torch.full((2, 2), 6.0))


# torch.compile reads .grad of the tensors that it takes; torch itself hides that warning outside of "error".
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compile_fullgraph_records_activity():
    model = Net()
    penalties = attach(model, weights={"*.weight": L2(0.1)}, activity={"encoder.relu": L1(0.5)})
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch._dynamo.reset()
    counters.clear()
    for call in range(4):
        x = torch.randn(3, 4)
        if call % 2:
            model(x)
        compiled(x)
        got, gradients = penalties.value(), torch.autograd.grad(penalties.loss(), list(model.parameters())[:5])
        assert len(penalties.losses) == 5
        model(x)
        assert penalties.value() == pytest.approx(got)
        torch.testing.assert_close(gradients, torch.autograd.grad(penalties.loss(), list(model.parameters())[:5]))
    assert counters["stats"]["unique_graphs"] == 1


def test_the_report_names_targets_shares_and_zeros():
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    penalties = attach(model, weights={"weight": L2(1.0)}, activity={"": L1(1.0)})
    rows = penalties.report()
    assert [(row.target, row.kind, row.penalty, row.zeros) for row in rows] == [
        ("weight", "weight", 2.0, 0.5),
        ("", "activity", 0.0, None),
    ]
    with torch.no_grad():
        model.bias.zero_()
    model(torch.ones(4, 2))
    rows = penalties.report()
    assert [row.penalty for row in rows] == [2.0, 2.0]
    assert [row.share for row in rows] == [0.5, 0.5]
    text = str(rows)
    assert "(model)" in text
    assert "L2(l2=1.0)" in text
    assert "all penalties together: 4" in text


def test_the_report_counts_units_that_are_zero():
    transposed = layers.Conv2DTranspose(5, 3)
    dense = layers.Dense(4)
    transposed(torch.zeros(1, 4, 4, 2)), dense(torch.zeros(1, 3))
    model = nn.ModuleDict(
        {
            "linear": nn.Linear(3, 4),
            "convolution": nn.Conv1d(2, 3, 3),
            "transposed": nn.ConvTranspose1d(2, 3, 3),
            "embedding": nn.Embedding(6, 2),
            "dense": dense,
            "kerased": transposed,
        }
    )
    with torch.no_grad():
        model["linear"].weight[:2] = 0
        model["convolution"].weight[1] = 0
        model["transposed"].weight[:, 2] = 0
        model["embedding"].weight[:5] = 0
        model["dense"].kernel[:, 1] = 0
        model["kerased"].kernel[:, :, 3:] = 0
    rows = {row.target: row for row in attach(model, weights={"*": L1(0.1)}).report()}
    found = {name.split(".")[0]: (row.zero_units, row.units) for name, row in rows.items() if "bias" not in name}
    assert found == {
        "linear": (2, 4),
        "convolution": (1, 3),
        "transposed": (1, 3),
        "embedding": (5, 6),
        "dense": (1, 4),
        "kerased": (2, 5),
    }
    assert rows["linear.bias"].units is None
    assert "zero units" in str(penalize.attached(model)[0].report())
    assert "2 of 4" in str(penalize.attached(model)[0].report())


def test_the_config_attaches_again():
    model = Net()
    penalties = attach(model, weights={"*.weight": L2(0.1), "head.weight": L1(0.2)}, activity={"encoder.relu": "l1_l2"})
    config = penalties.get_config()
    assert names(attach(Net(), **config)) == names(penalties)


def test_a_replaced_module_is_noticed():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    penalties = attach(model, weights={"2.weight": L2(1.0)}, activity={"1": "l1"})
    kept = model[2]
    model[2] = nn.Linear(2, 3)
    for use in (penalties.loss, penalties.value, penalties.report, lambda: penalties.losses):
        with pytest.raises(TargetError, match=r"^2.weight: its module was replaced or removed; detach\(\) and attach"):
            use()
    model[2] = kept
    assert penalties.value() > 0
    model[1] = nn.Identity()
    with pytest.raises(TargetError, match="^1: its module was replaced"):
        penalties.loss()
    penalties.detach()


def test_a_rule_on_activity_keeps_what_a_layer_adds_by_itself():
    class Adds(penalize.Layer):
        def call(self, inputs):
            self.add_loss(inputs.sum())
            return inputs

    model = penalize.Sequential([Adds()])
    model(torch.ones(2, 2))
    for rule, expected in ((L1(1.0), [4.0, 2.0]), (None, [4.0])):
        penalties = attach(model, activity={"0": rule})
        for _ in range(2):
            model(torch.ones(2, 2))
            assert [value.item() for value in penalties.losses] == expected
        penalties.detach()
    assert [value.item() for value in model.losses] == [4.0]


def test_a_regularizer_that_a_layer_is_given_after_attaching_counts():
    layer = penalize.layers.Dense(1, kernel_initializer="ones")
    layer.build((None, 3))
    model = nn.Sequential(layer)
    penalties = attach(model)
    assert list(penalties) == []
    layer.kernel_regularizer = L2(2.0)
    assert list(penalties) == ["0.weight"]
    assert penalties.value() == 6.0


def test_penalties_are_a_mapping():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    penalties = attach(model, weights={"a.weight": "l2"})
    assert penalties.get("nope") is None
    assert "b.weight" in penalties
    assert "nope" not in penalties
    assert len(penalties) == 1
    with pytest.raises(ArgumentError, match="a key is a glob pattern, an nn.Module class or a predicate"):
        attach(model, weights={model["a"]: "l2"})
    with pytest.raises(RuntimeError, match="size mismatch|shapes cannot be multiplied") as caught:
        attach(model, weights={"a.bias": lambda b: (b[:, None] @ b[:, None]).sum()})
    assert caught.value.__notes__ == ["raised by the regularizer of a.bias"]


def test_no_penalties_sum_to_a_differentiable_zero():
    model = nn.Linear(2, 1)
    penalties = attach(model, weights={"*": None})
    assert penalties.losses == []
    (model(torch.ones(1, 2)).sum() + penalties.loss()).backward()
    assert penalties.value() == 0.0


def test_float64_and_half_precision_sums():
    assert attach(nn.Linear(2, 2).double(), weights={"*": "l2"}).loss().dtype == torch.float64
    half = nn.Linear(1000, 1000).half()
    nn.init.ones_(half.weight)
    penalties = attach(half, weights={"weight": L2(1e-4)})
    assert penalties.loss().dtype == torch.float32
    assert penalties.value() == pytest.approx(100.0)


def test_declared_penalties_are_collected_and_rules_override_them():
    layer = penalize.layers.Dense(2, kernel_regularizer=L2(1.0), bias_regularizer=L1(1.0), activity_regularizer=L1(0.1))
    model = nn.Sequential(nn.Linear(3, 3), layer)
    model(torch.ones(4, 3))
    penalties = attach(model)
    assert list(penalties) == ["1.weight", "1.bias", "1"]
    model(torch.ones(4, 3))
    assert penalties.value() == pytest.approx(float(sum(layer.losses).detach()))
    penalties["1.weight"].regularizer = L2(5.0)
    assert layer.kernel_regularizer.l2 == 5.0
    layer.activity_regularizer = None
    model(torch.ones(4, 3))
    assert len(penalties.losses) == 2
    penalties.detach()
    layer.activity_regularizer = L1(0.1)
    other = attach(model, weights={"1.bias": None, "0.weight": L2(1.0)}, activity={"1": L2(7.0)})
    assert list(other) == ["0.weight", "1.weight", "1"]
    y = model(torch.ones(4, 3))
    assert float(other.losses[0].detach()) == pytest.approx(float(7 * y.detach().square().sum() / 4))
    assert len(layer.losses) == 3


def test_a_declaring_layer_called_twice_in_a_plain_module_has_two_entries():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = penalize.layers.Dense(3, activity_regularizer=L1(1.0))

        def forward(self, x):
            return self.layer(self.layer(x))

    model = Twice()
    model(torch.ones(2, 3))
    penalties = attach(model)
    for _ in range(3):
        model(torch.ones(2, 3))
        assert len(penalties.losses) == 2


def test_layers_that_are_not_built_are_told_so():
    with pytest.raises(TargetError, match=r"dense.* is not built.*call the model once, then attach"):
        attach(nn.Sequential(penalize.layers.Dense(2, kernel_regularizer="l2")))
