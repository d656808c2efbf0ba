"""The files of a path: written together, and read strictly."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import safetensors.torch

from penalize.errors import ArgumentError, ConfigError, FileFormatError
from penalize.path.files import prepare_folder, remove_folders, write_together
from penalize.path.fitted import Refit
from penalize.path.report.page_of import html_report
from penalize.path.report.plot import figure_bytes
from penalize.saving.safetensors_files import read_safetensors
from penalize.strict_json import open_regular_file, parse, read_small_file

if TYPE_CHECKING:
    from penalize.path.result import RegularizationPath

__all__ = ["path_files", "read_object", "read_path", "write_folder"]

FORMAT = "penalize.path"
VERSION = 1
COLUMNS = ("strength", "train_loss", "val_loss", "score", "score_se", "zeros")
OF_FOLDS = ("fold_scores", "fold_train_losses", "fold_val_losses", "fold_zeros")
KEYS = {
    "format",
    "version",
    "best",
    "best_1se",
    "score",
    "cautions",
    "rows",
    "strengths",
    *OF_FOLDS,
    "fits",
    "settings",
}
FITS = "path.safetensors"
# JSON has no numbers for these.
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def path_files(path: RegularizationPath, folder: Path) -> dict[Path, bytes | None]:
    """What stands in each file of a path in this folder; None: no file."""
    fits = path.fits
    content = {
        "format": FORMAT,
        "version": VERSION,
        "best": path.best,
        "best_1se": path.best_1se,
        "score": path.score_name,
        "cautions": path.cautions,
        "rows": [
            {name: value if math.isfinite(value) else None for name, value in zip(COLUMNS, row, strict=True)}
            for row in path.to_frame().to_numpy().tolist()
        ],
        "strengths": path.strengths.tolist(),
        **{name: [[_number(value) for value in row] for row in getattr(path, name).tolist()] for name in OF_FOLDS},
        "fits": None,
        "settings": path.settings,
    }
    tensors = None
    if fits is not None:
        tensors = safetensors.torch.save({name: tensor.contiguous() for name, tensor in fits.tensors().items()})
        content["fits"] = {
            "sha256": hashlib.sha256(tensors).hexdigest(),
            "penalized": list(fits.penalized),
            "input_weight": fits.input_weight,
        }
    text = _json(content)
    return {
        folder / "path.csv": path.to_frame().to_csv(index=False).encode(),
        folder / "path.json": text,
        folder / "path.png": figure_bytes(path.plot()),
        folder / "report.html": html_report(path).encode(),
        folder / FITS: tensors,
    }


def write_folder(folder: Path, files: Mapping[Path, bytes | None]) -> list[Path]:
    """Write these files into the folder, which is made, or none of them; a file that is None is removed."""
    made: list[Path] = []
    written = {path: content for path, content in files.items() if content is not None}
    try:
        for parent in dict.fromkeys([folder, *(path.parent for path in written)]):
            names = tuple(path.name for path in files if path.parent == parent)
            made = [*prepare_folder(parent, names), *made]
        write_together(written)
    except BaseException:
        remove_folders(made)
        raise
    for path in files.keys() - written.keys():
        path.unlink(missing_ok=True)
    return list(written)


def read_path(folder: Path) -> dict[str, Any]:
    """What a path is made of, by the names of its attributes, from the files in a folder."""
    file = folder / "path.json"
    content = read_object(file, FORMAT, VERSION, KEYS)
    strengths = _array(content["strengths"], "strengths", file)
    good = strengths.ndim == 1 and len(strengths) and np.isfinite(strengths).all()
    if not good or (strengths <= 0).any() or (np.diff(strengths) <= 0).any():
        raise FileFormatError(f"{file}: strengths must be ascending numbers > 0, got {content['strengths']!r:.80}")
    folds = {name: _array(content[name], name, file) for name in OF_FOLDS}
    shape = folds["fold_scores"].shape
    for name, array in folds.items():
        if array.ndim != 2 or array.shape != shape or len(array) != len(strengths):
            raise FileFormatError(f"{file}: {name} must have {len(strengths)} rows, one number a fold each")
    if not isinstance(content["score"], str) or not isinstance(content["settings"], dict):
        raise FileFormatError(f"{file}: score must be a string, and settings an object")
    fits = None if content["fits"] is None else _read_fits(folder / FITS, content["fits"], file)
    if fits is not None and not np.array_equal(fits.strengths, strengths):
        raise FileFormatError(f"{folder / FITS}: its strengths are not those of {file.name}")
    return {
        "strengths": strengths,
        **folds,
        "score_name": content["score"],
        "settings": content["settings"],
        "fits": fits,
    }


def read_object(file: Path, kind: str, version: int, keys: set[str]) -> dict[str, Any]:
    """The JSON object of a file of this format, which has exactly these keys. FileFormatError for anything else."""
    try:
        content = parse(read_small_file(file), str(file))
    except ConfigError as error:
        raise FileFormatError(str(error)) from error
    if not isinstance(content, dict) or content.get("format") != kind:
        raise FileFormatError(f'{file}: this is no file of "format": "{kind}"')
    if content.get("version") != version or isinstance(content["version"], bool):
        raise FileFormatError(f"{file}: version {content.get('version')!r:.40} is not known here, only {version}")
    if content.keys() != keys:
        listed = ", ".join(sorted(keys ^ content.keys()))
        raise FileFormatError(f"{file}: keys that are missing or not known: {listed[:160]}")
    return content


def _read_fits(place: Path, described: Any, file: Path) -> Refit:
    """The models trained on all rows; the file must be the one that was written with path.json."""
    if not isinstance(described, dict) or described.keys() != {"sha256", "penalized", "input_weight"}:
        raise FileFormatError(f"{file}: fits must have sha256, penalized and input_weight, got {described!r:.80}")
    penalized, input_weight = described["penalized"], described["input_weight"]
    if not isinstance(penalized, list) or not all(isinstance(name, str) for name in penalized):
        raise FileFormatError(f"{file}: penalized must be a list of names, got {penalized!r:.80}")
    if input_weight is not None and not isinstance(input_weight, str):
        raise FileFormatError(f"{file}: input_weight must be a name or null, got {input_weight!r:.80}")
    with open_regular_file(place) as opened:
        if _digest(opened) != described["sha256"]:
            raise FileFormatError(f"{place}: this is not the file that was saved with {file.name}, or it is broken")
        tensors = read_safetensors(opened, str(place))
    try:
        return Refit.of_tensors(tensors, tuple(penalized), input_weight)
    except ArgumentError as error:
        raise FileFormatError(f"{place}: {error}") from error


def _json(content: dict[str, Any]) -> bytes:
    """The text of a file. ArgumentError for settings that a person put in and that JSON does not have."""

    def refuse(value: Any) -> Any:
        raise ArgumentError(f"settings must hold text, numbers, lists and dicts to be saved, got {value!r:.80}")

    try:
        return (json.dumps(content, indent=2, allow_nan=False, default=refuse) + "\n").encode()
    except (TypeError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"settings cannot be saved: {error}") from error


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while part := file.read(2**20):
        digest.update(part)
    return digest.hexdigest()


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _array(value: Any, name: str, file: Path) -> np.ndarray:
    """The float64 array of nested lists of numbers."""
    refusal = FileFormatError(f"{file}: {name} must be lists of numbers, equally long, got {value!r:.80}")

    def number(item: Any) -> float:
        if isinstance(item, str) and item in NOT_FINITE:
            return NOT_FINITE[item]
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise refusal
        return float(item)

    if not isinstance(value, list):
        raise refusal
    nested = [[number(item) for item in row] if isinstance(row, list) else number(row) for row in value]
    try:
        return np.array(nested, dtype=np.float64)
    except ValueError:
        raise refusal from None
