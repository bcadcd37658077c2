"""Advantage estimators: strategy objects from a rollout to advantages and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from suite.arrays import Snapshot


@dataclass(frozen=True)
class Rollout:
    """What a policy did in N environments for T steps, with raw rewards.

    Attributes:
        obs: (T, N, O) observations acted on.
        actions: (T, N, A) as sampled, before clipping to the action space.
        rewards: (T, N).
        terminated: (T, N) bool, the episode ended in the task's own sense.
        truncated: (T, N) bool, the episode was cut by a time limit.
        values: (T, N) the critic's value of ``obs``.
        final_values: (T, N) the critic's value of the observation a row ends on: where
            an episode ended, and on the rollout's last step; 0 elsewhere.
        log_probs: (T, N) of the sampled actions.
        snapshots: T + 1 snapshots of all rows, one before each step and one after the
            last, or None if not asked for.
    """

    obs: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    values: np.ndarray
    final_values: np.ndarray
    log_probs: np.ndarray
    snapshots: Sequence[Snapshot] | None = None


@dataclass(frozen=True)
class Estimate:
    """What an estimator found.

    Attributes:
        advantages: (T, N).
        returns: (T, N) regression targets for the critic.
        sim_steps: Simulator steps spent beyond the rollout itself.
        metrics: Further numbers to log.
    """

    advantages: np.ndarray
    returns: np.ndarray
    sim_steps: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


def require_estimate(estimate: Any, rollout: Rollout, estimator: Any) -> Estimate:
    """The estimate, if it is one of that rollout.

    Raises:
        ValueError: Naming the estimator, what it must return and what it did.
    """
    shape, told = rollout.rewards.shape, type(estimate).__name__
    if isinstance(estimate, Estimate):
        found: list[Any] = [estimate.advantages, estimate.returns]
        if all(isinstance(a, np.ndarray) and a.shape == shape for a in found):
            return estimate
        told = " and ".join(f"{type(a).__name__} {np.shape(a)}" for a in found)
    raise ValueError(
        f"{type(estimator).__name__} must return Estimate(advantages, returns), two "
        f"arrays (T, N) = {shape}, got {told}"
    )


class Advantage(Protocol):
    """Estimates advantages of a rollout; hand one to ``PPO`` or ``AWR``.

    One whose next estimate depends on earlier ones is a ``StatefulAdvantage``.
    """

    needs_snapshots: bool

    def __call__(self, rollout: Rollout, policy: Any) -> Estimate:
        """Advantages and returns of a rollout that ``policy`` collected."""
        ...


@runtime_checkable
class StatefulAdvantage(Advantage, Protocol):
    """An estimator that remembers: its memory is part of a run's checkpoints."""

    def state(self) -> dict[str, Any]:
        """What it remembers: arrays and JSON values."""
        ...

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``."""
        ...


@dataclass(frozen=True)
class GAE:
    """Generalised advantage estimation; use it when a critic is trained along.

    With ``bootstrap_on_success`` an episode that ends in success is continued by the
    value of its last observation, as ManiSkill's baseline does: without it a dense
    reward makes ending early a loss and the policy hovers. With a sparse reward leave
    it off: the value after success is 0 and the fixed point is then the Monte Carlo
    return.

    Args:
        gamma: Discount.
        lam: Trace decay; 1 gives Monte Carlo returns.
        bootstrap_on_success: Whether termination counts as a time limit.

    Source: Schulman et al. 2016, eq. 16, arXiv:1506.02438.
    """

    gamma: float = 0.99
    lam: float = 0.95
    bootstrap_on_success: bool = False
    needs_snapshots = False

    def __call__(self, rollout: Rollout, policy: Any = None) -> Estimate:
        """Advantages (T, N) and returns (T, N) = advantages + values."""
        done = rollout.terminated | rollout.truncated
        next_values = np.where(done, 0.0, np.roll(rollout.values, -1, axis=0))
        next_values[-1] = 0.0
        ends = rollout.final_values
        if not self.bootstrap_on_success:
            ends = np.where(rollout.terminated, 0.0, ends)
        deltas = rollout.rewards + self.gamma * (next_values + ends) - rollout.values
        advantages = np.empty_like(deltas)
        trace = np.zeros(deltas.shape[1])
        for t in reversed(range(len(deltas))):
            trace = deltas[t] + self.gamma * self.lam * ~done[t] * trace
            advantages[t] = trace
        return Estimate(advantages, advantages + rollout.values)


@dataclass(frozen=True)
class MonteCarlo(GAE):
    """Discounted return minus the critic's value: GAE with lam = 1.

    Use it where the critic is poor and episodes are short. An episode cut by the time
    limit or by the rollout's end is still continued by the critic.

    Args:
        gamma: Discount.
        bootstrap_on_success: Whether termination counts as a time limit.
    """

    lam: float = field(default=1.0, init=False)
