"""Every exported wrapper with arguments that make it do something.

``KINDS`` serve whatever can be wrapped, ``STORED`` stored data alone.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from exported import LIVE, WRAPPERS, Outwards, required
from walk_env import WalkEnv

import suite.wrappers as w

# More than the required arguments, where that tests more. A wrapper that is not here is
# tried with those alone, and with a seed if it takes one.
FULLER: dict[type, dict[str, Any]] = {
    w.RewardNoise: {"std": 0.3, "relative_std": 0.2},
    w.RewardFlip: {"rate": 0.4},
    w.RewardOutliers: {"rate": 0.4, "size": 9.0},
    w.ObservationOutliers: {"rate": 0.4, "size": 9.0},
    w.RewardScale: {"scale": -2.5, "shift": 0.7},
    w.RewardDelay: {"steps": 3},
    w.ObservationNoise: {"std": [0.1, 0.4]},
    w.ActionNoise: {"std": 0.2},
    w.ActionDelay: {"steps": 2, "default": 0.5},
    w.StickyAction: {"probability": 0.4},
}
HERE = "FULLER in tests/wrappers/kinds.py"


@dataclass(frozen=True)
class Kind:
    """A wrapper to test."""

    wrapper: Any

    @cached_property
    def kwargs(self) -> dict[str, Any]:
        seed = {"seed": 3} if self.is_noisy else {}
        fuller = FULLER.get(self.wrapper) or required(self.wrapper, {"env": None})
        return {**fuller, **seed}

    @cached_property
    def corruption(self) -> w.Corruption:
        try:
            return self.wrapper(WalkEnv(), **self.kwargs).corruption
        except (TypeError, ValueError) as reason:
            raise AssertionError(
                f"{self.wrapper.__name__} refuses {self.kwargs}; give arguments that "
                f"it takes in {HERE}: {reason}"
            ) from reason

    @property
    def is_noisy(self) -> bool:
        return "seed" in inspect.signature(self.wrapper).parameters

    @property
    def seed(self) -> int:
        return self.kwargs.get("seed", 0)

    def __call__(self, env: Any) -> Any:
        return self.wrapper(env, **self.kwargs)


def _spelled(name: str) -> str:
    """``"RewardNoise"`` as ``"reward noise"``."""
    return " ".join(re.findall("[A-Z][a-z0-9]*", name)).lower()


KINDS = {_spelled(name): Kind(WRAPPERS[name]) for name in LIVE}
NOISY = [name for name, kind in KINDS.items() if kind.is_noisy]


def of_field(*fields: str) -> list[str]:
    """The kinds that change one of these fields."""
    return [name for name, kind in KINDS.items() if kind.corruption.field in fields]


ATTACK = {"rate": 0.4, "epsilon": 0.5, "seed": 3}
# Again with more than the required arguments, and by shorter names.
STORED: dict[str, tuple[Any, dict[str, Any]]] = {
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
STORED |= {
    _spelled(name): (wrapper, required(wrapper, {"env": None}))
    for name, wrapper in WRAPPERS.items()
    if name not in LIVE and wrapper not in {listed for listed, _ in STORED.values()}
}
