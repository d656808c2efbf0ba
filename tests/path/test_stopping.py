"""Early stopping of each model on its own, and warm starts along the path."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from tests.path.test_stacking import job_of, normalized, perceptron, trained_alone

from penalize.errors import ArgumentError, PenalizeError
from penalize.path import regularization_path
from penalize.path.training.chunk import train_chunk
from penalize.path.training.job import plan_chunks, stages
from penalize.path.training.objective import SCORES, Score, choose_loss, choose_score, data_loss
from penalize.path.training.stacked import StackedModels
from penalize.regularizers import L1, L2


def changed(job, **training):
    return dataclasses.replace(job, training=dataclasses.replace(job.training, **training))


@pytest.mark.parametrize("model", [perceptron, normalized])
def test_each_model_ends_with_its_best_epoch(model):
    weights = {"*.weight": L2(1.0)}
    job = job_of(model, weights, epochs=12, early_stopping=2, learning_rate=0.03)
    (pairs,) = plan_chunks(job, 100)
    result = train_chunk(job, pairs, lambda: None)
    assert len(set(result.epochs.tolist())) > 1
    assert result.epochs.min() < 12
    for pair in ((0, 0), (1, 2), (2, 1)):
        place = pairs.index(pair)
        losses = []
        for epochs in range(1, int(result.epochs[place]) + 1):
            fewer = changed(job, epochs=epochs, early_stopping=None)
            losses.append(float(train_chunk(fewer, (pair,), lambda: None).val_loss[0]))
        best = int(np.argmin(losses))
        assert result.val_loss[place] == pytest.approx(losses[best], rel=1e-9)
        assert result.epochs[place] in (best + 1 + 2, 12)
    best_of = changed(job, epochs=best + 1, early_stopping=None)
    make = lambda parameters: torch.optim.Adam(parameters, lr=0.03)  # noqa: E731
    alone = trained_alone(model, weights, {}, best_of, make, pair, False)
    for name, tensor in [*alone.named_parameters(), *alone.named_buffers()]:
        np.testing.assert_allclose(result.weights[name][place], tensor.detach().numpy(), atol=1e-8, rtol=0)


def test_models_that_are_finished_leave_the_stack(monkeypatch):
    sizes = []
    gradients = StackedModels.gradients
    monkeypatch.setattr(StackedModels, "gradients", lambda self, x, y: sizes.append(len(self)) or gradients(self, x, y))
    job = job_of(perceptron, {"*.weight": L2(1.0)}, epochs=12, early_stopping=1, learning_rate=0.03)
    steps = -(-min(map(len, job.data.train)) // 16)
    advanced = []
    result = train_chunk(job, job.pairs, lambda: advanced.append(1))
    assert sum(sizes) == steps * result.epochs.sum()
    assert len(advanced) == 12


def test_models_that_are_never_finite_end_as_such():
    job = job_of(perceptron, {"*.weight": L2(1.0)}, epochs=6, early_stopping=2, learning_rate=1e200)
    result = train_chunk(job, job.pairs, lambda: None)
    assert not np.isfinite(result.val_loss).any()
    assert result.epochs.tolist() == [2] * len(job.pairs)


@pytest.mark.parametrize("proximal", [True, False])
def test_warm_starts_go_from_the_weakest_to_the_strongest(proximal):
    weights = {"*.weight": L1(1.0) if proximal else L2(1.0)}
    job = job_of(perceptron, weights, proximal=proximal, warm_start=True)
    assert [len(chunk) for chunk in plan_chunks(job, 2)] == [6, 3]
    result = train_chunk(job, job.pairs, lambda: None)
    for fold in range(3):
        start = None
        for place in range(3):
            # Each strength of a fold by itself, from where the weaker one ended.
            single = changed(job, warm_start=False)
            if start is not None:
                base = StackedModels(job, ((0, 0),)).model
                base.load_state_dict({name: torch.from_numpy(weight[0]) for name, weight in start.items()})
                single = dataclasses.replace(single, base=base)
            start = train_chunk(single, ((place, fold),), lambda: None).weights
            for name, weight in start.items():
                got = result.weights[name][job.pairs.index((place, fold))]
                np.testing.assert_allclose(got, weight[0], atol=1e-8, rtol=0)
    parts = [train_chunk(job, chunk, lambda: None) for chunk in plan_chunks(job, 2)]
    assert len(stages(job, job.pairs)) == 3
    for chunk, part in zip(plan_chunks(job, 2), parts, strict=True):
        np.testing.assert_allclose(part.val_loss, [result.val_loss[job.pairs.index(pair)] for pair in chunk], rtol=1e-9)


def test_scores_by_name_are_those_of_scikit_learn():
    from sklearn import metrics

    generator = torch.Generator().manual_seed(0)
    output, y = torch.randn(40, 3, generator=generator).double(), torch.randint(0, 3, (40,), generator=generator)
    found = output.argmax(-1).numpy()
    expected = {
        "accuracy": metrics.accuracy_score(y, found),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, found),
        "neg_log_loss": -metrics.log_loss(y, output.softmax(-1).numpy()),
    }
    for name in SCORES["classification"]:
        assert choose_score(name, "classification")(output, y) == pytest.approx(expected[name], rel=1e-6)
    numbers = torch.randn(40, generator=generator).double()
    expected = {
        "r2": metrics.r2_score(numbers, output[:, 0]),
        "neg_mean_squared_error": -metrics.mean_squared_error(numbers, output[:, 0]),
        "neg_mean_absolute_error": -metrics.mean_absolute_error(numbers, output[:, 0]),
    }
    for name in SCORES["regression"]:
        assert choose_score(name, "regression")(output[:, :1], numbers) == pytest.approx(expected[name])


def test_scores_and_losses_that_cannot_be_used():
    with pytest.raises(ArgumentError, match="score of classification must be one of 'accuracy'.*got 'r2'"):
        choose_score("r2", "classification")
    with pytest.raises(ArgumentError, match=r"score must be a name or a function \(output, y\) -> number, got 3"):
        choose_score(3, "regression")
    with pytest.raises(ArgumentError, match='loss must be "auto" or a function'):
        choose_loss("mse", "regression")
    with pytest.raises(PenalizeError, match="score own must return a number, got 'good'"):
        Score("own", lambda output, y: "good")(torch.ones(1), torch.ones(1))
    with pytest.raises(PenalizeError, match="score own failed: ZeroDivisionError: division by zero"):
        Score("own", lambda output, y: 1 / 0)(torch.ones(1), torch.ones(1))
    assert np.isnan(Score("own", lambda output, y: float("nan"))(torch.ones(1), torch.ones(1)))
    assert data_loss(torch.ones(2, 1), torch.zeros(2), "regression") == 1


def test_a_score_that_is_nan_marks_its_strengths_and_is_never_chosen():
    x, y = load_wine(return_X_y=True)

    def share_of_first(output, y):
        first = float((output.argmax(-1) == 0).double().mean())
        return float("nan") if first < 0.2 else 1 - first

    path = regularization_path(
        perceptron, x, y, weights={"*.weight": L2(1.0)}, strengths=[1e-3, 1.0], folds=3, epochs=2, score=share_of_first
    )
    assert path.score_name == "share_of_first"
    marked = np.isnan(path.fold_scores).any(1)
    np.testing.assert_array_equal(np.isnan(path.score), marked)
    assert marked.any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss": lambda output, y: 1 / 0}, "loss fails on output .2, 3. and y .2,.: ZeroDivisionError"),
        ({"loss": lambda output, y: 3.0}, "loss must return one number that has a gradient, .* got 3.0"),
        ({"loss": lambda output, y: output.sum(1)}, r"got a tensor of shape \(2,\)"),
        ({"loss": lambda output, y: output.argmax(-1).sum()}, "got a number without gradient"),
        ({"early_stopping": 0}, "early_stopping must be an integer >= 1, got 0"),
        ({"warm_start": 1}, "warm_start must be True or False, got 1"),
        ({"memory": -1}, "memory must be a number > 0, got -1"),
        ({"processes": 0}, "processes must be an integer >= 1, got 0"),
        ({"chunk": "many"}, "chunk must be an integer >= 1, got 'many'"),
        ({"backend": "cloud"}, "backend must be .*, got 'cloud'"),
        (
            {"model": normalized, "batch_size": 39},
            r"a training step of this model fails on a batch of 1 rows \(batch_size=39",
        ),
    ],
)
def test_bad_settings_are_found_before_training(changed, message):
    x, y = load_wine(return_X_y=True)
    settings = {"model": perceptron, "weights": {"0.weight": L2(1.0)}, "strengths": [0.1], "folds": 3, **changed}
    with pytest.raises(ArgumentError, match=message):
        regularization_path(settings.pop("model"), x, y, **settings)
