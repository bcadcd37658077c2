"""A robot's end read off its observation, for models that know no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from suite.arrays import namespace
from suite.envs.locomotion import Biped, HalfCheetah, Locomotion


@dataclass(frozen=True)
class SeenEnd:
    """``terminated`` of a task, as a function of what it observes.

    Use it for a ``LearnedDynamics`` of observations of HalfCheetah, Hopper or Walker2d,
    which see all of their state but x. Velocities are seen clipped to [-10, 10], so
    that Hopper's limit of 100 never shows.

    Args:
        task: Such as ``Hopper()``.

    Raises:
        ValueError: If more than x is missing, as it is of Ant's observations.
    """

    task: Locomotion

    def __post_init__(self) -> None:
        missing = self._state_size - self.task.observation_space.shape[0]
        if missing != 1 or not isinstance(self.task, Biped | HalfCheetah):
            raise ValueError(
                f"{type(self.task).__name__} does not see all of its state but x; "
                "learn the end (terminated=None), or give a function of your own"
            )

    @property
    def _state_size(self) -> int:
        return self.task.num_positions + self.task.num_velocities

    def __call__(self, obs: Any) -> Any:
        """Whether the episode ends in this observation (...) of (..., O)."""
        xp = namespace(obs)
        state = xp.concat([xp.zeros_like(obs[..., :1]), obs], axis=-1)
        return self.task.terminated(state)
