"""Fixtures for kernel tests, registered by the root ``conftest.py``.

Counterpart of :mod:`tests.support.namespaces`. What a fixture builds is gone after its test.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.namespaces import Namespace


@pytest.fixture
def netns() -> Iterator[Callable[[str], Namespace]]:
    """Give a factory of named network namespaces, ``lo`` up; all go when the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(Namespace(name))


@pytest.fixture
def artefacts(request: pytest.FixtureRequest) -> Path:
    """Give a folder for captures and logs of this test that outlives the lane."""
    name = request.node.nodeid.replace("/", "_").replace("::", ".")
    folder = Path(os.environ["SAD_LANE_SCRATCH"]) / "".join(
        letter if letter.isalnum() or letter in "._-" else "_" for letter in name
    )
    folder.mkdir(parents=True, exist_ok=True)
    return folder
