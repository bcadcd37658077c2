"""Rows of a batch: one simulation with the single environment; seeds and copies."""

from __future__ import annotations

import copy
import hashlib
import pickle
import subprocess
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from scripted_pick import ScriptedPicks, grasping

from suite.envs.batch import BatchEnv
from suite.envs.pickcube import PickCubeVectorEnv

LIMIT = 50


def random_actions(steps: int, num_envs: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.2, 1.2, (steps, num_envs, 8)).astype(np.float32)


def make_vec(num_envs: int, **kwargs: Any) -> BatchEnv:
    env = gym.make_vec(
        "PickCube-v0", num_envs, vectorization_mode="vector_entry_point", **kwargs
    )
    assert isinstance(env, BatchEnv)
    return env


def rollout(
    env: gym.vector.VectorEnv, actions: np.ndarray, seed: int
) -> tuple[Any, ...]:
    """Observations (T + 1, N, O), rewards, terminated and truncated (T, N)."""
    observations, steps = [env.reset(seed=seed)[0]], []
    for action in actions:
        obs, *step, _ = env.step(action)
        observations.append(obs)
        steps.append(step)
    return np.array(observations), *map(np.array, zip(*steps, strict=True))


def rollout_of_single(actions: np.ndarray, seed: int) -> tuple[Any, ...]:
    """The same of one single environment, reset on the step after each end."""
    env = gym.make("PickCube-v0")
    observations, steps, done = [env.reset(seed=seed)[0]], [], False
    for action in actions:
        if done:
            (obs, _), step = env.reset(), (0.0, False, False)
        else:
            obs, *step, _ = env.step(action)
        done = step[1] or step[2]
        observations.append(obs)
        steps.append(step)
    return np.array(observations), *map(np.array, zip(*steps, strict=True))


