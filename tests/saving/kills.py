"""Saves that are killed at random moments: the file is then the old one or the new one, whole, and nothing else.

`python -m tests.saving.kills` prints the figures of 50 rounds; another number of rounds may stand behind it.

Each round, a child process saves two different states by turns over the same file and says through a pipe where each
save begins and ends. The parent has the duration of a save from the first ones, waits for the beginning of a later one
and then for a part of that duration, drawn uniformly from 0 to 1.25, and sends SIGKILL.
"""

import multiprocessing
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

import penalize
from penalize.saving import load_model

NAMES = ("model.keras", "model.weights.h5", "model.safetensors", "model.pt", "plan.json")
ROUNDS = 50
MEASURED = 4
"""Saves, of which the first is not counted: it is the one that imports."""
BEYOND = 1.25
"""Saves differ in duration: so the end of the longer ones is hit, too."""
WIDTH = 256
BEGUN, ENDED = b"(", b")"
PRELOADED = ["penalize.saving.keras_files", "penalize.saving.weight_files", "h5py", "safetensors.torch"]
"""Imported once, so that no round waits for them."""


def subject(name, state):
    """What is saved into a file of this name, in state 0 or 1."""
    if name == "plan.json":
        model = torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(300)))
        return penalize.attach(model, weights={"*.weight": penalize.regularizers.L2(0.25 + state)})
    layers = [penalize.layers.Dense(WIDTH) for _ in range(4)]
    model = penalize.Sequential([penalize.Input((WIDTH,)), *layers])
    generator = torch.Generator().manual_seed(state)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / WIDTH**0.5)
    model.compile(penalize.optimizers.Adam(), "mse")
    return model


def save(thing, path):
    if path.suffix == ".keras":
        thing.save(path)
    elif path.suffix == ".json":
        thing.save(path, overwrite=True)
    else:
        thing.save_weights(path)


def loaded(path):
    """What the file holds, in an object that was in a third state before."""
    if path.suffix == ".keras":
        return load_model(path)
    thing = subject(path.name, 2)
    if path.suffix == ".json":
        model = torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(300)))
        return penalize.Penalties.load(model, path)
    thing.load_weights(path)
    return thing


def same(one, other):
    """Whether two subjects are in the same state: each weight bit for bit, and the predictions; plans by their text."""
    if isinstance(one, penalize.Penalties):
        return one.to_json() == other.to_json()
    x = torch.linspace(-1, 1, 3 * WIDTH).reshape(3, WIDTH)
    weights = zip(one.parameters(), other.parameters(), strict=True)
    return all(map(torch.equal, *zip(*weights, strict=True))) and torch.allclose(one(x), other(x), rtol=1e-6, atol=1e-6)


def state_of(path):
    """0 or 1; None for a file that cannot be loaded, or holds anything else."""
    try:
        found = loaded(path)
    except Exception:
        return None
    return next((state for state in (0, 1) if same(found, subject(path.name, state))), None)


def save_by_turns(path, pipe):
    """What the child does until it is killed: state 0, 1, 0, ..."""
    torch.set_num_threads(1)
    things = [subject(path.name, state) for state in (0, 1)]
    while True:
        for thing in things:
            os.write(pipe.fileno(), BEGUN)
            save(thing, path)
            os.write(pipe.fileno(), ENDED)


def killed(path, chance):
    """One round: what was said through the pipe, when the kill came after the last beginning, and how long saves take.

    The last two are in seconds.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(PRELOADED)
    receiver, sender = processes.Pipe(duplex=False)
    child = processes.Process(target=save_by_turns, args=(path, sender))
    child.start()
    sender.close()
    said, times = b"", []
    kill_after = 2 * (MEASURED + chance.randrange(2)) + 1  # so that both states are on their way in turn
    while len(said) < kill_after:
        said += os.read(receiver.fileno(), 1)
        times.append(time.perf_counter())
    duration = statistics.median(end - begin for begin, end in zip(times[2:-1:2], times[3:-1:2], strict=True))
    # A sleep alone is too long by a good part of the shortest saves.
    until = times[-1] + chance.uniform(0, BEYOND) * duration
    while time.perf_counter() < until:
        pass
    waited = time.perf_counter() - times[-1]
    child.kill()
    child.join()
    while more := os.read(receiver.fileno(), 1000):
        said += more
    receiver.close()
    return said, waited, duration


def round_of(path, chance):
    """A kill and what it left: a counter of what happened, and the part of a save at which the kill came."""
    said, waited, duration = killed(path, chance)
    begun, ended = said.count(BEGUN), said.count(ENDED)
    inside = begun > ended
    found = state_of(path)
    last, next_one = (ended - 1) % 2, ended % 2
    happened = "new" if inside and found == next_one else "old" if found == last else "broken"
    counts = Counter({"rounds": 1, "inside a save" if inside else "between saves": 1})
    counts[happened if inside or happened == "broken" else "last one, between saves"] += 1
    beside = [each for each in path.parent.iterdir() if each != path]
    counts["temporary files left"] += len(beside)
    counts["files left that are not hidden temporary ones"] += sum(
        re.fullmatch(rf"\.[0-9a-f]{{16}}{re.escape(path.suffix)}", each.name) is None for each in beside
    )
    # What is left neither disturbs the next save nor is touched by it.
    save(subject(path.name, 1), path)
    counts["next saves that did not work"] += state_of(path) != 1
    counts["next saves that touched what was left"] += {*path.parent.iterdir()} != {path, *beside}
    for each in beside:
        each.unlink()
    return counts, waited / duration if inside else None


def rounds(count, seed, folder):
    """The counters by file name, and the parts of a save at which kills came."""
    chance = random.Random(seed)
    found = {name: Counter() for name in NAMES}
    parts = []
    for number in range(count):
        name = NAMES[number % len(NAMES)]
        place = Path(folder, name.replace(".", "-"))
        place.mkdir(exist_ok=True)
        counts, part = round_of(place / name, chance)
        found[name].update(counts)
        parts += [] if part is None else [part]
    return found, parts


def main(count):
    with tempfile.TemporaryDirectory() as folder:
        found, parts = rounds(count, seed=0, folder=folder)
    for name, counts in [*found.items(), ("together", sum(found.values(), Counter({"broken": 0})))]:
        print(f"{name}: " + ", ".join(f"{what} {counts[what]}" for what in dict.fromkeys([*counts, "broken"])))
    quarters = Counter(min(int(part * 4), 4) for part in parts)
    print("kills inside, by quarters of a save's usual duration, and later:", *(quarters[each] for each in range(5)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
