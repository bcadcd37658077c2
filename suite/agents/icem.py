"""iCEM: the cross-entropy method that needs few samples."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from suite.agents.action_sets import Actions, Generators
from suite.agents.planning import (
    Memory,
    Plan,
    Score,
    best_of,
    cold_memory,
    next_centre,
    remembered,
    require_elites,
    require_memory,
    require_std,
    scored,
)
from suite.agents.proposals import ClippedNormal, Proposal
from suite.envs.arguments import require_number


@dataclass(frozen=True)
class ICEM:
    """CEM with coloured noise, shrinking draws and elites that live on.

    Returns the best sequence of the last draw, which its own mean joins. The best of
    the draws before is in it, if ``keep`` keeps one elite or more, and is scored again:
    scores of two draws are not compared, since each may have noise of its own, or
    fear the worst of its own (``ImaginedScore``).

    Args:
        horizon: Steps of a sequence.
        candidates: Sequences in the first draw.
        elites: How many of them the next draw is fitted to.
        iterations: Draws, each scored.
        decay: Draw i has candidates / decay^i new sequences, but at least two for each
            elite.
        keep: Share of the elites that are scored again with the next draw and, a step
            on, with the first draw of the next plan.
        alpha: Weight of the OLD mean and variance in the new ones.
        proposal: What is drawn from; its ``colour`` is the published beta.

    Raises:
        ValueError: If a count is less than 1, there are more elites than candidates,
            alpha is not in [0, 1), keep not in [0, 1], decay less than 1, or the first
            draw is uniform.
        TypeError: If the proposal is none.

    Source: Pinneri et al. 2020, algorithm 1, arXiv:2008.06389.
    """

    horizon: int
    candidates: int = 40
    elites: int = 10
    iterations: int = 3
    decay: float = 1.25
    keep: float = 0.3
    alpha: float = 0.1
    proposal: Proposal = field(default_factory=lambda: ClippedNormal(colour=2.0))

    def __post_init__(self) -> None:
        require_elites(self)
        require_std(self, "begins about its last plan")
        for name in ("keep", "decay"):
            require_number(name, getattr(self, name))
        if not 0 <= self.keep <= 1:
            raise ValueError(f"keep must be in [0, 1], got {self.keep}")
        if not self.decay >= 1:
            raise ValueError(f"decay must be at least 1, got {self.decay}")

    @property
    def kept(self) -> int:
        """How many elites live on."""
        return int(self.keep * self.elites)

    def draws(self) -> list[int]:
        """How many new sequences each draw has."""
        sizes = (int(self.candidates / self.decay**i) for i in range(self.iterations))
        return [max(2 * self.elites, size) for size in sizes]

    def start(self, actions: Actions, num_envs: int) -> Memory:
        """The middle of the actions, as the centre and as elites."""
        memory = cold_memory(self.proposal, actions, num_envs, self.horizon)
        elites = memory["centre"][:, None].repeat(1, self.kept, 1, 1)
        return {**memory, "elites": elites}

    @torch.no_grad()
    def plan(
        self, score: Score, actions: Actions, memory: Memory, *, generator: Generators
    ) -> Plan:
        """The best candidate; see ``Planner.plan``."""
        require_memory(self, memory, "elites")
        draws, values, elites = self.draws(), torch.empty(0), memory["elites"]
        centre = next_centre(memory, memory["centre"][:, -1], actions.middle)
        belief = self.proposal.start(actions, centre)
        for number, count in enumerate(draws):
            if number == 0:
                count += self.kept
            candidates = self.proposal.sample(actions, belief, count, generator)
            if number == 0:
                candidates = _with_last_elites(candidates, memory)
            else:
                candidates = torch.cat([candidates, elites[:, : self.kept]], dim=1)
            if number == len(draws) - 1:
                mean = self.proposal.decided(belief.centre)
                candidates = torch.cat([candidates, mean[:, None]], dim=1)
            values, elites = best_of(candidates, scored(score, candidates), self.elites)
            belief = self.proposal.refit(actions, belief, elites, self.alpha)
        memory = remembered(memory, belief.centre)
        memory["elites"] = elites[:, : self.kept]
        return Plan(elites[:, 0], memory, values[:, 0])


def _with_last_elites(candidates: Tensor, memory: Memory) -> Tensor:
    """Candidates, the last of them replaced by the last plan's elites, a step on.

    The step at their new end is that of the candidates they replace. Rows that have not
    planned yet keep all candidates.
    """
    elites = memory["elites"]
    slots = slice(candidates.shape[1] - elites.shape[1], None)
    shifted = torch.cat([elites[:, :, 1:], candidates[:, slots, -1:]], dim=2)
    planned = memory["planned"][:, None, None, None]
    candidates[:, slots] = torch.where(planned, shifted, candidates[:, slots])
    return candidates