# ------------------------------------------------------------ rows and single are one
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize(("num_envs", "steps"), [(1, 110), (3, 110), (64, 53)])
def test_rows_are_single_environments_bit_for_bit(num_envs, steps, num_threads):
    actions = random_actions(steps, num_envs)
    batch = rollout(make_vec(num_envs, num_threads=num_threads), actions, seed=7)
    assert batch[3].sum() == num_envs * (steps // LIMIT)
    for row in range(0, num_envs, 9):
        single = rollout_of_single(actions[:, row], seed=7 + row)
        for ours, theirs in zip(batch, single, strict=True):
            np.testing.assert_array_equal(ours[:, row], theirs)


def test_rows_are_single_environments_through_grasp_and_success():
    env, scripts, obs = grasping(6, steps=0)
    actions, seen, ends = [], [obs], []
    for _ in range(60):
        actions.append(scripts.act(obs))
        obs, _, terminated, truncated, _ = env.step(actions[-1])
        scripts.restart(terminated | truncated)
        seen.append(obs)
        ends.append(terminated)
    assert np.array(ends).any(axis=0).all() and np.array(seen)[..., 18].any()
    for row in range(6):
        single = rollout_of_single(np.array(actions)[:, row], seed=row)
        np.testing.assert_array_equal(np.array(seen)[:, row], single[0])
        np.testing.assert_array_equal(np.array(ends)[:, row], single[2])


def test_row_does_not_depend_on_which_other_rows_step_along():
    actions = random_actions(60, 5)
    together = rollout(PickCubeVectorEnv(5, autoreset_mode="disabled"), actions, 0)
    env = PickCubeVectorEnv(5, autoreset_mode="disabled")
    seen = [env.reset(seed=0)[0]]
    for step, action in enumerate(actions):
        if step == 3:
            env.halt(np.array([0, 2]))
        seen.append(env.step(action)[0])
    for row in (1, 3, 4):
        np.testing.assert_array_equal(np.array(seen)[:, row], together[0][:, row])


def test_episode_depends_on_its_seed_and_not_on_what_came_before():
    (used, _, _), fresh = grasping(4, steps=20), PickCubeVectorEnv(4)
    used.reset(seed=3)
    fresh.reset(seed=3)
    # Everything MuJoCo keeps, where its solver starts from included.
    np.testing.assert_equal(dict(used.snapshot().state), dict(fresh.snapshot().state))
    actions = random_actions(60, 4)
    first = rollout(used, actions, seed=3)
    for ours, theirs in zip(first, rollout(fresh, actions, seed=3), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_same_seed_gives_the_same_bytes_in_another_process():
    code = (
        "import hashlib, numpy as np\n"
        "from suite.envs.pickcube import PickCubeVectorEnv\n"
        "env = PickCubeVectorEnv(4, autoreset_mode='same_step', num_threads=2)\n"
        "seen = [env.reset(seed=3)[0]]\n"
        "rng = np.random.default_rng(0)\n"
        "seen += [env.step(rng.uniform(-1, 1, (4, 8)))[0] for _ in range(55)]\n"
        "print(hashlib.sha256(np.array(seen).tobytes()).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    env = PickCubeVectorEnv(4, autoreset_mode="same_step")
    seen = [env.reset(seed=3)[0]]
    rng = np.random.default_rng(0)
    seen += [env.step(rng.uniform(-1, 1, (4, 8)))[0] for _ in range(55)]
    assert other.stdout.strip() == hashlib.sha256(np.array(seen).tobytes()).hexdigest()


# ------------------------------------------------------------------------------- seeds
def test_resets_of_one_row_leave_the_other_rows_streams_alone():
    plain, busy = PickCubeVectorEnv(2), PickCubeVectorEnv(2)
    plain.reset(seed=5)
    busy.reset(seed=5)
    for _ in range(3):
        busy.reset(options={"reset_mask": np.array([True, False])})
    np.testing.assert_array_equal(plain.reset()[0][1], busy.reset()[0][1])


def test_row_seeds_are_the_seed_plus_the_row_or_a_list():
    obs, _ = PickCubeVectorEnv(3).reset(seed=10)
    listed, _ = PickCubeVectorEnv(3).reset(seed=[10, 11, 12])
    shifted, _ = PickCubeVectorEnv(2).reset(seed=11)
    np.testing.assert_array_equal(obs, listed)
    np.testing.assert_array_equal(obs[1:], shifted)
    assert len(np.unique(obs[:, 0])) == 3


def test_none_in_a_list_of_seeds_keeps_a_rows_stream():
    env, other = PickCubeVectorEnv(2), PickCubeVectorEnv(2)
    env.reset(seed=0)
    other.reset(seed=0)
    obs, _ = env.reset(seed=[9, None])
    np.testing.assert_array_equal(obs[1], other.reset()[0][1])
    np.testing.assert_array_equal(obs[0], PickCubeVectorEnv(1).reset(seed=9)[0][0])


def test_without_a_seed_every_environment_and_row_differs():
    first = [PickCubeVectorEnv(2).reset()[0], PickCubeVectorEnv(2).reset()[0]]
    partly = PickCubeVectorEnv(2).reset(seed=[None, None])[0]
    assert len(np.unique(np.concatenate([*first, partly])[:, 0])) == 6


# ----------------------------------------------------------- results belong to the user
def test_later_steps_leave_earlier_results_alone():
    env = PickCubeVectorEnv(2, autoreset_mode="same_step")
    kept: list[tuple[Any, ...]] = [env.reset(seed=0)]
    at_once = copy.deepcopy(kept)
    for action in random_actions(LIMIT + 2, 2):
        kept.append(env.step(action))
        at_once.append(copy.deepcopy(kept[-1]))
    np.testing.assert_equal(kept, at_once)


def test_writing_to_results_does_not_reach_the_environment():
    env, other = PickCubeVectorEnv(2), PickCubeVectorEnv(2)
    env.reset(seed=0)[0][:] = 5
    other.reset(seed=0)
    for action in random_actions(3, 2):
        obs, _, terminated, truncated, info = env.step(action)
        expected = other.step(action)[0]
        np.testing.assert_array_equal(obs, expected)
        obs[:] = np.nan
        terminated[:] = truncated[:] = info["is_success"][:] = True


# -------------------------------------------------------------------- copies, checkers
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_copies_continue_exactly(duplicate):
    env, scripts, obs = grasping(3, steps=18, autoreset_mode="same_step")
    env.spec = gym.spec("PickCube-v0")
    env.action_space.seed(4)
    twin, twin_scripts = duplicate(env), copy.deepcopy(scripts.scripts)
    assert twin.spec == env.spec
    np.testing.assert_array_equal(twin.action_space.sample(), env.action_space.sample())
    copies = ScriptedPicks(3)
    copies.scripts = twin_scripts
    twin_obs = obs
    for _ in range(30):  # over successes and the resets that follow
        obs, reward, terminated, truncated, _ = env.step(scripts.act(obs))
        twin_obs, twin_reward, *_ = twin.step(copies.act(twin_obs))
        np.testing.assert_array_equal(obs, twin_obs)
        np.testing.assert_array_equal(reward, twin_reward)
        scripts.restart(terminated | truncated)
        copies.restart(terminated | truncated)


def test_single_environment_pickles_in_mid_episode():
    env = gym.make("PickCube-v0")
    env.reset(seed=0)
    for action in random_actions(5, 1)[:, 0]:
        env.step(action)
    twin = pickle.loads(pickle.dumps(env))
    for action in random_actions(5, 1, seed=1)[:, 0]:
        np.testing.assert_array_equal(env.step(action)[0], twin.step(action)[0])
    np.testing.assert_array_equal(env.reset()[0], twin.reset()[0])


def test_environment_that_was_never_reset_copies_too():
    twin = copy.deepcopy(PickCubeVectorEnv(2, reward_mode="sparse"))
    np.testing.assert_array_equal(
        twin.reset(seed=1)[0], PickCubeVectorEnv(2).reset(seed=1)[0]
    )


def test_gymnasiums_checker_only_notes_that_observations_are_unbounded():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(gym.make("PickCube-v0").unwrapped, skip_render_check=True)
    texts = [str(warning.message) for warning in caught]
    assert all(
        "Box observation space m" in text and "infinity" in text for text in texts
    )
    assert len(texts) == 2  # one for minus, one for plus infinity
