"""How fast stored data are streamed, corrupted and collected; a part of ``offline.py``.

One torch thread. Contenders take turns, and a round's ratio is of its own times;
medians over the rounds:

stream: a ``ReplayEnv`` of HalfCheetah-sized episodes through Gymnasium's interface,
bare and under ``RewardNoise`` (target 0.7 of the bare rate), and for the record under
others, in turns of an episode.
bulk: the same corrupted dataset, made by wrapping the dataset and by recording the
wrapped replay (target 50 times as fast); their hashes are compared.
bulk/steps: the same beside the stream's steps alone, of which nothing is kept (the
same target).
bulk/drawing: the same beside drawing the normal numbers alone, which is its floor.
collect: ``collect`` with 64 rows of HalfCheetah and a SAC actor of 2x256, against
Stable-Baselines3's own loop, ``model.predict`` and ``DummyVecEnv.step`` with
Gymnasium's HalfCheetah-v5, storing transitions too (target 4 times as fast).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from turns import medians_of

from suite.data.collection import collect
from suite.data.recording import recorded
from suite.envs.replay import ReplayEnv
from suite.transitions import Dataset
from suite.wrappers import (
    DropBestEpisodes,
    ObservationNoise,
    RandomRewards,
    RewardDelay,
    RewardNoise,
)
from suite.wrappers.dataset import keys
from suite.wrappers.noise import NORMAL, NoiseStream

STEPS = 1000  # of an episode
OBS, ACTIONS = 17, 6
ROWS = 64
TARGETS = {
    "stream/reward_noise": 0.7,
    "bulk/reward_noise": 50,
    "bulk/steps/reward_noise": 50,
    "collect": 4,
}

Wrap = Callable[[Any], Any]
WRAPPERS: dict[str, Wrap] = {
    "reward_noise": lambda what: RewardNoise(what, 0.1),
    "reward_delay": lambda what: RewardDelay(what, 5),
    "random_rewards": lambda what: RandomRewards(what),
    "observation_noise": lambda what: ObservationNoise(what, 0.01),
    "best_dropped_then_noise": lambda what: RewardNoise(
        DropBestEpisodes(what, 30), 0.1
    ),
}
# What of each step is drawn, for the floor of these.
DRAWS: dict[str, tuple[int, ...]] = {"reward_noise": (), "observation_noise": (OBS,)}


def walks(episodes: int) -> Dataset:
    """Stored data of HalfCheetah's sizes."""
    rng, total = np.random.default_rng(0), episodes * STEPS
    obs = rng.standard_normal((total + 1, OBS), np.float32)
    truncated = np.arange(total) % STEPS == STEPS - 1
    return Dataset(
        obs=obs[:-1],
        actions=rng.uniform(-1, 1, (total, ACTIONS)),
        rewards=rng.standard_normal(total),
        next_obs=obs[1:],
        terminated=np.zeros(total, bool),
        truncated=truncated,
        lengths=np.full(episodes, STEPS),
        episode_ids=np.arange(episodes),
    )


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def play(env: Any) -> None:
    """One episode from its reset on."""
    action, ended = np.zeros(ACTIONS, np.float32), False
    env.reset()
    while not ended:
        _, _, terminated, truncated, _ = env.step(action)
        ended = terminated or truncated


def stream_round(dataset: Dataset, turns: int) -> dict[str, float]:
    """Transitions a second of the bare replay and of wrapped ones, in turns."""
    envs = {name: wrap(ReplayEnv(dataset)) for name, wrap in WRAPPERS.items()}
    envs["bare"] = ReplayEnv(dataset)
    spent = dict.fromkeys(envs, 0.0)
    names = list(envs)
    for turn in range(turns):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            spent[name] += seconds(lambda env=envs[name]: play(env))
    return {name: turns * STEPS / spent[name] for name in names}


def bulk_round(dataset: Dataset, some: Dataset) -> dict[str, dict[str, float]]:
    """Made transitions a second of wrapping a dataset, and of recording a replay."""

    def rate(make: Callable[[], Dataset]) -> float:
        started = time.perf_counter()
        made = make()
        return len(made) / (time.perf_counter() - started)

    rates: dict[str, dict[str, float]] = {"recorded": {}, "bulk": {}}
    for name, wrap in WRAPPERS.items():
        rates["recorded"][name] = rate(lambda w=wrap: recorded(w(ReplayEnv(some))))
        rates["bulk"][name] = rate(lambda w=wrap: w(dataset))
    return rates


