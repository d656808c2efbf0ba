"""The command `penalize`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from penalize import __version__
from penalize.errors import PenalizeError
from penalize.path.command import run_path

__all__ = ["run"]

INTERRUPTED = 130

application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def run(arguments: list[str]) -> int:
    """Run the command; returns the exit code: 0, 2 for bad input (one line on stderr), 130 for Ctrl-C."""
    try:
        command = typer.main.get_command(application)
        code = int(command.main(arguments, prog_name="penalize", standalone_mode=False) or 0)
    except typer.TyperException as error:
        return _fail(error.format_message(), 2)
    except PenalizeError as error:
        return _fail(str(error), 2)
    except OSError as error:
        return _fail(f"out could not be written: {error.strerror}: {error.filename}", 2)
    # typer gives Ctrl-C back as the exit code that shells have for it.
    return _fail("interrupted: nothing was written", INTERRUPTED) if code == INTERRUPTED else code


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"penalize: {' '.join(message.split())}\n")
    return code


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@application.callback()
def penalize_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Penalties for PyTorch models: find which strength to take."""


@application.command("path")
def path_command(
    data: Annotated[str, typer.Argument(help="digits, breast-cancer, wine or diabetes", show_default=False)] = "",
    penalty: Annotated[str, typer.Option(help="l1, l2, l1_l2, group_lasso, orthogonal_regularizer (units)")] = "l2",
    on: Annotated[str, typer.Option(help="kernel, bias or activity")] = "kernel",
    strengths: Annotated[str, typer.Option(help="low:high:count, evenly spaced in logarithms")] = "1e-6:1:24",
    folds: Annotated[str, typer.Option(help="folds of the cross-validation")] = "5",
    epochs: Annotated[str, typer.Option(help="passes over the training rows")] = "30",
    batch_size: Annotated[str, typer.Option(help="rows a step")] = "32",
    hidden: Annotated[str, typer.Option(help="sizes of the hidden layers, with commas")] = "64,64",
    learning_rate: Annotated[str, typer.Option(help="of Adam")] = "0.001",
    seed: Annotated[str, typer.Option(help="of folds, first weights and batches")] = "0",
    proximal: Annotated[bool, typer.Option("--proximal", help="proximal steps, for exact zeros")] = False,
    out: Annotated[Path, typer.Option(help="folder for the files: path.csv, .json, .png, report.html")] = Path(
        "penalize-path"
    ),
) -> None:
    """Train a small network at every strength and fold at once, and choose the strength.

    Losses are those of the data, without the penalty. The best strength has the highest mean validation score; the
    one-standard-error strength is the strongest penalty whose score is within one standard error of it.
    """
    # Numbers come as text, so that one place says what was expected and what came.
    run_path(
        data=data,
        penalty=penalty,
        on=on,
        strengths=strengths,
        folds=folds,
        epochs=epochs,
        batch_size=batch_size,
        hidden=hidden,
        learning_rate=learning_rate,
        seed=seed,
        proximal=proximal,
        out=out,
    )
