"""How well a model predicts episodes that it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from suite.envs.arguments import require_positive
from suite.evaluation import require_finite
from suite.worldmodels.diagnostics import (
    STEPS,
    calibration,
    model_actions,
    one_step_error,
    prediction_errors,
    windows,
)


class PredictionError:
    """Open-loop errors of a fitted model on new episodes of random actions.

    Use it as the evaluation of an agent that fits a model: ``policy`` is the model, or
    has it as ``dynamics``. It has environments and random streams of its own; every
    call plays new episodes, drawn from (seed, key).

    The result has ``prediction_error`` (CS285's MPE, over 10 steps) and ``error_1``,
    ``error_5`` and ``error_10`` of ``suite.worldmodels.diagnostics``;
    ``one_step_error``, what the loss would be on these episodes without noise; and
    ``coverage_90`` and ``nll`` of a probabilistic ensemble.

    Args:
        make_env: ``make_env(num_envs, autoreset_mode=..., num_threads=...)``.
        episodes: Played at once.
        steps: Of each, at most.
        seed: Of all episodes and actions.
        threads: Threads that step the rows; results do not depend on it.

    Raises:
        ValueError: If there is no episode, or it is shorter than a window.
    """

    def __init__(
        self,
        make_env: Callable[..., Any],
        *,
        episodes: int = 16,
        steps: int = 100,
        seed: int = 0,
        threads: int = 1,
    ):
        require_positive("episodes", episodes)
        if steps < max(STEPS):
            raise ValueError(f"steps must be {max(STEPS)} or more, got {steps}")
        self.steps, self.seed = steps, seed
        self._env = make_env(episodes, autoreset_mode="disabled", num_threads=threads)

    def __call__(self, policy: Any, key: int) -> dict[str, float]:
        """Evaluate a model.

        Args:
            policy: A ``LearnedDynamics``, or what has one as ``dynamics``.
            key: Which draw of episodes; a run gives the number of updates.

        Raises:
            FloatingPointError: If the model's weights are NaN or infinite.
            ValueError: If every episode ends before a window does.
        """
        require_finite(policy)
        dynamics = getattr(policy, "dynamics", policy)
        found = windows(*self._played(key))
        if found is None:
            raise ValueError(
                f"no episode of random actions is {max(STEPS)} steps long, so that "
                "there is nothing to predict"
            )
        return {
            **prediction_errors(dynamics, found),
            "one_step_error": one_step_error(dynamics, found),
            **calibration(dynamics, found),
        }

    def _played(self, key: int) -> tuple[np.ndarray, ...]:
        """Observations, actions, next observations and ends, (T, K, ...)."""
        words = np.random.SeedSequence([self.seed, key]).generate_state(2)
        obs, _ = self._env.reset(seed=int(words[0] >> 1))  # 31 bits, as some want
        space = self._env.action_space
        space.seed(int(words[1] >> 1))
        steps = []
        for _ in range(self.steps):
            actions = space.sample()
            next_obs, _, terminated, truncated, _ = self._env.step(actions)
            done = terminated | truncated
            given = model_actions(self._env.single_action_space, actions)
            steps.append((obs, given, next_obs, done))
            obs = next_obs
        return tuple(np.stack(column) for column in zip(*steps, strict=True))  # pyright: ignore[reportReturnType]
