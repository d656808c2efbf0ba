"""The entry point of the command `penalize`, which says so when the libraries of its extra are missing."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process; returns the exit code."""
    try:
        from penalize.cli import run

        return run(list(sys.argv[1:] if arguments is None else arguments))
    except ModuleNotFoundError as error:
        sys.stderr.write(f'penalize: {error.name} is not installed: pip install "penalize[path]"\n')
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("penalize: interrupted: nothing was written\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
