"""Every wrapper with arguments that make it do something, and its corruption.

``KINDS`` serve whatever can be wrapped, ``STORED`` stored data alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

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
    "reward flip": Kind(w.RewardFlip, {"rate": 0.4, "seed": 3}, w.FlippedReward(0.4)),
    "reward outliers": Kind(
        w.RewardOutliers,
        {"rate": 0.4, "size": 9.0, "seed": 3},
        w.OutlyingReward(0.4, 9.0),
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
    "observation outliers": Kind(
        w.ObservationOutliers,
        {"rate": 0.4, "size": 9.0, "seed": 3},
        w.OutlyingObservation(0.4, 9.0),
    ),
    "action noise": Kind(w.ActionNoise, {"std": 0.2, "seed": 3}, w.NoisyAction(0.2)),
    "action delay": Kind(
        w.ActionDelay, {"steps": 2, "default": 0.5}, w.DelayedAction(2, 0.5)
    ),
    "sticky action": Kind(
        w.StickyAction, {"probability": 0.4, "seed": 3}, w.RepeatedAction(0.4)
    ),
}
NOISY = [
    "reward noise",
    "reward flip",
    "reward outliers",
    "observation noise",
    "observation outliers",
    "action noise",
    "sticky action",
]


class Outwards:
    """An attack without a critic: everything further from zero."""

    def __call__(self, array: str, data: Any, rows: Any, std: Any) -> np.ndarray:
        return np.sign(getattr(data, array)[rows])

    def to_json(self) -> str:
        return "outwards"


ATTACK = {"rate": 0.4, "epsilon": 0.5, "seed": 3}
STORED = {
    "drop best": (w.DropBestEpisodes, {"percent": 30}),
    "drop worst": (w.DropWorstEpisodes, {"percent": 30}),
    "drop random": (w.DropRandomEpisodes, {"percent": 50, "seed": 3}),
    "drop size-matched": (w.DropSizeMatchedEpisodes, {"percent": 20, "seed": 3}),
    "truncate": (w.TruncateEpisodes, {"steps": 6}),
    "drop transitions": (w.DropTransitions, {"rate": 0.4, "seed": 3}),
    "duplicate transitions": (w.DuplicateTransitions, {"rate": 0.4, "seed": 3}),
    "relative reward noise": (w.RelativeRewardNoise, {"ratio": 0.5, "seed": 3}),
    "dynamics noise": (w.DynamicsNoise, {"std": 0.1, "seed": 3}),
    "random observations": (w.RandomObservations, ATTACK),
    "random actions": (w.RandomActions, ATTACK),
    "random dynamics": (w.RandomDynamics, ATTACK),
    "random rewards": (w.RandomRewards, ATTACK),
    "adversarial rewards": (w.AdversarialRewards, ATTACK),
    "adversarial observations": (
        w.AdversarialObservations,
        {"attack": Outwards(), **ATTACK},
    ),
    "adversarial actions": (w.AdversarialActions, {"attack": Outwards(), **ATTACK}),
    "adversarial dynamics": (w.AdversarialDynamics, {"attack": Outwards(), **ATTACK}),
}
