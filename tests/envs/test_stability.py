"""Hard use: adversarial actions, and physics that blows up."""

from __future__ import annotations

import logging
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from mujoco.batch import SimulationError

from suite.envs.pickcube import PickCubeVectorEnv

ROWS = 250


def bang_bang(rng: np.random.Generator) -> np.ndarray:
    return rng.choice([-1.0, 1.0], (ROWS, 8))


def anywhere(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-1, 1, (ROWS, 8))


def one_way(rng: np.random.Generator) -> np.ndarray:
    return np.tile(np.where(np.arange(ROWS) % 2, 1.0, -1.0)[:, None], (1, 8))


def into_the_table(rng: np.random.Generator) -> np.ndarray:
    action = np.zeros((ROWS, 8))
    action[:, 1], action[:, 3], action[:, 5] = 1.0, 0.3, rng.uniform(-1, 1, ROWS)
    action[:, 7] = rng.choice([-1.0, 1.0], ROWS)
    return action


@pytest.mark.parametrize("actions", [bang_bang, anywhere, one_way, into_the_table])
def test_hard_actions_after_a_thousand_resets_stay_finite(actions):
    env = PickCubeVectorEnv(ROWS, num_threads=2, autoreset_mode="same_step")
    obs, _ = env.reset(seed=sum(actions.__name__.encode()))
    rng = np.random.default_rng(0)
    lowest = np.inf
    for _ in range(25):
        obs, reward, _, _, info = env.step(actions(rng))
        assert np.isfinite(obs).all() and np.isfinite(reward).all()
        assert (reward >= 0).all() and (reward <= 1).all()
        assert not info["sim_unstable"].any()
        assert np.abs(obs[:, 9:16]).max() < 2.0  # rad/s; damping holds the arm back
        lowest = min(lowest, obs[:, 21].min())
    assert lowest > -0.02  # m; the tool does not go through the table


def blow_up(env: PickCubeVectorEnv, rows: list[int], value: float) -> None:
    state = env.simulation.get_state(None)
    width = env.simulation.batch.bind("qpos").shape[1]
    state[rows, 1 + width] = value  # after the time and qpos: the first joint's speed
    env.simulation.set_state(None, state)


@pytest.mark.timeout(60)  # MuJoCo's warnings call Python from pool threads: no deadlock
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("value", [1e12, np.nan, np.inf])
def test_row_whose_physics_blows_up_is_truncated_alone(
    value, num_threads, caplog, folder_that_stays_empty: Path
):
    rows = [1, 4, 5]
    env = PickCubeVectorEnv(64, num_threads=num_threads, autoreset_mode="disabled")
    calm = PickCubeVectorEnv(64, autoreset_mode="disabled")
    env.reset(seed=0)
    calm.reset(seed=0)
    # The goal at the cube: a row that blows up must not count as a success for it.
    env.simulation.extra[rows, :3] = env.simulation.qpos[rows, 9:12]
    before = env.restore(env.snapshot())
    blow_up(env, rows, value)
    action = np.random.default_rng(0).uniform(-1, 1, (64, 8))
    with caplog.at_level(logging.WARNING, "suite.mujoco"):
        obs, reward, terminated, truncated, info = env.step(action)
    expected = calm.step(action)
    assert np.flatnonzero(truncated).tolist() == rows
    assert np.flatnonzero(info["sim_unstable"]).tolist() == rows
    assert not terminated[rows].any() and not info["is_success"][rows].any()
    np.testing.assert_array_equal(obs[rows], before[rows])
    np.testing.assert_array_equal(reward[rows], 0.0)
    others = ~truncated
    np.testing.assert_array_equal(obs[others], expected[0][others])
    np.testing.assert_array_equal(reward[others], expected[1][others])
    assert any("unstable" in record.message for record in caplog.records)
    assert list(folder_that_stays_empty.iterdir()) == []


@pytest.mark.timeout(60)
def test_many_rows_may_blow_up_on_many_threads_again_and_again():
    env = PickCubeVectorEnv(64, num_threads=4, autoreset_mode="same_step")
    env.reset(seed=0)
    for _ in range(20):
        blow_up(env, list(range(64)), 1e12)
        obs, reward, _, truncated, info = env.step(np.zeros((64, 8)))
        assert truncated.all() and info["final_info"]["sim_unstable"].all()
        assert np.isfinite(obs).all() and (reward == 0).all()
    obs, _, _, truncated, info = env.step(np.zeros((64, 8)))
    assert not truncated.any() and not info["sim_unstable"].any()


def test_row_is_sound_again_after_its_reset():
    env = PickCubeVectorEnv(2, autoreset_mode="next_step")
    env.reset(seed=0)
    blow_up(env, [0], 1e12)
    env.step(np.zeros((2, 8)))
    obs = env.step(np.zeros((2, 8)))[0]
    fresh = PickCubeVectorEnv(1)
    fresh.reset(seed=0)
    np.testing.assert_array_equal(obs[0], fresh.reset()[0][0])
    action = np.ones((2, 8))
    np.testing.assert_array_equal(env.step(action)[0][0], fresh.step(action[:1])[0][0])


def test_row_that_blows_up_beside_a_halted_one_is_found():
    env = PickCubeVectorEnv(3, autoreset_mode="disabled")
    env.reset(seed=0)
    env.halt(np.array([0]))
    blow_up(env, [2], 1e12)
    obs, _, _, truncated, info = env.step(np.zeros((3, 8)))
    assert truncated.tolist() == [True, False, True]
    assert info["sim_unstable"].tolist() == [False, False, True]
    assert np.isfinite(obs).all()


def test_row_in_which_mujoco_raises_is_truncated_alone(monkeypatch, caplog):
    env = PickCubeVectorEnv(3, autoreset_mode="disabled")
    env.reset(seed=0)
    error = SimulationError(np.array([1]), "out of memory", 3)
    monkeypatch.setattr(env.simulation.batch, "step", Mock(side_effect=error))
    truncated, info = env.step(np.zeros((3, 8)))[3:]
    assert truncated.tolist() == info["sim_unstable"].tolist() == [False, True, False]
    assert "out of memory" in caplog.text
