"""One linear layer trained with proximal steps, and how far it is from scikit-learn's Lasso or elastic net."""

import numpy as np
import torch
from sklearn.linear_model import ElasticNet
from torch import nn

import penalize
from penalize.regularizers import L1L2


class Lasso:
    """min over w of mean((x w - y)**2) / 2 + strength (ratio sum(abs(w)) + (1 - ratio) / 2 sum(w**2)).

    The strength is a share of that which zeroes all; with a ratio below 1 it is the elastic net.
    """

    def __init__(self, x, y, share, ratio=1.0):
        self.strength = share * np.abs(x.T @ y).max() / len(x) / ratio
        self.l1, self.l2 = self.strength * ratio, self.strength * (1 - ratio) / 2
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        reference = ElasticNet(alpha=self.strength, l1_ratio=ratio, fit_intercept=False, tol=1e-12, max_iter=10**6)
        self.expected = reference.fit(x, y).coef_
        self.rate = 1 / np.linalg.eigvalsh(x.T @ x / len(x))[-1]

    def objective(self, w):
        fit = 0.5 * np.mean((self.x.numpy() @ w - self.y.numpy()) ** 2)
        return fit + self.l1 * np.abs(w).sum() + self.l2 * np.square(w).sum()

    def train(self, make, steps, falling=False, backward=None):
        """`make(parameters, rate)` gives the optimizer; a falling rate follows a cosine to 0."""
        self.model = nn.Linear(self.x.shape[1], 1, bias=False, dtype=torch.float64)
        nn.init.zeros_(self.model.weight)
        optimizer = make(self.model.parameters(), self.rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if falling else None
        self.penalties = penalize.attach(self.model, weights={"weight": L1L2(self.l1, self.l2)})
        self.penalties.bind(optimizer, proximal=True)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = 0.5 * (self.model(self.x)[:, 0] - self.y).square().mean()
            if backward is None:
                loss.backward()
            else:
                backward(self.model, loss)
            optimizer.step()
            if schedule is not None:
                schedule.step()

    @property
    def found(self):
        return self.model.weight.detach().numpy()[0]

    def gap(self):
        best = self.objective(self.expected)
        return (self.objective(self.found) - best) / best

    def support_is_exact(self):
        return np.array_equal(self.found != 0, self.expected != 0)
