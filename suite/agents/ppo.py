"""PPO whose advantages come from a strategy object."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch.nn import functional

from suite.agents.advantages import (
    GAE,
    Advantage,
    Estimate,
    StatefulAdvantage,
    require_estimate,
)
from suite.agents.collection import collected, fill
from suite.agents.place import place, take_place
from suite.agents.state import (
    copy_critic,
    load_optimizer,
    load_weights,
    optimizer_state,
)
from suite.agents.vec import SnapshotVecEnv
from suite.arrays import NotRestorable
from suite.checkpoints import require_like
from suite.wrappers import restorable

_COUNTERS = (
    "num_timesteps",
    "iterations",
    "sim_steps",
    "_n_updates",
    "_episode_num",
    "_current_progress_remaining",  # what schedules of learning rate and clip read
)


class PPO(sb3.PPO):
    """Stable-Baselines3's PPO with a pluggable advantage estimator.

    Use it wherever SB3's PPO is used; with ``advantage=None`` it estimates what SB3
    does. Only the collection of rollouts differs: raw rewards are kept, truncation is
    bootstrapped by the estimator instead of being folded into the reward. It is a
    ``suite.checkpoints.Learner``: between two iterations it can be put away exactly.

    Args:
        policy: As in SB3.
        env: An SB3 or Gymnasium environment, or one of our vector environments in
            same-step autoreset mode.
        advantage: The estimator; None is GAE with ``gamma`` and ``gae_lambda``.
        critic: A policy whose critic to start from; its actor is not looked at. None
            starts from the critic as initialised.
        critic_warmup: So many first iterations train the critic only, so that an
            untrained one does not steer a policy that is good already.
        **kwargs: SB3's own. Its ``target_kl`` stops at 1.5 times the value given.

    Raises:
        ValueError: If the estimator needs snapshots and the environment has none, or
            the warm-up is negative, or the critic does not fit.
    """

    _continues = False  # load_state was called: the next iterate goes on from there

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        advantage: Advantage | None = None,
        critic: ActorCriticPolicy | None = None,
        critic_warmup: int = 0,
        **kwargs: Any,
    ):
        if critic_warmup < 0:
            raise ValueError(
                f"critic_warmup must be 0 or more iterations, got {critic_warmup}"
            )
        if kwargs.get("n_epochs", 1) < 1:
            raise ValueError(f"n_epochs must be 1 or more, got {kwargs['n_epochs']}")
        _require_estimator(advantage)
        super().__init__(policy, env, **kwargs)
        self.advantage = advantage
        # Saved with the agent, which the estimator itself is not.
        self.advantage_name = None if advantage is None else type(advantage).__name__
        if critic is not None:
            copy_critic(critic, self.policy)
        self.critic_warmup = critic_warmup
        self.iterations = 0  # rollouts trained on
        self.sim_steps = 0  # every simulator step, the estimator's included
        if advantage is not None and advantage.needs_snapshots and env is not None:
            self._require_snapshots()

    @property
    def estimator(self) -> Advantage:
        """What estimates advantages: the one given, or GAE as SB3 has it.

        Raises:
            ValueError: If the agent was loaded without the estimator it was saved with.
        """
        if self.advantage is not None:
            return self.advantage
        if self.advantage_name is not None:
            raise ValueError(
                f"this agent was saved with the estimator {self.advantage_name}, which "
                f"no file holds; give one: {type(self).__name__}.load(path, env=..., "
                "advantage=...)"
            )
        return GAE(self.gamma, self.gae_lambda)

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        # SB3 comes here from the constructor, from set_env and from load.
        if isinstance(env, gym.vector.VectorEnv):
            env = SnapshotVecEnv(env)
        return sb3.PPO._wrap_env(env, verbose, monitor_wrapper)

    def _require_snapshots(self) -> None:
        simulator = self.env.env if isinstance(self.env, SnapshotVecEnv) else self.env
        try:
            restorable(simulator)
        except TypeError as reason:
            raise ValueError(
                f"{self.advantage_name} needs snapshots; give a restorable "
                "vector environment such as gym.make_vec('PickCube-v0', ...), got "
                f"{simulator!r}: {reason}"
            ) from None

    def _excluded_save_params(self) -> list[str]:
        # An estimator may hold simulators; it is rebuilt by whoever rebuilds the agent.
        return [*super()._excluded_save_params(), "advantage"]

    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        """Collect and update until ``total_timesteps``; yields what was logged.

        Use it to own the loop: evaluate, log or stop between iterations. ``learn`` is
        SB3's. After ``load_state`` it goes on, without resetting the environment.
        """
        if not self._custom_logger:  # SB3's own would leave a folder in /tmp
            self.set_logger(Logger(folder=None, output_formats=[]))
        continues, self._continues = self._continues, False
        done = self.num_timesteps if continues else 0
        total_timesteps, callback = self._setup_learn(
            total_timesteps - done, None, reset_num_timesteps=not continues
        )
        assert self.env is not None
        last = self.planned_updates(total_timesteps)
        if not continues:
            last += self.iterations
        while self.iterations < last:
            self.collect_rollouts(self.env, callback, self.rollout_buffer, self.n_steps)
            self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
            started = time.perf_counter()
            self.train()
            self.logger.record("time/update_seconds", time.perf_counter() - started)
            metrics = dict(self.logger.name_to_value)
            self.logger.name_to_value.clear()
            yield metrics

    def planned_updates(self, total_timesteps: int) -> int:
        """How many iterations ``iterate(total_timesteps)`` makes."""
        return math.ceil(total_timesteps / (self.n_steps * self.n_envs))

    def train(self) -> None:
        """Improve the policy on the rollout; while warming up, fit the critic alone."""
        if self.iterations < self.critic_warmup:
            self._warm_up()
        else:
            self._improve()
        self.iterations += 1

    def _improve(self) -> None:
        super().train()

    def _warm_up(self) -> None:
        """Regress the critic on the returns that are known; no gradient elsewhere."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses: list[float] = []
        for _ in range(self.n_epochs):
            for batch in self.rollout_buffer.get(self.batch_size):
                known = torch.isfinite(batch.returns)
                if not known.any():
                    continue
                values = self.policy.predict_values(batch.observations[known])
                loss = functional.mse_loss(values.flatten(), batch.returns[known])
                self.policy.optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(
                    self.policy.parameters(), self.max_grad_norm
                )
                self.policy.optimizer.step()
                losses.append(loss.item())
        if not np.isfinite(losses).all():
            raise FloatingPointError(
                "the critic's loss became NaN or infinite; lower the learning rate"
            )
        self._n_updates += self.n_epochs
        self.logger.record("train/value_loss", float(np.mean(losses)))

    def state(self) -> dict[str, Any]:
        """Everything the next iteration depends on but the global generators.

        It refers to live tensors: write or copy it before the next iteration.

        Raises:
            suite.arrays.NotRestorable: If the environment cannot be saved.
        """
        env = self._restorable_env()
        counters = {name: getattr(self, name) for name in _COUNTERS}
        return {
            "policy": dict(self.policy.state_dict()),
            "optimizer": optimizer_state(self.policy.optimizer),
            "counters": counters,
            **place(env.env, self._last_obs),
            "episode_starts": self._last_episode_starts,
            "advantage": _estimator_state(self.estimator),
        }

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``; the next ``iterate`` goes on from there.

        Raises:
            IntegrityError: If it is not of an agent and environment like these.
        """
        env = self._restorable_env()
        load_weights(self.policy, tree["policy"], "policy")
        load_optimizer(self.policy.optimizer, tree["optimizer"])
        own = self.state()
        require_like(tree["counters"], own["counters"], "counters")
        for name, value in tree["counters"].items():
            setattr(self, name, value)
        require_like(tree["advantage"], own["advantage"], "advantage")
        estimator = self.estimator
        if isinstance(estimator, StatefulAdvantage):
            estimator.load_state(tree["advantage"])
        if tree["env"] is not None:
            starts = np.ones(env.num_envs, bool)
            require_like(tree["episode_starts"], starts, "episode_starts")
            take_place(env.env, env.reset(), tree)
        self._last_obs, self._last_episode_starts = tree["obs"], tree["episode_starts"]
        self._continues = True

    def _restorable_env(self) -> SnapshotVecEnv:
        if not isinstance(self.env, SnapshotVecEnv):
            raise NotRestorable(
                f"{type(self.env).__name__} has no snapshot and restore"
            )
        restorable(self.env.env)
        return self.env

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Collect, estimate, and fill SB3's buffer."""
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        started = time.perf_counter()
        rollout = collected(self, env, callback, n_rollout_steps)
        if rollout is None:
            return False
        estimating = time.perf_counter()
        estimator = self.estimator
        estimate = require_estimate(estimator(rollout, self.policy), rollout, estimator)
        fill(rollout_buffer, rollout, estimate)
        callback.update_locals({"rollout": rollout, "estimate": estimate})
        callback.on_rollout_end()
        self.sim_steps += rollout.rewards.size + int(estimate.sim_steps)
        self._record(estimate, estimating - started, time.perf_counter() - estimating)
        return True

    def act(self, obs: Any) -> tuple[torch.Tensor, ...]:
        """Actions, values and log probabilities to collect with."""
        return self.policy(obs)

    def _record(self, estimate: Estimate, rollout_s: float, advantage_s: float) -> None:
        advantages = estimate.advantages
        if not np.isfinite(advantages).all():
            raise FloatingPointError(
                f"{type(self.estimator).__name__} gave NaN or infinite advantages; "
                "check the rewards and the critic"
            )
        values = {
            "advantage/mean": float(advantages.mean()),
            "advantage/std": float(advantages.std()),
            "advantage/positive": float((advantages > 0).mean()),
            "advantage/sim_steps": estimate.sim_steps,
            "rollout/sim_steps": self.sim_steps,
            "time/rollout_seconds": rollout_s,
            "time/advantage_seconds": advantage_s,
        }
        for name, value in {**values, **estimate.metrics}.items():
            self.logger.record(name, value)


def _estimator_state(advantage: Advantage) -> dict[str, Any]:
    return advantage.state() if isinstance(advantage, StatefulAdvantage) else {}


def _require_estimator(advantage: Any) -> None:
    fits = callable(advantage) and hasattr(advantage, "needs_snapshots")
    if advantage is not None and (isinstance(advantage, type) or not fits):
        raise TypeError(
            "advantage must be an estimator such as GAE(gamma=0.99), a callable "
            f"(rollout, policy) with an attribute needs_snapshots, got {advantage!r}"
        )
