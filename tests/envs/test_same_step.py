"""Plain environments side by side do what each does alone, and agents can use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from suite.envs.same_step import SameStepVectorEnv


def pendulum(limit: int = 5) -> Callable[[], gym.Env]:
    return lambda: gym.make("Pendulum-v1", max_episode_steps=limit)


def test_each_row_is_its_environment_alone_across_ends():
    limits = (3, 5)
    rows = SameStepVectorEnv([pendulum(limit) for limit in limits])
    alone = [pendulum(limit)() for limit in limits]
    found, _ = rows.reset(seed=7)
    for row, env in enumerate(alone):
        np.testing.assert_array_equal(found[row], env.reset(seed=7 + row)[0])
    rng, returns = np.random.default_rng(0), np.zeros(2)
    for step in range(1, 16):
        actions = rng.uniform(-2, 2, (2, 1)).astype(np.float32)
        obs, rewards, terminated, truncated, info = rows.step(actions)
        for row, env in enumerate(alone):
            own, reward, _, ended, _ = env.step(actions[row])
            returns[row] += float(reward)
            assert rewards[row] == reward and not terminated[row]
            assert truncated[row] == ended == (step % limits[row] == 0)
            if ended:
                np.testing.assert_array_equal(info["final_obs"][row], own)
                assert info["_final_obs"][row] and info["_final_info"][row]
                told = info["final_info"]["episode"]
                assert told["r"][row] == pytest.approx(returns[row])
                assert told["l"][row] == limits[row]
                own, returns[row] = env.reset()[0], 0.0
            elif "final_obs" in info:
                assert not info["_final_obs"][row]
            np.testing.assert_array_equal(obs[row], own)


class Solved(gym.Env):
    """Three choices; the third one solves and ends it."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {"option": (options or {}).get("option", 0)}

    def step(self, action: Any) -> Any:
        is_success = action == 2
        info = {"is_success": is_success, "chosen": int(action)}
        return np.ones(1, np.float32), 1.0, bool(is_success), False, info


ONE = Solved()


def test_choices_successes_options_and_infos_are_told_by_row():
    rows = SameStepVectorEnv([Solved, Solved, Solved])
    assert rows.reset(options={"option": 4})[1]["option"].tolist() == [4, 4, 4]
    obs, _, terminated, truncated, info = rows.step(np.array([0, 2, 1]))
    assert info["chosen"].tolist() == [0, 2, 1]
    assert terminated.tolist() == [False, True, False] and not truncated.any()
    assert info["final_info"]["is_success"].tolist() == [False, True, False]
    assert obs[:, 0].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SameStepVectorEnv([]), "must be one function that makes an env"),
        (
            lambda: SameStepVectorEnv([pendulum(), Solved]),
            "all rows must have one observation_space, got Box.* in row 0 and .* row 1",
        ),
        (
            lambda: SameStepVectorEnv([lambda: ONE] * 2),
            "row 1 is the environment of another row",
        ),
        (
            lambda: SameStepVectorEnv([Solved]).reset(seed=[1, 2]),
            "one for each of the 1 rows, got 2",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_step_before_the_first_reset_is_refused():
    with pytest.raises(gym.error.ResetNeeded, match="before reset; call"):
        SameStepVectorEnv([Solved]).step(np.array([0]))
