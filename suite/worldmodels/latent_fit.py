"""Fitting a latent world model to pieces of episodes, resumable after every update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from suite.checkpoints import require_like
from suite.envs.arguments import (
    require_above_zero,
    require_kind,
    require_not_negative,
    require_number,
)
from suite.worldmodels.flat import Flattened
from suite.worldmodels.latent import LatentModel
from suite.worldmodels.state import load_optimizer, load_weights, optimizer_state
from suite.worldmodels.subsequences import Subsequences

REWARD_LIMIT = 5.0  # of a normalised reward that is learned


@dataclass(frozen=True)
class LatentLoss:
    """How much each error counts, and how much less those further ahead.

        sum over steps h of decay^h (consistency * c_h + reward * r_h + end * e_h) / H

    averaged over rows: c_h is the transition's own loss, r_h the reward head's, e_h the
    cross entropy of terminations.

    Args:
        consistency: Of latents. PWM's code: 1.
        reward: Of rewards. PWM's code averages what it should sum: 1 / H.
        end: Of terminations.
        decay: PWM uses its discount.

    Raises:
        ValueError: If a number is negative, or the decay not within (0, 1].
    """

    consistency: float = 20.0
    reward: float = 1.0
    end: float = 1.0
    decay: float = 0.99

    def __post_init__(self) -> None:
        for name in ("consistency", "reward", "end"):
            require_not_negative(name, getattr(self, name))
        require_number("decay", self.decay)
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must be within (0, 1], got {self.decay}")


class LatentFit:
    """Fits a latent model to pieces of episodes, an update at a time.

    Use it inside an agent, which draws the pieces. A piece is encoded at its start and
    goes on in the model, open loop; what it should arrive at is what the same encoder
    makes of what was seen, without a gradient. Rewards are normalised by all that were
    seen in updates so far, and cut at 5 deviations.

    Losses of an update: ``model/loss``, their weighted sum; ``model/consistency``, the
    transition's own, ``model/reward`` and, if the model has one, ``model/end``, each
    unweighted; ``model/grad_norm`` before the cut. Beside them, as no loss,
    ``model/latent_error``, the squared error of the latents rolled out, averaged as the
    losses are. It is told of every transition alike; compare at equal H.

    Args:
        model: What to fit.
        loss: What counts how much; None is ``LatentLoss()``.
        learning_rate: Of Adam; ``learning_rate`` may be set between updates.
        clip: Largest norm of the gradient.
        normalise_rewards: Whether the model's ``reward_scale`` follows the data.
        seed: Of what the transition's loss draws.
        device: Where the model goes.

    Raises:
        TypeError: If it is no latent model.
        ValueError: If rate or clip are not positive.

    Source: Georgiev et al. 2025, equation 5, arXiv:2407.02466, and their code.
    """

    def __init__(
        self,
        model: LatentModel,
        *,
        loss: LatentLoss | None = None,
        learning_rate: float = 3e-4,
        clip: float = 20.0,
        normalise_rewards: bool = True,
        seed: int = 0,
        device: str = "cpu",
    ):
        require_kind("model", model, LatentModel)
        require_above_zero("learning_rate", learning_rate)
        require_above_zero("clip", clip)
        self.model = model.to(device)
        self.loss, self.clip = loss or LatentLoss(), clip
        self.normalise_rewards = normalise_rewards
        self._weights = Flattened(self.model)
        self._optimizer = torch.optim.Adam(
            [self._weights.flat], lr=learning_rate, fused=True
        )
        self._generator = torch.Generator(device).manual_seed(seed)
        self.updates = 0

    @property
    def learning_rate(self) -> float:
        """Of the next update."""
        return self._optimizer.param_groups[0]["lr"]

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._optimizer.param_groups[0]["lr"] = rate

    # -------------------------------------------------------------------- learning
    def update(self, batch: Subsequences) -> dict[str, torch.Tensor]:
        """One step of Adam; the losses before it, without graph, on the device.

        Raises:
            ValueError: If the pieces are of other sizes than the model.
            FloatingPointError: If the loss is no longer finite; weights stay.
            RuntimeError: If the model was moved since the fit was made.
        """
        batch.require(self.model.state_size, self.model.action_size)
        if self.normalise_rewards:
            self.model.reward_scale.refresh(batch.rewards[batch.mask])
        self._weights.zero_grad()
        found = self.losses(batch)
        found["model/loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_([self._weights.flat], self.clip)
        told = {name: each.detach() for name, each in found.items()}
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"the latent model's gradient became {float(norm)} in update "
                f"{self.updates} of its fit, at a loss of {float(told['model/loss'])}; "
                "lower the learning rate, or look for outliers in the data"
            )
        self._optimizer.step()
        self.updates += 1
        return {**told, "model/grad_norm": norm}

    def losses(self, batch: Subsequences) -> dict[str, torch.Tensor]:
        """The losses of pieces, with their graph; draws what an update would."""
        model, mask = self.model, batch.mask
        latents, targets = self._rolled(batch)
        errors = model.strategy.errors(
            model.dynamics,
            latents[:-1],
            batch.actions,
            latents[1:],
            targets,
            self._generator,
        )
        target = model.reward_scale(batch.rewards).clamp(-REWARD_LIMIT, REWARD_LIMIT)
        output = model.reward_output(latents[:-1], batch.actions)
        each = {"consistency": errors, "reward": model.head.losses(output, target)}
        logit = model.end_logit(latents[1:])
        if logit is not None:
            each["end"] = functional.binary_cross_entropy_with_logits(
                logit, batch.terminated.to(logit), reduction="none"
            )
        share = self._shares(mask, errors)
        found = {
            f"model/{name}": (torch.where(mask, loss, 0.0) * share).sum()
            for name, loss in each.items()
        }
        weighted = [getattr(self.loss, name) * found[f"model/{name}"] for name in each]
        off = (latents[1:].detach() - targets).square().mean(dim=-1)
        found["model/latent_error"] = (torch.where(mask, off, 0.0) * share).sum()
        return {"model/loss": torch.stack(weighted).sum(), **found}

    def _rolled(self, batch: Subsequences) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (H + 1, B, L) of the rollout, and those it should have (H, B, L)."""
        model, generator = self.model, self._generator
        with torch.no_grad():
            targets = model.encode(batch.obs[1:])
        found = [model.encode(batch.obs[0])]
        for action in batch.actions:
            found.append(model.next(found[-1], action, generator=generator))
        return torch.stack(found), targets

    def _shares(self, mask: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """What a step of a row counts, (H, 1): a mean over all that count, decayed."""
        steps = torch.arange(len(mask), device=mask.device)
        decays = (self.loss.decay**steps).to(like.dtype)
        return decays[:, None] / mask.sum()

    # ----------------------------------------------------------------- checkpoints
    def state(self) -> dict[str, Any]:
        """Everything that the next update depends on but the pieces."""
        return {
            "weights": dict(self.model.state_dict()),
            "optimizer": optimizer_state(self._optimizer),
            "generator": self._generator.get_state(),
            "updates": self.updates,
        }

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``; the next update is what it would have been.

        Raises:
            IntegrityError: If it is of another model.
        """
        own = self.state()
        for name in ("generator", "updates"):
            require_like(tree[name], own[name], f"latent fit.{name}")
        load_weights(self.model, tree["weights"], "latent fit.weights")
        load_optimizer(self._optimizer, tree["optimizer"])
        self._generator.set_state(tree["generator"])
        self.updates = tree["updates"]
