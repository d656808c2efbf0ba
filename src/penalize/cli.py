"""The command `penalize`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from penalize import __version__
from penalize.errors import PenalizeError
from penalize.path.command import run_path
from penalize.path.network import PENALTIES
from penalize.path.options import Options
from penalize.path.unfinished import InterruptedPathError

__all__ = ["run"]

INTERRUPTED = 130
PENALTY_HELP = f"one of {', '.join(PENALTIES)}"

application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


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


DATA, MODEL, TRAINING, RUNNING = "Data", "Model and penalty", "Training", "Running"


@application.command("path")
def path_command(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            help="digits, breast-cancer, wine or diabetes; or a file: .csv, .tsv (also .gz), .parquet, .npz",
            show_default=False,
        ),
    ] = "",
    target: Annotated[
        str | None,
        typer.Option(help="column to predict; by default the one called target, label or y", rich_help_panel=DATA),
    ] = None,
    task: Annotated[
        str,
        typer.Option(
            help="classification, regression, or auto: classification of text, bool, and integers of at most 50 values",
            rich_help_panel=DATA,
        ),
    ] = "auto",
    drop: Annotated[
        list[str] | None, typer.Option(help="column to leave out; may be repeated", rich_help_panel=DATA)
    ] = None,
    category: Annotated[
        list[str] | None,
        typer.Option(help="column of numbers that are categories; may be repeated", rich_help_panel=DATA),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="package.module:factory, a function of (features, outputs) or of nothing that makes an nn.Module; "
            "by default linear layers with ReLU between them",
            rich_help_panel=MODEL,
        ),
    ] = None,
    hidden: Annotated[
        str, typer.Option(help="sizes of the hidden layers, with commas", rich_help_panel=MODEL)
    ] = "64,64",
    penalty: Annotated[str, typer.Option(help=PENALTY_HELP, rich_help_panel=MODEL)] = "l2",
    on: Annotated[
        str,
        typer.Option(
            help="kernel, bias, activity, features (the first layer, by input), or a pattern such as 0.weight",
            rich_help_panel=MODEL,
        ),
    ] = "kernel",
    proximal: Annotated[
        bool, typer.Option("--proximal", help="proximal steps, for exact zeros", rich_help_panel=MODEL)
    ] = False,
    strengths: Annotated[
        str | None,
        typer.Option(
            help="low:high:count, evenly spaced in logarithms; by default 1e-6:1:24, or for a linear model the four "
            "decades below the strength that makes all weights zero",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    folds: Annotated[str, typer.Option(help="folds of the cross-validation", rich_help_panel=TRAINING)] = "5",
    epochs: Annotated[str, typer.Option(help="passes over the training rows", rich_help_panel=TRAINING)] = "30",
    batch_size: Annotated[str, typer.Option(help="rows a step", rich_help_panel=TRAINING)] = "32",
    optimizer: Annotated[
        str, typer.Option(help="adam, sgd, adamw, rmsprop, adagrad, ... of torch.optim", rich_help_panel=TRAINING)
    ] = "adam",
    learning_rate: Annotated[str, typer.Option(help="of the optimizer", rich_help_panel=TRAINING)] = "0.001",
    loss: Annotated[
        str,
        typer.Option(
            help="auto: cross_entropy, or squared_error for regression; absolute_error, huber", rich_help_panel=TRAINING
        ),
    ] = "auto",
    score: Annotated[
        str,
        typer.Option(
            help="auto: accuracy, or r2 for regression; balanced_accuracy, neg_log_loss, neg_mean_squared_error, "
            "neg_mean_absolute_error",
            rich_help_panel=TRAINING,
        ),
    ] = "auto",
    early_stopping: Annotated[
        str | None,
        typer.Option(
            help="epochs without a lower validation loss after which a model is finished", rich_help_panel=TRAINING
        ),
    ] = None,
    warm_start: Annotated[
        bool,
        typer.Option(
            "--warm-start", help="each strength begins where the next weaker one ended", rich_help_panel=TRAINING
        ),
    ] = False,
    seed: Annotated[str, typer.Option(help="of folds, first weights and batches", rich_help_panel=TRAINING)] = "0",
    refit: Annotated[
        bool,
        typer.Option(
            "--refit", help="then train every strength on all rows, into path.safetensors", rich_help_panel=TRAINING
        ),
    ] = False,
    out: Annotated[
        Path,
        typer.Option(help="folder for path.csv, path.json, path.png and report.html", rich_help_panel=RUNNING),
    ] = Path("penalize-path"),
    resume: Annotated[
        bool,
        typer.Option("--resume", help="go on from what an interrupted run has finished", rich_help_panel=RUNNING),
    ] = False,
    memory: Annotated[
        str | None, typer.Option(help="MiB that training may take beside the data", rich_help_panel=RUNNING)
    ] = None,
    chunk: Annotated[
        str, typer.Option(help="models that are trained at once, or auto", rich_help_panel=RUNNING)
    ] = "auto",
    processes: Annotated[
        str | None, typer.Option(help="worker processes; by default one", rich_help_panel=RUNNING)
    ] = None,
    backend: Annotated[str, typer.Option(help="local or ray", rich_help_panel=RUNNING)] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="host:port of a Ray cluster; by default a local one", rich_help_panel=RUNNING),
    ] = None,
) -> None:
    """Train a model at every strength of a penalty and in every fold, many at once, and choose the strength.

    Losses are those of the data, without the penalty. The best strength has the highest mean validation score; the
    one-standard-error strength is the strongest penalty whose score is within one standard error of it.

    Of a table, missing numbers are filled by the median, numbers are scaled, and categories (text, bool) have an input
    a level: each fold by its own training rows.

    An interrupted run keeps what it has finished: the same command with --resume goes on from there.
    """
    again = shlex.join(["penalize", *(argument for argument in context.obj if argument != "--resume")])
    run_path(Options(**context.params), again)
