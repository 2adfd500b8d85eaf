"""`gcvit client`."""

import os
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

Address = Annotated[
    str,
    typer.Option(
        metavar="HOST:PORT",
        help="The server's gRPC port (8500), or with --rest its REST port "
        "(8501).",
    ),
]
Rest = Annotated[
    bool, typer.Option("--rest", help="Speak REST in place of gRPC.")
]
Model = Annotated[
    str, typer.Option(metavar="NAME", help="The model's name on the server.")
]
Version = Annotated[
    int | None, typer.Option(min=1, help="Default: the newest one.")
]
Timeout = Annotated[
    float, typer.Option(help="Seconds for a request and its retries.")
]
Tls = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|system",
        help="Root certificates (PEM) to check the server against. "
        "Default: no encryption.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        help="File with a bearer token, for a proxy; needs --tls. "
        f"Default: the environment variable {TOKEN}."
    ),
]


def connect(address, rest, model, version, timeout, tls, token_file):
    """Makes a `ServingClient` of the options that every command here has."""
    token, source = os.environ.get(TOKEN) or None, TOKEN
    if token_file is not None:
        source = "--token-file"
        token = token_file.read_bytes().decode(errors="replace").strip()
        if not token:
            raise ValueError(f"--token-file is empty: {token_file}")
    if token is not None and tls is None:
        raise UsageError(f"{source} needs --tls: the token would be readable")
    from gcvit_export import ServingClient

    return ServingClient(
        address,
        model,
        protocol="rest" if rest else "grpc",
        version=version,
        timeout=timeout,
        tls=True if tls == "system" else tls,
        token=token,
    )


@app.command(
    epilog="Example: `gcvit client predict cat.jpg --address localhost:8500`"
)
def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...")],
    address: Address,
    top: Annotated[
        int, typer.Option(min=1, max=5, help="Classes per image.")
    ] = 5,
    json: Json = False,
    rest: Rest = False,
    model: Model = "gcvit",
    version: Version = None,
    timeout: Timeout = 30,
    tls: Tls = None,
    token_file: TokenFile = None,
):
    """Classify image files, which the server decodes."""
    options = (address, rest, model, version, timeout, tls, token_file)
    with connect(*options) as client:
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


@app.command(epilog="Example: `gcvit client status --address localhost:8500`")
def status(
    address: Address,
    json: Json = False,
    rest: Rest = False,
    model: Model = "gcvit",
    version: Version = None,
    timeout: Timeout = 30,
    tls: Tls = None,
    token_file: TokenFile = None,
):
    """Show a model's versions. Exits with 1 where none can be asked."""
    options = (address, rest, model, version, timeout, tls, token_file)
    with connect(*options) as client:
        versions = client.status()
    if json:
        print_json({"versions": [vars(version) for version in versions]})
    else:
        for v in versions:
            line = f"version {v.version}  {v.state}  {v.error}"
            console.print(line.rstrip(), soft_wrap=True)
    if all(version.state != "AVAILABLE" for version in versions):
        raise typer.Exit(1)
