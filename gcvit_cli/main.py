"""The `gcvit` command: its commands, its environment, its errors.

TensorFlow takes seconds to import, so every command imports it for itself.
"""

import os
import signal
import sys
import warnings
from typing import Annotated

import typer

from gcvit_cli import (
    client,
    convert,
    evaluate,
    explain,
    export,
    predict,
    quickstart,
    train,
    verify,
)
from gcvit_cli import list as list_
from gcvit_cli.console import UsageError, error_line

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for module in (
    *(quickstart, train, evaluate, list_, predict, convert),
    *(export, verify, explain),
):
    app.command(
        module.__name__.rpartition(".")[2],
        epilog=f"Example: `{module.EXAMPLE}`",
    )(module.command)
app.add_typer(client.app, name="client")


def _show_version(is_asked: bool):
    if is_asked:
        import importlib.metadata

        print(f"gcvit-keras {importlib.metadata.version('gcvit-keras')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
):
    """GC ViT for Keras 3: train, predict, convert and export."""


def main():
    """Runs the command; errors of the user's are one line.

    Exits with 2 where the arguments do not go together, with 1 where what
    they name cannot be used, and with 128 + the number of a signal.
    """
    # Training and export are TensorFlow's; its own words stay off the screen.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # TensorFlow turns oneDNN on by itself only where the processor has
    # instructions for neural networks, such as AVX512_VNNI. For one with AVX2
    # TF_ENABLE_ONEDNN_OPTS=0 before benchmarks/train.py shows what it does.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # XLA's loops on a CPU; by itself it uses half of AVX512's registers.
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_prefer_vector_width=512")
    if not sys.warnoptions:  # python -W and PYTHONWARNINGS ask for them
        warnings.simplefilter("ignore")
    # An exception, so that what is half written is removed.
    for stop in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(stop) is signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(stop, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except Exception as error:
        # By its name: DownloadError's module imports Keras.
        if not isinstance(error, (ValueError, OSError)) and (
            type(error).__name__ != "DownloadError"
        ):
            raise
        error_line(str(error))
        sys.exit(2 if isinstance(error, UsageError) else 1)
