"""The command `penalize`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from penalize import __version__
from penalize.errors import PenalizeError
from penalize.path.command import run_path
from penalize.path.network import PENALTIES
from penalize.path.options import Options
from penalize.path.unfinished import InterruptedPathError

__all__ = ["run"]

INTERRUPTED = 130

application = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")


def run(arguments: list[str]) -> int:
    """Run the command; returns the exit code: 0, 2 for bad input (one line on stderr), 130 for Ctrl-C."""
    try:
        command = typer.main.get_command(application)
        code = int(command.main(arguments, prog_name="penalize", standalone_mode=False, obj=arguments) or 0)
    except typer.TyperException as error:
        return _fail(error.format_message(), 2)
    except InterruptedPathError as error:
        return _fail(str(error), INTERRUPTED)
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


def _data(text: str, metavar: str | None = None) -> Any:
    return typer.Option(help=text, metavar=metavar, rich_help_panel="Data")


def _model(text: str, metavar: str | None = None, *names: str) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel="Model and penalty")


def _training(text: str, metavar: str | None = None, *names: str) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel="Training")


def _running(text: str, metavar: str | None = None, *names: str) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel="Running")


DATA = "digits, breast-cancer, wine or diabetes; or a file that ends in .csv, .tsv (also .gz), .parquet, .npz"
TARGET = "column to predict; by default the one called target, label or y"
TASK = "classification, regression, or auto: classification of text, bool, and integers of at most 50 values"
DROP = "leave out a column; may be repeated"
CATEGORY = "take a column of numbers as categories; may be repeated"
FACTORY = (
    "a function of (features, outputs), or of nothing, that makes an nn.Module; by default linear layers with ReLU"
)
HIDDEN = "sizes of the hidden layers, with commas"
PENALTY = f"{', '.join(PENALTIES)}; repeated: compare them"
MIXING = "shares of L1 in l1_l2, with commas, such as 0.1,0.5,0.9: compare them"
ON = "kernel, bias, activity, features (the first layer's weights, by input), or a pattern such as 0.weight"
PROXIMAL = "take proximal steps, for exact zeros"
STRENGTHS = "evenly spaced in logarithms; by default 1e-6:1:24, or 4 decades below where a linear model is zero"
OPTIMIZER = "adam, sgd, adamw, nadam, radam, rmsprop, adagrad, adadelta or adamax"
LOSS = "auto: cross_entropy, or squared_error for regression; absolute_error, huber"
SCORE = (
    "auto: accuracy, or r2 for regression; balanced_accuracy, neg_log_loss, neg_mean_squared_error, "
    "neg_mean_absolute_error"
)
STOPPING = "finish a model after so many epochs without a lower validation loss"
WARM = "begin each strength where the next weaker one ended"
REFIT = "then train every strength on all rows, into path.safetensors"
OUT = "for path.csv, path.json, path.png and report.html"
RESUME = "go on from what an interrupted run has finished"


@application.command("path")
def path_command(
    context: typer.Context,
    data: Annotated[str, typer.Argument(help=DATA, metavar="DATA", show_default=False)] = "",
    target: Annotated[str | None, _data(TARGET, "COLUMN")] = None,
    task: Annotated[str, _data(TASK, "TASK")] = "auto",
    drop: Annotated[list[str] | None, _data(DROP, "COLUMN")] = None,
    category: Annotated[list[str] | None, _data(CATEGORY, "COLUMN")] = None,
    model: Annotated[str | None, _model(FACTORY, "FACTORY")] = None,
    hidden: Annotated[str, _model(HIDDEN, "SIZES")] = "64,64",
    penalty: Annotated[list[str], _model(PENALTY, "NAME")] = ["l2"],  # noqa: B006
    mixing: Annotated[str | None, _model(MIXING, "SHARES")] = None,
    on: Annotated[str, _model(ON, "PLACE")] = "kernel",
    proximal: Annotated[bool, _model(PROXIMAL, None, "--proximal")] = False,
    strengths: Annotated[str | None, _training(STRENGTHS, "low:high:count")] = None,
    folds: Annotated[str, _training("folds of the cross-validation", "COUNT")] = "5",
    epochs: Annotated[str, _training("passes over the training rows", "COUNT")] = "30",
    batch_size: Annotated[str, _training("rows a step", "ROWS")] = "32",
    optimizer: Annotated[str, _training(OPTIMIZER, "NAME")] = "adam",
    learning_rate: Annotated[str, _training("of the optimizer", "NUMBER")] = "0.001",
    loss: Annotated[str, _training(LOSS, "NAME")] = "auto",
    score: Annotated[str, _training(SCORE, "NAME")] = "auto",
    early_stopping: Annotated[str | None, _training(STOPPING, "EPOCHS")] = None,
    warm_start: Annotated[bool, _training(WARM, None, "--warm-start")] = False,
    seed: Annotated[str, _training("of folds, first weights and batches", "NUMBER")] = "0",
    refit: Annotated[bool, _training(REFIT, None, "--refit")] = False,
    out: Annotated[Path, _running(OUT, "FOLDER")] = Path("penalize-path"),
    resume: Annotated[bool, _running(RESUME, None, "--resume")] = False,
    memory: Annotated[str | None, _running("most that training may take beside the data", "MiB")] = None,
    chunk: Annotated[str, _running("models that are trained at once, or auto", "COUNT")] = "auto",
    processes: Annotated[str | None, _running("worker processes; by default one", "COUNT")] = None,
    backend: Annotated[str, _running("local or ray", "NAME")] = "local",
    address: Annotated[str | None, _running("of a Ray cluster; by default one is started here", "HOST:PORT")] = None,
) -> None:
    """Train a model at every strength of a penalty and in every fold, many at once, and choose the strength.

    Losses are those of the data, without the penalty. The best strength has the highest mean validation score; the
    one-standard-error strength is the strongest penalty whose score is within one standard error of it.

    Of a table, missing numbers are filled by the median, numbers are scaled, and categories (text, bool) become an
    input a level: in each fold by its own training rows.

    A run that is interrupted keeps what it has finished: the same command with --resume goes on from there.
    """
    again = shlex.join(["penalize", *(argument for argument in context.obj if argument != "--resume")])
    run_path(Options(**context.params), again)
