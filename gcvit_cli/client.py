"""`gcvit client`."""

import functools
import inspect
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.console import (
    UsageError,
    console,
    error_line,
    print_json,
)
from gcvit_cli.options import Json

TOKEN = "GCVIT_TOKEN"
"""Environment variable of the token, in place of --token-file."""

app = typer.Typer(
    help="Ask a TensorFlow Serving server.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@dataclass(frozen=True)
class Server:
    """Where a server is and how it is asked: options of every command here."""

    address: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="The server's gRPC port (8500), or with --rest its REST port "
            "(8501).",
        ),
    ]
    rest: Annotated[
        bool, typer.Option("--rest", help="Speak REST in place of gRPC.")
    ] = False
    model: Annotated[
        str,
        typer.Option(metavar="NAME", help="The model's name on the server."),
    ] = "gcvit"
    version: Annotated[
        int | None, typer.Option(min=1, help="Default: the newest one.")
    ] = None
    timeout: Annotated[
        float, typer.Option(help="Seconds for a request and its retries.")
    ] = 30
    tls: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|system",
            help="Root certificates (PEM) to check the server against. "
            "Default: no encryption.",
        ),
    ] = None
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with a bearer token, for a proxy; needs --tls. "
            f"Default: the environment variable {TOKEN}."
        ),
    ] = None

    def connect(self, **options):
        """A client of the server.

        Args:
            **options: Further ones of `ServingClient`.

        Returns:
            A `gcvit_export.ServingClient`.

        Raises:
            ValueError: If an option is out of range.
            OSError: If a file cannot be read.
        """
        token, source = os.environ.get(TOKEN) or None, TOKEN
        if self.token_file is not None:
            source = "--token-file"
            token = (
                self.token_file.read_bytes().decode(errors="replace").strip()
            )
            if not token:
                raise ValueError(f"--token-file is empty: {self.token_file}")
        if token is not None and self.tls is None:
            raise UsageError(
                f"{source} needs --tls: the token would be readable"
            )
        from gcvit_export import ServingClient

        return ServingClient(
            self.address,
            self.model,
            protocol="rest" if self.rest else "grpc",
            version=self.version,
            timeout=self.timeout,
            tls=True if self.tls == "system" else self.tls,
            token=token,
            **options,
        )


def command(example):
    """Adds a command, whose argument `server` becomes the options of `Server`.

    Args:
        example: Last line of its help.
    """

    def add(function):
        own = inspect.signature(function).parameters.values()
        servers = inspect.signature(Server).parameters.values()
        options = [p for p in (*own, *servers) if p.name != "server"]

        @functools.wraps(function)
        def run(**values):
            server = Server(
                **{f.name: values.pop(f.name) for f in fields(Server)}
            )
            function(server=server, **values)

        run.__signature__ = inspect.Signature(
            [p.replace(kind=p.KEYWORD_ONLY) for p in options]
        )
        app.command(epilog=f"Example: `{example}`")(run)
        return function

    return add


@command("gcvit client predict cat.jpg --address localhost:8500")
def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...")],
    server: Server,
    top: Annotated[
        int, typer.Option(min=1, max=5, help="Classes per image.")
    ] = 5,
    json: Json = False,
):
    """Classify image files, which the server decodes."""
    with server.connect() as client:
        answers = client.classify(images)
    rows = []
    for path, answer in zip(images, answers, strict=True):
        if answer.error is not None:
            error_line(str(answer.error))
            continue
        best = zip(answer.classes, answer.labels, answer.scores, strict=True)
        found = [
            {"class": k, "label": label, "score": score}
            for k, label, score in list(best)[:top]
        ]
        rows.append({"image": str(path), "classes": found})
        if not json:
            console.print(str(path), style="bold", soft_wrap=True)
            for c in found:
                line = f"  {c['score']:7.2%}  {c['label']}"
                console.print(line, soft_wrap=True)
    if json:
        print_json(rows)
    if len(rows) < len(images):
        raise typer.Exit(1)


@command("gcvit client status --address localhost:8500")
def status(server: Server, json: Json = False):
    """Show a model's versions. Exits with 1 where none can be asked."""
    with server.connect() as client:
        versions = client.status()
    if json:
        print_json({"versions": [vars(version) for version in versions]})
    else:
        for v in versions:
            line = f"version {v.version}  {v.state}  {v.error}"
            console.print(line.rstrip(), soft_wrap=True)
    if all(version.state != "AVAILABLE" for version in versions):
        raise typer.Exit(1)
