"""The wrappers in another project's environment: the newest Gymnasium and NumPy."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = ("gymnasium", "numpy", "array-api-compat", "moviepy>=2")
TESTING = ("pytest", "pytest-timeout", "hypothesis")


@pytest.mark.slow
def test_wrappers_work_with_the_newest_gymnasium_alone(tmp_path):
    venv.create(tmp_path / "side", with_pip=False)
    python = tmp_path / "side" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    pip = (*pip, "--python", python)
    _run(*pip, "install", "--quiet", "--no-compile", *NEEDED, *TESTING)
    listed = _run(*pip, "list")
    assert "torch" not in listed and "mujoco" not in listed
    (version,) = [
        line.split()[1] for line in listed.splitlines() if "gymnasium" in line
    ]
    assert tuple(map(int, version.split(".")[:2])) >= (1, 1)  # ours is pinned to 1.0
    tests = ROOT / "tests" / "wrappers"
    told = _run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests)
    assert " passed" in told and "skipped" not in told


def _run(*command: str | Path) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**env, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout
