"""Mutants of good files and configs, a few of those of `tests.saving.fuzz`: only errors of ours escape."""

import collections
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.saving.fuzz import bases, mutant, outcome, tried

OURS = ("accepted", "refused")


@pytest.mark.parametrize(
    ("way", "count"),
    [
        ("load_model .keras", 200),
        ("load_weights .safetensors", 250),
        ("load_weights .pt", 250),
        ("model_from_json", 250),
        ("Penalties.from_json", 250),
    ],
)
def test_mutants_are_loaded_or_refused_by_an_error_of_ours(way, count):
    seen = collections.Counter()

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.randoms(use_true_random=True))
    def check(draw):
        with tempfile.TemporaryDirectory() as folder:
            told = outcome(way, mutant(way, draw), Path(folder))
        seen[told] += 1
        assert told in OURS

    check()
    assert seen["accepted"] > 0, "so that the mutants are known to be parsed"
    assert seen["refused"] > 0


@pytest.mark.parametrize("way", ["load_model .h5", "load_weights .weights.h5"])
def test_hdf5s_library_neither_crashes_nor_goes_on_for_ever(way):
    told = collections.Counter(tried(way, 150).values())
    assert set(told) == set(OURS), told
    assert told["accepted"] > 0


def wholes():
    good = bases()
    return {
        "load_weights .weights.h5": (good["weights"][1], 97),
        "load_model .h5": (good["legacy"], 97),
        "load_weights .safetensors": (good["safetensors"], 1),
        "load_weights .pt": (good["torch"], 7),
        "model_from_json": (json.dumps(good["models"][0]), 2),
        "Penalties.from_json": (json.dumps(good["plan"]), 1),
    }


@pytest.mark.parametrize("way", list(wholes()))
def test_what_is_cut_anywhere_is_refused(way, tmp_path):
    whole, step = wholes()[way]
    assert outcome(way, whole, tmp_path) == "accepted"
    told = {end: outcome(way, whole[:end], tmp_path) for end in range(0, len(whole), step)}
    assert {end: what for end, what in told.items() if what != "refused"} == {}
