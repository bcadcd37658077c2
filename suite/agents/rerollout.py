"""Q - V from simulator states that are restored and rolled out again."""

from __future__ import annotations

import copy
import math
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy

from suite.agents.advantages import Estimate, Rollout
from suite.agents.policies import sample_actions
from suite.arrays import Snapshot
from suite.wrappers import restorable
from suite.wrappers.stack import autoreset_mode

# Rows stepped together; fixed, because a network's bits depend on its batch size.
SLOTS = 256
# Re-rollouts with one generator; fixed, so that threads do not change results.
SHARD = 4096


@dataclass(frozen=True)
class _Jobs:
    """Re-rollouts to do: where each starts, and whether its first action is given."""

    snapshots: Snapshot  # M states
    actions: np.ndarray  # (M, A) inside the action space
    start: np.ndarray  # (J,) index of the state
    is_q: np.ndarray  # (J,) bool

    def __getitem__(self, part: slice) -> _Jobs:
        return _Jobs(self.snapshots, self.actions, self.start[part], self.is_q[part])

    def __len__(self) -> int:
        return len(self.start)


class ReRollout:
    """Advantages by Monte Carlo from restored states; no critic is needed.

    Use it where the simulator can be restored and a policy worth following exists. For
    every state of the rollout, Q is the mean discounted return of K re-rollouts that
    take the recorded action and then follow ``policy``, V that of K further,
    independent ones that follow it from the start; A = Q - V. Each re-rollout keeps the
    remaining time limit and stops at its episode's end or where gamma^h falls below
    ``tolerance``.

    Args:
        make_env: ``make_env(n)`` gives a restorable vector environment of n rows in
            ``"disabled"`` autoreset mode.
        policy: The policy to follow; None is the policy being trained.
        samples: K, for Q and for V each.
        gamma: Discount.
        tolerance: Steps discounted by less than this are not simulated; what is left
            out of a return is below ``tolerance`` times the largest later return.
        threads: Environments stepped side by side. Results do not depend on it.
        seed: Seed of the actions' noise and of the environments' own.

    Raises:
        ValueError: For samples < 1, gamma outside (0, 1] or tolerance outside [0, 1).
        TypeError: If the environment cannot be restored.
    """

    needs_snapshots = True

    def __init__(
        self,
        make_env: Callable[[int], gym.vector.VectorEnv],
        policy: ActorCriticPolicy | None = None,
        samples: int = 5,
        gamma: float = 0.99,
        tolerance: float = 0.01,
        *,
        threads: int = 1,
        seed: int = 0,
    ):
        if samples < 1 or not 0 < gamma <= 1 or not 0 <= tolerance < 1:
            raise ValueError(
                "ReRollout needs samples >= 1, gamma in (0, 1] and tolerance in "
                f"[0, 1), got {samples}, {gamma} and {tolerance}"
            )
        self.policy, self.samples, self.gamma = policy, samples, gamma
        self.horizon = discount_horizon(gamma, tolerance)
        self.threads, self.seed = threads, seed
        if threads < 1:
            raise ValueError(f"ReRollout needs threads >= 1, got {threads}")
        self._make_env = make_env
        self._envs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._is_open = False
        self._calls = 0

    def __call__(self, rollout: Rollout, policy: ActorCriticPolicy) -> Estimate:
        """Advantages Q - V (T, N); returns are V, the critic's target if there is one.

        Raises:
            ValueError: If the rollout carries no snapshots.
        """
        shape = rollout.rewards.shape
        jobs = self._jobs(rollout, policy)
        (returns, _), steps = self._run(jobs, self.policy or policy)
        by_state = returns.reshape(-1, 2, self.samples)
        q, v = by_state.mean(axis=2).T.reshape(2, *shape)
        return _estimate(q, v, by_state.std(axis=2), steps, len(jobs))

    def state(self) -> dict[str, int]:
        """How often it was called: each call draws from streams of its own."""
        return {"calls": self._calls}

    def load_state(self, tree: dict[str, int]) -> None:
        """Take over a ``state()``."""
        self._calls = tree["calls"]

    def _jobs(self, rollout: Rollout, policy: ActorCriticPolicy) -> _Jobs:
        states = rollout.rewards.size
        actions = rollout.actions.reshape(states, *rollout.actions.shape[2:])
        space = policy.action_space
        if isinstance(space, gym.spaces.Box):
            squashed = policy.squash_output
            actions = (
                policy.unscale_action(actions)
                if squashed
                else np.clip(actions, space.low, space.high)
            )
        return _Jobs(
            Snapshot.concatenate(_snapshots(rollout)[:-1]),
            actions,
            np.repeat(np.arange(states), 2 * self.samples),
            np.tile(np.repeat([True, False], self.samples), states),
        )

    def _run(self, jobs: _Jobs, policy: ActorCriticPolicy) -> tuple[np.ndarray, int]:
        """Returns of all jobs, (2, J), and the simulator steps they took.

        The first row is over the whole horizon, the second without its last step.
        """
        self._open()
        starts = range(0, len(jobs), SHARD)
        seeds = np.random.SeedSequence([self.seed, self._calls]).spawn(len(starts))
        self._calls += 1
        stop = threading.Event()

        def shard(index: int) -> tuple[np.ndarray, int]:
            env = self._envs.get()
            try:
                part = jobs[slice(starts[index], starts[index] + SHARD)]
                # SB3 keeps the current distribution inside the policy, so that threads
                # which shared one could sample from each other's.
                own = copy.deepcopy(policy)
                return self._shard(env, part, own, seeds[index], stop)
            finally:
                self._envs.put(env)

        # Threads, not processes: physics and matrix products release the interpreter
        # lock.
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                results = list(pool.map(shard, range(len(starts))))
            except BaseException:
                # Ctrl-C, or a failure: leaving the pool waits for its threads, and a
                # shard can take a minute.
                stop.set()
                raise
        returns = np.concatenate([found for found, _ in results], axis=1)
        return returns, sum(steps for _, steps in results)

    def _open(self) -> None:
        if self._is_open:
            return
        for _ in range(self.threads):
            env = self._make_env(SLOTS)
            try:
                restorable(env)
            except TypeError as reason:
                raise TypeError(
                    "ReRollout needs an environment with snapshot and restore, got "
                    f"{env!r}: {reason}"
                ) from None
            mode = autoreset_mode(env)
            if mode != "disabled":
                raise ValueError(
                    "ReRollout's make_env must pass autoreset_mode='disabled' to "
                    f"gym.make_vec, got {mode!r}"
                )
            self._envs.put(env)
        self._is_open = True

    def _shard(
        self,
        env: Any,
        jobs: _Jobs,
        policy: ActorCriticPolicy,
        seed: np.random.SeedSequence,
        stop: threading.Event,
    ) -> tuple[np.ndarray, int]:
        """Keep every row busy: a finished one takes the next job at once.

        Once ``stop`` is set, nobody looks at the result.
        """
        stack, reseeds = restorable(env), np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(int(seed.generate_state(1)[0]))
        returns = np.zeros((2, len(jobs)))
        obs = np.zeros(env.observation_space.shape, env.observation_space.dtype)
        job = np.zeros(SLOTS, np.int64)
        age = np.zeros(SLOTS, np.int64)
        running = np.zeros(SLOTS, bool)
        taken = steps = 0
        free = np.arange(SLOTS)
        while True:
            fill, rest = np.split(free, [min(len(free), len(jobs) - taken)])
            if len(fill):
                job[fill] = np.arange(taken, taken + len(fill))
                taken += len(fill)
                states = jobs.snapshots[jobs.start[job[fill]]]
                obs[fill] = stack.restore(
                    states, fill, reseed=int(reseeds.integers(2**62))
                )
                age[fill], running[fill] = 0, True
            if len(rest):
                stack.halt(rest)
            if stop.is_set() or not running.any():
                return returns, steps
            actions = sample_actions(policy, obs, generator)
            given = running & (age == 0) & jobs.is_q[job]
            actions[given] = jobs.actions[jobs.start[job[given]]]
            obs, rewards, terminated, truncated, _ = env.step(actions)
            gains = self.gamma**age * rewards
            returns[0, job[running]] += gains[running]
            age += 1
            inside = running & (age < self.horizon)
            returns[1, job[inside]] += gains[inside]
            steps += int(running.sum())
            ended = running & (terminated | truncated | (age >= self.horizon))
            running &= ~ended
            free = np.flatnonzero(ended)


