"""The examples in the docstrings of all that is public run as they stand."""

import doctest
import importlib
import inspect

import pytest

PACKAGES = (
    "gcvit_keras",
    "gcvit_keras.detection",
    "gcvit_keras.explain",
    "gcvit_keras.images",
    "gcvit_keras.layers",
    "gcvit_keras.weights",
    "gcvit_training",
    "gcvit_export",
)
MODULES = (
    "gcvit_keras.checks",
    "gcvit_keras.layers.window",
    "gcvit_keras.models.structure",
)
"""Not public, but with examples of their own."""


def public():
    """All public functions and classes, by the first name they have."""
    seen = set()
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if id(thing) in seen:
                continue
            seen.add(id(thing))
            if inspect.isfunction(thing) or (
                # An error is explained by its message.
                inspect.isclass(thing) and not issubclass(thing, Exception)
            ):
                yield f"{package}.{name}", thing


WITHOUT_EXAMPLES = {
    "gcvit_keras.Preset",
    "gcvit_keras.download_weights",
    "gcvit_keras.find_preset",
    "gcvit_keras.load_weights",
    "gcvit_keras.weights.describe_checkpoint",
    "gcvit_keras.weights.prepare",
    "gcvit_training.RunConfig",
    "gcvit_training.evaluate",
    "gcvit_training.read_config",
    "gcvit_training.train",
    "gcvit_training.write_config",
    "gcvit_export.litert",
    "gcvit_export.onnx",
    "gcvit_export.saved_model",
    "gcvit_export.serving",
    "gcvit_export.verification",
}
"""To be given an example. The list only shrinks."""


def examples(thing, name):
    finder = doctest.DocTestFinder(recurse=inspect.ismodule(thing))
    return [test for test in finder.find(thing, name) if test.examples]


def run(test):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    output = []
    failures, _ = runner.run(test, out=output.append, clear_globs=True)
    assert not failures, "".join(output)


@pytest.mark.parametrize("name, thing", dict(public()).items())
def test_the_example_of_a_public_name_runs(name, thing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = examples(thing, name)
    if name in WITHOUT_EXAMPLES:
        assert not found, f"{name} has an example: take it off the list"
        return
    assert found, f"{name} has no example"
    for test in found:
        run(test)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    found = examples(importlib.import_module(name), name)
    assert found
    for test in found:
        run(test)
