"""`gcvit client`."""

import json as json_module
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gcvit_cli.console import console, error_line, import_tensorflow

TOKEN = "GCVIT_TOKEN"
"""Environment variable of the token, in place of --token-file."""


def run_predict(images, top, json, **server):
    """Has a server classify image files and prints the best classes of each.

    Args:
        images: Paths of image files.
        top: Classes an image.
        json: Whether to print JSON.
        **server: See `connect`.

    Returns:
        How many images have no classes.

    Raises:
        ValueError: If an argument is out of range.
        ServingError: If the server does not answer.
    """
    with connect(**server) as client:
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
        print(json_module.dumps(rows, indent=2))
    return len(images) - len(rows)


def run_status(json, **server):
    """Prints the versions of a model, and what the one served takes.

    Args:
        json: Whether to print JSON.
        **server: See `connect`.

    Returns:
        Whether a version can be asked.

    Raises:
        ServingError: If the server does not answer.
    """
    with connect(**server) as client:
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
        print(json_module.dumps(found, indent=2))
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


def run_bench(images, requests, concurrency, json, **server):
    """Sends the same images again and again and prints how long it took.

    Args:
        images: Paths of image files, all of which each request holds.
        requests: How many requests, after one for each of the concurrent
            ones that is not counted.
        concurrency: How many at once.
        json: Whether to print JSON.
        **server: See `connect`.

    Returns:
        How many requests failed, or had an image that failed.

    Raises:
        ValueError: If an argument is out of range.
        OSError: If an image cannot be read.
    """
    contents = [path.read_bytes() for path in images]
    times, errors, lock = [], Counter(), threading.Lock()

    with connect(batch_size=len(contents), **server) as client:
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
        "images_a_request": len(contents),
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
        print(json_module.dumps(found, indent=2))
    else:
        for name, value in found.items():
            if name == "errors":
                value = sum(errors.values())
            elif isinstance(value, float):
                value = f"{value:.1f}"
            console.print(f"{name.replace('_', ' '):20}{value}")
    return sum(errors.values())


def connect(address, rest, model, version, timeout, tls, token_file, **options):
    """A client, as the options of the command say.

    Args:
        address: `host:port`.
        rest: Whether the port is that of REST.
        model: Name of the model on the server.
        version: Its version, or `None`.
        timeout: Seconds a batch may take.
        tls: Path of root certificates, `"system"`, or `None`.
        token_file: Path of a file with a bearer token, or `None` for that of
            the environment variable `GCVIT_TOKEN`, if it is set.
        **options: Further ones of `ServingClient`.

    Returns:
        A `gcvit_export.ServingClient`.

    Raises:
        ValueError: If an argument is out of range.
        OSError: If a file cannot be read.
    """
    if not rest:
        import_tensorflow()  # TensorFlow Serving's messages need it
    from gcvit_export import ServingClient

    token, source = os.environ.get(TOKEN) or None, TOKEN
    if token_file is not None:
        source = "--token-file"
        token = token_file.read_bytes().decode(errors="replace").strip()
        if not token:
            raise ValueError(f"--token-file is empty: {token_file}")
    if token is not None and tls is None:
        raise ValueError(f"{source} needs --tls: the token would be readable")
    return ServingClient(
        address,
        model,
        protocol="rest" if rest else "grpc",
        version=version,
        timeout=timeout,
        tls=True if tls == "system" else tls,
        token=token,
        **options,
    )
