"""Files and configs that must be refused: a generated table, each case through every public way in, with a benign twin.

`python -m tests.saving.hostile_files` runs it, with an address-space limit and an audit hook, and prints its figures.
"""

import collections
import io
import os
import pickle
import re
import resource
import signal
import stat
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import torch

from penalize.errors import PenalizeError
from penalize.saving import archive
from tests.binding.plan_models import state, unchanged
from tests.saving import hostile_configs
from tests.saving.hostile_configs import MODULE, Row
from tests.saving.ways_in import (
    GOOD,
    MADE,
    WAYS,
    caller,
    keras_file,
    legacy_h5,
    plan,
    put_legacy,
    safetensors_bytes,
    torch_file,
    weights_h5,
)

ADDRESS_SPACE = 6 * 2**30
SECONDS = 5.0
LONGEST_MESSAGE = 2_500
NAMED = os.path.join(tempfile.gettempdir(), f"named-by-a-hostile-file-{os.getpid()}")
KERNEL = {"modern": "layers/dense/vars/0", "legacy": "model_weights/a/a/kernel", "alone": "a/a/kernel"}


# HDF5.


def of_h5(number, name, change, match, patch=None):
    """A change of an HDF5 file, which is given the path of a kernel, in the four places where there is one."""

    def made(build, form, changed):
        content = build((lambda file: change(file, KERNEL[form])) if changed and change is not None else None)
        return patch(content) if changed and patch is not None else content

    for way, form, build in (
        ("load_model .keras", "modern", lambda change: keras_file(weights=weights_h5(change))),
        ("load_weights .weights.h5", "modern", weights_h5),
        ("load_model .h5", "legacy", lambda change: legacy_h5(json_of_good(), change)),
        ("load_weights .h5", "alone", lambda change: weights_h5(change, lambda file: put_legacy(file, file))),
    ):
        if way == "load_model .keras" and patch is not None:
            inner = made(weights_h5, form, True)
            yield Row(number, name, way, keras_file(weights=inner), keras_file(), match)
        else:
            yield Row(number, name, way, made(build, form, True), made(build, form, False), match)


def json_of_good():
    return hostile_configs.json.dumps(GOOD)


def replaced(write):
    """The kernel's place taken by something else."""

    def change(file, path):
        del file[path]
        write(file, path)

    return change


def external(file, path):
    shape = (4, 3)
    file.create_dataset(path, shape, "float32", external=[(NAMED, 0, h5py.h5f.UNLIMITED)])


def virtual(file, path):
    layout = h5py.VirtualLayout((4, 3), "float32")
    layout[:] = h5py.VirtualSource(NAMED, "x", (4, 3))
    file.create_virtual_dataset(path, layout)


def virtual_unlimited(file, path):
    space = h5py.h5s.create_simple((0, 3), (h5py.h5s.UNLIMITED, 3))
    source = h5py.h5s.create_simple((0, 3), (h5py.h5s.UNLIMITED, 3))
    for each in (space, source):
        each.select_hyperslab((0, 0), (h5py.h5s.UNLIMITED, 1), block=(1, 3))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(space, NAMED.encode(), b"x", source)
    folder, _, name = path.rpartition("/")
    whole = h5py.h5s.create_simple((0, 3), (h5py.h5s.UNLIMITED, 3))
    h5py.h5d.create(file[folder].id, name.encode(), h5py.h5t.IEEE_F32LE, whole, properties)


def link(kind, *given):
    def write(file, path):
        file[path] = kind(*given)

    return replaced(write)


def link_of_group(kind, *given):
    """The group around the kernel taken by a link."""

    def change(file, path):
        group = path.rpartition("/")[0]
        file.move(group, "elsewhere")
        file[group] = kind(*given)

    return change


def dataset(**given):
    return replaced(lambda file, path: file.create_dataset(path, **given))


def alias(file, path):
    file[path + "x"] = file[path]


