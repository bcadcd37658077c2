"""A walk along a line: random start, dense reward, ends by success and by time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from suite.envs.batch import BatchEnv
from suite.envs.single import SingleEnv

SEED, LIMIT, ROWS = 5, 7, 3


class WalkSimulation:
    """x moves by a third of the first action."""

    def __init__(self, num_rows: int):
        self.num_rows = num_rows
        self.x = np.zeros((num_rows, 2))

    def reset(self, ids: np.ndarray, rngs: Any) -> None:
        self.x[ids] = [rng.uniform(-1, 0.5, 2) for rng in rngs]

    def step(self, ids: np.ndarray | None, action: np.ndarray) -> np.ndarray:
        self.x[slice(None) if ids is None else ids, 0] += action[:, 0] / 3
        return np.zeros(len(action), bool)

    def named_state(self, ids: np.ndarray | None) -> np.ndarray:
        return self.x[slice(None) if ids is None else ids].copy()

    get_state = named_state

    def set_state(self, ids: np.ndarray | None, state: np.ndarray) -> None:
        self.x[slice(None) if ids is None else ids] = state


@dataclass(frozen=True)
class WalkTask:
    """Done beyond a goal, or after some steps."""

    max_episode_steps: int = LIMIT
    goal: float = 1.0
    observation_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(-np.inf, np.inf, (2,), np.float32)
    )
    action_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(-1.0, 1.0, (2,), np.float32)
    )

    def observe(self, state: np.ndarray) -> np.ndarray:
        return state.astype(np.float32)

    def reward(self, state: Any, action: Any, next_state: Any) -> np.ndarray:
        return next_state[..., 0] + 0.1 * action[..., 1].astype(np.float64)

    def success(self, state: np.ndarray) -> np.ndarray:
        return state[..., 0] > self.goal

    terminated = success


class WalkVectorEnv(BatchEnv):
    """N walks."""

    def __init__(
        self,
        num_envs: int = ROWS,
        *,
        autoreset_mode: str = "next_step",
        limit: int = LIMIT,
        goal: float = 1.0,
    ):
        super().__init__(
            WalkSimulation(num_envs),
            WalkTask(limit, goal),
            autoreset_mode=autoreset_mode,
        )


class WalkEnv(SingleEnv):
    """One walk."""

    def __init__(self, limit: int = LIMIT, goal: float = 1.0):
        super().__init__(
            WalkVectorEnv(1, autoreset_mode="disabled", limit=limit, goal=goal)
        )


if "Walk-v0" not in gym.registry:
    gym.register(
        "Walk-v0",
        entry_point="walk_env:WalkEnv",
        vector_entry_point="walk_env:WalkVectorEnv",
    )


@dataclass
class Episode:
    """What an agent saw, did and got, and what info said beside it."""

    obs: list[np.ndarray]
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    ends: list[tuple[bool, bool]] = field(default_factory=list)
    clean_rewards: list[float] = field(default_factory=list)
    clean_obs: list[np.ndarray] = field(default_factory=list)
    executed: list[np.ndarray] = field(default_factory=list)

    def as_arrays(self) -> dict[str, np.ndarray]:
        return {name: np.array(value) for name, value in vars(self).items()}


def command(row: int, episode: int, t: int) -> np.ndarray:
    """The same action at the same moment, however an episode is run; some succeed."""
    rng = np.random.default_rng([row, episode, t])
    return rng.uniform(-0.5 if (row + episode) % 2 else 0.3, 1, 2).astype(np.float32)


_EXTRA = {
    "clean_reward": "clean_rewards",
    "executed_action": "executed",
}


def _note(episode: Episode, info: dict[str, Any], row: int | None) -> None:
    for name, target in _EXTRA.items():
        if name in info:
            value = info[name] if row is None else info[name][row]
            getattr(episode, target).append(value)


def single_episodes(env: Any, row: int, count: int, seed: int = SEED) -> list[Episode]:
    """Episodes of an Env that stands for row ``row``."""
    found = []
    for number in range(count):
        obs, info = env.reset(seed=seed + row if number == 0 else None)
        episode, done, t = Episode([obs]), False, 0
        while not done:
            action = command(row, number, t)
            obs, reward, terminated, truncated, info = env.step(action)
            episode.obs.append(obs)
            episode.actions.append(action)
            episode.rewards.append(reward)
            episode.ends.append((terminated, truncated))
            _note(episode, info, None)
            done, t = terminated or truncated, t + 1
        found.append(episode)
    return found


def vector_episodes(env: Any, count: int, seed: int = SEED) -> list[list[Episode]]:
    """Episodes of every row of a VectorEnv, whatever its autoreset mode."""
    mode = str(getattr(env.metadata["autoreset_mode"], "name", None) or "").lower()
    mode = mode or env.metadata["autoreset_mode"]
    obs, _ = env.reset(seed=seed)
    found: list[list[Episode]] = [[Episode([o])] for o in obs]
    ended = np.zeros(env.num_envs, bool)
    while min(map(len, found)) <= count:
        actions = np.stack(list(_commands(found)))
        obs, rewards, terminated, truncated, info = env.step(actions)
        done = (terminated | truncated) & ~ended
        for row, episodes in enumerate(found):
            if ended[row]:  # next-step mode: this step was the reset
                episodes.append(Episode([obs[row]]))
                continue
            last = mode == "same_step" and done[row]
            episodes[-1].obs.append(info["final_obs"][row] if last else obs[row])
            episodes[-1].actions.append(actions[row])
            episodes[-1].rewards.append(rewards[row])
            episodes[-1].ends.append((terminated[row], truncated[row]))
            _note(episodes[-1], info, row)
            if last:
                episodes.append(Episode([obs[row]]))
        ended = done if mode == "next_step" else np.zeros_like(done)
        if mode == "disabled" and done.any():
            obs, _ = env.reset(options={"reset_mask": done})
            for row in np.flatnonzero(done):
                found[row].append(Episode([obs[row]]))
    return [episodes[:count] for episodes in found]


def _commands(found: list[list[Episode]]) -> Iterator[np.ndarray]:
    for row, episodes in enumerate(found):
        yield command(row, len(episodes) - 1, len(episodes[-1].actions))


def assert_same(ours: list[Episode], theirs: list[Episode]) -> None:
    """Bit for bit."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        left, right = a.as_arrays(), b.as_arrays()
        for name, array in left.items():
            np.testing.assert_array_equal(array, right[name], err_msg=name)
