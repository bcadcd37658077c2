"""Every wrapper with arguments that make it do something, and its corruption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import suite.wrappers as w


@dataclass(frozen=True)
class Kind:
    """A wrapper to test."""

    wrapper: Any
    kwargs: dict[str, Any]
    corruption: w.Corruption

    @property
    def seed(self) -> int:
        return self.kwargs.get("seed", 0)

    def __call__(self, env: Any) -> Any:
        return self.wrapper(env, **self.kwargs)


KINDS = {
    "reward noise": Kind(
        w.RewardNoise,
        {"std": 0.3, "relative_std": 0.2, "seed": 3},
        w.NoisyReward(0.3, 0.2),
    ),
    "reward scale": Kind(
        w.RewardScale, {"scale": -2.5, "shift": 0.7}, w.ScaledReward(-2.5, 0.7)
    ),
    "reward delay": Kind(w.RewardDelay, {"steps": 3}, w.DelayedReward(3)),
    "sparse reward": Kind(w.SparseReward, {}, w.SummedReward()),
    "observation noise": Kind(
        w.ObservationNoise,
        {"std": [0.1, 0.4], "seed": 3},
        w.NoisyObservation([0.1, 0.4]),
    ),
    "action noise": Kind(w.ActionNoise, {"std": 0.2, "seed": 3}, w.NoisyAction(0.2)),
    "action delay": Kind(
        w.ActionDelay, {"steps": 2, "default": 0.5}, w.DelayedAction(2, 0.5)
    ),
    "sticky action": Kind(
        w.StickyAction, {"probability": 0.4, "seed": 3}, w.RepeatedAction(0.4)
    ),
}
NOISY = ["reward noise", "observation noise", "action noise", "sticky action"]