def contains_itself(file, path):
    file[path.rpartition("/")[0] + "/again"] = file[path.rpartition("/")[0]]


def many_attributes(file, path):
    for index in range(100):
        file[path].attrs[f"a{index}"] = index


def deep(file, path):
    file.create_group("/".join(["g"] * 100))


def odd_float(file, path):
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_ebias(100)
    h5py.h5d.create(
        file[path.rpartition("/")[0]].id, path.rpartition("/")[2].encode(), kind, h5py.h5s.create_simple((4, 3))
    ).write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones((4, 3), "float32"), mtype=h5py.h5t.NATIVE_FLOAT)


def chunk_bomb(size):
    def write(file, path):
        made = file.create_dataset(path, (4, 3), "float32", chunks=(4, 3), compression="gzip")
        made.id.write_direct_chunk((0, 0), zlib.compress(bytes(size), 9))

    return replaced(write)


def chunk_of_chunks(file, path):
    """A bomb in a bomb: gzip twice."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4, 3))
    properties.set_deflate(9)
    properties.set_deflate(9)
    group, _, name = path.rpartition("/")
    h5py.h5d.create(
        file[group].id, name.encode(), h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4, 3)), properties
    ).write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones((4, 3), "float32"))


def sparse_chunks(file, path):
    made = file.create_dataset(path, (2**20, 2**10), "float32", chunks=(64, 64))
    made[0, 0] = 1


def nothing_stored(file, path):
    file.create_dataset(path, (2**20, 2**10), "float32")


def compound(file, path):
    file.create_dataset(path, (4, 3), np.dtype([("x", "float32")]))


def hdf5():
    yield from of_h5(23, "external raw storage", replaced(external), "keeps its values outside of this file")
    outside = "ExternalLink; only hard links|SoftLink; only hard links"
    for name, kind, given in (
        ("external", h5py.ExternalLink, (NAMED, "/x")),
        ("soft", h5py.SoftLink, ("/elsewhere",)),
        ("dangling soft", h5py.SoftLink, ("/nowhere",)),
    ):
        yield from of_h5(24, f"{name} link", link(kind, *given), outside)
        yield from of_h5(24, f"{name} link of a group", link_of_group(kind, *given), outside)
    yield from of_h5(
        24,
        "a name with a slash",
        replaced(slashed),
        "has the name 'x/y",
        lambda content: content.replace(b"x|y", b"x/y"),
    )
    yield from of_h5(25, "virtual", replaced(virtual), "keeps its values outside of this file")
    yield from of_h5(25, "virtual, unlimited", replaced(virtual_unlimited), "keeps its values outside of this file")
    yield from of_h5(26, "gigabytes in a chunk", replaced(sparse_chunks), "claims 1073741824 values and does not hold")
    yield from of_h5(26, "gigabytes, none stored", replaced(nothing_stored), "claims 1073741824 values and does not")
    yield from of_h5(27, "two links to one dataset", alias, "is linked twice")
    yield from of_h5(27, "a group in itself", contains_itself, "is linked twice")
    plain = "only numbers are read|but like it|no shape"
    yield from of_h5(28, "references", dataset(shape=(4, 3), dtype=h5py.ref_dtype), plain)
    yield from of_h5(28, "regions", dataset(shape=(4, 3), dtype=h5py.regionref_dtype), plain)
    yield from of_h5(28, "texts", dataset(shape=(4, 3), dtype=h5py.string_dtype()), plain)
    yield from of_h5(28, "lists", dataset(shape=(4, 3), dtype=h5py.vlen_dtype(np.float32)), plain)
    yield from of_h5(28, "compound", replaced(compound), plain)
    yield from of_h5(28, "arrays", dataset(shape=(4,), dtype=np.dtype(("float32", (3,)))), plain)
    yield from of_h5(28, "complex", dataset(shape=(4, 3), dtype="complex64"), plain)
    yield from of_h5(28, "names", dataset(shape=(4, 3), dtype=h5py.enum_dtype({"a": 1, "b": 2})), plain)
    yield from of_h5(28, "floats of another layout", replaced(odd_float), plain)
    yield from of_h5(28, "nothing", dataset(data=h5py.Empty("float32")), plain)
    yield from of_h5(28, "a named type", replaced(named_type), "neither a group nor a dataset")
    filters = "is packed by a filter other than gzip and shuffle"
    yield from of_h5(28, "lzf", dataset(data=np.ones((4, 3), "float32"), chunks=(4, 3), compression="lzf"), filters)
    yield from of_h5(28, "checksums", dataset(data=np.ones((4, 3), "float32"), fletcher32=True), filters)
    yield from of_h5(28, "scaled", dataset(data=np.ones((4, 3), "int32"), scaleoffset=0), filters)
    yield from of_h5(20, "a bomb in a chunk", chunk_bomb(2**19), "does not hold its values")
    yield from of_h5(20, "a larger bomb in a chunk", chunk_bomb(2**26), "a chunk is larger than its values")
    yield from of_h5(20, "a bomb in a bomb", replaced(chunk_of_chunks), "packed twice by one filter")
    yield from of_h5(29, "a hundred attributes", many_attributes, "has more than 64 attributes")
    yield from of_h5(29, "groups in groups", deep, "nested deeper than 64")
    for name, value in (
        ("no text", 3),
        ("texts of any length", np.array(["{}"] * 3, dtype=object)),
        ("a list", np.array([b"{}"])),
        ("broken", b"{"),
        ("not UTF-8", np.bytes_(b"\xff\xfe{}")),
        ("empty", h5py.Empty("S3")),
    ):
        match = "model_config"
        yield Row(29, f"model_config: {name}", "load_model .h5", legacy_h5(value), legacy_h5(json_of_good()), match)
    for attribute in ("layer_names", "a@weight_names"):
        for value in (3, np.array([[b"a"], [b"b"]]), np.array([b"a\xff", b"b"])):
            changed = legacy_h5(json_of_good(), set_attribute("model_weights/", attribute, value))
            yield Row(29, f"{attribute}: {value!r:.30}", "load_model .h5", changed, legacy_h5(json_of_good()), "names")
            changed = legacy_h5(None, set_attribute("", attribute, value), root="")
            yield Row(
                29, f"{attribute}: {value!r:.30}", "load_weights .h5", changed, legacy_h5(root=""), "names|expected"
            )
    broken = "HDF5|cannot be read|does not hold|does not fit|model_config"
    for name, cut in (("half", 0.5), ("most", 0.9), ("a tenth", 0.1)):
        yield from of_h5(
            30, f"cut to {name}", None, broken, lambda content, cut=cut: content[: int(len(content) * cut)]
        )
    yield from of_h5(30, "another signature", None, "HDF5|no zip file", lambda content: b"\x88" + content[1:])
    endless = legacy_h5(json_of_good())
    yield Row(30, "a heap without an end", "load_model .h5", without_end(endless), endless, "a heap of texts is broken")
    flipped = lambda content: content.replace(b"TREE", b"TREF").replace(b"SNOD", b"SNOF")  # noqa: E731
    yield from of_h5(30, "flipped bits", None, broken, flipped)


def without_end(content):
    """The free piece at the end of a heap of texts is of no size, so that HDF5's reader never comes behind it."""
    heap = content.index(b"GCOL") + 16
    while index := int.from_bytes(content[heap : heap + 2], "little"):
        assert index < 10
        heap += 16 + -(-int.from_bytes(content[heap + 8 : heap + 16], "little") // 8) * 8
    return content[: heap + 8] + bytes(8) + content[heap + 16 :]


def slashed(file, path):
    file.create_group("x").create_dataset("y", data=np.zeros(3, "float32"))
    file["x|y"] = h5py.SoftLink("/nowhere")
    put = path.rpartition("/")[0]
    file[put].create_dataset("x|y", data=np.zeros((4, 3), "float32"))
    del file["x|y"]


def named_type(file, path):
    file[path] = np.dtype("float32")


def set_attribute(prefix, attribute, value):
    def change(file):
        group, _, name = attribute.rpartition("@")
        target = file[f"{prefix}{group}" or "/"]
        del target.attrs[name]
        target.attrs[name] = value

    return change


# Zip files.


def with_members(change):
    """A .keras file whose ZipInfos and bytes are changed."""
    content = bytearray(keras_file())
    return bytes(change(content) or content)


def zipped(members, compression=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(content, "w", compression) as file:
        warnings.simplefilter("ignore")
        for name, value in members:
            file.writestr(name, value)
    return content.getvalue()


def good_members():
    return [("config.json", json_of_good()), ("model.weights.h5", weights_h5())]


def zips():
    def row(number, name, hostile, match):
        return Row(number, name, "load_model .keras", hostile, keras_file(), match)

    def of_zip(number, name, change, match):
        """A change of the bytes of a zip file, of a model's and of torch's."""
        yield row(number, name, change(keras_file()), match)
        yield Row(number, name, "load_weights .pt", change(torch_file()), torch_file(), match)

    (_, text), (_, weights) = good_members()
    zeros = bytes(2**25)
    claims = "claims|the most|bytes"
    for name, value in (("config.json", zeros), ("model.weights.h5", bytes(2**27))):
        members = [pair for pair in good_members() if pair[0] != name]
        yield row(20, f"zeros in {name}", zipped([*members, (name, value)], zipfile.ZIP_DEFLATED), claims)
    members = [*good_members(), ("metadata.json", zeros)]
    yield row(20, "zeros in metadata.json", zipped(members, zipfile.ZIP_DEFLATED), claims)
    bomb = zipped([("a/data.pkl", zeros), ("a/version", "3")], zipfile.ZIP_DEFLATED)
    yield Row(20, "zeros in data.pkl", "load_weights .pt", bomb, torch_file(), claims + "|compressed")
    twice = zipped([*good_members(), ("config.json", text)])
    yield row(21, "a member twice", twice, "'config.json' stands twice")
    yield row(21, "a further member", keras_file(members=[("code.py", "1")]), "'code.py' does not belong")
    yield row(21, "no config", zipped(good_members()[1:]), "no member 'config.json'")
    yield row(21, "no weights", zipped(good_members()[:1]), "no member 'model.weights.h5'")
    yield from of_zip(21, "something in front", lambda content: b"MZ" * 50 + content, "does not begin with a member")
    first = b"config.json"

    def in_directory(offset, value, last=False):
        def change(content):
            place = (content.rindex if last else content.index)(b"PK\x01\x02") + offset
            return content[:place] + value + content[place + len(value) :]

        return change

    match = "link or encrypted|overlaps|says two sizes|broken|another name|claims|no header|unknown way|too early"
    yield from of_zip(21, "encrypted", in_directory(8, b"\x01"), match)
    yield from of_zip(21, "a larger size", in_directory(24, b"\xff\xff\xff\x7f"), match)
    yield from of_zip(21, "a smaller size", in_directory(24, b"\x01\0\0\0"), match)
    yield from of_zip(21, "both sizes larger", in_directory(20, b"\xff\xff\xff\x0f" * 2), match)
    yield from of_zip(21, "another checksum", in_directory(16, b"\1\2\3\4"), match)
    yield from of_zip(21, "another method", in_directory(10, b"\x0c\0"), match)
    far = in_directory(42, b"\xf0\xff\xff\xff", last=True)
    yield from of_zip(21, "a place behind the end", far, "lies outside of the file|no zip file")
    yield from of_zip(21, "another place", in_directory(42, b"\x40\0\0\0"), match + "|does not begin")
    yield from of_zip(21, "a symbolic link", in_directory(38, (0o120777 << 16).to_bytes(4, "little")), match)
    yield from of_zip(21, "a directory cut", lambda content: content[:-40], "no zip file")
    yield from of_zip(30, "cut to half", lambda content: content[: len(content) // 2], "no zip file")
    lying = keras_file().replace(first, b"konfig.json", 1)
    yield row(21, "two names", lying, "another name in its own header")
    overlap = bytearray(keras_file())
    places = [found.start() for found in re.finditer(b"PK\x01\x02", overlap)]
    overlap[places[2] + 42 : places[2] + 46] = overlap[places[1] + 42 : places[1] + 46]
    yield row(21, "overlapping members", bytes(overlap), match)
    for name in ("../config.json", "/etc/named", "a\\b", "C:named", "assets/../../x", "assets//x", "./x"):
        yield row(22, f"name {name}", keras_file(members=[(name, "x")]), "a name that leads elsewhere")
        changed = zipped([("a/version", "3"), (name, "x")])
        yield Row(22, f"name {name}", "load_weights .pt", changed, torch_file(), "a name that leads elsewhere")
    info = zipfile.ZipInfo("assets/x")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    yield row(22, "a symbolic link", keras_file(members=[(info, NAMED)]), "link or encrypted")
    for name in ("model.weights.npz", "model.weights.json"):
        members = [good_members()[0], (name, weights)]
        yield row(31, name, zipped(members), "no member 'model.weights.h5'; only HDF5")
    yield Row(31, "an archive of NumPy", "load_weights .npz", npz(), Path(os.devnull + "x"), "hold pickles")
    yield Row(
        31, "an index of shards", "load_weights .json", b"{}", Path(os.devnull + "x"), ".json weights are not read"
    )


def npz():
    content = io.BytesIO()
    np.savez(content, x=np.ones(3))
    return content.getvalue()


# torch's pickles, and safetensors.


class Calls:
    """What a pickle calls when it is read."""

    def __init__(self, function, *args):
        self.called = function, args

    def __reduce__(self):
        return self.called


def in_torch_zip(content, compression=zipfile.ZIP_STORED, **others):
    members = {"a/data.pkl": content, "a/byteorder": b"little", "a/version": b"3\n", **others}
    return zipped(members.items(), compression)


def torchs():
    def row(number, name, hostile, match):
        hostile = hostile if isinstance(hostile, bytes) else torch_file(hostile)
        return Row(number, name, "load_weights .pt", hostile, torch_file(), match)

    ours = "is no part of a state_dict|must be a tensor|is a string|no dense tensor|claims more values|no state_dict"
    for name, function, args in (
        ("os.system", os.system, ("true",)),
        ("eval", eval, ("1",)),
        ("bytearray", bytearray, (2**40,)),
        ("FloatTensor", torch.FloatTensor, (2**40,)),
        ("Tensor", torch.Tensor, (2**40,)),
        ("import_module", __import__("importlib").import_module, (MODULE,)),
        ("open", open, (NAMED,)),
    ):
        yield row(32, name, in_torch_zip(pickle.dumps({"0.weight": Calls(function, *args)}, 2)), ours)
        yield row(32, f"{name}, not in a zip file", pickle.dumps({"0": Calls(function, *args)}, 2), "no zip file")
    for protocol in (0, 4, 5):
        yield row(32, f"protocol {protocol}", in_torch_zip(pickle.dumps({"x": os.system}, protocol)), ours)
    nested = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01\x85q\x02" + b"".join(
        b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86q" + bytes([n + 1]) for n in range(2, 60)
    )
    yield row(32, "a key of 2^58 parts", in_torch_zip(nested + b"K\x01u."), ours)
    yield row(32, "no pickle", in_torch_zip(b"nothing"), "no pickle|no part of")
    yield row(32, "an empty pickle", in_torch_zip(b""), "no pickle|no part of")
    yield row(32, "a whole module", {"0.weight": torch.nn.Linear(2, 2)}, "no part of|no state_dict")
    yield row(32, "TorchScript", in_torch_zip(b"}.", **{"a/constants.pkl": b"x"}), "does not belong")
    with zipfile.ZipFile(io.BytesIO(torch_file())) as file:
        members = [(info.filename, file.read(info)) for info in file.infolist()]
    yield row(33, "compressed members", zipped(members, zipfile.ZIP_DEFLATED), "compressed, as torch's are not")
    short = [(name, value[:4] if "/data/0" in name else value) for name, value in members]
    yield row(34, "a storage cut short", zipped(short), "no state_dict")
    missing = [(name, value) for name, value in members if "/data/0" not in name]
    yield row(34, "no storage", zipped(missing), "no state_dict")
    weights = caller().state_dict()
    for name, value in (
        ("stride 0", torch.ones(1, 1).expand(3, 4)),
        ("meta", torch.ones(3, 4, device="meta")),
        ("sparse", torch.ones(3, 4).to_sparse()),
        ("quantized", torch.quantize_per_tensor(torch.ones(3, 4), 0.1, 0, torch.qint8)),
        ("complex", torch.ones(3, 4, dtype=torch.complex64)),
        ("a number", 3.0),
        ("a dict", {"x": torch.ones(3)}),
        ("a list", [torch.ones(3, 4)]),
    ):
        yield row(34, name, {**weights, "0.weight": value}, ours + "|does not fit|no part of")
    yield row(34, "integer keys", dict(enumerate(weights.values())), ours)
    yield row(34, "a list of tensors", list(weights.values()), "a state_dict is a dict of tensors|no part")
    yield row(34, "a tensor", torch.ones(3), "a state_dict is a dict of tensors|no part")


def safes():
    good = io.BytesIO()
    header, data, end = {}, b"", 0
    for name, value in caller().state_dict().items():
        content = value.numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [end, end + len(content)]}
        end += len(content)
        data += content
    benign = safetensors_bytes(header, data)
    del good

    def row(name, changes=None, match="", raw=None):
        changed = {**header, "0.weight": {**header["0.weight"], **(changes or {})}}
        return Row(
            35,
            name,
            "load_weights .safetensors",
            safetensors_bytes(changed, data) if raw is None else raw,
            benign,
            match,
        )

    yield row(
        "offsets of another", {"data_offsets": header["1.weight"]["data_offsets"]}, "needs 48 bytes|does not begin"
    )
    same = {**header, "0.weight": {**header["0.weight"]}, "other": header["0.weight"]}
    yield row("two at one place", raw=safetensors_bytes(same, data), match="does not begin where")
    yield row("offsets behind the end", {"data_offsets": [2**40, 2**40 + 48]}, "does not begin where|hold")
    yield row("offsets that turn round", {"data_offsets": [48, 0]}, "no place in the file")
    yield row("one offset", {"data_offsets": [0]}, "no place in the file")
    yield row("offsets below 0", {"data_offsets": [-48, 0]}, "no place in the file")
    yield row("offsets that are no integers", {"data_offsets": [0.0, 48.0]}, "no place in the file")
    yield row("a further field", {"code": "x"}, "must have data_offsets, dtype, shape")
    yield row("a huge shape", {"shape": [2**40, 2**40]}, "needs .* bytes for its shape")
    yield row("a shape that wraps", {"shape": [2**32, 2**32, 0, 2**20]}, "needs 0 bytes")
    yield row("a rank of 5,000", {"shape": [1] * 5000}, "no shape that a tensor can have")
    yield row("a size below 0", {"shape": [-3, -4]}, "no shape that a tensor can have")
    yield row("a size that is true", {"shape": [True, 12]}, "no shape that a tensor can have")
    yield row("an unknown dtype", {"dtype": "F7"}, "unknown dtype")
    yield row("a dtype that is a list", {"dtype": ["F32"]}, "unknown dtype")
    for name in ("", "x" * 10**5, "a\nb", "\x00"):
        changed = {**header, name: header["0.weight"]}
        yield row(f"name {name!r:.10}", raw=safetensors_bytes(changed, data), match="is no name of a weight")
    text = hostile_configs.json.dumps(header)
    twice = text[:-1] + ', "0.weight": {}}'
    yield row("a key twice", raw=safetensors_bytes(twice, data), match="stands twice")
    yield row("brackets", raw=safetensors_bytes("[" * 10**5, data), match="nested deeper")
    yield row("a list", raw=safetensors_bytes("[]", data), match="is no object")
    odd = {**header, "__metadata__": {"format": {"x": 1}}}
    yield row("metadata that is no text", raw=safetensors_bytes(odd, data), match="an object of strings")
    yield row("a header as long as 2^63", raw=(2**63).to_bytes(8, "little") + b"{}", match="a header of")
    yield row("no header", raw=b"\0" * 8, match="a header of 0 bytes")
    yield row("four bytes", raw=b"\0" * 4, match="no safetensors file")
    yield row("further bytes", raw=benign + b"\0", match="the tensors hold 92 bytes, and the file 93|tensors hold")
    yield row("cut", raw=benign[:-1], match="the tensors hold")


# Paths, and what fails midway.


def paths(folder):
    fifo, socket = folder / "fifo", folder / "folder"
    os.mkfifo(fifo)
    socket.mkdir()
    good = {
        "load_model .keras": keras_file(),
        "load_model .h5": legacy_h5(json_of_good()),
        "load_weights .weights.h5": weights_h5(),
        "load_weights .safetensors": next(iter(safes())).benign,
        "load_weights .pt": torch_file(),
        "Penalties.load": hostile_configs.json.dumps(plan()),
    }
    for way, benign in good.items():
        suffix = way.split(" ")[1] if " " in way else ".json"
        for name, target in (
            ("FIFO", fifo),
            ("folder", socket),
            ("device", Path("/dev/zero")),
            ("nothing", folder / "no"),
        ):
            place = folder / f"{name}-{way.replace(' ', '')}{suffix}"
            if name != "nothing":
                place.symlink_to(target)
            yield Row(36, f"path to a {name}", way, place, benign, "not a regular file|No such file")


def midway():
    """The last weight does not fit: the ones before it stay as they were."""

    def shorter(name):
        def change(file):
            del file[name]
            file[name] = np.zeros(7, "float32")

        return change

    match = "does not fit m: .*expected \\(2,\\), found \\(7,\\)"
    yield Row(
        37, "midway", "load_weights .weights.h5", weights_h5(shorter("layers/dense_1/vars/1")), weights_h5(), match
    )
    changed = legacy_h5(None, shorter("b/b/bias"), root="")
    yield Row(37, "midway", "load_weights .h5", changed, legacy_h5(root=""), match)
    weights = {**caller().state_dict(), "1.bias": torch.zeros(7)}
    yield Row(37, "midway", "load_weights .pt", torch_file(weights), torch_file(), match)
    changed = keras_file(weights=weights_h5(shorter("layers/dense_1/vars/1")))
    yield Row(37, "midway", "load_model .keras", changed, keras_file(), "expected \\(2,\\), found \\(7,\\)")
    nan = {name: value * float("nan") for name, value in caller().state_dict().items()}
    yield Row(
        37, "midway, with NaN", "load_weights .pt", torch_file({**nan, "x": torch.ones(1)}), torch_file(nan), "'x'"
    )


def rows(folder):
    yield from hostile_configs.rows()
    for part in (hdf5, zips, torchs, safes, midway):
        yield from part()
    yield from paths(folder)


# Running them.

_events = None
WATCHED = ("exec", "compile", "marshal", "pickle", "socket", "subprocess", "os.system", "os.exec", "ctypes", "import")


def audit(event, arguments):
    if _events is not None and (event.startswith(WATCHED) or event == "open"):
        _events.append((event, arguments[0] if arguments else None))


def problem(row, folder):
    """What is wrong with how a case ends, or None; and its seconds."""
    global _events
    place = Path(tempfile.mkdtemp(dir=folder))
    attempt, model, path = WAYS[row.way](row.hostile, place)
    before = state(model)
    seconds, told = 0.0, None
    for again in (False, True):  # what Python and torch import when first used is imported by then
        del MADE[:]
        _events = []
        start = time.perf_counter()
        try:
            attempt()
            told = "it loads"
        except PenalizeError as error:
            seconds = max(seconds, time.perf_counter() - start)
            message = str(error)
            if path and path not in message:
                told = f"the file is not named: {message:.200}"
            elif re.search(row.match, message) is None:
                told = f"the message is another one: {type(error).__name__}: {message:.300}"
            elif len(message) > LONGEST_MESSAGE or not message.replace("\n", "").isprintable():
                told = f"{len(message)} letters, or such as cannot be shown: {message[:300]!r}"
        except BaseException as error:
            told = f"not one of ours: {type(error).__name__}: {str(error)[:300]}"
        events, _events = _events, None
        bad = [event for event in events if _forbidden(event, path, again)]
        if told is None and bad:
            told = f"it does what no file may: {bad[:3]}"
    if told is None and MADE:
        told = "it made a class of another kind"
    if told is None and (MODULE in sys.modules or not unchanged(model, before)):
        told = "it changes the caller's model, or imports what it names"
    if told is None and seconds > SECONDS:
        told = f"it takes {seconds:.1f} s"
    return told, seconds


def _forbidden(event, path, again):
    name, arguments = event
    if name == "open":
        # What is open already is a number; Python's own files are opened once.
        return not isinstance(arguments, int) and os.fspath(arguments) != path and (again or NAMED in arguments)
    if name == "compile" and arguments == b"def foo(): pass":
        return False  # `inspect.signature` of a built-in class
    return again or arguments == MODULE or name.startswith(("socket", "subprocess", "os."))


def loads(row, folder):
    """What the twin says, or None where it loads."""
    attempt, _, _ = WAYS[row.way](row.benign, Path(tempfile.mkdtemp(dir=folder)))
    try:
        attempt()
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return None


def run(folder):
    """Every case: a list of (row, problem, seconds); and what the twins say that do not load."""
    archive.MOST_IN_MEMORY = 2**26  # lower, so that the files are small
    results, twins, said = [], 0, {}
    for row in rows(folder):
        signal.alarm(60)
        told, seconds = problem(row, folder)
        results.append((row, told, seconds))
        key = (row.way, repr(row.benign) if not isinstance(row.benign, bytes) else row.benign)
        if row.number != 31 or row.way.endswith(".keras"):
            if key not in said:
                said[key] = loads(row, folder)
            twins += said[key] is None
            if said[key] is not None:
                results.append((row, f"the twin does not load: {said[key]}", 0.0))
    signal.alarm(0)
    return results, twins


def main():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    os.mkfifo(NAMED)  # whoever opens it waits for ever
    sys.addaudithook(audit)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        results, twins = run(Path(folder))
    os.unlink(NAMED)
    by_case = collections.defaultdict(list)
    for row, told, seconds in results:
        by_case[row.number].append((row, told, seconds))
        if told is not None:
            print(f"NOT REFUSED {row.number}: {row.name}: {row.way}: {told}")
    print("case  files  ways in  refused  slowest s")
    for number, each in sorted(by_case.items()):
        refused = sum(told is None for _, told, _ in each)
        ways = len({row.way for row, _, _ in each})
        print(f"{number:4}  {len(each):5}  {ways:7}  {refused:7}  {max(seconds for *_, seconds in each):9.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"cases: {len(by_case)}, files: {len(results)}, ways in: {len({row.way for row, _, _ in results})}, refused: "
        f"{sum(told is None for _, told, _ in results)}, slowest: {max(seconds for *_, seconds in results):.2f} s, peak "
        f"memory: {peak:.0f} MiB, benign twins loaded: {twins}"
    )
    return any(told is not None for _, told, _ in results)


if __name__ == "__main__":
    sys.exit(main())
