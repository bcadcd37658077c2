"""The process of a run; only here are global seeds and thread counts touched."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import platform
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite._version import __version__
from suite.parts import ConfigError, resolve

_RECORDED = (
    *("numpy", "gymnasium", "mujoco", "torch", "stable_baselines3"),
    *("d3rlpy", "minari"),
)


def prepare_process() -> None:
    """Settings of the whole process, made once before torch is imported."""
    # Idle OpenMP threads that spin steal the core from the simulator's.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    silence_old_gym()
    # Two busy thread pools on the same cores are several times slower than one; the
    # simulator's has them.
    resolve("torch:set_num_threads")(1)


def silence_old_gym() -> None:
    """Keep the old gym from announcing that it is unmaintained.

    Stable-Baselines3 and d3rlpy import it if it is installed, and it prints a notice
    from this table. Nothing here runs on it.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("gym_notices.notices").notices.clear()


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def resolve_device(name: str) -> str:
    """``"cpu"`` or ``"cuda"``.

    Raises:
        ConfigError: If CUDA is asked for and there is none.
    """
    has_cuda = resolve("torch:cuda").is_available()
    if name == "cuda" and not has_cuda:
        raise ConfigError("there is no CUDA device; use --device cpu")
    return "cuda" if has_cuda and name in ("auto", "cuda") else "cpu"


def seed_globals(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators."""
    random.seed(seed)
    resolve("numpy:random").seed(seed)
    resolve("torch:manual_seed")(seed)


def random_state() -> dict[str, Any]:
    """The state of the generators that ``seed_globals`` seeds, for a checkpoint."""
    import numpy as np

    version, words, gauss = random.getstate()
    cuda = resolve("torch:cuda")
    return {
        "python": {
            "version": version,
            "words": np.array(words, np.uint32),
            "gauss": gauss,
        },
        "numpy": np.random.get_state(legacy=False),
        "torch": resolve("torch:get_rng_state")(),
        "cuda": cuda.get_rng_state_all() if cuda.is_initialized() else [],
    }


def set_random_state(tree: Mapping[str, Any]) -> None:
    """Put a ``random_state`` back."""
    import numpy as np

    python = tree["python"]
    random.setstate(
        (python["version"], tuple(python["words"].tolist()), python["gauss"])
    )
    np.random.set_state(tree["numpy"])
    resolve("torch:set_rng_state")(tree["torch"])
    if tree["cuda"]:
        resolve("torch:cuda").set_rng_state_all(tree["cuda"])


def env_seed(seed: int) -> int:
    """The seed of a run's training environment.

    Row i of it is seeded with this number plus i, so with the run's own seed the runs 0
    and 1 would share all their first episodes but one.
    """
    state = resolve("numpy:random").SeedSequence(seed).generate_state(1)
    return int(state[0] >> 1)  # some environments want 31 bits


def provenance() -> dict[str, Any]:
    """What made a result: versions, git commit (None outside a checkout), processor."""
    versions = {"suite": __version__, "python": platform.python_version()}
    for package in _RECORDED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "versions": versions,
        "git_commit": _git_commit(),
        "processor": _processor(),
    }


def _git_commit() -> str | None:
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout

    try:
        # An installed copy may lie inside somebody else's repository: only where this
        # file is tracked is the commit ours.
        git("ls-files", "--error-unmatch", here.name)
        return git(
            "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
