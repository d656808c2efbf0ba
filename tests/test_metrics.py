"""The metrics: identifiers, torchmetrics objects, functions, weights that cannot be, empty metrics, copies, errors."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch
import torchmetrics

from penalize import losses, metrics
from penalize.errors import ArgumentError, MissingExtraError, ShapeError, UnknownNameError
from penalize.registry import built_ins

CLASSES = [entry.factory for entry in built_ins("metric")]
Y_TRUE = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
Y_PRED = torch.tensor([[0.1], [0.8], [0.3], [0.6]])
SPARSE = [
    metrics.SparseCategoricalAccuracy,
    metrics.SparseCategoricalCrossentropy,
    metrics.SparseTopKCategoricalAccuracy,
]


def fill(metric):
    if type(metric) in SPARSE:
        metric.update(torch.tensor([0, 1, 2, 0]), torch.softmax(torch.randn(4, 3), -1))
    else:
        metric.update(Y_TRUE, Y_PRED)
    return metric


def test_get_takes_every_kind_of_identifier():
    assert isinstance(metrics.get("mse"), metrics.MeanSquaredError)
    assert metrics.get("mse").name == "mse"
    assert isinstance(metrics.get(metrics.AUC), metrics.AUC)
    instance = metrics.BinaryAccuracy(threshold=0.3)
    assert metrics.get(instance) is instance
    assert metrics.get(torchmetrics.MeanSquaredError()).name == "mean_squared_error"
    assert metrics.get(torchmetrics.classification.BinaryAUROC).name == "binary_auroc"
    assert metrics.get(losses.mean_absolute_error).name == "mean_absolute_error"
    assert metrics.get(lambda y_true, y_pred: y_pred).name == "lambda"
    assert "mse" in repr(metrics.get("mse"))


@pytest.mark.parametrize(
    ("identifier", "error", "message"),
    [
        ("acuracy", UnknownNameError, "unknown metric 'acuracy': did you mean 'accuracy'"),
        ("rmse", UnknownNameError, "unknown metric 'rmse': did you mean 'mse'"),
        (3, ArgumentError, "a metric is a name, .* got int: 3"),
        (None, ArgumentError, "a metric is a name, .* got NoneType"),
        (dict, ArgumentError, "got type: <class 'dict'>"),
        (torchmetrics.classification.MulticlassAccuracy, ArgumentError, "MulticlassAccuracy needs arguments"),
        (
            torchmetrics.classification.MultilabelStatScores,
            ArgumentError,
            "MultilabelStatScores needs arguments, pass an",
        ),
    ],
)
def test_bad_identifiers_are_named_errors(identifier, error, message):
    with pytest.raises(error, match=message):
        metrics.get(identifier)


def test_functions_give_values_or_one_value():
    each = metrics.get(lambda y_true, y_pred: (y_true - y_pred).abs()[:, 0])
    each.update(torch.zeros(4), Y_PRED, sample_weight=[1.0, 0.0, 0.0, 1.0])
    assert each.compute().item() == pytest.approx(0.35)
    one = metrics.get(lambda y_true, y_pred: y_pred.max())
    one.update(Y_TRUE, Y_PRED)
    one.update(Y_TRUE, Y_PRED / 2)
    assert one.compute().item() == pytest.approx(0.6)


def test_torchmetrics_objects_get_their_arguments_in_torchmetrics_order():
    metric = metrics.get(torchmetrics.classification.BinaryPrecision())
    metric.update(Y_TRUE[:, 0], Y_PRED)
    assert metric.compute().item() == 0.5
    classes = metrics.get(torchmetrics.classification.MulticlassAccuracy(num_classes=3, average="micro"))
    classes.update(torch.tensor([[0.0], [2.0]]), torch.eye(3)[:2])
    assert classes.compute().item() == 0.5
    with pytest.raises(ArgumentError, match="binary_precision cannot be weighed: it takes no sample_weight"):
        metric.update(Y_TRUE, Y_PRED, sample_weight=torch.ones(4))


@pytest.mark.parametrize("cls", [metrics.AUC, metrics.Precision, metrics.Recall, metrics.F1Score, metrics.R2Score])
def test_what_cannot_be_weighed_says_so(cls):
    with pytest.raises(ArgumentError, match="cannot be weighed: it takes no sample_weight"):
        cls().update(Y_TRUE, Y_PRED, sample_weight=torch.ones(4))


@pytest.mark.parametrize("cls", CLASSES)
def test_nothing_gathered_is_zero_and_a_reset_gives_it_back(cls):
    metric = cls()
    assert metric.compute() == 0
    first = fill(metric).compute()
    metric.reset()
    assert metric.compute().sum() == 0
    torch.manual_seed(0)
    fill(metric)
    assert metric.compute().shape == first.shape


@pytest.mark.parametrize("cls", CLASSES)
def test_metrics_hold_no_graph_and_can_be_copied_and_pickled(cls):
    metric = cls()
    if cls not in SPARSE:
        metric.update(Y_TRUE, Y_PRED.clone().requires_grad_())
    value = fill(metric).compute()
    assert not value.requires_grad
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)) if cls not in SPARSE else metric):
        assert torch.equal(other.to("cpu").compute(), value)
    copied = copy.deepcopy(metric)
    copied.reset()
    assert torch.equal(metric.compute(), value)


def test_weights_that_sum_to_zero_give_zero_and_nan_stays():
    metric = metrics.get("mse")
    metric.update(Y_TRUE, Y_PRED, sample_weight=torch.zeros(4))
    assert metric.compute() == 0
    metric.update(Y_TRUE, Y_PRED * float("nan"))
    assert metric.compute().isnan()


def test_a_single_class_or_sample_is_no_warning():
    area = metrics.AUC()
    area.update([1.0, 1.0], [0.2, 0.9])
    assert area.compute() == 0
    coefficient = metrics.R2Score()
    coefficient.update([[1.0]], [[2.0]])
    assert coefficient.compute() == 0


def test_predictions_outside_of_zero_and_one_are_no_logits():
    precision = metrics.Precision()
    precision.update([1.0, 1.0, 0.0], [-2.0, 2.0, 0.4])
    assert precision.compute() == 1.0
    area = metrics.AUC()
    area.update([0.0, 0.0, 1.0, 1.0], [-3.0, 0.5, 0.3, 9.0])
    assert area.compute().item() == pytest.approx(0.75)


def test_f1_score_by_name_is_one_number():
    metric = metrics.get("f1_score")
    metric.update(torch.eye(3), torch.eye(3))
    assert float(metric.compute()) == 1.0


def test_accuracy_after_torch_s_cross_entropy_has_its_classes_on_axis_one():
    labels = torch.tensor([[0, 2], [1, 1]])
    logits = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    for loss in (torch.nn.CrossEntropyLoss(), losses.get(torch.nn.CrossEntropyLoss)):
        metric = metrics.get("accuracy", loss=loss)
        metric.update(labels, logits)
        assert metric.compute() == 1.0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: metrics.AUC(curve="PR"), ArgumentError, "curve must be 'ROC', got 'PR'"),
        (lambda: metrics.AUC(num_thresholds=1), ArgumentError, "num_thresholds must be an integer >= 2, got 1"),
        (lambda: metrics.Precision(thresholds=[0.2]), ArgumentError, r"one number between 0 and 1, got \[0.2\]"),
        (lambda: metrics.F1Score(average="mean"), ArgumentError, "average must be None, .* got 'mean'"),
        (lambda: metrics.FBetaScore(beta=0), ArgumentError, "beta must be a number > 0, got 0"),
        (lambda: metrics.F1Score().update([1.0], [1.0]), ShapeError, r"f1_score takes .* shape \(batch, classes\)"),
        (lambda: metrics.R2Score("mean"), ArgumentError, "class_aggregation must be one of .* got 'mean'"),
        (lambda: metrics.TopKCategoricalAccuracy(k=0), ArgumentError, "k must be an integer >= 1, got 0"),
        (lambda: metrics.get("mse").update(torch.ones(3, 2), torch.ones(2, 3)), ShapeError, "must have the same shape"),
        (
            lambda: metrics.SparseCategoricalAccuracy().update(torch.ones(3), torch.ones(2, 3)),
            ShapeError,
            r"without its last axis, got y_true \(3,\) and y_pred \(2, 3\)",
        ),
        (lambda: metrics.Metric().compute(), NotImplementedError, r"Metric must define compute\(\)"),
        (lambda: metrics.Metric().update(1, 2), NotImplementedError, "Metric must define update"),
        (lambda: metrics.MeanMetric("m").update([1.0], [2.0]), NotImplementedError, "must define values"),
    ],
)
def test_errors_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_missing_torchmetrics_is_a_named_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(MissingExtraError, match=r'pip install "penalize\[train\]"'):
        metrics.get("mse")


def test_importing_the_metrics_does_not_import_torchmetrics():
    code = "import sys, penalize.metrics; sys.exit('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
