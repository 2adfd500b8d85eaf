"""Arguments of `gcvit client`; the work is in `gcvit_cli/client.py`."""

from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.options import Json

client = typer.Typer(
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
    bool,
    typer.Option("--rest", help="Speak REST in place of gRPC."),
]
ServedModel = Annotated[
    str, typer.Option(metavar="NAME", help="The model's name on the server.")
]
ServedVersion = Annotated[
    int | None, typer.Option(min=1, help="Default: the newest one.")
]
Timeout = Annotated[
    float, typer.Option(help="Seconds for a request and its retries.")
]
Tls = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|system",
        help="Root certificates (PEM) to check the server against. Default: "
        "no encryption.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        help="File with a bearer token, for a proxy; needs --tls. Default: "
        "the environment variable GCVIT_TOKEN."
    ),
]


@client.command(
    "predict",
    epilog="Example: `gcvit client predict cat.jpg --address localhost:8500`",
)
def client_predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...")],
    address: Address,
    rest: Rest = False,
    model: ServedModel = "gcvit",
    version: ServedVersion = None,
    top: Annotated[
        int, typer.Option(min=1, max=5, help="Classes an image.")
    ] = 5,
    timeout: Timeout = 30,
    tls: Tls = None,
    token_file: TokenFile = None,
    json: Json = False,
):
    """Classify image files, which the server decodes."""
    from gcvit_cli.client import run_predict

    failed = run_predict(
        images=images,
        top=top,
        json=json,
        address=address,
        rest=rest,
        model=model,
        version=version,
        timeout=timeout,
        tls=tls,
        token_file=token_file,
    )
    if failed:
        raise typer.Exit(1)


@client.command(
    "status", epilog="Example: `gcvit client status --address localhost:8500`"
)
def client_status(
    address: Address,
    rest: Rest = False,
    model: ServedModel = "gcvit",
    timeout: Timeout = 30,
    tls: Tls = None,
    token_file: TokenFile = None,
    json: Json = False,
):
    """Show a model's versions, and what the served one takes and gives.

    Exits with 1 where no version can be asked.
    """
    from gcvit_cli.client import run_status

    ready = run_status(
        json=json,
        address=address,
        rest=rest,
        model=model,
        version=None,
        timeout=timeout,
        tls=tls,
        token_file=token_file,
    )
    if not ready:
        raise typer.Exit(1)


@client.command(
    "bench",
    epilog="Example: `gcvit client bench cat.jpg --address localhost:8500 "
    "--requests 1000 --concurrency 16`",
)
def client_bench(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="What each request holds."),
    ],
    address: Address,
    requests: Annotated[int, typer.Option(min=1, help="How many.")] = 200,
    concurrency: Annotated[
        int, typer.Option(min=1, max=256, help="At once.")
    ] = 8,
    rest: Rest = False,
    model: ServedModel = "gcvit",
    version: ServedVersion = None,
    timeout: Timeout = 30,
    tls: Tls = None,
    token_file: TokenFile = None,
    json: Json = False,
):
    """Measure latency and throughput of a server."""
    from gcvit_cli.client import run_bench

    failed = run_bench(
        images=images,
        requests=requests,
        concurrency=concurrency,
        json=json,
        address=address,
        rest=rest,
        model=model,
        version=version,
        timeout=timeout,
        tls=tls,
        token_file=token_file,
    )
    if failed:
        raise typer.Exit(1)
