"""Attacks on datasets that a critic directs: the worst data within a box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from suite.transitions import Dataset

SHARD = 256  # rows that are attacked together, always: a network's bits depend on it
Critic = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Actor = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class GradientAttack:
    """Descends a critic's value to the worst observation or action in a box.

    Use it with ``AdversarialObservations``, ``AdversarialActions`` and
    ``AdversarialDynamics``. With x the attacked array and d in [-1, 1] it minimises

        obs        mean_i Q_i(s + d b, a)
        actions    mean_i Q_i(s, a + d b)
        next_obs   mean_i Q_i(s' + d b, pi(s' + d b))

    over d, where b is what one unit of the box is worth (epsilon times the standard
    deviation). Adam starts at d = 0 and is projected into the box after every step.
    Each row is attacked for itself.

    Args:
        critic: ``critic(obs (n, O), actions (n, A))`` returns values (n,), or (critics,
            n), with gradients; float32.
        policy: ``policy(obs (n, O))`` returns actions (n, A) with gradients; only
            attacks on next_obs need it.
        steps: Of Adam.
        learning_rate: Of Adam, in units of the box.
        name: What the card says of the critic, such as its hash.
        device: Where critic and policy compute.

    Source: Yang et al. 2024, arXiv:2310.12955, and the code published with it, whose
        critic is an EDAC ensemble of 10.
    """

    critic: Critic
    policy: Actor | None = None
    steps: int = 100
    learning_rate: float = 0.01
    name: str = ""
    device: torch.device | str = "cpu"

    @staticmethod
    def of(learner: Any, **kwargs: Any) -> GradientAttack:
        """The attack that a trained offline agent's critics and policy direct.

        Args:
            learner: One of ``suite.agents.offline`` that has critics, such as CQL.
            **kwargs: As the class: ``steps``, ``learning_rate``, ``name``.

        Raises:
            ValueError: If it has no critics.
        """
        device = next(learner.policy.parameters()).device
        return GradientAttack(learner.critic, learner.actor, device=device, **kwargs)

    def to_json(self) -> dict[str, Any]:
        """What the card says of it."""
        return {
            "attack": "suite.agents.attacks:GradientAttack",
            "critic": self.name,
            "steps": self.steps,
            "learning_rate": self.learning_rate,
        }

    def __call__(
        self, array: str, data: Dataset, rows: np.ndarray, box: np.ndarray
    ) -> np.ndarray:
        """Disturbances (n, D) in [-1, 1]; see ``suite.wrappers.Attack``.

        Raises:
            ValueError: If next_obs are attacked without a policy, or a value is not
                finite.
        """
        if array == "next_obs" and self.policy is None:
            raise ValueError(
                "an attack on next_obs needs a policy, which says what is done there; "
                "pass GradientAttack(critic, policy)"
            )
        size = torch.as_tensor(box, dtype=torch.float32, device=self.device)
        found = [
            self._descend(array, data, rows[first : first + SHARD], size)
            for first in range(0, len(rows), SHARD)
        ]
        return np.concatenate(found) if found else np.empty((0, len(box)))

    def _descend(
        self, array: str, data: Dataset, rows: np.ndarray, box: torch.Tensor
    ) -> np.ndarray:
        """The disturbances of one shard, its last row repeated to fill it."""
        filled = np.pad(rows, (0, SHARD - len(rows)), mode="edge")
        fixed = {
            name: torch.tensor(getattr(data, name)[filled], device=self.device)
            for name in ("obs", "actions", "next_obs")
        }
        disturbance = torch.zeros(
            SHARD, len(box), device=self.device, requires_grad=True
        )
        adam = torch.optim.Adam([disturbance], lr=self.learning_rate)
        for _ in range(self.steps):
            value = self._value(array, fixed, disturbance * box)
            if not bool(value.isfinite().all()):
                raise ValueError(
                    f"the critic is not finite around the {array} of the data; check "
                    "that it was trained on such data"
                )
            adam.zero_grad()
            (disturbance.grad,) = torch.autograd.grad(value.sum(), disturbance)
            adam.step()
            with torch.no_grad():
                disturbance.clamp_(-1.0, 1.0)
        return disturbance.detach().double().cpu().numpy()[: len(rows)]

    def _value(
        self, array: str, fixed: dict[str, torch.Tensor], by: torch.Tensor
    ) -> torch.Tensor:
        """Each row's value (n,) with its attacked array disturbed."""
        if array == "obs":
            values = self.critic(fixed["obs"] + by, fixed["actions"])
        elif array == "actions":
            values = self.critic(fixed["obs"], fixed["actions"] + by)
        else:
            assert self.policy is not None
            reached = fixed["next_obs"] + by
            values = self.critic(reached, self.policy(reached))
        return values.reshape(-1, len(by)).mean(0)
