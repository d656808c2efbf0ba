"""What all tests share: Keras's torch backend as the oracle, and the same random numbers and names in every run."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

from typing import Any

import pytest
import torch


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def pytest_make_parametrize_id(config: pytest.Config, val: Any, argname: str) -> str | None:
    """Names of cases without addresses, which differ from one worker to the next."""
    if isinstance(val, dict):
        return (
            ",".join(f"{key}={pytest_make_parametrize_id(config, item, key)}" for key, item in val.items())
            or "defaults"
        )
    if isinstance(val, list | tuple) and val:
        return ",".join(str(pytest_make_parametrize_id(config, item, argname)) for item in val)
    if callable(val):
        return getattr(val, "__name__", type(val).__name__)
    return str(val) if isinstance(val, tuple | list | int | float | str | None) else type(val).__name__
