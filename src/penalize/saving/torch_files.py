"""Files of `torch.save` with the weights of a model: tensors by names, and nothing else."""

from __future__ import annotations

import pickletools
import re
import warnings
from collections.abc import Mapping
from typing import BinaryIO

import torch

from penalize.configs import printable
from penalize.errors import FileFormatError
from penalize.saving.archive import Member, members_of, read_member

__all__ = ["read_torch"]

MEMBERS = re.compile(
    r"[^/]{1,255}/(data\.pkl|byteorder|version|data/\d{1,9}|\.data/serialization_id|\.format_version|\.storage_alignment)"
)
PICKLE = "data.pkl"
MOST_PICKLE_BYTES = 2**26
MOST_RANK = 32
FLOATS_AND_INTEGERS = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
# All that the pickle of a state_dict names. torch's reader knows more, such as tensors of any size without values.
GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {kind}Storage" for kind in FLOATS_AND_INTEGERS),
}
OPERATIONS = {
    *("PROTO", "STOP", "MARK", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
    *("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "NEWTRUE", "NEWFALSE", "NONE", "BINFLOAT"),
    *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "SETITEM", "SETITEMS", "APPEND", "APPENDS"),
    *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
}
TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")


def read_torch(file: BinaryIO, what: str) -> dict[str, torch.Tensor]:
    """The tensors of a file by name; `what` stands in front of errors. Raises FileFormatError for anything else."""
    _check_pickle(file, members_of(file, what), what)
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise FileFormatError(f"{what}: no state_dict of torch, or a broken one: {_first_line(error)}") from error
    if not isinstance(state, Mapping):
        raise FileFormatError(f"{what}: a state_dict is a dict of tensors, got {type(state).__name__}")
    checked: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        if not isinstance(name, str):
            raise FileFormatError(f"{what}: a weight's name is a string, got {type(name).__name__}")
        checked[name] = _checked(tensor, f"{what}: {name!r:.80}")
    return checked


def _check_pickle(file: BinaryIO, members: dict[str, Member], what: str) -> None:
    """Refuse what no state_dict has, before torch's reader does anything with it."""
    for name, info in members.items():
        if MEMBERS.fullmatch(name) is None or name.split("/")[0] != next(iter(members)).split("/")[0]:
            raise FileFormatError(f"{what}: the member {name!r:.80} does not belong into a file of torch's weights")
        if info.compress_type:
            raise FileFormatError(f"{what}: the member {name!r:.80} is compressed, as torch's are not")
    pickles = [name for name in members if name.endswith(f"/{PICKLE}")]
    if not pickles:
        raise FileFormatError(f"{what}: there is no member {PICKLE!r}")
    content = read_member(file, members[pickles[0]], MOST_PICKLE_BYTES, what)
    tuples: set[object] = set()
    before = ""
    try:
        for operation, argument, _ in pickletools.genops(content):
            if operation.name not in OPERATIONS:
                raise FileFormatError(f"{what}: {PICKLE}: {operation.name} is no part of a state_dict")
            if operation.name == "GLOBAL" and argument not in GLOBALS:
                raise FileFormatError(f"{what}: {PICKLE}: {argument!r:.80} is no part of a state_dict")
            # A tuple of tuples of tuples, each taken twice, is as large as one likes once it is a key.
            if operation.name in ("BINPUT", "LONG_BINPUT") and before in TUPLES:
                tuples.add(argument)
            if operation.name in ("BINGET", "LONG_BINGET") and argument in tuples:
                raise FileFormatError(f"{what}: {PICKLE}: a tuple that is used twice is no part of a state_dict")
            before = operation.name
    except FileFormatError:
        raise
    except Exception as error:
        raise FileFormatError(f"{what}: {PICKLE}: no pickle, or a broken one: {_first_line(error)}") from error


def _checked(tensor: object, where: str) -> torch.Tensor:
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or not isinstance(tensor, torch.Tensor):
        raise FileFormatError(f"{where} must be a tensor, got {type(tensor).__name__}")
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise FileFormatError(f"{where} is no dense tensor")
    needed = tensor.numel() * tensor.element_size()
    repeated = any(stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True))
    if needed > tensor.untyped_storage().nbytes() or repeated or tensor.ndim > MOST_RANK:
        raise FileFormatError(f"{where} claims more values than it holds")
    return tensor.detach()


def _first_line(error: BaseException) -> str:
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {printable(first, 160)}"
