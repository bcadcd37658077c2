"""Wrappers of stored data after RIQL: some rows of one array, at random or at worst.

Each chooses rows anew, with a probability for each transition, and leaves the other
three arrays as they are. Nothing is clipped.

Source: Yang et al. 2024, "Towards Robust Offline Reinforcement Learning under Diverse
Data Corruption", arXiv:2310.12955, and the code published with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from suite.transitions import Dataset
from suite.wrappers.corruption import require_not_negative, require_share
from suite.wrappers.dataset import EpisodeNoise, Plan, StoredCorruption
from suite.wrappers.wrapper import CorruptionWrapper


class Attack(Protocol):
    """Who finds the worst observations or actions, such as a critic's gradient.

    ``suite.agents.attacks:GradientAttack`` is one.
    """

    def __call__(
        self, array: str, data: Dataset, rows: np.ndarray, box: np.ndarray
    ) -> np.ndarray:
        """Disturbances (n, D) in [-1, 1], to be multiplied by the box.

        Args:
            array: Which one is attacked: ``"obs"``, ``"actions"`` or ``"next_obs"``.
            data: All transitions.
            rows: (n,) indices of those to attack.
            box: (D,) how much a disturbance of 1 is: epsilon standard deviations.
        """
        ...

    def to_json(self) -> Any:
        """What the card says of it."""
        ...


# --------------------------------------------------------------------- what is done
@dataclass(frozen=True)
class AttackedRows(StoredCorruption):
    """Some rows of an array, each chosen with a probability."""

    rate: float = 0.3
    epsilon: float = 1.0
    array: ClassVar[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", require_share("rate", self.rate))
        epsilon = require_not_negative("epsilon", self.epsilon)
        object.__setattr__(self, "epsilon", epsilon)

    def rows(self, data: Dataset, noise: EpisodeNoise) -> np.ndarray:
        """(n,) indices of the transitions that are chosen."""
        return np.flatnonzero(noise.draws("rows", data) < self.rate)

    def replaced(self, data: Dataset, rows: np.ndarray, by: np.ndarray) -> Dataset:
        """The data with other rows."""
        changed = getattr(data, self.array).copy()
        changed[rows] = by
        return data.with_arrays(**{self.array: changed})


class RandomRows(AttackedRows):
    """x + epsilon u std, u uniform in [-1, 1)."""

    def plan(self, data: Dataset, noise: EpisodeNoise) -> Plan:
        """The standard deviation of each entry over all transitions."""
        std = _std(getattr(data, self.array))
        return {"std": std, "told": {"std": std.tolist()}}

    def apply(self, data: Dataset, plan: Plan, noise: EpisodeNoise) -> Dataset:
        """The array with some other rows."""
        rows, old = self.rows(data, noise), getattr(data, self.array)
        draws = 2 * noise.draws("noise", data, old.shape[1:])[rows] - 1
        exact = old[rows].astype(np.float64)
        return self.replaced(data, rows, exact + self.epsilon * draws * plan["std"])


class RandomObs(RandomRows):
    """See ``RandomObservations``."""

    array = "obs"


class RandomAction(RandomRows):
    """See ``RandomActions``."""

    array = "actions"


class RandomNextObs(RandomRows):
    """See ``RandomDynamics``."""

    array = "next_obs"


class RandomReward(AttackedRows):
    """30 epsilon u; see ``RandomRewards``."""

    array = "rewards"

    def apply(self, data: Dataset, plan: Plan, noise: EpisodeNoise) -> Dataset:
        """Rewards, some of them replaced."""
        rows = self.rows(data, noise)
        draws = 2 * noise.draws("noise", data)[rows] - 1
        return self.replaced(data, rows, 30 * self.epsilon * draws)


class AdverseReward(AttackedRows):
    """-epsilon r; see ``AdversarialRewards``."""

    array = "rewards"

    def apply(self, data: Dataset, plan: Plan, noise: EpisodeNoise) -> Dataset:
        """Rewards, some of them turned round."""
        rows = self.rows(data, noise)
        exact = data.rewards[rows].astype(np.float64)
        return self.replaced(data, rows, -self.epsilon * exact)


@dataclass(frozen=True)
class AdverseRows(AttackedRows):
    """x + epsilon d std, d in [-1, 1] as bad as an attack can find."""

    attack: Attack = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.attack):
            raise ValueError(
                "attack must be a function, such as GradientAttack.of(learner) of "
                f"suite.agents.attacks, got {self.attack!r}"
            )

    def plan(self, data: Dataset, noise: EpisodeNoise) -> Plan:
        """The attacked rows of all episodes, by the episode's id."""
        rows, old = self.rows(data, noise), getattr(data, self.array)
        std = _std(old)
        found = np.asarray(self.attack(self.array, data, rows, self.epsilon * std))
        if found.shape != (len(rows), len(std)) or np.abs(found).max(initial=0) > 1:
            raise ValueError(
                f"an attack on {len(rows)} rows of {self.array} must find numbers from "
                f"-1 to 1 of shape {(len(rows), len(std))}, got shape {found.shape}"
            )
        worst = old[rows].astype(np.float64) + self.epsilon * found * std
        cuts = np.searchsorted(rows, data.offsets[1:-1])
        by_episode = np.split(worst, cuts)
        ids = data.episode_ids.tolist()
        values = dict(zip(ids, by_episode, strict=True))
        return {"values": values, "told": {"std": std.tolist()}}

    def apply(self, data: Dataset, plan: Plan, noise: EpisodeNoise) -> Dataset:
        """The array with some other rows."""
        worst = [plan["values"][each] for each in data.episode_ids.tolist()]
        return self.replaced(data, self.rows(data, noise), np.concatenate(worst))


