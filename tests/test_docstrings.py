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
    "gcvit_keras.segmentation",
    "gcvit_keras.weights",
    "gcvit_training",
    "gcvit_export",
)
MODULES = (
    "gcvit_keras.checks",
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
                inspect.isclass(thing) and not issubclass(thing, BaseException)
            ):
                yield f"{package}.{name}", thing


LONG = {
    "gcvit_export.Verification",
    "gcvit_export.export_litert",
    "gcvit_export.export_onnx",
    "gcvit_export.export_saved_model",
    "gcvit_export.export_serving",
    "gcvit_export.verify",
    "gcvit_keras.GCViTBase",
    "gcvit_keras.GCViTLarge",
    "gcvit_keras.GCViTSmall",
    "gcvit_keras.GCViTSmall2",
    "gcvit_training.train",
    "gcvit_training.write_report",
}
"""Their examples train or export, or build what XXTiny's does, but large."""


def examples(thing, name):
    finder = doctest.DocTestFinder(recurse=inspect.ismodule(thing))
    return [test for test in finder.find(thing, name) if test.examples]


def run(test):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    output = []
    failures, _ = runner.run(test, out=output.append, clear_globs=True)
    assert not failures, "".join(output)


@pytest.mark.parametrize(
    "name, thing",
    [
        pytest.param(*item, marks=pytest.mark.slow if item[0] in LONG else ())
        for item in dict(public()).items()
    ],
)
def test_the_example_of_a_public_name_runs(name, thing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = examples(thing, name)
    assert found, f"{name} has no example"
    for test in found:
        run(test)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    found = examples(importlib.import_module(name), name)
    assert found
    for test in found:
        run(test)
