"""Soft actor-critic's update: two critics, an actor and a temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from suite.agents.scaling import to_unit_box
from suite.agents.squashed import (
    SquashedPolicy,
    drawn,
    raw_gradient,
    require_bounded,
)
from suite.agents.stacked_mlp import FlatAdam, Pass, StackedMLP
from suite.checkpoints import require_like
from suite.worldmodels.experience import Experience
from suite.worldmodels.state import load_weights

NAMES = ("critic_loss", "actor_loss", "temperature_loss", "temperature", "q_mean")


@dataclass(frozen=True)
class Soft:
    """Numbers of the update.

    Args:
        net_arch: Hidden layers of actor and critics.
        actor_activation: ``"relu"`` or ``"tanh"``.
        critic_activation: The same.
        learning_rate: Of actor, critics and temperature.
        gamma: Discount.
        tau: How far the target critics follow in one update.
        batch_size: Transitions of an update.
        temperature: The first one.
        target_entropy: What the temperature keeps the policy's entropy at; None is -A.

    Raises:
        ValueError: For a number out of range.
    """

    net_arch: Sequence[int] = (256, 256)
    actor_activation: str = "relu"
    critic_activation: str = "relu"
    learning_rate: float = 3e-4
    gamma: float = 0.99
    tau: float = 0.005
    batch_size: int = 256
    temperature: float = 1.0
    target_entropy: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1 or not 0 < self.tau <= 1:
            raise ValueError(
                f"gamma must be within [0, 1] and tau within (0, 1], got {self.gamma} "
                f"and {self.tau}"
            )
        if min(self.batch_size, self.temperature, self.learning_rate) <= 0:
            raise ValueError(
                "batch_size, temperature and learning_rate must be positive, got "
                f"{self.batch_size}, {self.temperature} and {self.learning_rate}"
            )


class SoftUpdate:
    """Networks and optimizers of soft actor-critic, and one gradient step of all.

    Use it through ``SAC`` and ``MBPO``. With a_s = tanh(mu(s) + sigma(s) eps):

        temperature  -log alpha * mean(log pi(a_s | s) + target entropy)
        critics i    mean (r + gamma (1 - d) [min_j Qbar_j(s', a_s')
                     - alpha log pi(a_s' | s')] - Q_i(s, a))^2 / 2, summed
        actor        mean (alpha log pi(a_s | s) - min_i Q_i(s, a_s))

    in this order, alpha being that of before; then Qbar <- (1 - tau) Qbar + tau Q. It
    is Stable-Baselines3's update, with the gradients written out (tests compare both).

    Source: Haarnoja et al. 2018, arXiv:1812.05905.

    Args:
        settings: Its numbers.
        obs_size: O.
        action_space: Of the environment, a flat box with bounds.
        seed: Of the first weights and of the noise.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        ValueError: If the actions are of another kind, or a size is below 1.
    """

    def __init__(
        self,
        settings: Soft,
        obs_size: int,
        action_space: gym.Space,
        *,
        seed: int = 0,
        device: str = "cpu",
    ):
        self.settings, self.updates = settings, 0
        space = require_bounded(action_space)
        self._obs_size, self._action_size = obs_size, space.shape[0]
        words = np.random.SeedSequence(seed).generate_state(2).tolist()
        kinds = {"hidden": settings.net_arch, "device": device}
        kinds["generator"] = torch.Generator().manual_seed(words[0])
        size, pair = self._action_size, obs_size + self._action_size
        actor = StackedMLP(
            1, obs_size, 2 * size, activation=settings.actor_activation, **kinds
        )
        self.policy = SquashedPolicy(actor, space)
        self.critics, self.targets = (
            StackedMLP(2, pair, 1, activation=settings.critic_activation, **kinds)
            for _ in range(2)
        )
        self.targets.flat.copy_(self.critics.flat)
        self._log_temperature = torch.full((1,), math.log(settings.temperature))
        self._log_temperature = self._log_temperature.to(device)
        self._log_temperature.grad = torch.zeros_like(self._log_temperature)
        entropy = settings.target_entropy
        self._target_entropy = -float(size) if entropy is None else entropy
        self._optimizers = {
            name: FlatAdam(flat, settings.learning_rate)
            for name, flat in (
                ("actor", actor.flat),
                ("critics", self.critics.flat),
                ("temperature", self._log_temperature),
            )
        }
        rows, unit = settings.batch_size, to_unit_box(space)
        # The actor sees s and s' in one pass: its weights change last.
        self._act = Pass(actor, 2 * rows)
        self._judge, self._target = Pass(self.critics, rows), Pass(self.targets, rows)
        self._is_unit = not unit.shift.any() and (unit.spread == 1).all()
        self._noise = torch.Generator().manual_seed(words[1])
        self._device = device

    @torch.no_grad()
    def update(
        self, batch: Experience, noise: torch.Tensor | None = None
    ) -> tuple[float, ...]:
        """One gradient step of everything.

        Args:
            batch: ``batch_size`` transitions of observations, with the environment's
                actions.
            noise: (2 B, A) standard normal, for s and then s'; None draws it.

        Returns:
            The numbers that ``NAMES`` names.

        Raises:
            ValueError: If the batch is of another size.
            FloatingPointError: If a loss is no longer finite.
        """
        rows, size = self.settings.batch_size, self._action_size
        if len(batch) != rows:
            raise ValueError(
                f"an update takes {rows} transitions, got {len(batch)}; set batch_size"
            )
        if noise is None:
            noise = torch.randn(2 * rows, size, generator=self._noise)
        seen = torch.cat([batch.states, batch.next_states])
        found = drawn(self._act.forward(seen)[0], noise.to(seen))
        now, after = found.rows(slice(rows)), found.rows(slice(rows, None))
        temperature = float(self._log_temperature.exp())
        temperature_loss = self._step_temperature(now.log_prob)
        inputs = torch.cat([batch.next_states, after.action], dim=1)
        worth = torch.amin(self._target.forward(inputs)[..., 0], dim=0)
        worth = worth.sub_(after.log_prob, alpha=temperature).mul_(1 - batch.terminated)
        target = worth.mul_(self.settings.gamma).add_(batch.rewards)
        critic_loss, q_mean = self._step_critics(batch, target)
        actor_loss = self._step_actor(batch.states, now, temperature)
        self.targets.flat.lerp_(self.critics.flat, self.settings.tau)
        self.updates += 1
        told = (critic_loss, actor_loss, temperature_loss, temperature, q_mean)
        self._require_finite(told)
        return told

    def _step_temperature(self, log_prob: torch.Tensor) -> float:
        surplus = float(log_prob.mean()) + self._target_entropy
        loss = -float(self._log_temperature) * surplus
        assert self._log_temperature.grad is not None
        self._log_temperature.grad.fill_(-surplus)
        self._optimizers["temperature"].step()
        return loss

    def _step_critics(
        self, batch: Experience, target: torch.Tensor
    ) -> tuple[float, float]:
        inputs = torch.cat([batch.states, self._to_unit(batch.actions)], dim=1)
        values = self._judge.forward(inputs)
        q_mean = float(values.mean())
        errors = values.sub_(target[:, None])
        loss = 0.5 * float(errors.square().sum()) / len(batch)
        self._judge.weight_gradients(errors.div_(len(batch)))
        self._optimizers["critics"].step()
        return loss, q_mean

    def _step_actor(self, obs: torch.Tensor, now: Any, temperature: float) -> float:
        rows = len(obs)
        values = self._judge.forward(torch.cat([obs, now.action], dim=1))
        least, which = torch.min(values, dim=0, keepdim=True)
        loss = float((temperature * now.log_prob - least[0, :, 0]).mean())
        by_value = torch.zeros_like(values).scatter_(0, which, -1 / rows)
        # The critics' own gradients are left out: nobody steps by them.
        by_action = self._judge.input_gradient(by_value, self._obs_size).sum(dim=0)
        grad = raw_gradient(now, by_action, temperature / rows)
        self._act.weight_gradients(grad[None])
        self._optimizers["actor"].step()
        return loss

    def _to_unit(self, actions: torch.Tensor) -> torch.Tensor:
        if self._is_unit:
            return actions
        return (actions - self.policy.centre) / self.policy.scale

    def _require_finite(self, told: Sequence[float]) -> None:
        for name, value in zip(NAMES, told, strict=True):
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the training has diverged: {name} is {value} in update "
                    f"{self.updates}; lower the learning rate, or look at the rewards"
                )

    # ------------------------------------------------------------------- checkpoints
    def state(self) -> dict[str, Any]:
        """Everything the next update depends on but its batch; live tensors."""
        optimizers = self._optimizers.items()
        return {
            "updates": self.updates,
            "policy": dict(self.policy.state_dict()),
            "critics": dict(self.critics.state_dict()),
            "targets": dict(self.targets.state_dict()),
            "temperature": {"log": self._log_temperature},
            "optimizers": {name: each.state() for name, each in optimizers},
            "noise": self._noise.get_state(),
        }

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is of other networks.
        """
        own = self.state()
        for name in ("updates", "temperature", "noise"):
            require_like(tree[name], own[name], name)
        names = {name: None for name in self._optimizers}
        require_like(dict.fromkeys(tree["optimizers"]), names, "optimizers")
        for name in ("policy", "critics", "targets"):
            load_weights(getattr(self, name), tree[name], name)
        with torch.no_grad():
            self._log_temperature.copy_(tree["temperature"]["log"])
        for name, optimizer in self._optimizers.items():
            optimizer.load_state(tree["optimizers"][name], f"optimizers.{name}")
        self._noise.set_state(tree["noise"])
        self.updates = tree["updates"]
