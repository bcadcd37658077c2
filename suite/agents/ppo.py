"""PPO whose advantages come from a strategy object."""

from __future__ import annotations

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
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from suite.agents.advantages import GAE, Advantage, Estimate, Rollout
from suite.agents.vec import SnapshotVecEnv
from suite.arrays import Restorable
from suite.wrappers import restorable


class PPO(sb3.PPO):
    """Stable-Baselines3's PPO with a pluggable advantage estimator.

    Use it wherever SB3's PPO is used; with ``advantage=None`` it estimates what SB3
    does. Only the collection of rollouts differs: raw rewards are kept, truncation is
    bootstrapped by the estimator instead of being folded into the reward.

    Args:
        policy: As in SB3.
        env: An SB3 or Gymnasium environment, or one of our vector environments in
            same-step autoreset mode.
        advantage: The estimator; None is GAE with ``gamma`` and ``gae_lambda``.
        **kwargs: SB3's own. Its ``target_kl`` stops at 1.5 times the value given.

    Raises:
        ValueError: If the estimator needs snapshots and the environment has none.
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        advantage: Advantage | None = None,
        **kwargs: Any,
    ):
        if isinstance(env, gym.vector.VectorEnv):
            env = SnapshotVecEnv(env)
        super().__init__(policy, env, **kwargs)
        self.advantage = advantage or GAE(self.gamma, self.gae_lambda)
        self.sim_steps = 0  # every simulator step, the estimator's included
        if self.advantage.needs_snapshots:
            self._require_snapshots()

    def _require_snapshots(self) -> None:
        simulator = self.env.env if isinstance(self.env, SnapshotVecEnv) else self.env
        try:
            restorable(simulator)
        except TypeError as reason:
            raise ValueError(
                f"{type(self.advantage).__name__} needs snapshots; give a restorable "
                "vector environment such as gym.make_vec('PickCube-v0', ...), got "
                f"{simulator!r}: {reason}"
            ) from None

    def _excluded_save_params(self) -> list[str]:
        # An estimator may hold simulators; it is rebuilt by whoever rebuilds the agent.
        return [*super()._excluded_save_params(), "advantage"]

    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        """Collect and update until ``total_timesteps``; yields what was logged.

        Use it to own the loop: evaluate, log or stop between iterations. ``learn`` is
        SB3's.
        """
        if not self._custom_logger:  # SB3's own would leave a folder in /tmp
            self.set_logger(Logger(folder=None, output_formats=[]))
        total_timesteps, callback = self._setup_learn(total_timesteps, None)
        assert self.env is not None
        while self.num_timesteps < total_timesteps:
            self.collect_rollouts(self.env, callback, self.rollout_buffer, self.n_steps)
            self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
            started = time.perf_counter()
            self.train()
            self.logger.record("time/update_seconds", time.perf_counter() - started)
            metrics = dict(self.logger.name_to_value)
            self.logger.name_to_value.clear()
            yield metrics

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
        rollout = self._rollout(env, callback, n_rollout_steps)
        if rollout is None:
            return False
        collected = time.perf_counter()
        estimate = self.advantage(rollout, self.policy)
        self._fill(rollout_buffer, rollout, estimate)
        callback.update_locals({"rollout": rollout, "estimate": estimate})
        callback.on_rollout_end()
        self.sim_steps += rollout.rewards.size + estimate.sim_steps
        self._record(estimate, collected - started, time.perf_counter() - collected)
        return True

    def _rollout(
        self, env: VecEnv, callback: BaseCallback, n_steps: int
    ) -> Rollout | None:
        """T steps of every row, or None if the callback stopped the training."""
        steps: list[tuple[np.ndarray, ...]] = []
        snapshots = []
        assert self._last_obs is not None
        if self.use_sde:
            self.policy.reset_noise(env.num_envs)
        for step in range(n_steps):
            if (
                self.use_sde
                and self.sde_sample_freq > 0
                and step % self.sde_sample_freq == 0
            ):
                self.policy.reset_noise(env.num_envs)
            if self.advantage.needs_snapshots:
                assert isinstance(env, Restorable)
                snapshots.append(env.snapshot())
            obs = np.asarray(self._last_obs)
            with torch.no_grad():
                actions, values, log_probs = self.policy(
                    obs_as_tensor(obs, self.device)
                )
            actions = actions.cpu().numpy()
            next_obs, rewards, dones, infos = env.step(self._clipped(actions))
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return None
            self._update_info_buffer(infos, dones)
            ends = self._ends(
                np.asarray(next_obs), dones, infos, last=step == n_steps - 1
            )
            steps.append(
                (
                    obs,
                    actions,
                    rewards,
                    *ends[:2],
                    values.cpu().numpy().ravel(),
                    ends[2],
                    log_probs.cpu().numpy(),
                )
            )
            self._last_obs = np.asarray(next_obs)
            self._last_episode_starts = dones
        if self.advantage.needs_snapshots:
            assert isinstance(env, Restorable)
            snapshots.append(env.snapshot())
        columns = [np.stack(column) for column in zip(*steps, strict=True)]
        return Rollout(*columns, snapshots=snapshots or None)

    def _clipped(self, actions: np.ndarray) -> np.ndarray:
        space = self.action_space
        if not isinstance(space, gym.spaces.Box):
            return actions
        if self.policy.squash_output:
            return self.policy.unscale_action(actions)
        return np.clip(actions, space.low, space.high)

    def _ends(
        self,
        next_obs: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
        last: bool,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What ended rows ended with: terminated, truncated, value; each (N,)."""
        truncated = np.zeros(len(dones), bool)
        final_obs = next_obs.copy()
        for row in np.flatnonzero(dones).tolist():
            truncated[row] = infos[row].get("TimeLimit.truncated", False)
            final_obs[row] = infos[row]["terminal_observation"]
        rows = np.arange(len(dones)) if last else np.flatnonzero(dones)
        final_values = np.zeros(len(dones), np.float32)
        if rows.size:
            with torch.no_grad():
                values = self.policy.predict_values(
                    obs_as_tensor(final_obs[rows], self.device)
                )
            final_values[rows] = values.cpu().numpy().ravel()
        return dones & ~truncated, truncated, final_values

    def _fill(
        self, buffer: RolloutBuffer, rollout: Rollout, estimate: Estimate
    ) -> None:
        buffer.reset()
        done = rollout.terminated | rollout.truncated
        starts = np.concatenate([np.zeros_like(done[:1]), done[:-1]])
        for t in range(len(rollout.rewards)):
            actions = rollout.actions[t]
            if isinstance(self.action_space, gym.spaces.Discrete):
                actions = actions.reshape(-1, 1)
            buffer.add(
                rollout.obs[t],
                actions,
                rollout.rewards[t],
                starts[t],
                torch.as_tensor(rollout.values[t]),
                torch.as_tensor(rollout.log_probs[t]),
            )
        buffer.advantages = estimate.advantages.astype(np.float32)
        buffer.returns = estimate.returns.astype(np.float32)

    def _record(self, estimate: Estimate, rollout_s: float, advantage_s: float) -> None:
        advantages = estimate.advantages
        if not np.isfinite(advantages).all():
            raise FloatingPointError(
                f"{type(self.advantage).__name__} gave NaN or infinite advantages; "
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
