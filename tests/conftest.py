"""Rules for every test: how hard hypothesis tries, and where kernel tests may run.

A kernel test needs a kernel with ESP, namespaces of its own and a read-only host: that is what
a lane (:mod:`tests.lane`) gives. Outside of one it fails, with the way out, and is not skipped.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import InMemoryExampleDatabase

from tests.support.shares import Share

pytest_plugins = ["tests.support.fixtures"]

# No deadline for one example: machines of continuous integration stand still at times.
settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=300,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# In a lane the tree is read-only, so there is no folder for a database of examples.
settings.register_profile(
    "lane", deadline=None, max_examples=20, database=InMemoryExampleDatabase()
)

LANE = os.environ.get("SAD_LANE", "")
IN_LANE = [Path(__file__).parent / "kernel", Path(__file__).parent / "soak"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--share``: the number of this run among those that share a part of the tests."""
    parser.addoption("--share", type=int, default=0, help="share the tests with other runs")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the profile: of the lane, of continuous integration, or of a developer."""
    settings.load_profile("lane" if LANE else "ci" if os.environ.get("CI") else "dev")
    share = config.getoption("--share")
    if share:
        scratch = Path(os.environ["SAD_LANE_SCRATCH"])
        config.pluginmanager.register(Share(scratch / "claims"))
        own = scratch / f"share{share}"
        own.mkdir(exist_ok=True)
        os.environ["SAD_LANE_SCRATCH"] = str(own)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a lane, so that ``-m kernel`` finds it too."""
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in IN_LANE):
            item.add_marker(pytest.mark.kernel)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a kernel test that would run on a kernel nobody looked at."""
    if item.get_closest_marker("kernel") and LANE not in {"host", "uml"}:
        pytest.fail("this test needs a kernel with ESP: run make kernel", pytrace=False)
