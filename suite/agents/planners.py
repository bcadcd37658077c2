"""Planners: search for the action sequence that a given function scores highest.

A planner knows no model and no environment. It is handed

    score(actions (B, K, H, A)) -> (B, K)

which says how good each of K candidate sequences of H steps is for each of B
environments, higher being better. It plans for all B at once and keeps what the next
plan starts from in a memory, a dict of tensors with leading axis B that can be indexed
by rows and put into a checkpoint:

    actions = action_set(env.single_action_space)
    memory = planner.start(actions, num_envs=B)
    plan = planner.plan(score, actions, memory, generator=generator)
    env.step(actions.to_env(plan.actions[:, 0]))
    memory = forgotten(plan.memory, terminated | truncated)

A score that is NaN or infinite counts as the worst there is. With one generator for
each environment, its plan does not depend on how many others are planned for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from suite.agents.action_sets import Actions, Generators
from suite.agents.action_sets import action_set as action_set
from suite.agents.icem import ICEM as ICEM
from suite.agents.planning import (
    Memory,
    Plan,
    Score,
    best_of,
    cold_memory,
    next_centre,
    remembered,
    require_counts,
    require_elites,
    require_memory,
    require_proposal,
    require_std,
    scored,
)
from suite.agents.planning import Planner as Planner
from suite.agents.planning import forgotten as forgotten
from suite.agents.proposals import ClippedNormal, Proposal, TruncatedNormal
from suite.envs.arguments import require_above_zero, require_positive


@dataclass(frozen=True)
class RandomShooting:
    """The best of many random sequences, each action as likely as any other.

    Remembers nothing. CS285's default, with 1000 candidates.

    Args:
        horizon: Steps of a sequence.
        candidates: Sequences to choose from.

    Raises:
        ValueError: If one is less than 1.
    """

    horizon: int
    candidates: int = 1000

    def __post_init__(self) -> None:
        require_counts(self, "horizon", "candidates")

    def start(self, actions: Actions, num_envs: int) -> Memory:
        """How many rows there are, and nothing else."""
        require_positive("num_envs", num_envs)
        device = actions.middle.device
        return {"planned": torch.zeros(num_envs, dtype=torch.bool, device=device)}

    @torch.no_grad()
    def plan(
        self, score: Score, actions: Actions, memory: Memory, *, generator: Generators
    ) -> Plan:
        """The best candidate; see ``Planner.plan``."""
        shape = (len(memory["planned"]), self.candidates, self.horizon)
        candidates = actions.uniform(shape, generator)
        values, best = best_of(candidates, scored(score, candidates), 1)
        memory = {"planned": torch.ones_like(memory["planned"])}
        return Plan(best[:, 0], memory, values[:, 0])


@dataclass(frozen=True)
class CEM:
    """The cross-entropy method: draw, refit to the elites, repeat; return the mean.

    The defaults are those of PETS. CS285's CEM-4 is ``CEM(horizon, 1000, elites=5,
    iterations=4, alpha=0.0, proposal=ClippedNormal(std=None), warm_start=False)``.

    Args:
        horizon: Steps of a sequence.
        candidates: Sequences in each draw.
        elites: How many of them the next draw is fitted to.
        iterations: Draws, each scored.
        alpha: Weight of the OLD mean and variance in the new ones, as in PETS,
            mbrl-lib and iCEM. (CS285 writes alpha for the weight of the new ones.)
        proposal: What is drawn from.
        warm_start: Begin about the last mean, shifted by a step; else about the middle.

    Raises:
        ValueError: If a count is less than 1, there are more elites than candidates,
            alpha is not in [0, 1), or the first draw is uniform despite a warm start.
        TypeError: If the proposal is none.

    Source: Chua et al. 2018, arXiv:1805.12114.
    """

    horizon: int
    candidates: int = 400
    elites: int = 40
    iterations: int = 5
    alpha: float = 0.1
    proposal: Proposal = field(default_factory=TruncatedNormal)
    warm_start: bool = True

    def __post_init__(self) -> None:
        require_elites(self)
        if self.warm_start:
            require_std(self, "with warm_start=True begins about its last plan")

    def start(self, actions: Actions, num_envs: int) -> Memory:
        """The middle of the actions, not planned yet."""
        return cold_memory(self.proposal, actions, num_envs, self.horizon)

    @torch.no_grad()
    def plan(
        self, score: Score, actions: Actions, memory: Memory, *, generator: Generators
    ) -> Plan:
        """The mean of the last elites; see ``Planner.plan``."""
        require_memory(self, memory)
        if not self.warm_start:
            memory = {**memory, "planned": torch.zeros_like(memory["planned"])}
        centre = next_centre(memory, actions.middle, actions.middle)
        belief, values = self.proposal.start(actions, centre), torch.empty(0)
        for _ in range(self.iterations):
            candidates = self.proposal.sample(
                actions, belief, self.candidates, generator
            )
            scores = scored(score, candidates)
            values, elites = best_of(candidates, scores, self.elites)
            belief = self.proposal.refit(actions, belief, elites, self.alpha)
        decided = self.proposal.decided(belief.centre)
        return Plan(decided, remembered(memory, belief.centre), values.mean(dim=1))


@dataclass(frozen=True)
class MPPI:
    """Model predictive path integrals: the mean of all candidates, weighted by score.

    Weights are softmax((score - best) / temperature), so that no score overflows. The
    published cost of the noise itself is left out, as it is for a planner that knows
    its actions' cost from the score.

    Args:
        horizon: Steps of a sequence.
        candidates: Sequences in each draw.
        temperature: In units of the score; small follows the best candidate alone.
        iterations: Draws, each about the last mean.
        proposal: What is drawn from; its ``std`` is the published sigma, in units of
            half the range.

    Raises:
        ValueError: If a count is less than 1, the temperature not positive, or the draw
            uniform.
        TypeError: If the proposal is none.

    Source: Williams et al. 2017, "Information theoretic MPC for model-based
    reinforcement learning", algorithm 2.
    """

    horizon: int
    candidates: int = 100
    temperature: float = 1.0
    iterations: int = 1
    proposal: Proposal = field(default_factory=ClippedNormal)

    def __post_init__(self) -> None:
        require_counts(self, "horizon", "candidates", "iterations")
        require_above_zero("temperature", self.temperature)
        require_proposal(self)
        require_std(self, "draws about its last plan")

    def start(self, actions: Actions, num_envs: int) -> Memory:
        """The middle of the actions, not planned yet."""
        return cold_memory(self.proposal, actions, num_envs, self.horizon)

    @torch.no_grad()
    def plan(
        self, score: Score, actions: Actions, memory: Memory, *, generator: Generators
    ) -> Plan:
        """The weighted mean; see ``Planner.plan``."""
        require_memory(self, memory)
        centre = next_centre(memory, actions.middle, actions.middle)
        belief, values = self.proposal.start(actions, centre), torch.empty(0)
        for _ in range(self.iterations):
            candidates = self.proposal.sample(
                actions, belief, self.candidates, generator
            )
            scores = scored(score, candidates)
            weights = path_weights(scores, self.temperature).to(candidates)
            centre = torch.einsum("bk,bkha->bha", weights, candidates)
            belief = belief._replace(centre=centre)
            values = (weights * scores.clamp(min=torch.finfo(scores.dtype).min)).sum(1)
        decided = self.proposal.decided(belief.centre)
        return Plan(decided, remembered(memory, belief.centre), values)


def path_weights(scores: Tensor, temperature: float) -> Tensor:
    """Weights (B, K) that sum to 1 over the candidates of each row."""
    best = scores.amax(dim=1, keepdim=True)
    # Shifted before it is divided: a score over a small temperature may overflow.
    return torch.softmax((scores - best) / temperature, dim=1)
