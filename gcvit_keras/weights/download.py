"""Downloads published checkpoints into a cache.

`huggingface_hub` does the transfer: retries, ranges, redirects, progress bar,
token. Its `hf_hub_download` is not used since it starts a killed download
anew and has given a file its name before it can be hashed; nor `pooch` and
`keras.utils.get_file`, which do not resume.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np

from gcvit_keras.weights.checkpoint import open_checkpoint
from gcvit_keras.weights.messages import tell
from gcvit_keras.weights.names import FIRST_KEYS
from gcvit_keras.weights.presets import HUB_REPOSITORY, Preset


class DownloadError(RuntimeError):
    """The error of a download that failed; its message says what to do.

    It is no `OSError`: code that writes files takes an `OSError` for trouble
    with its own files.
    """


def cache_folder() -> Path:
    """Finds the folder of downloads.

    Returns:
        `GCVIT_HOME`, else `gcvit` in `KERAS_HOME`, else `~/.keras/gcvit`.
    """
    home = os.environ.get("GCVIT_HOME")
    if home:
        return Path(home).expanduser()
    keras_home = os.environ.get("KERAS_HOME") or "~/.keras"
    return Path(keras_home).expanduser() / "gcvit"


def download_weights(preset: Preset, *, mirror=None) -> Path:
    """Gives the file of a published checkpoint, downloaded if need be.

    Its SHA-256 is checked before the file gets its name, against the part of
    it that is known or else what the hub states, and is recorded beside it; a
    later download that differs from the record is refused. Where nobody
    states one (a mirror, the first time) the file has to be a whole
    checkpoint. A download that was interrupted goes on where it stopped.
    Several processes may ask at once: one downloads.

    Args:
        preset: One of `PRESETS`.
        mirror: URL of a folder that holds the file under its own name, to
            take it from there. Default: `GCVIT_MIRROR`, else where it is
            published; of presets on the Hugging Face hub `HF_ENDPOINT`
            replaces `https://huggingface.co`.

    Returns:
        `pathlib.Path` in `cache_folder()`.

    Raises:
        DownloadError: If it is not there and cannot be downloaded, or
            `GCVIT_OFFLINE` forbids it.

    Examples:
    >>> import os
    >>> from unittest import mock
    >>> from gcvit_keras import download_weights, find_preset
    >>> with mock.patch.dict(os.environ, GCVIT_OFFLINE="1", GCVIT_HOME="."):
    ...     download_weights(find_preset("tiny", "imagenet"))
    Traceback (most recent call last):
        ...
    gcvit_keras.weights.download.DownloadError: ...
    """
    path = cache_folder() / preset.file
    if path.is_file():
        if not _record(path).is_file():  # put there by hand
            _check(preset, path, path, preset.sha256)
        return path
    if _is_set("GCVIT_OFFLINE", "HF_HUB_OFFLINE"):
        raise DownloadError(
            f"{preset.file} is not in {path.parent} and GCVIT_OFFLINE or "
            f"HF_HUB_OFFLINE is set. {_by_hand(preset, path)}"
        )
    mirror = mirror or os.environ.get("GCVIT_MIRROR")
    if mirror and not mirror.startswith(("http://", "https://")):
        raise DownloadError(
            "`mirror` or GCVIT_MIRROR must begin with http:// or https://. "
            f"Received: {mirror!r}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path):
            if not path.is_file():
                _download(preset, path, mirror)
    except OSError as error:
        raise DownloadError(
            f"{path} cannot be written: {error.strerror or error}. What was "
            "downloaded stays for the next try to go on from. Make room or "
            "set GCVIT_HOME to another folder"
        ) from None
    return path


def _download(preset, path, mirror):
    """Makes `path`; it is whole and checked, or not there."""
    tell(
        f"Downloading GC ViT {preset.variant} ({preset.name}, "
        f"{preset.resolution} x {preset.resolution}, {preset.top1}% top-1) to "
        f"{path.parent}. Licence of these weights: {preset.licence}, "
        "attribution, non-commercial, share alike."
    )
    url, headers = preset.url, None
    stated, size = preset.sha256, None
    if mirror:
        url = f"{mirror.rstrip('/')}/{preset.file}"
    elif preset.on_hub:
        url, headers, stated, size = _ask_hub(preset, path)
        recorded = _recorded(path)
        if recorded and stated and recorded != stated:
            raise DownloadError(
                f"{url} is not the file that was there before: its SHA-256 "
                f"was {recorded} and is {stated}. If that is meant, remove "
                f"{_record(path)}"
            )
    part = path.with_name(path.name + ".part")
    if not stated and not _recorded(path):
        # Without a checksum the rest may be of another file, unnoticed.
        part.unlink(missing_ok=True)
    resumed = part.exists()
    while True:
        _transfer(preset, path, url, headers, size, part)
        try:
            _check(preset, path, part, stated)
            break
        except DownloadError:
            part.unlink()
            if not resumed:
                raise
        resumed = False  # the first half may have been of another file
    os.replace(part, path)


def _ask_hub(preset, path):
    """Asks the hub for URL, headers, SHA-256 (empty if unknown) and size."""
    import huggingface_hub

    endpoint = os.environ.get("HF_ENDPOINT") or None
    url = huggingface_hub.hf_hub_url(
        HUB_REPOSITORY, preset.file, endpoint=endpoint
    )
    headers = huggingface_hub.utils.build_hf_headers(library_name="gcvit_keras")
    with _transfer_errors(preset, path, url):
        metadata = huggingface_hub.get_hf_file_metadata(
            url, headers=headers, endpoint=endpoint
        )
    etag = (metadata.etag or "").lower()
    # The etag of a file that is not in large file storage is something else.
    stated = etag if len(etag) == 64 else ""
    return url, headers, stated, metadata.size


def _transfer(preset, path, url, headers, size, part):
    """Downloads to `part`, going on from what is there."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import logging

    with (
        contextlib.ExitStack() as stack,
        _transfer_errors(preset, path, url),
        part.open("ab") as file,
    ):
        # It would log each of six attempts; the error says it in the end.
        stack.callback(logging.set_verbosity, logging.get_verbosity())
        logging.set_verbosity_error()
        start = file.tell()
        try:
            http_get(
                url,
                file,
                resume_size=start,
                headers=headers,
                expected_size=size,
                displayed_filename=preset.file,
            )
        except HfHubHTTPError as error:
            # 416: the file ends where the part does. So the part is whole, or
            # of another file, which its checksum tells.
            if not start or error.response.status_code != 416:
                raise