def drawing_round(dataset: Dataset) -> dict[str, float]:
    """Transitions a second whose noise is drawn and nothing done with it."""
    stream, at = NoiseStream(0, "drawing", 0), keys(dataset)
    rates = {}
    for name, shape in DRAWS.items():
        spent = seconds(lambda s=shape: stream.episodes(at, dataset.lengths, NORMAL, s))
        rates[name] = len(dataset) / spent
    return rates


def require_same(some: Dataset) -> None:
    """Both ways must make the same data."""
    for name, wrap in WRAPPERS.items():
        if recorded(wrap(ReplayEnv(some))).sha256 != wrap(some).sha256:
            raise SystemExit(f"{name}: the replay's data are not the dataset's")


class Collectors:
    """Our way and Stable-Baselines3's, with the same policy."""

    def __init__(self) -> None:
        import gymnasium as gym
        from stable_baselines3 import SAC
        from stable_baselines3.common.vec_env import DummyVecEnv

        from suite.agents.behaviour import behaviour_of

        self.theirs = DummyVecEnv([lambda: gym.make("HalfCheetah-v5")])
        self.model = SAC("MlpPolicy", self.theirs, seed=0, device="cpu", buffer_size=10)
        self.ours = gym.make_vec(
            "BatchedHalfCheetah-v5",
            num_envs=ROWS,
            vectorization_mode="vector_entry_point",
            autoreset_mode="disabled",
        )
        self.policy = behaviour_of(self.model.actor)

    def round(self, theirs: int) -> dict[str, float]:
        """Transitions a second of each."""
        count = ROWS * STEPS
        collecting = seconds(lambda: collect(self.ours, self.policy, count, seed=0))
        return {
            "ours": count / collecting,
            "sb3": theirs / seconds(lambda: self.sb3(theirs)),
        }

    def sb3(self, steps: int) -> dict[str, np.ndarray]:
        """What a script around Stable-Baselines3 does."""
        obs: Any = self.theirs.reset()
        kept: dict[str, list[Any]] = {n: [] for n in ("obs", "act", "rew", "next")}
        for _ in range(steps):
            action, _ = self.model.predict(obs)
            result: Any = self.theirs.step(action)
            next_obs, reward, done, infos = result
            final = infos[0]["terminal_observation"] if done[0] else next_obs[0]
            row = (obs[0], action[0], reward[0], final)
            for name, value in zip(kept, row, strict=True):
                kept[name].append(value)
            obs = next_obs
        return {name: np.array(values) for name, values in kept.items()}


def measured_round(
    dataset: Dataset, some: Dataset, collectors: Collectors
) -> dict[str, dict[str, float]]:
    """Transitions a second of all, by part."""
    return {
        "stream": stream_round(dataset, 20),
        **bulk_round(dataset, some),
        "drawing": drawing_round(dataset),
        "collect": collectors.round(3000),
    }


def ratios_of(rates: dict[str, dict[str, float]]) -> dict[str, float]:
    """How the contenders of a round compare."""
    stream, recorded, bulk, drawing, collectors = (
        rates[part] for part in ("stream", "recorded", "bulk", "drawing", "collect")
    )
    return {
        **{f"stream/{name}": stream[name] / stream["bare"] for name in WRAPPERS},
        **{f"bulk/{name}": bulk[name] / recorded[name] for name in WRAPPERS},
        **{f"bulk/steps/{name}": bulk[name] / stream[name] for name in WRAPPERS},
        **{f"bulk/drawing/{name}": bulk[name] / drawing[name] for name in drawing},
        "collect": collectors["ours"] / collectors["sb3"],
    }


def measured(
    episodes: int, rounds: int
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Median rates (transitions a second), and median ratios of the rounds."""
    dataset = walks(episodes)
    _ = dataset.sha256  # known of whatever was loaded: its hash is compared then
    some = dataset.select(np.arange(episodes) < 20)
    require_same(some)
    collectors = Collectors()
    found = [measured_round(dataset, some, collectors) for _ in range(rounds)]
    rates = {part: medians_of([each[part] for each in found]) for part in found[0]}
    return rates, medians_of([ratios_of(each) for each in found])
