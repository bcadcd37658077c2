"""Where episodes end and begin again, rows that stand still, and what is refused."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from scripted_pick import grasping

from suite.envs.batch import AUTORESET_METADATA, AUTORESET_MODES
from suite.envs.pickcube import PickCubeVectorEnv

LIMIT = 50


def random_actions(steps: int, num_envs: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(-1.2, 1.2, (steps, num_envs, 8)).astype(np.float32)


# -------------------------------------------------------------------------- autoreset
def at_time_limit(mode: str) -> tuple[PickCubeVectorEnv, tuple[Any, ...], np.ndarray]:
    """Two rows just truncated, the last step's results, and the sum of rewards."""
    env = PickCubeVectorEnv(2, autoreset_mode=mode)
    env.reset(seed=0)
    steps = [env.step(action) for action in random_actions(LIMIT, 2)]
    last = steps[-1]
    assert last[3].all() and not last[2].any()
    return env, last, np.sum([step[1] for step in steps], axis=0)


def reset_observations() -> np.ndarray:
    """What the second reset of seed 0 gives."""
    env = PickCubeVectorEnv(2)
    env.reset(seed=0)
    return env.reset()[0]


def test_next_step_mode_spends_one_step_on_the_reset():
    env, (final_obs, *_), _ = at_time_limit("next_step")
    obs, reward, terminated, truncated, info = env.step(np.full((2, 8), 0.9))
    np.testing.assert_array_equal(obs, reset_observations())
    assert not np.array_equal(obs, final_obs)
    np.testing.assert_array_equal(reward, 0.0)
    assert not terminated.any() and not truncated.any()
    np.testing.assert_array_equal(info["state"].astype(np.float32), obs)


def test_same_step_mode_returns_the_new_episode_and_reports_the_old():
    _, (final_obs, *_, final_info), _ = at_time_limit("disabled")
    env, (obs, _, _, _, info), returns = at_time_limit("same_step")
    np.testing.assert_array_equal(obs, reset_observations())
    np.testing.assert_array_equal(info["final_obs"], final_obs)
    np.testing.assert_array_equal(info["state"], final_info["state"])
    assert info["_final_obs"].all() and info["_final_info"].all()
    episode = info["final_info"]["episode"]
    np.testing.assert_allclose(episode["r"], returns, atol=1e-12)
    np.testing.assert_array_equal(episode["l"], LIMIT)
    steps = [env.step(np.zeros((2, 8))) for _ in range(LIMIT)]
    assert ["final_obs" in step[4] for step in steps] == [False] * (LIMIT - 1) + [True]
    episode = steps[-1][4]["final_info"]["episode"]
    returns = np.sum([step[1] for step in steps], axis=0)
    np.testing.assert_allclose(episode["r"], returns, atol=1e-12)


def test_same_step_mode_resets_only_the_rows_that_ended():
    env, scripts, obs = grasping(8, steps=0, autoreset_mode="same_step")
    done = terminated = np.zeros(8, bool)
    steps, info = 0, {}
    while not done.any():
        obs, _, terminated, truncated, info = env.step(scripts.act(obs))
        done, steps = terminated | truncated, steps + 1
    assert done.sum() < 8
    np.testing.assert_array_equal(info["_final_obs"], done)
    np.testing.assert_array_equal(info["final_info"]["is_success"], terminated)
    np.testing.assert_array_equal(info["final_obs"][~done], obs[~done])
    assert (info["final_info"]["episode"]["l"] == steps).all()
    scripts.restart(done)
    elapsed = np.where(done, 1, steps + 1)
    env.step(scripts.act(obs))
    np.testing.assert_array_equal(env.snapshot().state["elapsed"], elapsed)


def test_disabled_mode_lets_a_finished_row_stand_until_it_is_reset():
    env, (final_obs, *_), _ = at_time_limit("disabled")
    obs, reward, _, truncated, _ = env.step(np.full((2, 8), 0.9))
    np.testing.assert_array_equal(obs, final_obs)
    np.testing.assert_array_equal(reward, 0.0)
    assert truncated.all()
    obs, info = env.reset(options={"reset_mask": np.array([False, True])})
    np.testing.assert_array_equal(obs[0], final_obs[0])
    np.testing.assert_array_equal(obs[1], reset_observations()[1])
    np.testing.assert_array_equal(info["state"].astype(np.float32), obs)
    obs, _, _, truncated, _ = env.step(np.full((2, 8), 0.9))
    assert truncated.tolist() == [True, False]
    np.testing.assert_array_equal(obs[0], final_obs[0])


@pytest.mark.parametrize("mode", AUTORESET_MODES)
def test_metadata_tells_the_autoreset_mode(mode):
    env = PickCubeVectorEnv(1, autoreset_mode=mode)
    assert env.metadata["autoreset_mode"] == AUTORESET_METADATA[mode]


