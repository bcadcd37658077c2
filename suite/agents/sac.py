"""Soft actor-critic on vector environments, resumable after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from suite.agents.actor_loop import ActorLoop
from suite.agents.pace import Pace
from suite.agents.replay import Memory, Replay
from suite.agents.soft_update import NAMES, Soft, SoftUpdate
from suite.agents.vec import SnapshotVecEnv
from suite.checkpoints import require_like
from suite.envs.arguments import require_kind, require_members
from suite.worldmodels.experience import Experience


class SAC:
    """Soft actor-critic: a ``suite.checkpoints.Learner``.

    Use it for continuous actions where steps are dear, and as the model-free baseline
    of ``MBPO``, which it is without a model. What it draws depends on no global
    generator.

    Metrics of an epoch: means of the update's losses (``train/...``, NaN without an
    update), ``rollout/return_mean`` and ``rollout/length_mean`` of the episodes that
    ended and their number, ``buffer/...``, and seconds.

    Args:
        env: A vector environment in same-step autoreset mode with a flat observation
            and a flat, bounded Box of actions.
        soft: Numbers of the update.
        pace: How often it acts and learns.
        memory: Where minibatches come from; None is ``Replay()``.
        seed: Of everything random but the environment.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        ValueError: If spaces, autoreset mode or numbers of rows do not fit.
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv,
        *,
        soft: Soft | None = None,
        pace: Pace | None = None,
        memory: Memory | None = None,
        seed: int = 0,
        device: str = "cpu",
    ):
        pace, soft, memory = pace or Pace(), soft or Soft(), memory or Replay()
        require_kind("pace", pace, Pace)
        require_kind("soft", soft, Soft)
        require_members("memory", memory, ("add", "sample", "sizes"), "Replay()")
        self.env, self.device = SnapshotVecEnv(env), device
        self.pace, self.memory = pace, memory
        self.pace.require_rows(env.num_envs)
        words = np.random.SeedSequence(seed).generate_state(4).tolist()
        self.soft = SoftUpdate(
            soft,
            _obs_size(env.single_observation_space),
            env.single_action_space,
            seed=words[0],
            device=device,
        )
        self.policy = self.soft.policy
        self.loop = ActorLoop(self.env, self.policy, words[1])
        self._draws = torch.Generator().manual_seed(words[2])
        self._seed = words[3]  # of what a subclass draws
        self.num_timesteps = 0
        self._losses: list[tuple[float, ...]] = []
        self._seconds: dict[str, float] = {}

    @property
    def sim_steps(self) -> int:
        """Simulator steps: none beside those it acts in."""
        return self.num_timesteps

    # ---------------------------------------------------------------------- training
    def planned_updates(self, total_timesteps: int) -> int:
        """How many iterations ``iterate(total_timesteps)`` makes from the start."""
        return math.ceil(total_timesteps / self.pace.epoch)

    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        """Act and learn until so many steps in all; yields metrics after each epoch.

        Raises:
            FloatingPointError: If a loss became NaN or infinite.
            ValueError: If the environment pays or shows something that is not finite.
        """
        while self.num_timesteps < total_timesteps:
            self._losses, self._seconds = [], {"rollout": 0.0, "update": 0.0}
            end = min(self.num_timesteps + self.pace.epoch, total_timesteps)
            while self.num_timesteps < end:
                self._collect()
                if self.num_timesteps > self.pace.exploration:
                    self._learn()
            yield self._told()

    def _collect(self) -> None:
        pace, started = self.pace, time.perf_counter()
        is_uniform = self.num_timesteps < pace.exploration
        steps = pace.collect // self.env.num_envs
        found = self.loop.collect(steps, is_uniform=is_uniform)
        self.num_timesteps += steps * self.env.num_envs
        if len(found):
            self._add(found)
        self._spent("rollout", started)

    def _add(self, real: Experience) -> None:
        self.memory.add(real)

    def _learn(self) -> None:
        """A block of updates."""
        started, batch_size = time.perf_counter(), self.soft.settings.batch_size
        for _ in range(self.pace.updates):
            self._before_update()
            batch = self.memory.sample(batch_size, self._draws)
            self._losses.append(self.soft.update(batch))
        self._spent("update", started)

    def _before_update(self) -> None:
        """Nothing; ``MBPO`` imagines here."""

    def _spent(self, phase: str, started: float) -> None:
        seconds = time.perf_counter() - started
        self._seconds[phase] = self._seconds.get(phase, 0.0) + seconds

    def _told(self) -> dict[str, float]:
        """The metrics of an epoch."""
        means = [math.nan] * len(NAMES)
        if self._losses:
            means = np.mean(self._losses, axis=0).tolist()
        return {
            **{f"train/{name}": m for name, m in zip(NAMES, means, strict=True)},
            "train/updates": float(self.soft.updates),
            **self.loop.told(),
            **{f"buffer/{n}": float(size) for n, size in self.memory.sizes().items()},
            **{f"time/{name}_seconds": s for name, s in self._seconds.items()},
        }

    # ------------------------------------------------------------------- checkpoints
    def state(self) -> dict[str, Any]:
        """Everything the next epoch depends on, buffers included; live tensors.

        Raises:
            suite.arrays.NotRestorable: If the environment cannot be saved.
        """
        return {
            "num_timesteps": self.num_timesteps,
            "soft": self.soft.state(),
            "memory": self.memory.state(),
            "loop": self.loop.state(),
            "draws": self._draws.get_state(),
        }

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``; the next ``iterate`` goes on from there.

        Raises:
            IntegrityError: If it is not of an agent and environment like these.
        """
        own = {"num_timesteps": self.num_timesteps, "draws": self._draws.get_state()}
        require_like({name: tree[name] for name in own}, own, "learner")
        self.soft.load_state(tree["soft"])
        self.memory.load_state(tree["memory"], self.device)
        self.loop.load_state(tree["loop"])
        self._draws.set_state(tree["draws"])
        self.num_timesteps = tree["num_timesteps"]


def _obs_size(space: gym.Space) -> int:
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
        raise ValueError(
            f"SAC needs a flat Box of observations, got {space}; flatten it by "
            "gymnasium.wrappers.FlattenObservation"
        )
    return space.shape[0]