class AdverseObs(AdverseRows):
    """See ``AdversarialObservations``."""

    array = "obs"


class AdverseAction(AdverseRows):
    """See ``AdversarialActions``."""

    array = "actions"


class AdverseNextObs(AdverseRows):
    """See ``AdversarialDynamics``."""

    array = "next_obs"


def _std(values: np.ndarray) -> np.ndarray:
    return np.std(values, axis=0, dtype=np.float64)


# --------------------------------------------------------------------- the wrappers
class RowAttack(CorruptionWrapper):
    """Base of the attacks that need to know nothing but the data.

    Args:
        env: A ``Dataset``, a ``ReplayEnv``, or a wrapper of this package around one.
        rate: Probability of each transition, 0 to 1.
        epsilon: Size of the attack, 0 or more.
        seed: Of rows and noise.

    Raises:
        TypeError: If ``env`` acts.
        ValueError: If an argument is out of range.
    """

    kind: ClassVar[type[AttackedRows]]

    def __init__(
        self, env: Any, rate: float = 0.3, epsilon: float = 1.0, seed: int = 0
    ):
        super().__init__(env, self.kind(rate, epsilon), seed)


class RandomObservations(RowAttack):
    """Some obs are ``obs + epsilon u std``; next_obs stay as they are.

    Use it as RIQL's random attack on observations: u is uniform in [-1, 1) for each
    entry, std the entry's standard deviation over all transitions. Arguments are those
    of ``RowAttack``.
    """

    kind = RandomObs


class RandomActions(RowAttack):
    """Some logged actions are ``action + epsilon u std``; see ``RandomObservations``.

    Use it as RIQL's random attack on actions.
    """

    kind = RandomAction


class RandomDynamics(RowAttack):
    """Some next_obs are ``next_obs + epsilon u std``; see ``RandomObservations``.

    Use it as RIQL's random attack on the dynamics.
    """

    kind = RandomNextObs


class RandomRewards(RowAttack):
    """Some rewards are ``30 epsilon u`` instead, u uniform in [-1, 1).

    Use it as RIQL's random attack on rewards. Arguments are those of ``RowAttack``.
    """

    kind = RandomReward


class AdversarialRewards(RowAttack):
    """Some rewards are ``-epsilon r`` instead.

    Use it as RIQL's adversarial attack on rewards. Arguments are those of
    ``RowAttack``; with an epsilon of 1 it is ``RewardFlip`` of stored data.
    """

    kind = AdverseReward


class GuidedAttack(CorruptionWrapper):
    """Base of the attacks that somebody who knows the task's value directs.

    Args:
        env: A ``Dataset``, a ``ReplayEnv``, or a wrapper of this package around one.
        attack: Finds the worst disturbance; see ``Attack``.
        rate: Probability of each transition, 0 to 1.
        epsilon: Largest disturbance of an entry in its standard deviations, 0 or more.
        seed: Of the rows.

    Raises:
        TypeError: If ``env`` acts.
        ValueError: If an argument is out of range, or the attack goes beyond its box.
    """

    kind: ClassVar[type[AdverseRows]]

    def __init__(
        self,
        env: Any,
        attack: Attack,
        rate: float = 0.3,
        epsilon: float = 1.0,
        seed: int = 0,
    ):
        super().__init__(env, self.kind(rate, epsilon, attack=attack), seed)


class AdversarialObservations(GuidedAttack):
    """Some obs are the worst within ``epsilon std``: those of the lowest value.

    Use it as RIQL's adversarial attack on observations. Arguments are those of
    ``GuidedAttack``.
    """

    kind = AdverseObs


class AdversarialActions(GuidedAttack):
    """Some logged actions are the worst within ``epsilon std``.

    Use it as RIQL's adversarial attack on actions. Arguments are those of
    ``GuidedAttack``.
    """

    kind = AdverseAction


class AdversarialDynamics(GuidedAttack):
    """Some next_obs are the worst within ``epsilon std``.

    Use it as RIQL's adversarial attack on the dynamics; the attack needs a policy.
    Arguments are those of ``GuidedAttack``.
    """

    kind = AdverseNextObs
