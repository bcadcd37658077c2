"""Simulations in closed form: what ``NumpySimulation`` makes of a formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from suite.envs.batch import BatchEnv
from suite.envs.simulation import NumpySimulation
from suite.envs.single import SingleEnv


class Doubling(NumpySimulation):
    """x becomes 2 x + a, written in place; above 4 it becomes infinite."""

    def __init__(self, num_rows: int):
        super().__init__(num_rows, state_size=1)

    def start(self, rng: np.random.Generator) -> Any:
        return [rng.integers(1, 3)]

    def advance(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        state *= 2
        state += action
        return np.where(state > 4, np.inf, state)


class AnyNumber:
    max_episode_steps = 5
    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def observe(self, state: Any) -> Any:
        return state.astype(np.float32)

    def reward(self, state: Any, action: Any, next_state: Any) -> Any:
        return next_state[..., 0]

    def success(self, state: Any) -> Any:
        return state[..., 0] < 0

    terminated = success


class DoublingVectorEnv(BatchEnv):
    def __init__(self, num_envs: int = 1, *, autoreset_mode: str = "disabled"):
        super().__init__(Doubling(num_envs), AnyNumber(), autoreset_mode=autoreset_mode)


class DoublingEnv(SingleEnv):
    def __init__(self) -> None:
        super().__init__(DoublingVectorEnv())


class DrawnVectorEnv(DoublingVectorEnv):
    def scene(self, row: int) -> Any:
        return None, None


class DrawnEnv(SingleEnv):
    def __init__(self, render_mode: str | None = None):
        super().__init__(DrawnVectorEnv())


def test_rows_follow_the_formula():
    simulation = Doubling(3)
    simulation.set_state(None, np.array([[0.5], [1.0], [1.5]]))
    unstable = simulation.step(None, np.array([[1.0], [-1.0], [0.0]]))
    assert simulation.state.ravel().tolist() == [2.0, 1.0, 3.0]
    assert not unstable.any()
    simulation.step(np.array([1]), np.array([[0.5]]))
    assert simulation.state.ravel().tolist() == [2.0, 2.5, 3.0]


def test_a_row_that_blows_up_stays_and_is_truncated_without_reward():
    env = DoublingVectorEnv(2)
    env.reset(seed=0)
    env.simulation.set_state(None, np.array([[3.0], [1.0]]))
    obs, rewards, _, truncated, info = env.step(np.zeros((2, 1)))
    assert info["sim_unstable"].tolist() == truncated.tolist() == [True, False]
    assert rewards.tolist() == [0.0, 2.0]
    assert obs[1] == 2.0
    assert env.simulation.named_state(None).ravel().tolist() == [3.0, 2.0]


def test_a_named_state_is_the_callers_own():
    simulation = Doubling(2)
    for ids in (None, np.array([1])):
        simulation.named_state(ids)[:] = 7
    assert not simulation.state.any()


def test_without_a_row_it_is_refused():
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        Doubling(0)


def test_only_what_can_be_drawn_says_so():
    assert DoublingVectorEnv.metadata["render_modes"] == []
    assert DoublingEnv.metadata["render_modes"] == []
    for each in (DrawnVectorEnv, DrawnEnv):
        assert each.metadata["render_modes"] == ["rgb_array", "human"]
    assert BatchEnv.metadata["render_modes"] == []  # the base is left alone
    with pytest.raises(ValueError, match=r"render_mode must be one of \[None\], got"):
        BatchEnv(Doubling(1), AnyNumber(), render_mode="human")
