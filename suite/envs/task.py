"""What is asked of a simulation, apart from how it steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gymnasium import spaces


def never(state: Any) -> Any:
    """False for each row (...) of a state (..., S): of tasks without end or goal."""
    # No number is beyond infinity: the fastest False of either library.
    return state[..., 0] > float("inf")


class Task(Protocol):
    """Spaces, a time limit, and pure batched functions of a simulation's named state.

    One task serves the simulator, a learned model and a planner, so each function takes
    NumPy arrays or torch tensors with any leading axes.
    """

    @property
    def observation_space(self) -> spaces.Box:
        """Space of one row's observation."""
        ...

    @property
    def action_space(self) -> spaces.Box:
        """Space of one row's action."""
        ...

    @property
    def max_episode_steps(self) -> int:
        """Control steps after which an episode is truncated."""
        ...

    @property
    def observe(self) -> Callable[[Any], Any]:
        """Observation (..., O) of a state (..., S)."""
        ...

    @property
    def reward(self) -> Callable[[Any, Any, Any], Any]:
        """Reward (...) of (state, action, next_state)."""
        ...

    @property
    def terminated(self) -> Callable[[Any], Any]:
        """Whether the episode ends in this state (...)."""
        ...

    @property
    def success(self) -> Callable[[Any], Any]:
        """Whether the task is solved in this state (...)."""
        ...
