"""The first lines of the page on datasets, in the folder of another project."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stored import dataset

import suite.wrappers as w
from suite.datasets import load_dataset, save_dataset

ROOT = Path(__file__).parents[1]
LINES = re.findall(r"```py\n(.*?)```", (ROOT / "docs/datasets.md").read_text(), re.S)


@pytest.mark.parametrize("layout", ["ours", "D4RL's"])
def test_five_lines_corrupt_a_dataset_from_another_projects_folder(tmp_path, layout):
    (five,) = LINES
    assert len(five.splitlines()) == 5
    data = dataset()
    if layout == "ours":
        save_dataset(data, tmp_path / "mine.npz")
    else:
        np.savez(
            tmp_path / "mine.npz",
            observations=data.obs,
            actions=data.actions,
            rewards=data.rewards,
            next_observations=data.next_obs,
            terminals=data.terminated,
            timeouts=data.truncated,
        )
    # None of what such a project may not have: no torch, no MuJoCo, no Minari.
    absent = ("torch", "mujoco", "minari", "h5py", "d3rlpy", "stable_baselines3")
    without = f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", without + five],
        cwd=tmp_path,
        env={**env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    worse = load_dataset(tmp_path / "worse.npz")
    by_hand = w.RewardNoise(w.DropBestEpisodes(data, percent=30), std=0.1, seed=7)
    assert worse.sha256 == by_hand.sha256
    assert worse.card["parent"]["sha256"] == data.sha256
