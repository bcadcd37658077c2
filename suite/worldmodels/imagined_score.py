"""How good action sequences are by any model, and the fast way where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from suite.envs.arguments import require_positive
from suite.worldmodels.dynamics import require_outcome, truncated
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.model_spec import Model, live_model
from suite.worldmodels.noise import Noise
from suite.worldmodels.normaliser import Folded
from suite.worldmodels.propagation import Mean, Propagation, TSInf, innermost
from suite.worldmodels.scoring import EnsembleScore, require_states


class ImaginedScore:
    """The mean, over particles, of the rewards that a model imagines until the end.

    Use it for models that draw random numbers, learn their reward or are no ensemble.
    After a termination nothing is paid. Where the model dares no more (``Bounded``),
    neither the unsure step nor its end is believed: it and every step that is left pay
    the least that any sequence from the same state was paid in this call, 0 at most. So
    a planner gains nothing by going there: not the rewards that are dreamed of, nor an
    escape from costs. (A constant penalty instead is MOReL's, Kidambi et al. 2020,
    eq. 2, arXiv:2005.05951.)

    Args:
        model: What is rolled out: a ``DynamicsModel``, or a ``Part`` that makes one.
        horizon: Steps of a sequence.
        particles: How often each sequence is rolled out. In a ``TSInf`` they are shared
            out among its elites, so give a multiple of these.
        generator: Of the model's noise; None is torch's global one.

    Raises:
        ValueError: For a count below 1, or particles that leave elites out.

    Source: Chua et al. 2018, section 5, arXiv:1805.12114.
    """

    def __init__(
        self,
        model: Model,
        *,
        horizon: int,
        particles: int = 1,
        generator: Noise = None,
    ):
        require_positive("horizon", horizon)
        require_positive("particles", particles)
        model = live_model(model)
        self._inside = innermost(model)
        if isinstance(self._inside, TSInf):
            _require_shares(particles, len(self._inside.dynamics.elites))
        self.model, self.horizon, self.particles = model, horizon, particles
        self.generator = generator

    def at(self, states: Tensor) -> Callable[[Tensor], Tensor]:
        """The score of sequences that begin in states (B, S), for a planner.

        Raises:
            TypeError: If they are no tensor.
            ValueError: If one is NaN or infinite.
        """
        require_states(states)
        return lambda actions: self(states, actions)

    @torch.no_grad()
    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """Mean over the particles of the summed rewards.

        Args:
            states: (B, S), where each environment is.
            actions: (B, K, H, A).

        Returns:
            (B, K); NaN or infinite where a particle's observation or reward became so
            before its end.

        Raises:
            ValueError: If a shape is another.
        """
        if actions.dim() != 4 or actions.shape[::2] != (len(states), self.horizon):
            raise ValueError(
                f"actions must have shape ({len(states)}, K, {self.horizon}, A), got "
                f"{tuple(actions.shape)}"
            )
        batch, count = actions.shape[:2]
        rows = states.repeat_interleave(count * self.particles, dim=0)
        did = actions.flatten(0, 1).repeat_interleave(self.particles, dim=0)
        returns = self._returns(self._started(rows), did, batch)
        return returns.view(batch, count, self.particles).mean(dim=-1)

    def _started(self, rows: Tensor) -> Any:
        if not isinstance(self._inside, TSInf):
            return self.model.start(rows)
        elites = self._inside.dynamics.elites
        turn = torch.arange(self.particles, device=elites.device) % len(elites)
        member = elites[turn].repeat(len(rows) // self.particles)
        model: Any = self.model  # a TSInf, or one inside wrappers that pass this on
        return model.start(rows, member)

    def _returns(self, z: Any, actions: Tensor, batch: int) -> Tensor:
        """Rewards (R,) of rows under (R, H, A), summed until each one's end."""
        total, left = actions.new_zeros(2, len(actions))
        least = torch.full_like(total, torch.inf)
        running = torch.ones_like(total, dtype=torch.bool)
        for step in range(self.horizon):
            found = self.model.step(z, actions[:, step], generator=self.generator)
            if step == 0:
                require_outcome(found, len(actions))
            z = found.next_z
            # A reward need not look at all of a state; a sum is finite where all are.
            is_known = self.model.observe(z).sum(dim=-1).isfinite()
            paid = torch.where(is_known, found.reward, torch.nan)
            unsure = running & truncated(self.model, z, found.terminated)
            left = torch.where(unsure, self.horizon - step, left)
            running = running & ~unsure
            # Not a product with 0: what follows an end may be infinite.
            total = total + torch.where(running, paid, 0.0)
            counts = running & paid.isfinite()
            least = torch.where(counts, torch.minimum(least, paid), least)
            running = running & ~found.terminated
        worst = least.view(batch, -1).amin(dim=1).clamp(max=0.0)
        feared = left * worst.repeat_interleave(len(total) // batch)
        return total + feared


def score_with(
    model: Model, *, horizon: int, particles: int | None = None, generator: Noise = None
) -> EnsembleScore | ImaginedScore:
    """The score by a model: the same numbers either way, the fast way where it applies.

    It applies to a ``TSInf`` of a deterministic ensemble with given reward and
    termination, if each sequence has a particle for each elite: nothing is random then.
    Call it again after each fit.

    Args:
        model: As of ``ImaginedScore``.
        horizon: Steps of a sequence.
        particles: As of ``ImaginedScore``; None is one for each elite of a ``TS1``
            or ``TSInf``, which go through one at a time, and 1 of other models.
        generator: As of ``ImaginedScore``.

    Raises:
        ValueError: For a count below 1.
    """
    model = live_model(model)
    if particles is None:
        particles = _usual_particles(model)
    require_positive("particles", particles)
    if isinstance(model, TSInf) and _is_plain(model.dynamics, particles):
        dynamics = model.dynamics
        if not isinstance(dynamics.input_scale, Folded):
            dynamics = dynamics.frozen()
        return EnsembleScore.of(dynamics, horizon=horizon)
    return ImaginedScore(
        model, horizon=horizon, particles=particles, generator=generator
    )


def _usual_particles(model: Any) -> int:
    """One for each elite, if a row follows one of them at a time."""
    inside = innermost(model)
    draws = isinstance(inside, Propagation) and not isinstance(inside, Mean)
    return len(inside.dynamics.elites) if draws else 1


def _is_plain(dynamics: LearnedDynamics, particles: int) -> bool:
    given = dynamics.functions["reward"], dynamics.functions["terminated"]
    is_deterministic = dynamics.ensemble.heads == 1 and None not in given
    return is_deterministic and particles % len(dynamics.elites) == 0


def _require_shares(particles: int, elites: int) -> None:
    if particles % elites:
        raise ValueError(
            f"particles must be a multiple of the {elites} elites, so that each gets "
            f"as many, got {particles}"
        )
