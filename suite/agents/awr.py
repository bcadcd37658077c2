"""Advantage-weighted regression."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from torch.nn import functional

from suite.agents.ppo import PPO
from suite.checkpoints import require_like


def awr_weights(
    advantages: torch.Tensor, beta: float, max_weight: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """min(exp(A / beta), max_weight), and which were clipped.

    Args:
        advantages: (...,), normalised or not.
        beta: Temperature; small is greedy.
        max_weight: The clip.
    """
    exponent = advantages / beta
    limit = math.log(max_weight)
    return torch.exp(exponent.clamp(max=limit)), exponent > limit


class AWR(PPO):
    """Regression of the policy onto its own actions, weighted by exp(advantage / beta).

    Use it where many epochs on one batch are wanted: no importance ratio drifts, so
    hundreds of epochs are stable where PPO needs a few. The loss is
    ``-mean(min(exp(A / beta), max_weight) * log pi(a | s))`` with A normalised over the
    whole batch and a the sampled, unclipped action; a critic is trained only if
    ``vf_coef > 0``.

    Args:
        policy: As in SB3.
        env: As in ``PPO``.
        advantage: As in ``PPO``.
        beta: Temperature of the weights.
        max_weight: Largest weight.
        **kwargs: SB3's PPO arguments; those of the clipped loss are not used.

    Raises:
        ValueError: If beta or max_weight are not positive.

    Source: Peng et al. 2019, eq. 4 and section 4, arXiv:1910.00177. Departures:
    advantages may come from any estimator; data is the current batch only, without
    replay.
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        beta: float = 1.0,
        max_weight: float = 20.0,
        **kwargs: Any,
    ):
        if beta <= 0 or max_weight <= 0:
            raise ValueError(
                f"beta and max_weight must be positive, got {beta} and {max_weight}"
            )
        super().__init__(policy, env, **kwargs)
        self.beta, self.max_weight = beta, max_weight

    def _improve(self) -> None:
        """``n_epochs`` passes of weighted regression over the buffer."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        buffer = self.rollout_buffer
        mean, std = 0.0, 1.0
        if self.normalize_advantage:
            # Over the whole batch and once: per-minibatch normalisation, as in SB3's
            # PPO, would give one action a different weight in every epoch.
            mean, std = float(buffer.advantages.mean()), float(buffer.advantages.std())
        losses: list[float] = []
        for _ in range(self.n_epochs):
            for batch in buffer.get(self.batch_size):
                advantages = (batch.advantages - mean) / (std + 1e-8)
                weights, _ = awr_weights(advantages, self.beta, self.max_weight)
                loss = self._loss(batch, weights)
                self._step(loss)
                losses.append(loss.item())
        self._n_updates += self.n_epochs
        if not np.isfinite(losses).all():
            raise FloatingPointError(
                "AWR's loss became NaN or infinite; lower the learning rate or "
                "max_weight"
            )
        self._record_update(buffer.advantages, mean, std, losses)

    def _loss(self, batch: Any, weights: torch.Tensor) -> torch.Tensor:
        if self.vf_coef == 0:  # actor only: the critic's half of the work is not done
            log_prob = self.policy.get_distribution(batch.observations).log_prob(
                batch.actions
            )
            return -(weights * log_prob).mean()
        values, log_prob, _ = self.policy.evaluate_actions(
            batch.observations, batch.actions
        )
        value_loss = functional.mse_loss(batch.returns, values.flatten())
        return -(weights * log_prob).mean() + self.vf_coef * value_loss

    def _step(self, loss: torch.Tensor) -> None:
        self.policy.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()

    def _record_update(
        self, advantages: np.ndarray, mean: float, std: float, losses: list[float]
    ) -> None:
        normalised = torch.as_tensor((advantages - mean) / (std + 1e-8))
        weights, clipped = awr_weights(normalised, self.beta, self.max_weight)
        self.logger.record("advantage/weight_mean", weights.mean().item())
        self.logger.record("advantage/clipped", clipped.float().mean().item())
        self.logger.record("train/loss", losses[-1])
        self.logger.record("train/n_updates", self._n_updates)
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/log_std", self.policy.log_std.mean().item())


class FixedBatchAWR(AWR):
    """AWR on one batch that is collected once: how far can a fixed data set carry?

    Use it with ``iterate`` as the offline counterpart of ``AWR``: the first rollout and
    its advantages are kept and every further iteration regresses on them again. An
    estimator that follows the policy in training, such as ``ReRollout`` with
    ``policy=None``, follows here the one that collected the data.

    Args:
        policy: As in SB3.
        env: As in ``PPO``; a batch is ``n_steps`` of each row.
        updates: Iterations of ``n_epochs`` passes over the batch.
        **kwargs: As in ``AWR``.

    Raises:
        ValueError: If there is no update to do.
    """

    def __init__(self, policy: Any, env: Any, *, updates: int = 100, **kwargs: Any):
        if updates < 1:
            raise ValueError(f"FixedBatchAWR needs updates >= 1, got {updates}")
        super().__init__(policy, env, **kwargs)
        self.updates = updates

    def planned_updates(self, total_timesteps: int) -> int:
        """``updates``: environment steps do not count here."""
        return self.updates

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Collect the batch on the first call, keep it on all others."""
        if rollout_buffer.full:
            return True
        return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)

    def state(self) -> dict[str, Any]:
        """As in ``PPO``, with the batch."""
        buffer = self.rollout_buffer
        batch = (
            {name: getattr(buffer, name) for name in _BATCH} if buffer.full else None
        )
        return {**super().state(), "batch": batch}

    def load_state(self, tree: dict[str, Any]) -> None:
        """As in ``PPO``.

        Raises:
            IntegrityError: If it is not of an agent and environment like these.
        """
        super().load_state(tree)
        buffer = self.rollout_buffer
        buffer.reset()
        if tree["batch"] is None:
            return
        flat = {n: buffer.swap_and_flatten(getattr(buffer, n)) for n in _BATCH}
        require_like(tree["batch"], flat, "batch")
        for name, array in tree["batch"].items():
            setattr(buffer, name, array)
        buffer.full, buffer.generator_ready = True, True


# Of SB3's buffer, as its ``get`` leaves them: flattened to (T * N, ...).
_BATCH = ("observations", "actions", "values", "log_probs", "advantages", "returns")