@contextlib.contextmanager
def _transfer_errors(preset, path, url):
    """Makes one `DownloadError` of the many kinds that a transfer raises."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk, not of the network
        if isinstance(error, HfHubHTTPError):
            response = error.response
            reason = f"{response.status_code} {response.reason_phrase}"
        else:
            reason = str(error).strip() or type(error).__name__
        reason = reason.splitlines()[0].rstrip(".")
        if reason.startswith(("401", "403")):
            reason += " (a private hub wants HF_TOKEN)"
        # `from None`: the chain of the network libraries' errors is 100 lines.
        raise DownloadError(
            f"{url} cannot be downloaded: {reason}. {_by_hand(preset, path)}"
        ) from None


def _by_hand(preset, path):
    source = "HF_ENDPOINT" if preset.on_hub else "GCVIT_MIRROR"
    return (
        f"Check the network, set {source} to a mirror, or bring "
        f"{preset.url} to {path} by other means"
    )


def _check(preset, path, file, stated):
    """Compares the file with what is known of it, and records its SHA-256."""
    with file.open("rb") as stream:
        computed = hashlib.file_digest(stream, "sha256").hexdigest()
    recorded = _recorded(path)
    expected = recorded or stated
    if not computed.startswith(expected):
        raise DownloadError(
            f"{preset.file} is not what was published, or was damaged on the "
            f"way: its SHA-256 is {computed} and should "
            f"{'begin with' if len(expected) < 64 else 'be'} {expected}"
            + (f", as {_record(path)} has it from before" if recorded else "")
            + ". Try again, or another mirror"
            + (f", or remove {path}" if file == path else "")
        )
    if not expected:
        # Nobody stated a checksum: it has to be a checkpoint at least.
        try:
            tensors, _ = open_checkpoint(file, FIRST_KEYS.values())
            for tensor in tensors.values():
                np.asarray(tensor)
        except ValueError as error:
            raise DownloadError(
                f"what came as {preset.file} is no checkpoint: {error}. "
                "Try again, or another mirror"
                + (f", or remove {path}" if file == path else "")
            ) from None
    with contextlib.suppress(OSError):  # read-only: checked each time
        _record(path).write_text(f"{computed}  {path.name}\n")


def _record(path):
    """Gives the path of the file that records its SHA-256, for `sha256sum`."""
    return path.with_name(path.name + ".sha256")


def _recorded(path):
    with contextlib.suppress(FileNotFoundError):
        return (_record(path).read_text().split() or [""])[0]
    return ""


@contextlib.contextmanager
def _lock(path):
    """Waits while another process downloads the same file."""
    import filelock

    lock = filelock.FileLock(path.with_name(path.name + ".lock"))
    try:
        lock.acquire(timeout=1)
    except filelock.Timeout:
        tell(f"Another process is downloading {path.name}: waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _is_set(*variables):
    return any(
        os.environ.get(v, "").lower() not in ("", "0", "false", "no", "off")
        for v in variables
    )
