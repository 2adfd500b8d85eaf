"""Processes that a benchmark interleaves: one runs while the others wait."""

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


class Contender:
    """A process that runs steps when told to.

    Args:
        worker: Path of a script that ends with `worker.serve(run,
            *packages)`; what `run` returns, as JSON, is a round's result.
        python: The Python that runs it; `None` for this one.
        path: Folder added to `PYTHONPATH`, or `None`.
        arguments: Its command line.

    Attributes:
        versions: Of its packages.
        rounds: The results so far.
        peak: The most memory it had so far, in MiB.
    """

    def __init__(self, worker, python, path, arguments):
        """Starts it; raises `RuntimeError` if it ends before it is ready."""
        environment = {
            "TF_CPP_MIN_LOG_LEVEL": "2",
            # As the command `gcvit` has them.
            "TF_ENABLE_ONEDNN_OPTS": "1",
            "XLA_FLAGS": "--xla_cpu_prefer_vector_width=512",
            **os.environ,
        }
        if path:
            paths = (path, environment.get("PYTHONPATH"))
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self.rounds = []
        self.peak = None
        # A file: nobody reads a pipe while the process runs.
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [python or sys.executable, worker, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )
        try:
            self.versions = self._answer()
        except RuntimeError:
            self.close()
            raise

    def run(self):
        """Measures one round."""
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.rounds.append(answer["result"])
        self.peak = answer["peak"]

    def close(self):
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _answer(self):
        for line in self._process.stdout:
            if line.startswith("{"):  # libraries print too
                return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        lines = [line for line in lines if "Error" in line] or lines
        raise RuntimeError(
            lines[-1] if lines else f"ended with {self._process.returncode}"
        )


def spread(values, digits=0):
    """Median, least and largest, as text."""
    parts = statistics.median(values), min(values), max(values)
    return "{:.{n}f} ({:.{n}f} to {:.{n}f})".format(*parts, n=digits)


def measure(titles, start, rounds):
    """Measures all, one after the other, several times.

    Args:
        titles: Of the contenders.
        start: Makes the `Contender` of a title.
        rounds: How often.

    Returns:
        `{"versions", "rounds", "peak_mib"}` by title; of one that did not
        run, `{"failed"}`, why.
    """
    running, failed = {}, {}
    try:
        for title in titles:
            try:
                running[title] = start(title)
            except (OSError, RuntimeError) as error:
                failed[title] = str(error)
        for _ in range(rounds):
            for title in [t for t in running if t not in failed]:
                time.sleep(1)  # until the last one's threads are asleep
                try:
                    running[title].run()
                except (OSError, RuntimeError) as error:
                    failed[title] = str(error)
    finally:
        for contender in running.values():
            contender.close()
    return {
        title: {"failed": failed[title]}
        if title in failed
        else {
            "versions": running[title].versions,
            "rounds": running[title].rounds,
            "peak_mib": running[title].peak,
        }
        for title in titles
    }


def print_versions(results):
    """Prints the packages of each contender, or why it did not run."""
    for title, result in results.items():
        if "failed" in result:
            print(f"{title} did not run: {result['failed']}")
        else:
            versions = (f"{p} {v}" for p, v in result["versions"].items())
            print(f"{title}: {', '.join(versions)}")


def install(folder, *packages):
    """Installs packages, without what they need, into a folder."""
    process = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
        + ["--target", folder, *packages],
        stderr=subprocess.PIPE,
        text=True,
    )
    if process.returncode:
        raise RuntimeError(process.stderr.strip().splitlines()[-1])


def machine():
    """What a figure is written down with."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "date": datetime.datetime.now().isoformat(" ", "minutes"),
    }


def _cpu():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
