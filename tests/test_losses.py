"""The losses: identifiers, torch modules, sample weights, shapes that do not fit, arguments, custom losses."""

import numpy as np
import pytest
import torch
from torch import nn

from penalize import losses
from penalize.errors import ArgumentError, ConfigError, ShapeError, UnknownNameError
from penalize.registry import built_ins

CLASSES = [entry.factory for entry in built_ins("loss") if isinstance(entry.factory, type)]
Y_TRUE = torch.tensor([[0.0], [1.0], [2.0]])
Y_PRED = torch.tensor([[1.0], [1.0], [5.0]])


class Cubes(losses.Loss):
    """The mean of cubes."""

    def call(self, y_true, y_pred):
        return ((y_true - y_pred).abs() ** 3).mean(-1)


def cubes(y_true, y_pred):
    return ((y_true - y_pred).abs() ** 3).mean(-1)


def test_get_takes_every_kind_of_identifier():
    assert losses.get(None) is None
    for identifier in ("mse", "MSE", "mean_squared_error", "MeanSquaredError", losses.MeanSquaredError):
        assert isinstance(losses.get(identifier), losses.MeanSquaredError)
    assert isinstance(losses.get(losses.mean_squared_error), losses.MeanSquaredError)
    instance = losses.Huber(2.0)
    assert losses.get(instance) is instance
    assert losses.get({"class_name": "Huber", "config": {"delta": 2.0}}).get_config() == instance.get_config()
    assert isinstance(losses.get(nn.MSELoss), losses.TorchLoss)
    assert isinstance(losses.get(nn.MSELoss()), losses.TorchLoss)
    assert isinstance(losses.get(Cubes), Cubes)
    assert losses.get(cubes).name == "cubes"


@pytest.mark.parametrize(
    ("identifier", "error", "message"),
    [
        ("crossentropy", UnknownNameError, "unknown loss 'crossentropy': did you mean"),
        (3, ArgumentError, "a loss is None, a name, .* got int: 3"),
        (dict, ArgumentError, "got type: <class 'dict'>"),
        ({}, ConfigError, 'needs a string "class_name", got None'),
        ({"class_name": "Huber", "config": {"width": 2}}, ConfigError, "config of Huber has an unknown key 'width'"),
        ({"class_name": "Huber", "config": 2}, ConfigError, "Huber: config must be a dict, got int"),
        ({"class_name": "Huber", "oops": 2}, ConfigError, "a loss's config has an unknown key 'oops'"),
        ({"class_name": "mean_squared_error"}, ConfigError, "'mean_squared_error' is no loss"),
        ({"class_name": "function", "config": 3}, ConfigError, "a function's config is its registered name, got 3"),
        ({"class_name": "Mine", "registered_name": "me>Mine"}, UnknownNameError, "unknown loss 'me>Mine'"),
    ],
)
def test_bad_identifiers_are_named_errors(identifier, error, message):
    with pytest.raises(error, match=message):
        losses.get(identifier)


@pytest.mark.parametrize("cls", CLASSES)
def test_configs_come_back_exactly(cls):
    first = cls(reduction="sum", name="mine", dtype="float64")
    config = losses.serialize(first)
    assert (config["module"], config["class_name"]) == ("keras.losses", cls.__name__)
    second = losses.deserialize(config)
    assert type(second) is cls
    assert second.get_config() == first.get_config()
    assert "reduction='sum'" in repr(second)


def test_functions_and_custom_losses_in_configs():
    config = losses.serialize(losses.mean_absolute_error)
    assert config["config"] == "mean_absolute_error"
    assert isinstance(losses.deserialize(config), losses.MeanAbsoluteError)
    customs = {"Cubes": Cubes, "cubes": cubes}
    assert isinstance(losses.deserialize({"class_name": "Cubes", "config": {}}, customs), Cubes)
    assert isinstance(losses.deserialize("cubes", customs), losses.CallableLoss)
    for thing in (Cubes(), losses.get(cubes), losses.get(nn.MSELoss)):
        with pytest.raises(ConfigError, match="no config that could be read back"):
            losses.serialize(thing)
    with pytest.raises(ConfigError, match="'dict' is no loss"):
        losses.deserialize("dict", {"dict": dict})
    with pytest.raises(ConfigError, match="a loss's config is a dict or a name, got int"):
        losses.deserialize(3)
    assert losses.serialize(None) is None
    assert losses.deserialize(None) is None


@pytest.mark.parametrize("loss", [Cubes(), losses.get(cubes)])
def test_custom_losses_are_weighed_and_averaged(loss):
    assert loss(Y_TRUE, Y_PRED).item() == pytest.approx(28 / 3)
    assert loss(Y_TRUE[:, 0], Y_PRED, sample_weight=[1.0, 1.0, 0.0]).item() == pytest.approx(1 / 3)


