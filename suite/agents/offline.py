"""CQL, IQL, TD3+BC and behaviour cloning on stored transitions.

The losses are d3rlpy's, whose documentation has them as formulas. What is ours is
around them: which transitions they see and in what order, that a training can be put
away and taken up exactly, and what is told of it. d3rlpy takes seconds to import, so
name these by string, ``"suite.agents.offline:IQL"``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
from d3rlpy import algos
from d3rlpy.optimizers.lr_schedulers import CosineAnnealingLRFactory

from suite.agents.hasten import FusedAdam, OncePerBatch, SoftUpdate
from suite.agents.offline_learner import OfflineLearner
from suite.transitions import Dataset


class CQL(OfflineLearner):
    """Conservative Q-learning: SAC whose critics are low where the data is not.

    Use it as the pessimist of an offline comparison. Its critic loss is a temporal
    difference plus a penalty, which starts at about -2 * 10 * conservative_weight, so
    ``train/td_loss`` is told apart (from float32 numbers of that size).

    Args:
        data: As in ``OfflineLearner``.
        env: As in ``OfflineLearner``.
        conservative_weight: Of the penalty.
        alpha_learning_rate: Of the penalty's multiplier alpha, which starts at 1; with
            0 it stays there, so that losses of different runs are of one scale.
        alpha_threshold: What alpha lets Q exceed that of the data by.
        n_action_samples: Actions of each of three kinds that the penalty draws for a
            state; the cost of an update is nearly proportional to it.
        actor_learning_rate: Of the policy.
        critic_learning_rate: Of the critics.
        temp_learning_rate: Of the entropy's weight.
        tau: Step of the target critics.
        n_critics: How many.
        **kwargs: As in ``OfflineLearner``.

    Source: Kumar et al. 2020, eq. 4, arXiv:2006.04779.
    """

    def __init__(
        self,
        data: Dataset,
        env: gym.vector.VectorEnv | None = None,
        *,
        conservative_weight: float = 5.0,
        alpha_learning_rate: float = 1e-4,
        alpha_threshold: float = 10.0,
        n_action_samples: int = 10,
        actor_learning_rate: float = 1e-4,
        critic_learning_rate: float = 3e-4,
        temp_learning_rate: float = 1e-4,
        tau: float = 0.005,
        n_critics: int = 2,
        **kwargs: Any,
    ):
        self._own = {
            "conservative_weight": conservative_weight,
            "alpha_learning_rate": alpha_learning_rate,
            "alpha_threshold": alpha_threshold,
            "n_action_samples": n_action_samples,
            "actor_learning_rate": actor_learning_rate,
            "critic_learning_rate": critic_learning_rate,
            "temp_learning_rate": temp_learning_rate,
            "tau": tau,
            "n_critics": n_critics,
        }
        super().__init__(data, env, **kwargs)

    def _config(self) -> Any:
        return algos.CQLConfig(
            **self._own,
            batch_size=self.batch_size,
            gamma=self.gamma,
            actor_encoder_factory=self._network(),
            critic_encoder_factory=self._network(),
            actor_optim_factory=FusedAdam(),
            critic_optim_factory=FusedAdam(),
            temp_optim_factory=FusedAdam(),
            alpha_optim_factory=FusedAdam(),
        )

    def _hasten(self, impl: Any) -> None:
        _soft_critics(impl, self._own["tau"])

    def _named(self, losses: dict[str, float]) -> dict[str, float]:
        penalty, factor = losses["conservative_loss"], self.reward_factor
        td_loss = (losses["critic_loss"] - penalty) / factor**2
        penalty /= factor  # it is linear in Q
        named = {"critic_loss": td_loss + penalty, "conservative_loss": penalty}
        return {**losses, **named, "td_loss": td_loss}


class IQL(OfflineLearner):
    """Implicit Q-learning: expectiles instead of a maximum over unseen actions.

    Use it as the one that never asks its critics about actions outside of the data. Its
    critic loss is the sum of ``train/td_loss``, of Q, and ``train/value_loss``, of V.

    Args:
        data: As in ``OfflineLearner``.
        env: As in ``OfflineLearner``.
        expectile: Which one of Q over the data's actions V is regressed on.
        weight_temp: Inverse temperature of the policy's weights,
            exp(weight_temp (Q - V)).
        max_weight: Largest weight.
        actor_learning_rate: Of the policy.
        critic_learning_rate: Of Q and V.
        actor_decay: Updates over which the actor's learning rate falls to 0 along half
            a cosine, all there are, or None for a constant one.
        tau: Step of the target critics.
        n_critics: How many Q.
        **kwargs: As in ``OfflineLearner``.

    Source: Kostrikov et al. 2021, eq. 5 to 7, arXiv:2110.06169.
    """

    def __init__(
        self,
        data: Dataset,
        env: gym.vector.VectorEnv | None = None,
        *,
        expectile: float = 0.7,
        weight_temp: float = 3.0,
        max_weight: float = 100.0,
        actor_learning_rate: float = 3e-4,
        critic_learning_rate: float = 3e-4,
        actor_decay: int | None = None,
        tau: float = 0.005,
        n_critics: int = 2,
        **kwargs: Any,
    ):
        self._own = {
            "expectile": expectile,
            "weight_temp": weight_temp,
            "max_weight": max_weight,
            "actor_learning_rate": actor_learning_rate,
            "critic_learning_rate": critic_learning_rate,
            "tau": tau,
            "n_critics": n_critics,
        }
        self._actor_decay = actor_decay
        super().__init__(data, env, **kwargs)

    def _config(self) -> Any:
        decay = self._actor_decay
        schedule = None if decay is None else CosineAnnealingLRFactory(T_max=decay)
        return algos.IQLConfig(
            **self._own,
            batch_size=self.batch_size,
            gamma=self.gamma,
            actor_encoder_factory=self._network(),
            critic_encoder_factory=self._network(),
            value_encoder_factory=self._network(),
            actor_optim_factory=FusedAdam(lr_scheduler_factory=schedule),
            critic_optim_factory=FusedAdam(),
        )

    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        """As ``OfflineLearner.iterate``.

        Raises:
            ValueError: If the actor's learning rate would rise again.
        """
        if self._actor_decay is not None and total_timesteps > self._actor_decay:
            raise ValueError(
                f"the actor's learning rate is 0 after actor_decay = "
                f"{self._actor_decay} updates, of {total_timesteps}; make them equal"
            )
        return super().iterate(total_timesteps)

    def _hasten(self, impl: Any) -> None:
        _soft_critics(impl, self._own["tau"])
        once = OncePerBatch(impl._targ_q_func_forwarder)
        impl._targ_q_func_forwarder = once
        impl.update_critic_target = once.moving(impl.update_critic_target)

    def _named(self, losses: dict[str, float]) -> dict[str, float]:
        squared = {"td_loss": "q_loss", "value_loss": "v_loss"}
        return self._unscaled(losses, {**squared, "critic_loss": "critic_loss"})


class TD3BC(OfflineLearner):
    """TD3+BC: TD3 whose policy is also regressed on the data's actions.

    Use it as the simplest actor-critic control. The original standardises observations
    (``normalize_obs=True``).

    Args:
        data: As in ``OfflineLearner``.
        env: As in ``OfflineLearner``.
        alpha: Weight of Q, in units of its mean size, beside the regression.
        target_smoothing_sigma: Deviation of the noise on target actions.
        target_smoothing_clip: Its largest size.
        update_actor_interval: Updates of the critics for one of policy and targets.
        actor_learning_rate: Of the policy.
        critic_learning_rate: Of the critics.
        tau: Step of the targets.
        n_critics: How many.
        **kwargs: As in ``OfflineLearner``.

    Source: Fujimoto and Gu 2021, eq. 3 to 5, arXiv:2106.06860.
    """

    def __init__(
        self,
        data: Dataset,
        env: gym.vector.VectorEnv | None = None,
        *,
        alpha: float = 2.5,
        target_smoothing_sigma: float = 0.2,
        target_smoothing_clip: float = 0.5,
        update_actor_interval: int = 2,
        actor_learning_rate: float = 3e-4,
        critic_learning_rate: float = 3e-4,
        tau: float = 0.005,
        n_critics: int = 2,
        **kwargs: Any,
    ):
        self._own = {
            "alpha": alpha,
            "target_smoothing_sigma": target_smoothing_sigma,
            "target_smoothing_clip": target_smoothing_clip,
            "update_actor_interval": update_actor_interval,
            "actor_learning_rate": actor_learning_rate,
            "critic_learning_rate": critic_learning_rate,
            "tau": tau,
            "n_critics": n_critics,
        }
        super().__init__(data, env, **kwargs)

    def _config(self) -> Any:
        return algos.TD3PlusBCConfig(
            **self._own,
            batch_size=self.batch_size,
            gamma=self.gamma,
            actor_encoder_factory=self._network(),
            critic_encoder_factory=self._network(),
            actor_optim_factory=FusedAdam(),
            critic_optim_factory=FusedAdam(),
        )

    def _hasten(self, impl: Any) -> None:
        _soft_critics(impl, self._own["tau"])
        modules = impl.modules
        impl.update_actor_target = SoftUpdate(
            modules.targ_policy, modules.policy, self._own["tau"]
        )

    def _named(self, losses: dict[str, float]) -> dict[str, float]:
        squared = {"td_loss": "critic_loss", "critic_loss": "critic_loss"}
        return self._unscaled(losses, squared)


class BC(OfflineLearner):
    """Behaviour cloning: the policy is regressed on the data's actions.

    Use it as the control that knows no rewards: what another agent scores beyond it,
    it got from them.

    Args:
        data: As in ``OfflineLearner``.
        env: As in ``OfflineLearner``.
        learning_rate: Of the policy.
        **kwargs: As in ``OfflineLearner``; there are no critics to probe.

    Raises:
        ValueError: If a probe is given.
    """

    traced = ("imitation_loss",)

    def __init__(
        self,
        data: Dataset,
        env: gym.vector.VectorEnv | None = None,
        *,
        learning_rate: float = 1e-3,
        **kwargs: Any,
    ):
        if kwargs.get("probe") is not None:
            raise ValueError("BC has no critics to look at; leave the probe out")
        self._learning_rate = learning_rate
        super().__init__(data, env, **kwargs)

    def _config(self) -> Any:
        return algos.BCConfig(
            learning_rate=self._learning_rate,
            batch_size=self.batch_size,
            gamma=self.gamma,
            encoder_factory=self._network(),
            optim_factory=FusedAdam(),
        )

    def _hasten(self, impl: Any) -> None:
        pass  # it has neither critics nor targets

    def _named(self, losses: dict[str, float]) -> dict[str, float]:
        return {"imitation_loss": losses["loss"]}


def _soft_critics(impl: Any, tau: float) -> None:
    modules = impl.modules
    impl.update_critic_target = SoftUpdate(modules.targ_q_funcs, modules.q_funcs, tau)
