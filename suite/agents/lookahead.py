"""First-order policy gradients: returns of a model as functions of a policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from suite.envs.arguments import require_positive
from suite.worldmodels.dynamics import DynamicsModel, require_outcome
from suite.worldmodels.noise import Noise

Act = Callable[[torch.Tensor, int], torch.Tensor]
Value = Callable[[torch.Tensor], torch.Tensor]


class Lookahead(NamedTuple):
    """H steps of B rows in a model, and what they are worth.

    Attributes:
        objective: (B,), with gradients.
        seen: (H + 1, B, L), what the model showed, the start first; as all below
            without gradients.
        rewards: (H, B).
        going_on: (H, B), probability that the episode did not end in ``seen[h + 1]``.
        cut: (H, B) bool, whether the model does not dare to go on from there; None if
            it has no such notion.
    """

    objective: torch.Tensor
    seen: torch.Tensor
    rewards: torch.Tensor
    going_on: torch.Tensor
    cut: torch.Tensor | None

    @property
    def alive(self) -> torch.Tensor:
        """(H, B), probability that the episode had not ended before step h."""
        first = torch.ones_like(self.going_on[:1])
        stays = self.going_on[:-1]
        if self.cut is not None:
            stays = stays * ~self.cut[:-1]
        return torch.cat([first, stays.cumprod(dim=0)])


def look_ahead(
    model: DynamicsModel,
    z: Any,
    act: Act,
    value: Value,
    horizon: int,
    *,
    gamma: float,
    detach: bool = True,
    generator: Noise = None,
) -> Lookahead:
    """Roll a model out under a policy, so that the return can be differentiated.

        J = sum_{h < H} gamma^h c_h r_h + gamma^H c_H V(z_H)
        c_h = going_on(z_1) ... going_on(z_h)

    Use it for policies that learn through a model. With ``detach`` the policy is handed
    the states without their history: gradients reach it through actions, dynamics,
    rewards and values, and never from a state through the policy's next action. That is
    the gradient of J with the later actions held fixed, biased on purpose; without it
    the gradient is that of J.

    Args:
        model: What to roll out; its ``going_on(z)`` (B,) is asked if it has one,
            otherwise an episode ends where ``terminated`` says so.
        z: Where to begin, B rows.
        act: Actions (B, A) for what the model shows (B, L) in step h.
        value: Of what the model shows, (...) of (..., L).
        horizon: H, 1 or more.
        gamma: Discount.
        detach: Whether the policy's inputs are cut off from the graph.
        generator: Of the model's noise.

    Raises:
        ValueError: For a horizon below 1.

    Source: Georgiev et al. 2025, eq. 4, arXiv:2407.02466. Their code weighs the last
    value by gamma^(H + 1).
    """
    require_positive("horizon", horizon)
    going_on, unsure = (getattr(model, n, None) for n in ("going_on", "truncated"))
    seen, rewards, stays, cuts = [model.observe(z)], [], [], []
    for h in range(horizon):
        shown = seen[-1].detach() if detach else seen[-1]
        found = model.step(z, act(shown, h), generator=generator)
        if h == 0:
            require_outcome(found, len(shown))
        z = found.next_z
        seen.append(model.observe(z))
        rewards.append(found.reward)
        stays.append(going_on(z) if going_on else (~found.terminated).to(found.reward))
        if unsure:
            cuts.append(unsure(z))
    cut = torch.stack(cuts) if cuts else None
    # Only where it is cut off are values asked for that lie before the horizon.
    values = value(seen[-1])[None] if cut is None else value(torch.stack(seen[1:]))
    objective = td_lambda(
        torch.stack(rewards), torch.stack(stays), values, gamma=gamma, lam=1.0, cut=cut
    )[0]
    shown, paid, stay = (torch.stack(part).detach() for part in (seen, rewards, stays))
    return Lookahead(objective, shown, paid, stay, cut)


def td_lambda(
    rewards: torch.Tensor,
    going_on: torch.Tensor,
    next_values: torch.Tensor,
    *,
    gamma: float,
    lam: float,
    cut: torch.Tensor | None = None,
) -> torch.Tensor:
    """Returns (H, B) that lean on values by 1 - lam in each step.

        G_h = r_h + gamma c_h [(1 - lam) V_h + lam G_{h+1}],  G_H = V_{H-1}

    V_h being the value of where step h leads to. After a cut, as at the horizon, the
    value stands for all that follows.

    Args:
        rewards: (H, B).
        going_on: c (H, B), 0 where the episode ended with the step.
        next_values: V (H, B); with ``lam`` 1 and without cuts, only the last one is
            read and may come alone, (1, B).
        gamma: Discount.
        lam: Trace decay.
        cut: (H, B) bool, or None.

    Source: Sutton and Barto 2018, eq. 12.18.
    """
    ahead, found = next_values[-1], []
    for h in reversed(range(len(rewards))):
        found.append(rewards[h] + gamma * going_on[h] * ahead)
        if h == 0:
            break
        ahead = found[-1]
        if lam != 1:
            ahead = torch.lerp(next_values[h - 1], ahead, lam)
        if cut is not None:
            ahead = torch.where(cut[h - 1], next_values[h - 1], ahead)
    return torch.stack(found[::-1])
