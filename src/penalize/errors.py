"""The named exceptions: each message names the target or argument, what was expected and what came."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator

__all__ = [
    "ArgumentError",
    "ArrayError",
    "BindError",
    "CompactError",
    "ConfigError",
    "DataError",
    "DetachedError",
    "ExportError",
    "FileError",
    "FileFormatError",
    "InterruptedTrainingError",
    "MissingExtraError",
    "NotBuiltError",
    "NotCompiledError",
    "PenalizeError",
    "PenaltyError",
    "RegistrationError",
    "ShapeError",
    "StrengthError",
    "TargetError",
    "UnknownNameError",
]


class PenalizeError(Exception):
    """The base of every exception that penalize raises by name."""


class ArgumentError(PenalizeError, ValueError):
    """An argument has a value that cannot work."""


class StrengthError(ArgumentError):
    """A strength is not a finite real number >= 0."""


class UnknownNameError(ArgumentError):
    """A string names nothing in the table it was looked up in."""


class ConfigError(ArgumentError):
    """A config does not describe an object that can be built."""


class FileError(PenalizeError, OSError):
    """A file cannot be read or written: not there, there already, no regular file, or too large."""


class FileFormatError(PenalizeError, ValueError):
    """A file is broken, is of another format, or holds what is never read."""


class RegistrationError(ArgumentError):
    """A class or function cannot be registered under the name asked for."""


class ShapeError(ArgumentError):
    """An array has a shape that the operation is not defined for."""


class DataError(ArgumentError):
    """Training data do not fit each other or the model."""


class ArrayError(PenalizeError, TypeError):
    """An array is of a kind or dtype that the operation is not defined for."""


class PenaltyError(PenalizeError, ValueError):
    """A regularizer returned something other than one real number."""


class TargetError(PenalizeError, KeyError):
    """A name or pattern selects no target, or one that cannot be penalized."""

    # KeyError shows the repr of its message.
    __str__ = Exception.__str__


class BindError(PenalizeError, RuntimeError):
    """Penalties cannot act inside this optimizer's step."""


class CompactError(PenalizeError, ValueError):
    """A model holds something that `compact` cannot prove to be a chain of units, or outputs would not stay."""


class DetachedError(PenalizeError, RuntimeError):
    """Penalties were used after `detach()`."""


class InterruptedTrainingError(KeyboardInterrupt):
    """Ctrl-C ended a training of many models; the message says what is kept.

    It is no Exception, as KeyboardInterrupt is none, so that nobody catches it by accident.
    """


class NotBuiltError(PenalizeError, RuntimeError):
    """A layer's weights were asked for before its input shape is known."""


class NotCompiledError(PenalizeError, RuntimeError):
    """A model was trained before `compile()`."""


class MissingExtraError(PenalizeError, ImportError):
    """A library of an optional extra is not installed."""


class ExportError(PenalizeError, RuntimeError):
    """A model holds something that the format it is exported to cannot hold."""


@contextlib.contextmanager
def naming(where: str) -> Iterator[None]:
    """Put `where` in front of the message of an error of this package that is raised inside."""
    try:
        yield
    except PenalizeError as error:
        raise type(error)(f"{where}: {error}") from error


def nearest(name: str, candidates: Iterable[str], count: int = 3) -> str:
    """The end of a sentence that offers the names most like `name`, or lists some when none is alike.

    >>> nearest("sofmax", ["softmax", "relu"])
    "did you mean 'softmax'?"
    >>> nearest("zzz", ["softmax", "relu"])
    "known: 'softmax', 'relu'"
    >>> nearest("zzz", [])
    'there are none'
    """
    known = list(dict.fromkeys(candidates))
    if not known:
        return "there are none"
    # The beginning is enough, and a name from a file may be as long as the file.
    alike = difflib.get_close_matches(name[:200], known, n=count, cutoff=0.5)
    if alike:
        return f"did you mean {' or '.join(map(repr, alike))}?"
    listed = ", ".join(map(repr, known[:12]))
    return f"known: {listed}" + (f" and {len(known) - 12} more" if len(known) > 12 else "")