def test_a_custom_loss_may_take_indices_of_classes_or_give_one_value():
    def cross_entropy(y_true, y_pred):
        return nn.functional.cross_entropy(y_pred, y_true)

    logits = torch.randn(3, 4)
    labels = torch.tensor([0, 3, 1])
    assert losses.get(cross_entropy)(labels, logits).item() == pytest.approx(cross_entropy(labels, logits).item())


def test_a_loss_without_call_says_so():
    with pytest.raises(NotImplementedError, match=r"Loss must define call\(y_true, y_pred\)"):
        losses.Loss()(Y_TRUE, Y_PRED)


@pytest.mark.parametrize("identifier", ["mse", "bce", "categorical_crossentropy", "hinge", "cosine_similarity", "dice"])
@pytest.mark.parametrize(
    ("true_shape", "predicted_shape"), [((3, 2), (2, 3)), ((3,), (3, 2)), ((3, 1), (3, 2)), ((1,), (3,))]
)
def test_shapes_that_do_not_fit_are_never_broadcast(identifier, true_shape, predicted_shape):
    with pytest.raises(ShapeError, match=r"must have the same shape, got y_true \(.*\) and y_pred \(.*\)"):
        losses.get(identifier)(torch.ones(true_shape), torch.ones(predicted_shape))


def test_scalars_have_no_axis_to_average_over():
    with pytest.raises(ShapeError, match=r"must have an axis to average over, got y_true \(\) and y_pred \(\)"):
        losses.mean_squared_error(1.0, 2.0)


@pytest.mark.parametrize("identifier", [losses.MeanSquaredError(), nn.MSELoss(), nn.BCEWithLogitsLoss(), cubes])
def test_a_batch_of_numbers_meets_a_column_without_a_batch_by_batch_table(identifier):
    loss = losses.get(identifier)
    column = loss(Y_TRUE, Y_PRED)
    assert loss(Y_TRUE[:, 0], Y_PRED) == column
    assert loss(Y_TRUE, Y_PRED[:, 0]) == column


def test_labels_must_have_the_predictions_shape_and_be_classes():
    loss = losses.SparseCategoricalCrossentropy()
    with pytest.raises(ShapeError, match=r"without its axis of classes, got y_true \(2,\) and y_pred \(3, 4\)"):
        loss(torch.zeros(2), torch.ones(3, 4))
    with pytest.raises(ArgumentError, match="class indices from 0 to 3, got values from 0 to 4"):
        loss(torch.tensor([0, 4, 1]), torch.ones(3, 4))


def test_labels_above_two_to_the_twenty_fourth_stay_exact():
    """Keras casts labels to float32, which has no 2**24 + 1."""
    seen = losses.SparseCategoricalCrossentropy().inputs(torch.tensor([2**24 + 1]), torch.ones(1, 2))[0]
    assert seen.item() == 2**24 + 1


def test_weights_are_the_samples_also_when_batch_and_timesteps_are_as_many():
    y_true, y_pred = torch.zeros(3, 3, 2), torch.ones(3, 3, 2)
    values = losses.MeanSquaredError(reduction="none")(y_true, y_pred, sample_weight=[1.0, 2.0, 3.0])
    assert values.tolist() == [[1.0] * 3, [2.0] * 3, [3.0] * 3]


@pytest.mark.parametrize("shape", [(2,), (3, 5), (3, 4, 2)])
def test_weights_that_do_not_fit_are_refused(shape):
    with pytest.raises(ShapeError, match=r"sample_weight of shape \(.*\) does not fit loss values of shape \(3, 4\)"):
        losses.MeanSquaredError()(torch.zeros(3, 4, 2), torch.ones(3, 4, 2), sample_weight=torch.ones(shape))


def test_nothing_to_average_is_zero():
    assert losses.MeanSquaredError()(torch.zeros(0, 2), torch.zeros(0, 2)) == 0
    weighed = losses.MeanSquaredError(reduction="mean_with_sample_weight")
    assert weighed(Y_TRUE, Y_PRED, sample_weight=torch.zeros(3)) == 0
    ignoring = losses.SparseCategoricalCrossentropy(ignore_class=0)
    assert ignoring(torch.zeros(3), torch.ones(3, 2)) == 0


def test_half_precision_does_not_overflow():
    y_pred = torch.full((4, 2), 300.0, dtype=torch.float16)
    loss = losses.MeanSquaredError()(torch.zeros(4, 2), y_pred)
    assert loss.dtype == torch.float32
    assert loss == 90000.0


