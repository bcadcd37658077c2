"""PWM's update of actor and critics, by gradients through a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from suite.agents.encoded_policy import EncodedPolicy, LatentActor
from suite.agents.lookahead import Lookahead, look_ahead, td_lambda
from suite.agents.mish_mlp import MishMLP
from suite.agents.squashed import require_bounded
from suite.agents.stacked_mlp import FlatAdam
from suite.checkpoints import require_like
from suite.envs.arguments import require_positive
from suite.worldmodels.dynamics import DynamicsModel
from suite.worldmodels.running import RunningNormaliser
from suite.worldmodels.state import load_weights

NAMES = (
    *("actor_loss", "actor_gradient", "log_std", "return_mean", "return_scale"),
    *("survival", "critic_loss", "value_mean"),
)
_COUNTS = ("horizon", "batch_size", "critics", "critic_iterations", "critic_batches")
_POSITIVE = (
    *("actor_learning_rate", "critic_learning_rate", "actor_clip", "critic_clip"),
)


@dataclass(frozen=True)
class FirstOrder:
    """Numbers of the update.

    Args:
        horizon: H, steps in the model.
        gamma: Discount.
        lam: Of the critics' targets.
        batch_size: Rows that are rolled out.
        actor_arch: Hidden layers of the actor.
        critic_arch: Hidden layers of each critic.
        critics: How many; the least of their values counts.
        actor_learning_rate: The first one.
        critic_learning_rate: The first one.
        betas: Of both Adams.
        actor_clip: Largest norm of the actor's gradient.
        critic_clip: Largest norm of the critics' gradient.
        critic_iterations: Passes over the imagined states.
        critic_batches: Minibatches of a pass.
        log_std: Of the first actions, before squashing.
        least_log_std: Below it the deviation does not fall.
        detach: Whether the actor's inputs are cut off from the graph.
        scales_returns: Whether the actor's loss is divided by the running deviation of
            the returns, instead of by H.

    Raises:
        ValueError: For a number out of range.

    Source: Georgiev et al. 2025, arXiv:2407.02466, and its code; defaults are theirs,
    with ``batch_size`` the number of their environments.
    """

    horizon: int = 16
    gamma: float = 0.99
    lam: float = 0.95
    batch_size: int = 128
    actor_arch: Sequence[int] = (400, 200, 100)
    critic_arch: Sequence[int] = (400, 200)
    critics: int = 3
    actor_learning_rate: float = 5e-4
    critic_learning_rate: float = 5e-4
    betas: Sequence[float] = (0.7, 0.95)
    actor_clip: float = 1.0
    critic_clip: float = 100.0
    critic_iterations: int = 8
    critic_batches: int = 4
    log_std: float = -1.0
    least_log_std: float = -1.427
    detach: bool = True
    scales_returns: bool = True

    def __post_init__(self) -> None:
        for name in _COUNTS:
            require_positive(name, getattr(self, name))
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(
                f"betas must be two numbers within [0, 1), got {list(self.betas)}"
            )
        if not 0 <= self.gamma <= 1 or not 0 <= self.lam <= 1:
            raise ValueError(
                f"gamma and lam must be within [0, 1], got {self.gamma} and {self.lam}"
            )
        if self.log_std < self.least_log_std:
            raise ValueError(
                f"log_std must start at least_log_std, {self.least_log_std}, or above, "
                f"got {self.log_std}"
            )
        if self.horizon * self.batch_size % self.critic_batches:
            raise ValueError(
                f"horizon * batch_size, {self.horizon * self.batch_size}, must be a "
                f"multiple of critic_batches, got {self.critic_batches}"
            )


class FirstOrderUpdate:
    """Actor, critics and their optimizers, and one update of both.

    Use it through ``PWM``. Rollouts of H steps begin in given latents (see
    ``look_ahead``); with V the least of the critics' values:

        actor    -mean_b J_b / (running deviation of J), one step
        critics  mean_{i, h, b} w_hb (V_i(z_hb) - G_hb)^2, several steps, where G are
                 the rollout's TD(lambda) returns, computed once, and w the probability
                 that the episode had not ended before

    Args:
        settings: Its numbers.
        encoder: Of observations; it is the policy's, and not trained here.
        latent_size: L.
        action_space: Of the environment, a flat box with bounds.
        seed: Of the first weights, the noise and the minibatches.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        ValueError: If the actions are of another kind, or a size is below 1.
    """

    def __init__(
        self,
        settings: FirstOrder,
        encoder: nn.Module,
        latent_size: int,
        action_space: gym.Space,
        *,
        seed: int = 0,
        device: str = "cpu",
    ):
        self.settings, self.updates, self._device = settings, 0, device
        words = np.random.SeedSequence(seed).generate_state(3).tolist()
        weights = torch.Generator().manual_seed(words[0])
        kinds: dict[str, Any] = {"generator": weights, "device": device}
        self.actor = LatentActor(
            latent_size,
            require_bounded(action_space).shape[0],
            hidden=settings.actor_arch,
            log_std=settings.log_std,
            least_log_std=settings.least_log_std,
            **kinds,
        )
        self.critics = MishMLP(
            settings.critics, latent_size, 1, hidden=settings.critic_arch, **kinds
        )
        self.policy = EncodedPolicy(encoder, self.actor, action_space)
        rates = settings.actor_learning_rate, settings.critic_learning_rate
        first, second = settings.betas
        self._optimizers = {
            name: FlatAdam(flat, rate, (first, second))
            for name, flat, rate in (
                ("actor", self.actor.network.flat, rates[0]),
                ("log_std", self.actor.log_std, rates[0]),
                ("critics", self.critics.flat, rates[1]),
            )
        }
        self._returns = RunningNormaliser().to(device)
        self._draws = torch.Generator().manual_seed(words[1])
        self._model_noise = torch.Generator(device).manual_seed(words[2])

    def anneal(self, share: float, final: float) -> None:
        """Bring the learning rates that share of the way to their final value."""
        settings = self.settings
        for name, optimizer in self._optimizers.items():
            is_critic = name == "critics"
            first = (
                settings.critic_learning_rate
                if is_critic
                else settings.actor_learning_rate
            )
            optimizer.learning_rate = first + share * (final - first)

    def update(self, model: DynamicsModel, z: Any) -> tuple[float, ...]:
        """One step of the actor and the critics' steps.

        Args:
            model: To roll out, in the units that the critics shall learn.
            z: Where to begin, of ``batch_size`` rows.

        Returns:
            The numbers that ``NAMES`` names.

        Raises:
            FloatingPointError: If a loss is no longer finite.
        """
        found, told = self._step_actor(model, z)
        told = [*told, *self._step_critics(found)]
        self.updates += 1
        numbers = tuple(torch.stack(told).tolist())  # one wait for all of them
        self._require_finite(numbers)
        return numbers

    def value(self, latents: torch.Tensor) -> torch.Tensor:
        """The least of the critics' values (...) of latents (..., L)."""
        rows = latents.reshape(-1, latents.shape[-1])
        return self.critics(rows)[..., 0].amin(dim=0).view(latents.shape[:-1])

    def _step_actor(
        self, model: DynamicsModel, z: Any
    ) -> tuple[Lookahead, list[torch.Tensor]]:
        settings = self.settings
        shape = (settings.horizon, settings.batch_size, len(self.policy.scale))
        noise = torch.randn(shape, generator=self._draws).to(self._device)

        def act(latents: torch.Tensor, h: int) -> torch.Tensor:
            return self.policy.stretched(self.actor(latents, noise[h]))

        found = look_ahead(
            model,
            z,
            act,
            self.value,
            settings.horizon,
            gamma=settings.gamma,
            detach=settings.detach,
            generator=self._model_noise,
        )
        self._returns.refresh(found.objective.detach())
        scale = self._returns.std.to(found.objective)
        divisor = scale if settings.scales_returns else settings.horizon
        loss = -found.objective.mean() / divisor
        flats = (self.actor.network.flat, self.actor.log_std)
        norm = _clipped_gradient(
            loss, list(self.actor.parameters()), flats, settings.actor_clip
        )
        self._optimizers["actor"].step()
        self._optimizers["log_std"].step()
        self.actor.keep_exploring()
        mean = found.objective.detach().mean()
        log_std = self.actor.log_std.detach().mean()
        survival = (found.alive[-1] * found.going_on[-1]).mean()
        return found, [loss.detach(), norm, log_std, mean, scale, survival]

    def _step_critics(self, found: Lookahead) -> list[torch.Tensor]:
        settings = self.settings
        with torch.no_grad():
            targets = td_lambda(
                found.rewards,
                found.going_on,
                self.value(found.seen[1:]),
                gamma=settings.gamma,
                lam=settings.lam,
                cut=found.cut,
            )
        seen = found.seen[:-1].flatten(0, 1)
        targets, alive = targets.flatten(), found.alive.flatten()
        orders = [
            torch.randperm(len(seen), generator=self._draws)
            for _ in range(settings.critic_iterations)
        ]
        losses = []
        for order in torch.stack(orders).to(self._device):  # one copy for all
            for rows in order.chunk(settings.critic_batches):
                errors = self.critics(seen[rows])[..., 0] - targets[rows]
                loss = (alive[rows] * errors.square()).mean()
                parameters = list(self.critics.parameters())
                flats = (self.critics.flat,)
                _clipped_gradient(loss, parameters, flats, settings.critic_clip)
                self._optimizers["critics"].step()
                losses.append(loss.detach())
        return [torch.stack(losses).mean(), targets.mean()]

    def _require_finite(self, told: Sequence[float]) -> None:
        for name, value in zip(NAMES, told, strict=True):
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the training has diverged: {name} is {value} in update "
                    f"{self.updates}; shorten the horizon, or lower the learning rates"
                )

    # ------------------------------------------------------------------- checkpoints
    def state(self) -> dict[str, Any]:
        """Everything the next update depends on but model and starts; live tensors."""
        optimizers = self._optimizers.items()
        return {
            "updates": self.updates,
            "actor": dict(self.actor.state_dict()),
            "critics": dict(self.critics.state_dict()),
            "optimizers": {name: each.state() for name, each in optimizers},
            "returns": dict(self._returns.state_dict()),
            "draws": self._draws.get_state(),
            "model_noise": self._model_noise.get_state(),
        }

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is of other networks.
        """
        own = self.state()
        for name in ("updates", "draws", "model_noise"):
            require_like(tree[name], own[name], name)
        names = {name: None for name in self._optimizers}
        require_like(dict.fromkeys(tree["optimizers"]), names, "optimizers")
        load_weights(self.actor, tree["actor"], "actor")
        load_weights(self.critics, tree["critics"], "critics")
        load_weights(self._returns, tree["returns"], "returns")
        for name, optimizer in self._optimizers.items():
            optimizer.load_state(tree["optimizers"][name], f"optimizers.{name}")
        self._draws.set_state(tree["draws"])
        self._model_noise.set_state(tree["model_noise"])
        self.updates = tree["updates"]


def _clipped_gradient(
    loss: torch.Tensor,
    parameters: list[nn.Parameter],
    flats: tuple[torch.Tensor, ...],
    clip: float,
) -> torch.Tensor:
    """The loss's gradients in place, of that norm at most; their norm before, ()."""
    grads = [flat.grad for flat in flats if flat.grad is not None]
    for grad in grads:
        grad.zero_()
    loss.backward(inputs=parameters)  # the model and the critics get none
    norm = torch.cat([torch.linalg.vector_norm(grad)[None] for grad in grads]).norm()
    for grad in grads:
        grad.mul_((clip / (norm + 1e-6)).clamp(max=1.0))
    return norm
