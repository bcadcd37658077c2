"""Agents and estimators on wrapped environments."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from point_env import (
    GOAL,
    LIMIT,
    STEP,
    Recorder,
    collect,
    endless_task,
    point_env,
    point_policy,
)
from toys import TOY

from suite.agents.ppo import PPO
from suite.agents.rerollout import LookaheadReRollout, ReRollout
from suite.benchmark import Benchmark
from suite.parts import Part, build
from suite.wrappers import ActionDelay, ObservationNoise, RewardNoise
from suite.wrappers.stack import layers

GAMMA, DELAY, STD, HORIZON = 0.8, 2, 0.3, 8


def delayed(num_envs: int, mode: str = "disabled", task: Any = None) -> Any:
    return ActionDelay(point_env(num_envs, mode, task), DELAY)


def noisy(num_envs: int, mode: str = "disabled", task: Any = None) -> Any:
    return RewardNoise(delayed(num_envs, mode, task), STD, seed=4)


def collected(make: Any, task: Any = None) -> tuple[Any, Any]:
    """60 states of a policy that explores, and one of the same weights that does not.

    So that what was done differs from what is followed, which has no spread of its own.
    """
    recorder = Recorder()
    env = make(3, "same_step", task)
    agent = PPO("MlpPolicy", env, advantage=recorder, n_steps=20, batch_size=20, seed=3)
    agent.policy = point_policy()
    collect(agent)
    return recorder.rollout, point_policy(log_std=-20)


def brute_force(rollout: Any, policy: Any) -> tuple[np.ndarray, np.ndarray]:
    """Q and V (T, N) without noise, and nothing but Python's own queue for the delay.

    What is under way in a state is read from the recorded actions, not from snapshots.
    """
    steps, rows = rollout.rewards.shape
    found = np.zeros((2, steps, rows))
    for row in range(rows):
        queue = deque([0.0] * DELAY)
        for t in range(steps):
            layer = rollout.snapshots[t]
            while layer.inner is not None:
                layer = layer.inner
            x, age = layer.state["simulation"][row, 0], layer.state["elapsed"][row]
            recorded = float(np.clip(rollout.actions[t, row, 0], -1, 1))
            for kind, first in enumerate((recorded, None)):
                found[kind, t, row] = follow(policy, x, age, deque(queue), first)
            queue.append(recorded)
            queue.popleft()
            if rollout.terminated[t, row] or rollout.truncated[t, row]:
                queue = deque([0.0] * DELAY)
    return found[0], found[1]


def follow(policy: Any, x: float, age: int, queue: deque, first: float | None) -> float:
    total = 0.0
    for h in range(min(HORIZON, LIMIT - age)):
        obs = torch.tensor([[np.float32(x)]])
        with torch.no_grad():
            mean = policy.get_distribution(obs).distribution.mean
        command = float(mean.clip(-1, 1))
        queue.append(first if h == 0 and first is not None else command)
        x = float(np.clip(x + STEP * queue.popleft(), -1, 1))
        if abs(x) < GOAL:
            return total + GAMMA**h
    return total


@pytest.fixture(scope="module")
def case() -> tuple[Any, Any]:
    return collected(delayed)


@pytest.mark.parametrize("estimator", [ReRollout, LookaheadReRollout])
def test_rerollout_through_a_delay_is_the_brute_force_loop(case, estimator):
    rollout, policy = case
    q, v = brute_force(rollout, policy)
    # Acting late changes what is earned, or this would show nothing.
    undelayed = ReRollout(point_env, policy, 1, GAMMA, 0.2)
    assert (rollout.terminated.sum() > 0) and (np.abs(q - v) > 0.01).any()
    estimate = estimator(delayed, policy, 1, GAMMA, 0.2)(rollout, policy)
    np.testing.assert_allclose(estimate.returns, v, atol=1e-5)
    np.testing.assert_allclose(estimate.advantages, q - v, atol=1e-5)
    bare = replace(rollout, snapshots=[s.inner for s in rollout.snapshots])
    assert (np.abs(undelayed(bare, policy).returns - v) > 0.01).any()


def test_rerollout_through_noise_is_the_brute_force_loop_on_average():
    rollout, policy = collected(noisy)
    q, v = brute_force(rollout, policy)
    samples = 64
    estimate = ReRollout(noisy, policy, samples, GAMMA, 0.2)(rollout, policy)
    # A return of H steps has the variance STD^2 (1 + gamma^2 + ... + gamma^(2 H - 2)),
    # at most this; V is a mean of 64 of them. 4.5 errors on 2 x 60 comparisons.
    error = STD * np.sqrt((1 - GAMMA ** (2 * HORIZON)) / (1 - GAMMA**2) / samples)
    assert np.abs(estimate.returns - v).max() < 4.5 * error
    assert np.abs(estimate.advantages - (q - v)).max() < 4.5 * np.sqrt(2) * error
    assert np.abs(estimate.returns - v).max() > 0.1 * error


def test_every_rerollout_draws_noise_of_its_own():
    task = endless_task()
    rollout, policy = collected(noisy, task)
    make = lambda n: noisy(n, task=task)  # noqa: E731
    samples = 100
    estimate = ReRollout(make, policy, samples, GAMMA, 0.2)(rollout, policy)
    assert rollout.snapshots is not None
    ages = [s.inner.inner.state["elapsed"] for s in rollout.snapshots[:-1]]
    steps = np.minimum(HORIZON, LIMIT - np.stack(ages))
    # The rewards are all 1: what spreads the returns is the noise, and nothing else.
    expected = STD * np.sqrt((1 - GAMMA ** (2 * steps)) / (1 - GAMMA**2)).mean()
    assert estimate.metrics["advantage/sample_std"] == pytest.approx(expected, rel=0.03)


def test_rerollout_sees_the_observation_that_the_policy_saw():
    seen = []
    rollout, policy = collected(lambda *a: ObservationNoise(point_env(*a), 0.2))

    class Watched(ReRollout):
        def _open(self) -> None:
            super()._open()
            env = self._envs.get()
            inner = env.restore

            def restore(*args: Any, **kwargs: Any) -> Any:
                seen.append(inner(*args, **kwargs))
                return seen[-1]

            env.restore = restore
            self._envs.put(env)

    make = lambda n: ObservationNoise(point_env(n), 0.2)  # noqa: E731
    Watched(make, policy, 1, GAMMA, 0.2)(rollout, policy)
    recorded = np.repeat(rollout.obs.reshape(-1, 1), 2, axis=0)
    np.testing.assert_array_equal(np.concatenate(seen), recorded)


def test_a_stateful_wrapper_in_between_is_refused_by_name_before_training():
    env = RewardNoise(gym.wrappers.vector.NormalizeReward(point_env(2, "same_step")), 1)
    with pytest.raises(ValueError, match=r"ReRollout needs snapshots.*NormalizeReward"):
        PPO("MlpPolicy", env, advantage=ReRollout(point_env))
    rollout, policy = collected(delayed)
    make = lambda n: RewardNoise(  # noqa: E731
        gym.wrappers.vector.NormalizeReward(point_env(n)), 1
    )
    with pytest.raises(TypeError, match="the wrapper NormalizeReward has no snapshot"):
        ReRollout(make, policy)(rollout, policy)


def test_a_stateless_foreign_wrapper_passes():
    wrap = lambda env: gym.wrappers.vector.ClipReward(env, 0, 0.5)  # noqa: E731
    rollout, policy = collected(lambda *a: wrap(point_env(*a)))
    full = ReRollout(point_env, policy, 1, GAMMA, 0.2)(rollout, policy)
    make = lambda n: wrap(point_env(n))  # noqa: E731
    half = ReRollout(make, policy, 1, GAMMA, 0.2)(rollout, policy)
    np.testing.assert_allclose(half.returns, full.returns / 2)


# ------------------------------------------------------------------------- benchmarks
WRAPPED = replace(
    TOY,
    wrappers=(
        Part("suite.wrappers.action:ActionDelay", {"steps": 1}),
        Part("suite.wrappers:ObservationNoise", {"std": [0.05], "seed": 7}),
        Part("suite.wrappers.reward:RewardNoise", {"std": 0.5}),
    ),
)


def trained(spec: Benchmark) -> tuple[Any, list[dict[str, float]]]:
    available = {"make_env": spec.make_env, "seed": 0, "device": "cpu", "threads": 1}
    env = spec.make_env(spec.env.num_envs, "same_step")
    agent = build(spec.agent, available, env=env)
    agent.env.seed(0)
    metrics = list(agent.iterate(spec.total_timesteps))
    steady = [{k: v for k, v in m.items() if "time" not in k} for m in metrics]
    return agent, steady


def test_a_benchmark_trains_on_the_wrappers_that_it_names():
    again = Benchmark.from_json(json.loads(json.dumps(WRAPPED.to_json())))
    assert again == WRAPPED
    again.check()
    env = again.make_env(4, "same_step")
    names = [type(layer).__name__ for layer in layers(env)]
    assert names == ["RewardNoise", "ObservationNoise", "ActionDelay", "ToyVectorEnv"]
    agent, first = trained(again)
    assert agent.num_timesteps == TOY.total_timesteps
    rewards = agent.rollout_buffer.rewards
    assert len(np.unique(rewards)) == rewards.size  # not the toy's zeros and ones
    assert trained(WRAPPED)[1] == first != trained(TOY)[1]


def test_a_wrong_argument_of_a_wrapper_is_named():
    bad = replace(TOY, wrappers=(Part("suite.wrappers:RewardNoise", {"sdt": 0.5}),))
    with pytest.raises(ValueError, match="RewardNoise takes no 'sdt'; it takes env"):
        bad.check()
