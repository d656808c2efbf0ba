"""Penalties on several processes: value, gradient and ten training steps are those of one process, in float64."""

import pytest

pytest.importorskip("torch.distributed")

from tests.reach.distributed_cases import NAMES
from tests.reach.ranks import results

CLOSE = 1e-11


@pytest.fixture(scope="module")
def ranks(tmp_path_factory, worker_id="master"):
    """The results for a number of processes, started once for all workers of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    if folder.name.startswith("popen-"):
        folder = folder.parent
    known = {}

    def ask(world):
        if world not in known:
            known[world] = results(world, folder)
        return known[world]

    return ask


@pytest.mark.parametrize(("world", "case"), [(world, case) for world, cases in NAMES.items() for case in cases])
def test_as_on_one_process(ranks, world, case):
    found, log = ranks(world)
    assert case in found, f"no process came to {case}\n{log[-3000:]}"
    errors = [result["error"] for result in found[case] if "error" in result]
    assert not errors, errors[0]
    assert len(found[case]) == world, f"a process did not finish {case}\n{log[-3000:]}"
    for result in found[case]:
        assert result.pop("spread", 0.0) == 0, "weight penalties differ between processes"
        assert all(difference < CLOSE for difference in result.values()), result
