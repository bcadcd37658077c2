"""Evaluation: what a policy achieves, and how sure a few seeds make us of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.parts import resolve


class SuccessRate:
    """Share of episodes that succeed, counted in three ways.

    Use it for tasks that end at success. It has its own environments and its own random
    streams, so that a training is the same with and without it. Every call plays new
    episodes, drawn from (seed, key): a lucky set of starts does not stay for a whole
    run.

    The result has, as shares in [0, 1]:
        success_log_metric: Stochastic actions in ``envs`` rows that reset at every
            episode's end, ``steps`` steps from fresh resets; the share of successes
            among all episodes that ended. Short episodes, mostly successes, are counted
            more often than with one episode a row, so this is the higher one. Repeated
            with new seeds until ``min_episodes`` have ended.
        success_first_stochastic: The first episode of each of ``first_episode_envs``
            rows.
        success_first_deterministic: The same with the most likely actions.
    and ``episodes`` and ``episode_length`` (steps, mean) of the first, and ``log_std``,
    the policy's mean log standard deviation.

    Args:
        make_env: ``make_env(num_envs, autoreset_mode=..., num_threads=...)``.
        envs: Rows of the log's metric.
        steps: Steps of each repetition; an episode must fit into it.
        min_episodes: Episodes to count at least.
        first_episode_envs: Rows of the first-episode metrics.
        seed: Of all episodes and actions.
        threads: Threads that step the rows; results do not depend on it.

    Raises:
        ValueError: If a number is not positive.
    """

    def __init__(
        self,
        make_env: Callable[..., Any],
        *,
        envs: int = 128,
        steps: int = 50,
        min_episodes: int = 1000,
        first_episode_envs: int = 512,
        seed: int = 0,
        threads: int = 1,
    ):
        if min(envs, steps, min_episodes, first_episode_envs) < 1:
            raise ValueError(
                "SuccessRate needs positive numbers, got "
                f"{envs=}, {steps=}, {min_episodes=} and {first_episode_envs=}"
            )
        self.envs, self.steps = envs, steps
        self.min_episodes, self.first_episode_envs = min_episodes, first_episode_envs
        self.seed = seed
        # It draws from our generator: the global one belongs to the training.
        self._sample = resolve("suite.agents.policies:sample_actions")
        self._resetting = make_env(
            envs, autoreset_mode="same_step", num_threads=threads
        )
        self._single = make_env(
            first_episode_envs, autoreset_mode="disabled", num_threads=threads
        )

    def __call__(self, policy: Any, key: int) -> dict[str, float]:
        """Evaluate an SB3 actor-critic policy.

        Args:
            policy: Left as it was, its training mode included.
            key: Which draw of episodes; a run gives the number of updates.

        Raises:
            FloatingPointError: If the policy's weights are NaN or infinite.
            ValueError: If an episode does not end within ``steps``.
        """
        require_finite(policy)
        was_training = policy.training
        policy.set_training_mode(False)
        try:
            stochastic = self._stochastic(policy, key)
            deterministic = self._deterministic(policy, key)
        finally:
            policy.set_training_mode(was_training)
        return {
            **stochastic,
            "success_first_deterministic": deterministic,
            **_noise(policy),
        }

    def _stochastic(self, policy: Any, key: int) -> dict[str, float]:
        successes: list[np.ndarray] = []  # of all episodes that ended, in order
        lengths: list[np.ndarray] = []
        first: list[np.ndarray] = []  # of each row's first episode
        played = 0
        while (
            played < self.min_episodes
            or len(first) * self.envs < self.first_episode_envs
        ):
            seed, noise = self._streams(key, len(first))
            obs, _ = self._resetting.reset(seed=seed)
            is_first, first_success = (
                np.ones(self.envs, bool),
                np.zeros(self.envs, bool),
            )
            for _ in range(self.steps):
                actions = self._sample(policy, obs, noise)
                obs, _, terminated, truncated, info = self._resetting.step(actions)
                ended = terminated | truncated
                if not ended.any():
                    continue
                final = info["final_info"]
                succeeded = np.asarray(final["is_success"], bool)
                successes.append(succeeded[ended])
                lengths.append(final["episode"]["l"][ended])
                first_success |= ended & is_first & succeeded
                is_first &= ~ended
                played += int(ended.sum())
            if is_first.any():
                raise ValueError(
                    f"{is_first.sum()} of {self.envs} episodes did not end within "
                    f"{self.steps} steps; set evaluation.steps to the "
                    "time limit or more"
                )
            first.append(first_success)
        rows = np.concatenate(first)[: self.first_episode_envs]
        return {
            "success_log_metric": float(np.concatenate(successes).mean()),
            "success_first_stochastic": float(rows.mean()),
            "episodes": played,
            "episode_length": float(np.concatenate(lengths).mean()),
        }

    def _deterministic(self, policy: Any, key: int) -> float:
        seed, _ = self._streams(key, 0)
        obs, _ = self._single.reset(seed=seed)
        succeeded, ended = np.zeros((2, self.first_episode_envs), bool)
        for _ in range(self.steps):
            actions = self._sample(policy, obs, None)
            obs, _, terminated, truncated, info = self._single.step(actions)
            succeeded |= ~ended & np.asarray(info["is_success"], bool)
            ended |= terminated | truncated
            if ended.all():
                break
        return float(succeeded.mean())

    def _streams(self, key: int, repetition: int) -> tuple[int, Any]:
        """The environments' seed and the actions' generator of one repetition."""
        import torch

        words = np.random.SeedSequence([self.seed, key, repetition]).generate_state(2)
        noise = torch.Generator().manual_seed(int(words[1]))
        return int(words[0] >> 1), noise  # some environments want 31 bits


def require_finite(policy: Any, largest: float = float("inf")) -> None:
    """Refuse a policy whose weights are NaN, infinite or beyond a limit.

    Args:
        policy: A torch module.
        largest: The limit of their magnitude.

    Raises:
        FloatingPointError: Naming the first such parameter.
    """
    for name, parameter in policy.named_parameters():
        magnitude = float(parameter.detach().abs().max())
        if not (magnitude <= largest and magnitude < float("inf")):
            raise FloatingPointError(
                f"the policy has diverged: its {name} reached {magnitude:.3g}; lower "
                "the learning rate"
            )


def _noise(policy: Any) -> dict[str, float]:
    if not hasattr(policy, "log_std"):  # a categorical policy has none
        return {}
    return {"log_std": float(policy.log_std.detach().mean())}


# ----------------------------------------------------------------------- statistics
@dataclass(frozen=True)
class Interval:
    """An estimate and where it lies; without bounds if there is a single value.

    Attributes:
        value: The estimate.
        low: Lower bound, or None.
        high: Upper bound, or None.
    """

    value: float
    low: float | None
    high: float | None


def mean_interval(values: Any, confidence: float = 0.95) -> Interval:
    """Mean of a few seeds with Student's t interval.

    Use it for one number a seed. It assumes roughly normal values and is honest (wide)
    for three seeds, where a bootstrap is not. A share near 1 may get a bound above 1.

    Args:
        values: (n,) one value a seed.
        confidence: Coverage.
    """
    from scipy.special import stdtrit  # the quantile alone: scipy.stats takes a second

    values = np.asarray(values, float)
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return Interval(mean, None, None)
    half = stdtrit(n - 1, (1 + confidence) / 2) * values.std(ddof=1) / np.sqrt(n)
    return Interval(mean, float(mean - half), float(mean + half))


def mean_of_last(
    values: Sequence[float], count: int = 3, *, untrained: int = 1
) -> float:
    """The mean of a training's last evaluations; fewer, if there were no more.

    Args:
        values: In the order of training.
        count: How many.
        untrained: How many precede all training: they are left out, unless there is no
            other.
    """
    last = list(values[untrained:])[-count:] or values
    return math.fsum(last) / len(last)


def iqm(scores: Any, axis: int | None = None) -> Any:
    """Interquartile mean: the mean of the middle half.

    Use it over many runs and tasks, where outliers would rule a mean.

    Args:
        scores: Any shape.
        axis: As in NumPy; None takes all scores together.

    Source: Agarwal et al. 2021, section 4, arXiv:2108.13264.
    """
    scores = np.asarray(scores, float)
    scores = np.sort(scores.ravel() if axis is None else scores, axis=axis or 0)
    scores = np.moveaxis(scores, axis or 0, 0)
    cut = len(scores) // 4
    return scores[cut : len(scores) - cut].mean(axis=0)


def bootstrap_interval(
    scores: Any,
    statistic: Callable[[np.ndarray], Any] = iqm,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Stratified percentile bootstrap: seeds are drawn anew within each task.

    Use it for aggregates over tasks; with fewer than five seeds it is too narrow.

    Args:
        scores: (seeds, tasks).
        statistic: From (seeds, tasks) to a number.
        confidence: Coverage.
        resamples: How many.
        seed: Of the resampling.

    Source: Agarwal et al. 2021, section 4, arXiv:2108.13264.
    """
    scores = np.asarray(scores, float)
    generator = np.random.default_rng(seed)
    tasks = np.arange(scores.shape[1])
    draws = [
        float(
            statistic(scores[generator.integers(len(scores), size=scores.shape), tasks])
        )
        for _ in range(resamples)
    ]
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(statistic(scores)), float(low), float(high))


def probability_of_improvement(ours: Any, theirs: Any) -> float:
    """How probable it is that a run of ours beats one of theirs, averaged over tasks.

    Args:
        ours: (seeds, tasks).
        theirs: (other seeds, tasks).

    Source: Agarwal et al. 2021, section 4, arXiv:2108.13264; ties count half.
    """
    ours, theirs = np.asarray(ours, float)[:, None], np.asarray(theirs, float)[None]
    return float(((ours > theirs) + 0.5 * (ours == theirs)).mean())


def normalized_score(score: Any, low: float, high: float) -> Any:
    """A score on the scale where ``low`` (random) is 0 and ``high`` (expert) is 1.

    Raises:
        ValueError: If the two are equal.
    """
    if high == low:
        raise ValueError(f"a scale needs two different ends, got {low} twice")
    return (np.asarray(score, float) - low) / (high - low)
