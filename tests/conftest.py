"""Settings every test shares; pytest reads this before it imports a test."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# The thread pools read these once, when torch is imported: one thread a process, since
# two busy pools on two cores are several times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["MPLBACKEND"] = "Agg"  # pictures go to files, whatever display there is

# No deadline: a loaded machine is no bug. Derandomised: a red run can be run again.
settings.register_profile("suite", deadline=None, derandomize=True, database=None)
settings.load_profile("suite")


@pytest.fixture(autouse=True, scope="session")
def sb3_logs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where SB3 makes the folder that every ``learn`` of it leaves behind."""
    os.environ["SB3_LOGDIR"] = str(tmp_path_factory.mktemp("sb3"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slow tests last, so that a quick one fails first."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
