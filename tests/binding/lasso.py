"""One linear layer trained with L1 proximal steps, and how far it is from scikit-learn's Lasso."""

import numpy as np
import torch
from sklearn.linear_model import Lasso as Reference
from torch import nn

import penalize
from penalize.regularizers import L1


class Lasso:
    """min over w of mean((x w - y)**2) / 2 + strength sum(abs(w)), at a share of the strength that zeroes all."""

    def __init__(self, x, y, share):
        self.strength = share * np.abs(x.T @ y).max() / len(x)
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        self.expected = Reference(self.strength, fit_intercept=False, tol=1e-12, max_iter=10**6).fit(x, y).coef_
        self.rate = 1 / np.linalg.eigvalsh(x.T @ x / len(x))[-1]

    def objective(self, w):
        return 0.5 * np.mean((self.x.numpy() @ w - self.y.numpy()) ** 2) + self.strength * np.abs(w).sum()

    def train(self, make, steps, falling=False, backward=None):
        """`make(parameters, rate)` gives the optimizer; a falling rate follows a cosine to 0."""
        self.model = nn.Linear(self.x.shape[1], 1, bias=False, dtype=torch.float64)
        nn.init.zeros_(self.model.weight)
        optimizer = make(self.model.parameters(), self.rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if falling else None
        self.penalties = penalize.attach(self.model, weights={"weight": L1(self.strength)})
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
