"""Normalised returns of policies, on D4RL's scale and on one measured here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from suite.data.cards import D4RL
from suite.evaluation import normalized_score, require_finite
from suite.unknown_names import no_such


class NormalizedReturn:
    """Returns of whole episodes without noise, in points.

    Use it for continuing tasks whose score is the sum of rewards. It has environments
    and random streams of its own, so that a training is the same with and without it.
    Every call plays new episodes, drawn from (seed, key), all at once and one a row;
    those of key 0 begin where the training's own first ones do, as NumPy takes the
    seed (s, 0) for (s).

    The result has ``normalized_return``, 100 (R - random) / (expert - random) by D4RL's
    references, ``normalized_return_local`` by those measured here, if they are given,
    ``return_mean`` and ``return_std`` (over episodes) of R, and ``episode_length``
    (steps, mean).

    Args:
        make_env: ``make_env(num_envs, autoreset_mode=..., num_threads=...)``.
        reference: Of D4RL's: "halfcheetah", "hopper", "walker2d" or "ant"; or None.
        local: Mean returns of random actions and of what counts as 100 points, measured
            in this environment; or None.
        episodes: How many.
        steps: The time limit, or more.
        seed: Of all episodes.
        threads: Threads that step the rows; results do not depend on it.
        told: Numbers of ``info`` whose means over all steps are told, too.

    Raises:
        ValueError: If there is no such reference or no episode to play.

    Source: Fu et al. 2020, section 5, arXiv:2004.07219.
    """

    def __init__(
        self,
        make_env: Callable[..., Any],
        *,
        reference: str | None,
        local: Sequence[float] | None = None,
        episodes: int = 10,
        steps: int = 1000,
        seed: int = 0,
        threads: int = 1,
        told: Sequence[str] = (),
    ):
        if min(episodes, steps) < 1:
            raise ValueError(
                "NormalizedReturn needs at least one episode of one step, got "
                f"{episodes=} and {steps=}"
            )
        self._scales = {}
        if reference is not None:
            self._scales["normalized_return"] = _known(reference)
        if local is not None:
            self._scales["normalized_return_local"] = _pair(local)
        self.steps, self.seed, self.told = steps, seed, tuple(told)
        self._env = make_env(episodes, autoreset_mode="disabled", num_threads=threads)

    def __call__(self, policy: Any, key: int) -> dict[str, float]:
        """Evaluate a policy that has ``predict``, such as Stable-Baselines3's.

        Args:
            policy: Acts without noise; what it remembers goes from step to step.
            key: Which draw of episodes; a run gives the number of updates.

        Raises:
            FloatingPointError: If the policy's weights are NaN or infinite.
            ValueError: If an episode does not end within ``steps``, or ``info`` lacks
                a number that shall be told.
        """
        require_finite(policy)
        returns, lengths, told = self._played(policy, key)
        points = {
            name: 100 * float(normalized_score(returns.mean(), *ends))
            for name, ends in self._scales.items()
        }
        return {
            **points,
            "return_mean": float(returns.mean()),
            "return_std": float(returns.std()),
            "episode_length": float(lengths.mean()),
            **{n: float(sums.sum() / lengths.sum()) for n, sums in told.items()},
        }

    def _played(
        self, policy: Any, key: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Returns, lengths and sums of what is told (N,), of one episode a row."""
        words = np.random.SeedSequence([self.seed, key]).generate_state(1)
        obs, _ = self._env.reset(seed=int(words[0] >> 1))  # 31 bits, as some want
        returns, lengths = np.zeros((2, self._env.num_envs))
        running, memory = np.ones(self._env.num_envs, bool), None
        told = {name: np.zeros(self._env.num_envs) for name in self.told}
        for _ in range(self.steps):
            actions, memory = policy.predict(obs, state=memory, deterministic=True)
            obs, rewards, terminated, truncated, info = self._env.step(actions)
            for name in told:
                told[name] += np.where(running, _number(info, name), 0.0)
            returns += np.where(running, rewards, 0.0)
            lengths += running
            running &= ~(terminated | truncated)
            if not running.any():
                return returns, lengths, told
        raise ValueError(
            f"{running.sum()} of {len(running)} episodes did not end within "
            f"{self.steps} steps; set evaluation.steps to the time limit or more"
        )


def _number(info: dict[str, Any], name: str) -> np.ndarray:
    if name not in info:
        raise ValueError(
            f"info has no {name!r} to tell of; it has {', '.join(sorted(info))}"
        )
    return info[name]


def _known(reference: str) -> tuple[float, float]:
    if reference not in D4RL:
        raise ValueError(no_such("reference of D4RL", reference, D4RL))
    return D4RL[reference]


def _pair(local: Sequence[float]) -> tuple[float, float]:
    if len(local) != 2 or not float(local[0]) < float(local[1]):
        raise ValueError(
            "a local reference is the return of random actions and a higher one of an "
            f"expert, got {list(local)}"
        )
    return float(local[0]), float(local[1])
