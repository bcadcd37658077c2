"""Episodes of a policy, from many rows of an environment at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from suite.data.cards import bounds, versions
from suite.transitions import Dataset
from suite.wrappers.noise import NoiseStream
from suite.wrappers.stack import autoreset_mode, layers

Arrays = dict[str, np.ndarray]

_CHUNK = 64  # steps whose draws are made at once; part of a dataset, so never changed


class Behaviour(Protocol):
    """A policy to collect with: pure, so that episodes do not depend on each other.

    What it returns for one row must not depend on the other rows, nor on their number.
    """

    def draw(
        self, generator: np.random.Generator, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Draws for several steps of an episode, (steps, *noise_shape)."""
        ...

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Of one step's draws."""
        ...

    def act(self, obs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Actions (N, A) for observations (N, O) float32 and draws (N, ...)."""
        ...


class UniformBehaviour:
    """Uniformly random actions: the lower end of every score.

    Args:
        space: Of one action, bounded.

    Raises:
        ValueError: If it is no bounded box.
    """

    def __init__(self, space: gym.Space):
        if not isinstance(space, gym.spaces.Box) or not space.is_bounded():
            raise ValueError(f"random actions need a bounded Box, got {space}")
        self._low, self._high = space.low, space.high
        self.noise_shape: tuple[int, ...] = space.shape

    def draw(
        self, generator: np.random.Generator, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Uniform in [0, 1)."""
        return generator.random(shape)

    def act(self, obs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Actions (N, A)."""
        actions = self._low + noise * (self._high - self._low)
        return actions.astype(np.float32)


def collect(
    env: Any,
    policy: Behaviour,
    steps: int,
    seed: int,
    *,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Whole episodes of a policy, at most ``steps`` transitions.

    Episodes are numbered in the order in which they begin and the first ones are kept
    that fit into ``steps`` together: none is cut, so that their returns compare. An
    episode's actions draw from a stream of (seed, number). Over an environment in
    disabled autoreset mode so does its start, and the data are the same whatever the
    number of rows; environments that reset by themselves start as their rows' streams
    say, which depends on the number of rows. The card tells.

    Args:
        env: A Gymnasium ``VectorEnv`` with a ``Box`` of observations and of actions, in
            any autoreset mode, wrapped or not. What its agent sees, does and is paid is
            what is stored.
        policy: What acts.
        steps: Transitions at most.
        seed: Of everything.
        progress: Called now and then with the number of transitions so far.

    Raises:
        ValueError: If not even one episode fits, or the environment is no such one.
    """
    rows = _Rows(env, policy, seed)
    while rows.taken + rows.next_length < steps:
        rows.step()
        if progress is not None:
            progress(min(rows.taken, steps))
    episodes = rows.finished_in_order(steps)
    if not episodes:
        raise ValueError(
            f"not one whole episode fits into {steps} steps: the first one is longer "
            "than that; collect more"
        )
    numbers = range(len(episodes))
    return Dataset.of_episodes(episodes, numbers, _card(env, rows, steps, seed))


class _Episode:
    """One episode as it grows."""

    def __init__(self, number: int, obs: np.ndarray):
        self.number, self.length = number, 0
        self.obs = [obs]  # T + 1
        self.actions: list[np.ndarray] = []
        self.rewards: list[float] = []
        self.noise = np.empty(0)  # of the current chunk of steps

    def add(self, action: np.ndarray, reward: float, obs: np.ndarray) -> None:
        """One transition."""
        self.actions.append(action)
        self.rewards.append(reward)
        self.obs.append(obs.copy())
        self.length += 1

    def packed(self, terminated: bool, truncated: bool) -> dict[str, np.ndarray]:
        """Its arrays, once it has ended: a million rows one by one take memory."""
        obs, ends = np.stack(self.obs), np.zeros((2, self.length), bool)
        ends[:, -1] = terminated, truncated
        return {
            "obs": obs[:-1],
            "actions": np.stack(self.actions),
            "rewards": np.array(self.rewards, np.float32),
            "next_obs": obs[1:],
            "terminated": ends[0],
            "truncated": ends[1],
        }


class _Rows:
    """The rows of an environment, each at an episode of its own."""

    def __init__(self, env: Any, policy: Behaviour, seed: int):
        _require_vector(env)
        self.env, self.policy, self.seed = env, policy, seed
        self.mode = autoreset_mode(env)
        self.finished: dict[int, Arrays] = {}
        self.taken = 0  # transitions of the finished episodes 0, 1, ... without a gap
        self._next_taken = 0  # the first episode that is not among them
        self._started = 0
        self._stream = NoiseStream(seed, "collect", 0, chunk_steps=_CHUNK)
        obs, _ = env.reset(seed=self._seeds(np.arange(env.num_envs)))
        self._obs = np.asarray(obs, np.float32)
        self.running: list[_Episode | None] = [self._begin(each) for each in self._obs]

    @property
    def next_length(self) -> int:
        """Steps so far of the first episode that has not been taken."""
        numbers = {each.number: each.length for each in self.running if each}
        return numbers.get(self._next_taken, 0)

    def _seeds(self, rows: np.ndarray) -> list[int | None]:
        """Seeds of the next episodes in some rows: (seed, number of the episode)."""
        seeds: list[int | None] = [None] * self.env.num_envs
        for number, row in enumerate(rows.tolist(), start=self._started):
            words = np.random.SeedSequence([self.seed, number]).generate_state(1)
            seeds[row] = int(words[0] >> 1)  # some environments want 31 bits
        return seeds

    def _begin(self, obs: np.ndarray) -> _Episode:
        self._started += 1
        return _Episode(self._started - 1, obs.copy())

    def step(self) -> None:
        """One step of every row; what ends begins anew."""
        actions = np.asarray(self.policy.act(self._obs, self._noise()), np.float32)
        obs, rewards, terminated, truncated, info = self.env.step(actions)
        obs = np.asarray(obs, np.float32)
        done = np.asarray(terminated) | np.asarray(truncated)
        came_to = obs
        if self.mode == "same_step" and done.any():
            came_to = np.where(done[:, None], _final(info["final_obs"], obs), obs)
        begun = []
        for row, episode in enumerate(self.running):
            if episode is None:  # this step was a reset
                begun.append(row)
                continue
            episode.add(actions[row], float(rewards[row]), came_to[row])
            if done[row]:
                self._finish(row, episode.packed(terminated[row], truncated[row]))
                if self.mode == "same_step":
                    begun.append(row)
        self._obs = obs
        self._begin_rows(begun, done)

    def _begin_rows(self, begun: list[int], done: np.ndarray) -> None:
        if self.mode == "disabled" and done.any():
            begun = np.flatnonzero(done).tolist()
            seeds = self._seeds(np.array(begun))
            obs, _ = self.env.reset(seed=seeds, options={"reset_mask": done})
            self._obs = np.asarray(obs, np.float32)
        for row in begun:
            self.running[row] = self._begin(self._obs[row])

    def _finish(self, row: int, arrays: Arrays) -> None:
        episode = self.running[row]
        assert episode is not None
        self.running[row] = None
        self.finished[episode.number] = arrays
        while self._next_taken in self.finished:
            self.taken += len(self.finished[self._next_taken]["rewards"])
            self._next_taken += 1

    def _noise(self) -> np.ndarray:
        """Draws (N, ...) of each row's current step; zeros where a row resets."""
        shape = self.policy.noise_shape
        now: list[Any] = []
        for episode in self.running:
            if episode is None:
                now.append(np.zeros(shape))
                continue
            chunk, place = divmod(episode.length, self._stream.chunk_steps)
            if place == 0:
                key = np.array([episode.number, 0], np.uint64)
                episode.noise = self._stream.chunk(key, chunk, self.policy.draw, shape)
            now.append(episode.noise[place])
        return np.stack(now)

    def finished_in_order(self, steps: int) -> list[Arrays]:
        """The first episodes that fit into some steps together."""
        fitting, total = [], 0
        for number in range(self._next_taken):
            total += len(self.finished[number]["rewards"])
            if total > steps:
                break
            fitting.append(self.finished[number])
        return fitting


def _final(final_obs: Any, obs: np.ndarray) -> np.ndarray:
    """Final observations (N, O); Gymnasium has None for rows that go on."""
    rows = zip(final_obs, obs, strict=True)
    return np.stack([now if final is None else final for final, now in rows])


def _require_vector(env: Any) -> None:
    if not isinstance(env, gym.vector.VectorEnv):
        raise ValueError(
            "collect needs a gymnasium VectorEnv, such as gymnasium.make_vec(id, "
            f"num_envs=16) or SyncVectorEnv([make]), got {env!r}"
        )
    for kind in ("observation", "action"):
        space = getattr(env, f"single_{kind}_space")
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
            raise ValueError(
                f"collect stores flat boxes, got the {kind} space {space}; flatten it "
                "first, for example with gymnasium.wrappers.FlattenObservation"
            )


def _card(env: Any, rows: _Rows, steps: int, seed: int) -> dict[str, Any]:
    wrappers = [_told(layer) for layer in layers(env)][:-1]
    return {
        "env_id": env.spec.id if env.spec is not None else None,
        "spaces": {
            "observation": bounds(env.single_observation_space),
            "action": bounds(env.single_action_space),
        },
        "collected": {
            "steps": steps,
            "seed": seed,
            "rows": env.num_envs,
            "depends_on_rows": rows.mode != "disabled",
            "wrappers": wrappers[::-1],  # the innermost first
        },
        "versions": versions(),
    }


def _told(layer: Any) -> dict[str, Any]:
    name = f"{type(layer).__module__}:{type(layer).__qualname__}"
    is_recorded = isinstance(layer, RecordConstructorArgs)
    return {"call": name, "kwargs": dict(layer._saved_kwargs) if is_recorded else {}}
