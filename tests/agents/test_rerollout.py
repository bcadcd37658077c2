"""Re-rollout advantages against a plain loop over states and steps."""

from __future__ import annotations

import inspect
import re
import textwrap
import time

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

from suite.agents import rerollout as module
from suite.agents.ppo import PPO
from suite.agents.rerollout import (
    LookaheadReRollout,
    ReRollout,
    discount_horizon,
)

GAMMA, TOLERANCE, STATES, SAMPLES = 0.8, 0.2, 200, 512
HORIZON = 8  # 0.8^7 = 0.21 counts, 0.8^8 = 0.17 does not


def collected(states: int = STATES, log_std: float = -0.7, task=None):
    """A rollout of the point policy, with snapshots."""
    policy = point_policy(log_std)
    env = point_env(states // 20, "same_step", task)
    recorder = Recorder()
    agent = PPO("MlpPolicy", env, advantage=recorder, n_steps=20, batch_size=20, seed=3)
    agent.policy = policy
    collect(agent)
    return recorder.rollout, policy


def brute_force(rollout, policy, samples: int, generator: torch.Generator):
    """Q and V samples (S, K) by looping over states and steps, K copies together."""
    starts = np.concatenate(
        [s.state["simulation"][:, 0] for s in rollout.snapshots[:-1]]
    )
    ages = np.concatenate([s.state["elapsed"] for s in rollout.snapshots[:-1]])
    first = np.clip(rollout.actions.reshape(-1), -1, 1)
    found = np.zeros((2, len(starts), samples))
    for state, (start, age) in enumerate(zip(starts, ages, strict=True)):
        for kind in (0, 1):
            x = np.full(samples, start)
            alive = np.ones(samples, bool)
            for h in range(min(HORIZON, LIMIT - age)):
                with torch.no_grad():
                    obs = torch.as_tensor(x[:, None].astype(np.float32))
                    d = policy.get_distribution(obs).distribution
                    a = d.mean + d.stddev * torch.randn(
                        d.mean.shape, generator=generator
                    )
                action = np.clip(a.numpy()[:, 0], -1, 1)
                if kind == 0 and h == 0:
                    action = np.full(samples, first[state], np.float32)
                x = np.clip(x + STEP * action, -1, 1)
                success = alive & (np.abs(x) < GOAL)
                found[kind, state] += GAMMA**h * success
                alive &= ~success
    return found


def z_scores(estimate, reference) -> np.ndarray:
    """(3, S): Q, V and A of both sides, in standard errors of their difference."""
    v = estimate.returns.reshape(-1)
    a = estimate.advantages.reshape(-1)
    q_ref, v_ref = reference.mean(axis=2)
    q_var, v_var = reference.var(axis=2) * 2 / SAMPLES  # both sides have K samples
    difference = np.stack([a + v - q_ref, v - v_ref, a - (q_ref - v_ref)])
    error = np.sqrt(np.stack([q_var, v_var, q_var + v_var]))
    exact = np.abs(difference) < 1e-9  # states from which every sample does the same
    return np.where(exact, 0.0, difference / np.maximum(error, 1e-3))


def agrees(z: np.ndarray) -> bool:
    """The mean of 200 standard normals has deviation 0.07: 0.25 is 3.5 of them."""
    return bool((np.abs(z.mean(axis=1)) < 0.25).all() and (np.abs(z) <= 5).all())


@pytest.fixture
def wide(monkeypatch):
    """More rows at once: the point costs nothing, the interpreter does."""
    monkeypatch.setattr(module, "SLOTS", 8192)
    monkeypatch.setattr(module, "SHARD", 65536)


@pytest.fixture(scope="module")
def case():
    rollout, policy = collected()
    reference = brute_force(rollout, policy, SAMPLES, torch.Generator().manual_seed(11))
    return rollout, policy, reference


def estimate_with(cls, case, threads: int = 1, samples: int = SAMPLES):
    rollout, policy, _ = case
    rr = cls(point_env, policy, samples, GAMMA, TOLERANCE, threads=threads, seed=5)
    return rr(rollout, policy)


def mutated(cls, before: str, after: str):
    """The class with one place of its source changed."""
    source = textwrap.dedent(inspect.getsource(cls))
    assert source.count(before) == 1
    scope = dict(vars(module))
    exec(compile(source.replace(before, after), "mutant", "exec"), scope)
    return scope[cls.__name__]


def test_rerollout_agrees_with_brute_force_on_200_states(case, wide):
    q_ref = case[2].mean(axis=2)[0]
    assert 0.1 < q_ref.mean() < 0.9 and q_ref.std() > 0.1  # a case that says something
    assert agrees(z_scores(estimate_with(ReRollout, case), case[2]))


def test_lookahead_agrees_with_brute_force_at_half_the_steps(case, wide):
    estimate = estimate_with(LookaheadReRollout, case)
    assert agrees(z_scores(estimate, case[2]))
    both = estimate_with(ReRollout, case)
    assert 0.45 < estimate.sim_steps / both.sim_steps < 0.6


LOOKAHEAD_MUTANTS = {
    "value of the same state": ("shorter_v[1:]", "shorter_v[:-1]"),
    "value after the end": ("np.where(done, 0.0, shorter_v[1:])", "shorter_v[1:]"),
    "horizon one step longer": ("0.0, shorter_v", "0.0, v"),
    "next value undiscounted": ("rollout.rewards + self.gamma *", "rollout.rewards +"),
}


@pytest.mark.parametrize("mutant", LOOKAHEAD_MUTANTS)
def test_lookahead_mutant_disagrees_with_brute_force(case, wide, mutant):
    cls = mutated(LookaheadReRollout, *LOOKAHEAD_MUTANTS[mutant])
    assert not agrees(z_scores(estimate_with(cls, case), case[2]))


MUTANTS = {
    "horizon off by one": ("age >= self.horizon", "age + 1 >= self.horizon"),
    "gamma^h shifted": ("self.gamma**age", "self.gamma ** (age + 1)"),
    "success counted twice": ("* rewards\n", "* rewards * (1 + terminated)\n"),
    "V drawn from Q's samples": ("np.repeat([True, False]", "np.repeat([True, True]"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_disagrees_with_brute_force(case, wide, mutant):
    cls = mutated(ReRollout, *MUTANTS[mutant])
    assert not agrees(z_scores(estimate_with(cls, case), case[2]))


def test_deterministic_policy_gives_the_brute_force_advantage_exactly():
    rollout, policy = collected(states=60, log_std=-20)
    rr = ReRollout(point_env, policy, 2, GAMMA, TOLERANCE)
    q, v = brute_force(rollout, policy, 2, torch.Generator().manual_seed(0)).mean(
        axis=2
    )
    advantages = rr(rollout, policy).advantages.reshape(-1)
    np.testing.assert_allclose(advantages, q - v, atol=1e-5)


def test_lookahead_of_a_deterministic_policy_is_exact():
    rollout, policy = collected(states=60, log_std=-20)
    exact = ReRollout(point_env, policy, 1, GAMMA, 0.0)(rollout, policy)
    ours = LookaheadReRollout(point_env, policy, 1, GAMMA, 0.0)(rollout, policy)
    np.testing.assert_allclose(ours.advantages, exact.advantages, atol=1e-5)


def test_results_do_not_depend_on_the_number_of_threads(case, monkeypatch):
    monkeypatch.setattr(module, "SHARD", 300)  # several shards, the last one short
    one = estimate_with(ReRollout, case, threads=1, samples=3)
    two = estimate_with(ReRollout, case, threads=2, samples=3)
    np.testing.assert_array_equal(one.advantages, two.advantages)
    assert one.sim_steps == two.sim_steps


def test_a_second_call_draws_new_samples(case):
    rollout, policy, _ = case
    rr = ReRollout(point_env, policy, 2, GAMMA, seed=5)
    first, second = rr(rollout, policy), rr(rollout, policy)
    assert (first.advantages != second.advantages).any()


def test_every_simulator_step_is_counted_and_finished_rows_cost_none():
    rollout, policy = collected(states=40)
    stepped = []

    class Counted(type(point_env(1))):
        def step(self, actions):
            stepped.append(int((~self._episodes.ended).sum()))
            return super().step(actions)

    def make(n):
        env = point_env(n)
        env.__class__ = Counted
        return env

    estimate = ReRollout(make, policy, 7, GAMMA, TOLERANCE)(rollout, policy)
    assert estimate.sim_steps == sum(stepped) > 0


def test_remaining_time_limit_is_kept():
    # One point a step until the time limit: V of a state of age t is a geometric sum of
    # what is left, whatever the policy does.
    rollout, policy = collected(states=60, task=endless_task())
    rr = ReRollout(lambda n: point_env(n, task=endless_task()), policy, 1, 0.99, 0.0)
    assert rollout.snapshots is not None
    ages = np.stack([s.state["elapsed"] for s in rollout.snapshots[:-1]])
    expected = (1 - 0.99 ** (LIMIT - ages)) / 0.01
    estimate = rr(rollout, policy)
    np.testing.assert_allclose(estimate.returns, expected)
    np.testing.assert_allclose(estimate.advantages, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("gamma", "tolerance", "horizon"),
    [
        (0.8, 0.01, 21),
        (0.8, 0.2, 8),
        (0.99, 0.01, 459),
        (0.5, 0.5, 2),
        (0.8, 0, np.inf),
    ],
)
def test_horizon_is_the_first_step_discounted_below_tolerance(
    gamma, tolerance, horizon
):
    assert discount_horizon(gamma, tolerance) == horizon
    if np.isfinite(horizon):
        assert (
            gamma**horizon < tolerance * (1 + 1e-12) <= gamma ** (horizon - 1) * 1.001
        )


def test_environment_without_snapshots_is_refused_by_name():
    with pytest.raises(ValueError, match=r"ReRollout needs snapshots.*DummyVecEnv"):
        PPO("MlpPolicy", "CartPole-v1", advantage=ReRollout(point_env))
    rollout, policy = collected(states=40)
    rr = ReRollout(lambda n: gym.make_vec("CartPole-v1", num_envs=n), policy)
    with pytest.raises(TypeError, match=re.escape("snapshot and restore")):
        rr(rollout, policy)


@pytest.mark.parametrize("bad", [{"samples": 0}, {"gamma": 1.5}, {"tolerance": 1.0}])
def test_bad_arguments_are_refused_before_any_simulation(bad):
    with pytest.raises(ValueError, match="ReRollout needs samples >= 1"):
        ReRollout(point_env, **bad)


def test_a_failure_or_ctrl_c_stops_every_thread_at_once():
    rollout, policy = collected(states=200)
    others = []

    class Watched:
        def __init__(self, is_first: bool):
            self._env, self._is_first, self._steps = point_env(256), is_first, 0

        def __getattr__(self, name: str):
            return getattr(self._env, name)

        def step(self, actions: np.ndarray):
            self._steps += 1
            if self._is_first and self._steps == 3:
                raise KeyboardInterrupt  # travels to the caller as a real one does
            if not self._is_first:
                others.append(self._steps)
                time.sleep(0.01)
            return self._env.step(actions)

    made = []

    def make_env(rows: int):
        made.append(Watched(is_first=not made))
        return made[-1]

    estimator = ReRollout(make_env, samples=64, gamma=GAMMA, threads=2)
    with pytest.raises(KeyboardInterrupt):
        estimator(rollout, policy)
    # A whole shard is sixteen fillings of the rows and more than a hundred steps.
    assert len(others) < 60
