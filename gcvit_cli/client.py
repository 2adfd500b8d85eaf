"""`gcvit client`."""

import functools
import inspect
import os
import socket
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.console import (
    UsageError,
    console,
    error_line,
    import_tensorflow,
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
        self._knock()
        if not self.rest:
            import_tensorflow()  # TensorFlow Serving's messages need it
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

    def _knock(self):
        """Raises where nobody listens, before what takes seconds to import."""
        host, _, port = self.address.rpartition(":")
        try:
            place = (host.strip("[]"), int(port))
            if not urllib.request.getproxies():
                socket.create_connection(place, min(self.timeout, 10)).close()
        except (ValueError, OverflowError):
            return  # `ServingClient` says what is wrong with an option
        except OSError as error:
            reason = error.strerror or error
            raise OSError(
                f"{self.address} cannot be reached: {reason}"
            ) from None


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
    """Show a model's versions, and what the served one takes and gives.

    Exits with 1 where no version can be asked.
    """
    with server.connect() as client:
        versions = client.status()
        ready = any(v.state == "AVAILABLE" for v in versions)
        metadata = client.metadata() if ready else None
    found = {
        "versions": [vars(version) for version in versions],
        "signatures": {},
    }
    if metadata is not None:
        for name, signature in sorted(metadata.signatures.items()):
            found["signatures"][name] = {
                key: {name: vars(tensor) for name, tensor in tensors.items()}
                for key, tensors in vars(signature).items()
            }
    if json:
        print_json(found)
        return ready
    for version in versions:
        line = f"version {version.version}  {version.state}  {version.error}"
        console.print(line.rstrip(), soft_wrap=True)
    for name, signature in found["signatures"].items():
        console.print(name, style="bold")
        for key, arrow in (("inputs", "<-"), ("outputs", "->")):
            for tensor, info in sorted(signature[key].items()):
                sizes = ", ".join(str(size or "any") for size in info["shape"])
                dtype = info["dtype"].removeprefix("DT_").lower()
                console.print(f"  {arrow} {tensor}  {dtype} ({sizes})")
    return ready


@command(
    "gcvit client bench cat.jpg --address localhost:8500 --requests 1000 "
    "--concurrency 16"
)
def bench(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="What each request holds."),
    ],
    server: Server,
    requests: Annotated[int, typer.Option(min=1, help="How many.")] = 200,
    concurrency: Annotated[
        int, typer.Option(min=1, max=256, help="At once.")
    ] = 8,
    json: Json = False,
):
    """Measure latency and throughput of a server."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    contents = [path.read_bytes() for path in images]
    times, errors, lock = [], Counter(), threading.Lock()

    with server.connect(batch_size=len(contents)) as client:
        from gcvit_export import ServingError

        def ask(_):
            start, failed = time.perf_counter(), None
            try:
                for answer in client.classify(contents):
                    failed = failed or answer.error
            except ServingError as error:
                failed = error
            with lock:
                if failed is None:
                    times.append(time.perf_counter() - start)
                else:
                    errors[f"{type(failed).__name__}: {failed}"] += 1

        with ThreadPoolExecutor(concurrency) as threads:
            list(threads.map(ask, range(concurrency)))
            times.clear()
            errors.clear()
            start = time.perf_counter()
            list(threads.map(ask, range(requests)))
            seconds = time.perf_counter() - start
    found = {
        "requests": requests,
        "concurrency": concurrency,
        "images_per_request": len(contents),
        "errors": dict(errors),
        "images_per_second": len(times) * len(contents) / seconds,
    }
    for percent in (50, 95, 99):
        found[f"p{percent}_milliseconds"] = (
            1000 * float(np.percentile(times, percent)) if times else None
        )
    for message, count in errors.items():
        error_line(f"{count} x {message}")
    if json:
        print_json(found)
    else:
        for name, value in found.items():
            if name == "errors":
                value = sum(errors.values())
            elif isinstance(value, float):
                value = f"{value:.1f}"
            console.print(f"{name.replace('_', ' '):20}{value}")
    if errors:
        raise typer.Exit(1)