class LookaheadReRollout(ReRollout):
    """``ReRollout`` at half the simulator steps, for deterministic transitions.

    Use it where the simulator itself is deterministic. What a recorded action leads to
    is then known: the recorded reward and next state. So Q = r + gamma V(next state),
    and only V is measured, by K re-rollouts from every state. Q and V of one state
    still share no sample; Q of a state and V of the next one do, so that the errors of
    consecutive advantages are correlated where ``ReRollout``'s are independent. Where
    transitions are random it is still unbiased, given the next state that was met.

    Args, errors: As ``ReRollout``.
    """

    def __call__(self, rollout: Rollout, policy: ActorCriticPolicy) -> Estimate:
        """Advantages Q - V (T, N); returns are V.

        Raises:
            ValueError: If the rollout carries no snapshots.
        """
        steps, rows = rollout.rewards.shape
        states = (steps + 1) * rows  # with the one that the rollout's last step led to
        jobs = _Jobs(
            Snapshot.concatenate(_snapshots(rollout)),
            rollout.actions.reshape(steps * rows, *rollout.actions.shape[2:]),
            np.repeat(np.arange(states), self.samples),
            np.zeros(states * self.samples, bool),
        )
        returns, sim_steps = self._run(jobs, self.policy or policy)
        by_state = returns.reshape(2, steps + 1, rows, self.samples)
        # Q's horizon begins a step earlier: its value goes without the last step.
        v, shorter_v = by_state.mean(axis=3)
        done = rollout.terminated | rollout.truncated
        q = rollout.rewards + self.gamma * np.where(done, 0.0, shorter_v[1:])
        return _estimate(q, v[:-1], by_state[0].std(axis=2), sim_steps, len(jobs))


def _snapshots(rollout: Rollout) -> Sequence[Snapshot]:
    if rollout.snapshots is None:
        raise ValueError("ReRollout needs a rollout with snapshots; got one without")
    return rollout.snapshots


def _estimate(
    q: np.ndarray, v: np.ndarray, spread: np.ndarray, steps: int, rerollouts: int
) -> Estimate:
    metrics = {
        "advantage/q_mean": float(q.mean()),
        "advantage/v_mean": float(v.mean()),
        "advantage/sample_std": float(spread.mean()),
        "advantage/steps_per_rerollout": steps / rerollouts,
    }
    return Estimate(q - v, v, sim_steps=steps, metrics=metrics)


def discount_horizon(gamma: float, tolerance: float) -> float:
    """Steps until gamma^h < tolerance, infinite where that never happens.

    At gamma 0.8 and tolerance 0.01 it is 21: step 20 still counts 0.8^20 = 0.0115.
    """
    if gamma == 1 or tolerance == 0:
        return math.inf
    return math.floor(math.log(tolerance) / math.log(gamma)) + 1
