"""Prints how near proximal steps come to scikit-learn: `python -m tests.binding.exact_zeros`.

Steps to a relative gap of 1e-6, and from which step on the support is exact to the end, of at most 1,500.
"""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

import penalize
from penalize.regularizers import L1
from tests.binding.lasso import Lasso

STEPS = 1500


def standardized(x):
    kept = x.std(0) > 0
    return (x[:, kept] - x[:, kept].mean(0)) / x[:, kept].std(0)


def designs():
    random = np.random.default_rng(0)
    x, y = load_diabetes(return_X_y=True)
    yield "diabetes", standardized(x), y - y.mean(), 1.0
    wide = random.standard_normal((100, 1000))
    truth = np.zeros(1000)
    truth[:10] = random.standard_normal(10) * 3
    yield "n=100, p=1000", wide, wide @ truth + 0.1 * random.standard_normal(100), 0.1
    noise = random.standard_normal((200, 100))
    correlated = np.empty_like(noise)
    correlated[:, 0] = noise[:, 0]
    for column in range(1, 100):
        correlated[:, column] = 0.5 * correlated[:, column - 1] + 0.75**0.5 * noise[:, column]
    truth = np.zeros(100)
    truth[::10] = 2.0
    yield "AR(0.5)", correlated, correlated @ truth + 0.1 * random.standard_normal(200), 0.1


def lassos(ratio):
    for name, x, y, rate in designs():
        lasso = Lasso(x, y, share=0.05, ratio=ratio)
        ways = {
            f"SGD, lr 1/L = {lasso.rate:.3g}": (lambda p, r: torch.optim.SGD(p, lr=r), False),
            f"momentum 0.9, lr 1/L = {lasso.rate:.3g}": (lambda p, r: torch.optim.SGD(p, lr=r, momentum=0.9), False),
            f"Adam, lr {rate} falling": (lambda p, r, rate=rate: torch.optim.Adam(p, lr=rate), True),
        }
        for way, (make, falling) in ways.items():
            gaps, supports = [], []

            def look(model, loss, gaps=gaps, supports=supports, lasso=lasso):
                loss.backward()
                gaps.append(lasso.gap())
                supports.append(lasso.support_is_exact())

            lasso.train(make, STEPS, falling=falling, backward=look)
            near = next((step for step, gap in enumerate(gaps) if gap <= 1e-6), None)
            wrong = max((step for step, exact in enumerate(supports) if not exact), default=-1)
            found, expected = (lasso.found != 0).sum(), (lasso.expected != 0).sum()
            print(
                f"{name}: {way}: gap {lasso.gap():.1e}, 1e-6 at step {near}; support exact {lasso.support_is_exact()}, "
                f"from step {wrong + 1}; nonzeros {found}, scikit-learn {expected}"
            )


def logistic(name, x, y, strength, rate, steps):
    """scikit-learn minimizes strength * sum of losses + sum of absolutes."""
    many = len(set(y)) > 2
    reference = LogisticRegression(
        penalty="l1", C=strength, solver="saga", fit_intercept=False, tol=1e-10, max_iter=200_000
    ).fit(x, y)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    model = nn.Linear(x.shape[1], 10 if many else 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(model.weight)

    def loss(weight):
        output = inputs @ weight.T
        if many:
            return nn.functional.cross_entropy(output, labels)
        return nn.functional.binary_cross_entropy_with_logits(output[:, 0], labels.double())

    share = 1 / (strength * len(x))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    penalize.attach(model, weights={"weight": L1(share)}).bind(optimizer, proximal=True)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model.weight).backward()
        optimizer.step()
        schedule.step()

    def objective(weight):
        return (loss(weight) + share * weight.abs().sum()).item()

    found, expected = model.weight.detach(), torch.from_numpy(reference.coef_)
    gap = objective(found) / objective(expected) - 1
    print(
        f"{name}, C={strength}, Adam, lr {rate} falling, {steps} steps: gap {gap:.1e}; zeros {int((found == 0).sum())}, "
        f"scikit-learn {int((expected == 0).sum())} of {found.numel()}; equal {torch.equal(found == 0, expected == 0)}"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for ratio in (1.0, 0.5):
        print("Lasso" if ratio == 1 else f"elastic net, l1_ratio {ratio}")
        lassos(ratio)
    logistic("breast_cancer", standardized(load_breast_cancer().data), load_breast_cancer().target, 0.05, 1.0, STEPS)
    logistic("digits", standardized(load_digits().data), load_digits().target, 0.1, 0.1, STEPS)
