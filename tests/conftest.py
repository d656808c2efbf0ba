"""What all tests share: Keras's torch backend as the oracle, and the same random numbers in every run."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import pytest
import torch


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)
