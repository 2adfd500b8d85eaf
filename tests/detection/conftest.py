"""The two reference detectors, built once."""

import pytest
from reference import Reference


@pytest.fixture(scope="session", params=["maskrcnn", "cascade"])
def reference(request):
    """Mmdet's numbers of one of the two detectors."""
    return Reference(request.param)


@pytest.fixture(scope="session")
def detector(reference):
    """The detector with the reference's weights; not to be changed."""
    return reference.model()
