"""Runs `gcvit` for the tests."""

import contextlib
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

from gcvit_cli.main import main


def gcvit(*arguments, cwd, **environment):
    """Runs the installed command; returns code, output and error lines."""
    command = Path(sys.executable).with_name("gcvit")
    process = subprocess.run(
        [command, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "COLUMNS": "200",
            "NO_COLOR": "1",
            **{key: str(value) for key, value in environment.items()},
        },
    )
    return process.returncode, process.stdout, process.stderr


def inside(*arguments, cwd, **environment):
    """What `gcvit` returns, of the command in this process.

    Which has TensorFlow imported: that takes seconds.
    """
    environment = {key: str(value) for key, value in environment.items()}
    environment = {"COLUMNS": "200", "NO_COLOR": "1", **environment}
    output, errors = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "argv", ["gcvit", *map(str, arguments)]),
        warnings.catch_warnings(),
    ):
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
    return code, output.getvalue(), errors.getvalue()


def refused(*arguments, cwd, code=1, **environment):
    """The one error line of a call that must fail, in this process.

    With 2 where the arguments do not go together, with 1 where what they
    name cannot be used.
    """
    found, _, errors = inside(*arguments, cwd=cwd, **environment)
    assert found == code, errors
    (line,) = errors.strip().splitlines()
    assert line.startswith("error: ")
    return line
