"""Critics fitted to the returns that a policy gets, before it is trained further."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.utils import obs_as_tensor

from suite.agents.advantages import Estimate, Rollout
from suite.agents.policies import copy_actor, sample_actions
from suite.agents.ppo import PPO


class ReturnsToGo:
    """Discounted return from every step to its episode's end, without a critic.

    Use it as the ``advantage`` of ``CriticPretraining``. Steps whose episode goes on
    after the rollout have no return yet: theirs is NaN and they are not fitted.

    Args:
        gamma: Discount.
    """

    needs_snapshots = False

    def __init__(self, gamma: float):
        self.gamma = gamma

    def __call__(self, rollout: Rollout, policy: Any = None) -> Estimate:
        """Returns (T, N), NaN where unknown; advantages are those minus the values."""
        done = rollout.terminated | rollout.truncated
        returns = np.empty(rollout.rewards.shape)
        following = np.full_like(returns[0], np.nan)
        for t in reversed(range(len(returns))):
            following = rollout.rewards[t] + self.gamma * np.where(
                done[t], 0.0, following
            )
            returns[t] = following
        known = np.isfinite(returns)
        return Estimate(
            np.where(known, returns - rollout.values, 0.0),
            returns,
            metrics={"critic/known_share": float(known.mean())},
        )


class CriticPretraining(PPO):
    """Fits the critic to the returns of a policy that stays as it is.

    Use it before a finetuning that should not start from an untrained critic: run it,
    then name its result as the ``critic`` of the finetuning. The actor is the start
    policy's; every iteration collects a fresh rollout with it and regresses the critic
    on the returns-to-go by mean squared error.

    Before each fit the error on the fresh rollout, which the critic has not seen, is
    logged as ``critic/held_out_mse``, beside ``critic/mean_return``.

    Args:
        policy: As in SB3.
        env: As in ``PPO``.
        deterministic: Whether to act without noise. True reproduces the experiment log;
            False gives the value of the stochastic policy, which is the one a
            finetuning collects with.
        **kwargs: SB3's PPO arguments; ``n_steps`` should be several episodes long, for
            steps whose episode is cut by the rollout's end are not fitted. Those of
            PPO's loss and of GAE are not used.

    Raises:
        ValueError: If an estimator is given: the regression needs returns.
    """

    def __init__(
        self, policy: Any, env: Any, *, deterministic: bool = True, **kwargs: Any
    ):
        if kwargs.get("advantage") is not None:
            raise ValueError(
                "CriticPretraining fits discounted returns and takes no advantage "
                f"estimator, got {kwargs['advantage']!r}; leave it out"
            )
        super().__init__(policy, env, **kwargs)
        self.deterministic = deterministic

    @property
    def estimator(self) -> ReturnsToGo:
        """Returns-to-go at the agent's gamma."""
        return ReturnsToGo(self.gamma)

    def start_from(self, policy: Any) -> None:
        """Take over an actor, its noise included."""
        copy_actor(policy, self.policy)

    def act(self, obs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The most likely actions if asked for, with values and log probabilities."""
        return self.policy(obs, deterministic=self.deterministic)

    def _improve(self) -> None:
        """``n_epochs`` passes of regression over the steps whose return is known."""
        buffer = self.rollout_buffer
        known = np.isfinite(buffer.returns)
        if not known.any():
            raise ValueError(
                f"no episode ended within {self.n_steps} steps, so that no return is "
                "known; raise n_steps"
            )
        errors = (buffer.values - buffer.returns)[known]
        self.logger.record("critic/held_out_mse", float(np.square(errors).mean()))
        self.logger.record("critic/mean_return", float(buffer.returns[known].mean()))
        self._warm_up()


class CriticError:
    """How well a policy's critic predicts the returns its actor gets.

    Use it as the evaluation of a critic's pretraining. Every call plays new episodes,
    one a row, on environments and random streams of its own.

    The result has ``value_mse``, ``value_explained_variance`` (1 is perfect, 0 what a
    constant reaches) and ``mean_return``, over all steps of all episodes, and
    ``success``, the share of episodes that ended in success.

    Args:
        make_env: ``make_env(num_envs, autoreset_mode=..., num_threads=...)``.
        gamma: Discount of the returns.
        deterministic: Whether the actor acts without noise.
        episodes: How many.
        seed: Of all episodes and actions.
        threads: Threads that step the rows; results do not depend on it.

    Raises:
        ValueError: If there is no episode to play.
    """

    def __init__(
        self,
        make_env: Callable[..., Any],
        *,
        gamma: float,
        deterministic: bool = True,
        episodes: int = 512,
        seed: int = 0,
        threads: int = 1,
    ):
        if episodes < 1:
            raise ValueError(f"CriticError needs at least one episode, got {episodes}")
        self.gamma, self.deterministic, self.seed = gamma, deterministic, seed
        self._env = make_env(episodes, autoreset_mode="disabled", num_threads=threads)

    def __call__(self, policy: Any, key: int) -> dict[str, float]:
        """Evaluate a policy; ``key`` says which draw of episodes."""
        values, rewards, running, success = self._play(policy, key)
        returns = np.zeros_like(rewards)
        following = np.zeros(rewards.shape[1])
        for t in reversed(range(len(rewards))):
            following = returns[t] = rewards[t] + self.gamma * following
        errors, returns = (values - returns)[running], returns[running]
        variance = float(returns.var())
        return {
            "value_mse": float(np.square(errors).mean()),
            "value_explained_variance": (
                1 - float(errors.var()) / variance if variance else 0.0
            ),
            "mean_return": float(returns.mean()),
            "success": float(success.mean()),
        }

    def _play(self, policy: Any, key: int) -> tuple[np.ndarray, ...]:
        """Values, rewards, running (T, N) and success (N,) of one episode a row."""
        seeds = np.random.SeedSequence([self.seed, key]).generate_state(2)
        generator = None
        if not self.deterministic:
            generator = torch.Generator().manual_seed(int(seeds[1]))
        obs, info = self._env.reset(seed=int(seeds[0] >> 1))
        running = np.ones(self._env.num_envs, bool)
        steps: list[tuple[np.ndarray, ...]] = []
        while running.any():
            with torch.no_grad():
                values = policy.predict_values(obs_as_tensor(obs, policy.device))
            actions = sample_actions(policy, obs, generator)
            obs, rewards, terminated, truncated, info = self._env.step(actions)
            steps.append((values.cpu().numpy().ravel(), rewards * running, running))
            running = running & ~(terminated | truncated)
        columns = [np.stack(column) for column in zip(*steps, strict=True)]
        return (*columns, info["is_success"])
