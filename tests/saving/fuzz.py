"""Mutants of good files and configs: each is loaded or refused by an error of ours, and nothing else happens.

`python -m tests.saving.fuzz` tries 21,000 in processes of their own, so that a crash of HDF5's C library, or one that
does not end, is noticed; it prints how many were tried, accepted and what else came. `python -m tests.saving.fuzz
FORMAT INDEX` tries one mutant again.
"""

import collections
import functools
import io
import json
import queue
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np

from penalize.errors import PenalizeError
from tests.saving.ways_in import (
    FIRST,
    GOOD,
    WAYS,
    caller,
    dense,
    keras_file,
    legacy_h5,
    plan,
    put_weights,
    sequential,
    torch_file,
    weights_h5,
)

ADDRESS_SPACE = 6 * 2**30
SECONDS = 10
COUNTS = {
    "load_model .keras": 4000,
    "load_model .h5": 3000,
    "load_weights .weights.h5": 4000,
    "load_weights .safetensors": 2500,
    "load_weights .pt": 2500,
    "model_from_json": 3000,
    "Penalties.from_json": 2000,
}
FEWEST_ACCEPTED = 0.005


# Mutations of bytes.


def flipped(draw, content):
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(draw, content):
    return content[: draw.randrange(len(content))]


def replaced(draw, content):
    """A few bytes of numbers that readers stumble over."""
    value = draw.choice((b"\xff" * 8, b"\0" * 8, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\1", b"\0\0\0\x80", b"\xff"))
    place = draw.randrange(len(content))
    return content[:place] + value + content[place + len(value) :]


def moved(draw, content):
    """A piece over, or in front of, another one."""
    start, place = draw.randrange(len(content)), draw.randrange(len(content))
    piece = content[start : start + draw.choice((1, 4, 8, 64))]
    return content[:place] + piece + content[place + draw.choice((0, len(piece))) :]


BYTES = (flipped, flipped, flipped, replaced, replaced, moved, cut)


# Mutations of JSON.


def places(value, path=()):
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def at(value, path):
    return functools.reduce(lambda inside, key: inside[key], path, value)


def strange(draw):
    values = (None, True, False, 0, 1, -1, 3, 2**31, 10**12, 10**39, 0.5, -0.1, 1e308, "", "l2", "Dense", "relu", "a")
    others = (
        [],
        {},
        [[]],
        [None, 4],
        {"class_name": "L1"},
        dense("c"),
        "x" * 1000,
        "\x00",
        [3, 3, 3],
        FIRST,
        "hostile>Own",
    )
    return json.loads(json.dumps(draw.choice(values + others)))


def mutated_json(draw, value):
    """The text of a value with one or two changes: keys deleted, doubled or renamed, values swapped or replaced."""
    value = json.loads(json.dumps(value))
    for _ in range(draw.choice((1, 1, 2))):
        path = draw.choice([path for path in places(value) if path] or [()])
        if not path:
            break
        *outer, key = path
        holder = at(value, outer)
        kind = draw.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            other = draw.choice([path for path in places(value) if path])
            at(value, other[:-1])[other[-1]] = json.loads(json.dumps(holder[key]))
        elif kind == 2 and isinstance(holder, dict):
            holder[draw.choice(("name", "config", "class_name", "trainable", "x", "dtype"))] = holder.pop(key)
        elif kind == 3 and isinstance(holder, list):
            holder.insert(key, holder[key])
        elif kind == 4 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
            holder[key] = draw.choice(
                (holder[key] + 1, -holder[key], float(holder[key]), str(holder[key]), holder[key] * 7)
            )
        else:
            holder[key] = strange(draw)
    text = json.dumps(value)
    if draw.randrange(8) == 0:
        # A key that stands twice, which `json` cannot write.
        pieces = text.split('"config"')
        text = '"config": {}, "config"'.join((pieces[0], '"config"'.join(pieces[1:]))) if len(pieces) > 1 else text
    return text


def mutated_text(draw, value):
    if draw.randrange(4):
        return mutated_json(draw, value)
    return draw.choice(BYTES)(draw, json.dumps(value).encode()).decode("utf-8", "replace")


# Mutants of each format.


@functools.cache
def bases():
    def packed(file):
        del file["layers/dense/vars/0"]
        values = np.arange(12, dtype="float32").reshape(4, 3)
        file.create_dataset("layers/dense/vars/0", data=values, chunks=(3, 2), compression="gzip", shuffle=True)

    newest = io.BytesIO()
    with h5py.File(newest, "w", libver="latest") as file:
        put_weights(file)
        packed(file)
    inputs = {**FIRST, "name": "in", "inbound_nodes": []}

    def called(entry, name):
        tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}
        return {**entry, "name": entry["config"]["name"], "inbound_nodes": [{"args": [tensor], "kwargs": {}}]}

    graph = {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {
            "name": "m",
            "layers": [inputs, called(dense("a"), "in"), called(dense("b", 2), "a")],
            "input_layers": [["in", 0, 0]],
            "output_layers": [["b", 0, 0]],
        },
    }
    varied = sequential(
        {"class_name": "RepeatVector", "config": {"n": 3}},
        {
            "class_name": "Conv1D",
            "config": {"filters": 2, "kernel_size": 2, "bias_constraint": {"class_name": "MaxNorm"}},
        },
        {"class_name": "Bidirectional", "config": {"layer": {"class_name": "LSTM", "config": {"units": 2}}}},
        dense("a", activation="relu", bias_initializer={"class_name": "Constant", "config": {"value": 0.5}}),
    )
    compiled = {
        **GOOD,
        "compile_config": {
            "optimizer": {"module": "keras.optimizers", "class_name": "SGD", "config": {"learning_rate": 0.1}},
            "loss": "mse",
            "metrics": ["mae"],
        },
    }
    from safetensors.torch import save

    return {
        "weights": (weights_h5(), weights_h5(packed), newest.getvalue()),
        "models": (GOOD, compiled, graph),
        "texts": (GOOD, compiled, graph, varied),
        "legacy": legacy_h5(json.dumps(GOOD)),
        "safetensors": save(caller().state_dict()),
        "torch": torch_file(),
        "plan": plan(),
    }


def mutant(way, draw):
    """A mutant, by the random numbers of `draw`."""
    good = bases()
    inside = draw.randrange(4)
    if way == "load_model .keras":
        config, weights = json.dumps(draw.choice(good["models"])), draw.choice(good["weights"])
        if inside == 0:
            return draw.choice(BYTES)(draw, keras_file(config, weights))
        if inside == 1:
            return keras_file(config, draw.choice(BYTES)(draw, weights))
        return keras_file(mutated_text(draw, json.loads(config)), weights)
    if way == "load_model .h5":
        if inside < 2:
            return draw.choice(BYTES)(draw, good["legacy"])
        text = mutated_text(draw, draw.choice(good["models"])).replace("\x00", " ")
        return legacy_h5(text)
    if way == "load_weights .weights.h5":
        return draw.choice(BYTES)(draw, draw.choice(good["weights"]))
    if way == "load_weights .safetensors":
        content = good["safetensors"]
        length = 8 + int.from_bytes(content[:8], "little")
        if inside < 2:
            return draw.choice(BYTES)(draw, content)
        header = mutated_text(draw, json.loads(content[8:length])).encode()
        return len(header).to_bytes(8, "little") + header + content[length:]
    if way == "load_weights .pt":
        return draw.choice(BYTES)(draw, good["torch"]) if inside == 0 else inside_of_zip(draw, good["torch"])
    return mutated_text(draw, draw.choice(good["texts"]) if way == "model_from_json" else good["plan"])


def numbered(way, index):
    """The mutant of this number, the same in every run."""
    return mutant(way, random.Random(f"{way} {index}"))


def inside_of_zip(draw, content):
    """A change of what a member holds, its checksum made anew."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        members = {info.filename: file.read(info) for info in file.infolist()}
    name = draw.choice([*members, *[name for name in members if name.endswith("data.pkl")] * 6])
    members[name] = draw.choice(BYTES)(draw, members[name])
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for each, value in members.items():
            file.writestr(each, value)
    return made.getvalue()


def outcome(way, content, folder):
    """ "accepted", "refused", or what else came."""
    attempt, model, _ = WAYS[way](content, folder)
    before = held(model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            attempt()
    except PenalizeError as error:
        if len(str(error)) > 2_500:
            return f"a message of {len(str(error))} letters: {str(error)[:200]}"
        if before != held(model):
            return "refused, and the model is another one"
        return "refused"
    except BaseException as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return "accepted"


def held(model):
    return [value.numpy().tobytes() for value in model.state_dict().values()]


# Processes.


def work(way, start, stop):
    """Try mutants, and tell of each before and after."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        for index in range(start, stop):
            print(f"begin\t{index}", flush=True)
            print(f"end\t{index}\t{outcome(way, numbered(way, index), Path(folder))}", flush=True)


def tried(way, count):
    """What came of each mutant, by number: in a process that is begun anew after a crash or a mutant without an end."""
    results, start = {}, 0
    while start < count:
        command = [sys.executable, "-m", "tests.saving.fuzz", "--work", way, str(start), str(count)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        lines = queue.Queue()
        reader = threading.Thread(target=_lines, args=(process.stdout, lines))
        reader.start()
        current, limit = None, 120
        while True:
            try:
                line = lines.get(timeout=limit)
            except queue.Empty:
                process.kill()
                results[current] = f"no end within {SECONDS} s"
                break
            if line is None:
                break
            kind, index, *rest = line.rstrip("\n").split("\t")
            current, limit = int(index), SECONDS
            if kind == "end":
                results[current] = rest[0]
        reader.join()
        with process.stdout, process.stderr:
            told = process.stderr.read()
            process.wait()
        if current is None:
            raise RuntimeError(f"the process says nothing: {told[-500:]}")
        if current not in results:
            results[current] = f"the process ends with {process.returncode}: {told.strip()[-200:]}"
        start = current + 1
    return results


def _lines(stream, lines):
    for line in stream:
        lines.put(line)
    lines.put(None)


def main():
    begin = time.perf_counter()
    total, bad = 0, []
    print("way in                      mutants  accepted  refused  not ours  crashes or without end")
    for way, count in COUNTS.items():
        results = tried(way, count)
        kinds = collections.Counter(
            "other" if told not in ("accepted", "refused") else told for told in results.values()
        )
        others = {index: told for index, told in results.items() if told not in ("accepted", "refused")}
        ended = sum(told.startswith(("the process ends", "no end")) for told in others.values())
        share = kinds["accepted"] / count
        print(
            f"{way:26}  {count:7}  {share:8.1%}  {kinds['refused']:7}  {len(others) - ended:8}  {ended:5}", flush=True
        )
        bad += [(way, index, told) for index, told in others.items()]
        bad += [(way, -1, "hardly one is accepted")] if share < FEWEST_ACCEPTED else []
        total += count
    for way, index, told in bad[:60]:
        print(f"{way!r} {index}: {told}")
    print(
        f"mutants tried: {total}, errors that are not ours, crashes and timeouts: {len(bad)}, {time.perf_counter() - begin:.0f} s"
    )
    return bool(bad)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], *map(int, sys.argv[3:5]))
    elif len(sys.argv) == 3:
        print(outcome(sys.argv[1], numbered(sys.argv[1], int(sys.argv[2])), Path(tempfile.mkdtemp())))
    else:
        sys.exit(main())
