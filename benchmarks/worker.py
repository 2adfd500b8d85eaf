"""What a contender's own process does: it measures a round when told to."""

import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version


def peak():
    """Most memory that the process has had so far, in MiB."""
    # Not ru_maxrss, which a process inherits from its parent.
    with open("/proc/self/status") as file:
        status = dict(line.split(":") for line in file)
    return int(status["VmHWM"].split()[0]) / 1024


def serve(run, *packages):
    """Prints the versions, then one result of `run` per line that is read.

    Args:
        run: Function without arguments; measures one round and returns what
            JSON can hold.
        *packages: Names of the distributions whose versions are printed.
    """
    versions = {"Python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # a checkout that is not installed
            versions[package] = "checkout"
    print(json.dumps(versions), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"result": run(), "peak": peak()}), flush=True)
