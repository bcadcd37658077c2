"""The model that our lifecycle is timed by steps as Gymnasium's HalfCheetah-v5 does."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import mujoco
import numpy as np
import pytest

PERFORMANCE = Path(__file__).parents[2] / "benchmarks" / "performance"


@pytest.fixture
def halfcheetah_rows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(PERFORMANCE)
    return importlib.import_module("halfcheetah_rows")


def test_hundred_steps_have_the_bits_of_mujocos_own_loop(halfcheetah_rows):
    env = halfcheetah_rows.HalfCheetahEnv()
    obs, _ = env.reset(seed=0)
    simulation = env.batch.simulation
    data = mujoco.MjData(simulation.batch.model)
    data.qpos[:], data.qvel[:] = simulation.qpos[0], simulation.qvel[0]
    rng = np.random.default_rng(0)
    for _ in range(100):
        action, before = rng.uniform(-1, 1, 6), data.qpos[0]
        data.ctrl[:] = action
        mujoco.mj_step(simulation.batch.model, data, nstep=5)
        obs, reward, *_ = env.step(action)
        np.testing.assert_array_equal(obs, [*data.qpos[1:], *data.qvel])
        forward = (data.qpos[0] - before) / 0.05
        assert reward == pytest.approx(forward - 0.1 * (action**2).sum(), abs=1e-12)


def test_single_is_a_row_of_the_batch(halfcheetah_rows):
    single = halfcheetah_rows.HalfCheetahEnv()
    batch = halfcheetah_rows.HalfCheetahVectorEnv(3)
    np.testing.assert_array_equal(single.reset(seed=2)[0], batch.reset(seed=0)[0][2])
    action = np.random.default_rng(0).uniform(-1, 1, 6)
    np.testing.assert_array_equal(
        single.step(action)[0], batch.step(np.tile(action, (3, 1)))[0][2]
    )