@pytest.mark.parametrize("sample_weight", [None, torch.ones(3)])
def test_torch_modules_get_their_arguments_in_torch_s_order(sample_weight):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, generator=generator)
    labels = torch.tensor([0, 3, 1])
    for module, target in [
        (nn.CrossEntropyLoss(), labels),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0, 4.0]), ignore_index=3, label_smoothing=0.0), labels),
        (nn.CrossEntropyLoss(reduction="sum"), labels),
        (nn.CrossEntropyLoss(), torch.softmax(logits, -1)),
        (nn.NLLLoss(), labels),
        (nn.MultiMarginLoss(), labels),
        (nn.PoissonNLLLoss(), logits.exp()),
        (nn.SmoothL1Loss(reduction="none"), logits + 1),
    ]:
        ours = losses.get(module)(target, logits, sample_weight=sample_weight)
        torch.testing.assert_close(ours, module(logits, target))
        assert losses.get(module).module.reduction == module.reduction


def test_torch_modules_take_columns_floats_and_arrays_of_labels():
    logits = torch.randn(3, 4)
    loss = losses.get(nn.CrossEntropyLoss)
    expected = nn.CrossEntropyLoss()(logits, torch.tensor([0, 3, 1]))
    for labels in ([0, 3, 1], np.array([[0.0], [3.0], [1.0]]), torch.tensor([0, 3, 1], dtype=torch.int32)):
        assert loss(labels, logits) == expected


def test_weights_of_samples_reach_torch_modules():
    loss = losses.get(nn.L1Loss())
    assert loss(Y_TRUE, Y_PRED, sample_weight=[2.0, 5.0, 0.0]).item() == pytest.approx(2 / 3)
    labels, logits = torch.tensor([0, 1]), torch.zeros(2, 2)
    weighed = losses.get(nn.CrossEntropyLoss())(labels, logits, sample_weight=[1.0, 3.0])
    assert weighed.item() == pytest.approx(2 * np.log(2))


def test_a_custom_module_without_reduction_cannot_be_weighed():
    class Gap(nn.Module):
        def forward(self, prediction, target):
            return (prediction - target).mean()

    loss = losses.get(Gap)
    assert loss(Y_TRUE, Y_PRED).item() == pytest.approx(4 / 3)
    with pytest.raises(ArgumentError, match="Gap has no reduction, so it cannot be given a sample_weight"):
        loss(Y_TRUE, Y_PRED, sample_weight=torch.ones(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.MeanSquaredError(reduction="average"), "reduction must be None or one of .* got 'average'"),
        (lambda: losses.MeanSquaredError(dtype="int32"), "dtype must be None or the name of a floating dtype"),
        (lambda: losses.Huber(delta=0.0), "delta must be a number > 0, got 0.0"),
        (
            lambda: losses.BinaryCrossentropy(label_smoothing=2),
            "label_smoothing must be a number between 0 and 1, got 2",
        ),
        (lambda: losses.CategoricalGeneralizedCrossEntropy(q=1), "q must be a number between 0 and 1, got 1"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize("cls", CLASSES)
def test_gradients_are_the_functions_derivatives(cls):
    generator = torch.Generator().manual_seed(3)
    y_pred = (torch.rand(3, 4, generator=generator, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    sparse = issubclass(cls, losses.SparseCategoricalCrossentropy | losses.CategoricalGeneralizedCrossEntropy)
    y_true = torch.tensor([0, 3, 1]) if sparse else torch.eye(4, dtype=torch.float64)[:3] * 0.9 + 0.05
    loss = cls()
    assert torch.autograd.gradcheck(lambda predicted: loss(y_true, predicted), (y_pred,))


@pytest.mark.parametrize("cls", CLASSES)
def test_losses_can_be_stacked_by_vmap(cls):
    """As regularization paths do, each model with its own targets, predictions and weights."""
    sparse = issubclass(cls, losses.SparseCategoricalCrossentropy | losses.CategoricalGeneralizedCrossEntropy)
    y_pred = torch.rand(3, 5, 4)
    y_true = torch.randint(4, (3, 5)) if sparse else torch.rand(3, 5, 4)
    # The losses of whole masks are one value, which has no samples to weigh.
    weights = torch.ones(3) if cls in (losses.Dice, losses.Tversky) else torch.rand(3, 5)
    stacked = torch.func.vmap(cls())(y_true, y_pred, weights)
    torch.testing.assert_close(
        stacked, torch.stack([cls()(*each) for each in zip(y_true, y_pred, weights, strict=True)])
    )


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls.__init__ is losses.MeanSquaredError.__init__])
def test_a_misspelt_argument_is_named_when_the_loss_is_made(cls):
    with pytest.raises(ArgumentError, match=f"{cls.__name__}: unknown argument 'reducton': did you mean 'reduction'"):
        cls(reducton="sum")
