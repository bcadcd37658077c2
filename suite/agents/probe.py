"""What critics say of a fixed set of clean transitions, while training goes on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from suite.transitions import Dataset

CUT = 0.01  # a return is known if what lies beyond its cut weighs at most so much

Critics = Callable[[np.ndarray, np.ndarray], np.ndarray]
Actor = Callable[[np.ndarray], np.ndarray]


class Probe:
    """A seeded draw of pairs (s, a) and how critics judge them.

    Use it to see values collapse, drift or diverge under corrupted data: name the
    *clean* data here, whatever the agent trains on, so that the numbers of all cells of
    an experiment are of the same pairs. What is told, in units of the environment's
    reward, Q being the mean over critics:

        q/mean, q/std             of Q(s, a) over the pairs
        q/critic_std              standard deviation over critics, mean over the pairs
        q/policy_advantage        mean of Q(s, pi(s)) - Q(s, a)
        q/return_gap              mean of Q(s, a) - G(s, a), G the discounted return
                                  that the data got from there; only pairs whose G is
                                  known, since their episode ended or went on so long
                                  that gamma^h <= 0.01; NaN if there are none
        q/out_of_bounds           share of pairs with |Q| > max|r| / (1 - gamma), the
                                  largest return if no reward is larger than the data's;
                                  a rough mark of divergence, since others may be
        q/not_finite              share of pairs whose Q is NaN or infinite

    Args:
        data: Where pairs are drawn from; it is not kept.
        pairs: How many; all there are if the data has fewer.
        seed: Of the draw.

    Raises:
        ValueError: If there is no pair to draw.
    """

    def __init__(self, data: Dataset, *, pairs: int = 1024, seed: int = 0):
        if pairs < 1:
            raise ValueError(f"a probe needs at least one pair, got {pairs}")
        draw = np.random.default_rng(seed).permutation(len(data))[:pairs]
        rows = np.sort(draw)
        ends = data.offsets[1:][np.searchsorted(data.offsets, rows, "right") - 1]
        self.obs, self.actions = data.obs[rows], data.actions[rows]
        self._rewards = [
            data.rewards[row:end].astype(np.float64)
            for row, end in zip(rows.tolist(), ends.tolist(), strict=True)
        ]
        self._ended = data.terminated[ends - 1]
        self._largest = float(np.abs(data.rewards).max())
        self._returns: dict[float, np.ndarray] = {}  # by discount

    def returns(self, gamma: float) -> np.ndarray:
        """Discounted returns (P,) float64 of the pairs, NaN where unknown."""
        if gamma not in self._returns:
            lengths = np.array([len(rewards) for rewards in self._rewards])
            weights = gamma ** np.arange(lengths.max())
            returns = np.array([r @ weights[: len(r)] for r in self._rewards])
            known = self._ended | (gamma**lengths <= CUT)
            self._returns[gamma] = np.where(known, returns, np.nan)
        return self._returns[gamma]

    def told(self, critics: Critics, actor: Actor, gamma: float) -> dict[str, float]:
        """The numbers listed above.

        Args:
            critics: From observations (P, O) and actions (P, A) to values (C, P).
            actor: From observations (P, O) to the policy's actions (P, A).
            gamma: Discount.
        """
        each = critics(self.obs, self.actions).astype(np.float64)
        best = critics(self.obs, actor(self.obs)).astype(np.float64)
        values = each.mean(axis=0)
        known = ~np.isnan(self.returns(gamma))
        gaps = (values - self.returns(gamma))[known]
        # Divergence is told by its share, not by warnings on the way to the others.
        with np.errstate(invalid="ignore", over="ignore"):
            return {
                "q/mean": float(values.mean()),
                "q/std": float(values.std()),
                "q/critic_std": float(each.std(axis=0).mean()),
                "q/policy_advantage": float((best.mean(axis=0) - values).mean()),
                "q/return_gap": float(gaps.mean()) if known.any() else np.nan,
                "q/out_of_bounds": self._share_beyond(values, gamma),
                "q/not_finite": float((~np.isfinite(values)).mean()),
            }

    def _share_beyond(self, values: np.ndarray, gamma: float) -> float:
        bound = self._largest / (1 - gamma) if gamma < 1 else np.inf
        return float((np.abs(values) > bound).mean())