def test_gymnasiums_episode_statistics_work_on_top():
    env = gym.wrappers.vector.RecordEpisodeStatistics(PickCubeVectorEnv(2))
    env.reset(seed=0)
    infos = [env.step(action)[4] for action in random_actions(LIMIT, 2)]
    np.testing.assert_array_equal(infos[-1]["episode"]["l"], LIMIT)


# -------------------------------------------------------------------------------- halt
def test_halted_rows_stand_still_until_they_are_reset():
    env = PickCubeVectorEnv(3, autoreset_mode="disabled")
    before, _ = env.reset(seed=0)
    env.halt(np.array([0, 2]))
    obs, reward, terminated, truncated, _ = env.step(np.ones((3, 8)))
    np.testing.assert_array_equal(obs[[0, 2]], before[[0, 2]])
    assert not np.array_equal(obs[1], before[1])
    assert reward[0] == reward[2] == 0 and reward[1] > 0
    assert truncated.tolist() == [True, False, True] and not terminated.any()
    np.testing.assert_array_equal(env.snapshot().state["elapsed"], [0, 1, 0])
    env.reset(options={"reset_mask": np.array([True, False, False])})
    assert env.step(np.ones((3, 8)))[3].tolist() == [False, False, True]


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_halt_is_refused_where_a_stopped_row_would_be_reset(mode):
    env = PickCubeVectorEnv(2, autoreset_mode=mode)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="halt needs autoreset_mode='disabled'"):
        env.halt(np.array([0]))


def test_single_environment_halts_too():
    env = gym.make("PickCube-v0").unwrapped
    before, _ = env.reset(seed=0)
    env.halt(np.array([0]))
    obs, reward, _, truncated, _ = env.step(np.ones(8))
    np.testing.assert_array_equal(obs, before)
    assert reward == 0 and truncated is True


# ---------------------------------------------------------------------------- refusals
def nan_in_row_2() -> np.ndarray:
    action = np.zeros((3, 8))
    action[2, 5] = np.nan
    return action


def inf_in_row_1() -> np.ndarray:
    action = np.zeros((3, 8), np.float32)
    action[1, 0] = -np.inf
    return action


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (nan_in_row_2(), "must be finite, got .*nan.* in row 2"),
        (inf_in_row_1(), "must be finite, got .*-inf.* in row 1"),
        (np.zeros((3, 7)), r"must have shape \(3, 8\), got \(3, 7\)"),
        (np.zeros(8), r"must have shape \(3, 8\), got \(8,\)"),
        (np.zeros((2, 8)), r"must have shape \(3, 8\), got \(2, 8\)"),
    ],
)
def test_bad_actions_are_refused_and_change_nothing(action, words):
    env = PickCubeVectorEnv(3)
    env.reset(seed=0)
    before = env.snapshot().state["simulation"]
    with pytest.raises(ValueError, match=words):
        env.step(action)
    np.testing.assert_array_equal(env.snapshot().state["simulation"], before)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (np.zeros(7), r"must have shape \(8,\), got \(7,\)"),
        (np.full(8, np.nan), "must be finite"),
        (0.0, r"must have shape \(8,\), got \(\)"),
    ],
)
def test_bad_actions_of_a_single_environment_are_refused(action, words):
    env = gym.make("PickCube-v0").unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match=words):
        env.step(action)


def test_nothing_works_before_the_first_reset():
    env = PickCubeVectorEnv(2, autoreset_mode="disabled")
    for call in (
        lambda: env.step(np.zeros((2, 8))),
        env.snapshot,
        lambda: env.halt(np.array([0])),
    ):
        with pytest.raises(ResetNeeded, match=r"before reset; call env.reset\(\)"):
            call()
    with pytest.raises(ValueError, match="first reset must be of every row"):
        env.reset(options={"reset_mask": np.array([True, False])})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"options": {"reset_mask": np.ones(3, bool)}},
            r"shape \(2,\), got bool \(3,\)",
        ),
        ({"options": {"reset_mask": np.array([0, 1])}}, "bool array .* got int64"),
        ({"seed": [1, 2, 3]}, r"one a row \(2\), got 3"),
    ],
)
def test_bad_reset_arguments_are_refused(arguments, words):
    env = PickCubeVectorEnv(2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=words):
        env.reset(**arguments)


@pytest.mark.parametrize("mode", ["never", None, 3])
def test_unknown_autoreset_modes_are_refused(mode):
    with pytest.raises(
        ValueError, match=r"autoreset_mode must be one of .*'same_step'"
    ):
        PickCubeVectorEnv(1, autoreset_mode=mode)
