"""A task's functions beside its dynamics, and what they must say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from suite.envs.task import Task


def task_functions(task: Task, state_size: int) -> dict[str, Any]:
    """The functions of a task of so large a state, named as in ``LearnedDynamics``."""
    # Large, so that an observation that is clipped shows.
    probe = 100 * torch.randn(
        64, state_size, generator=torch.Generator().manual_seed(0)
    )
    observed = task.observe(probe)
    is_state = observed.shape == probe.shape and torch.equal(observed.to(probe), probe)
    observe = None if is_state else task.observe
    return {
        "reward": task.reward,
        "terminated": task.terminated,
        "success": task.success,
        "features": observe,
        "observe": observe,
    }


def require_told(
    functions: Mapping[str, Callable[..., Any] | None], action_size: int, like: Any
) -> None:
    """Try reward, termination and success on rows, before a fit is spent on them.

    On rows (R, S), and with an axis more, since planners ask for many steps of many
    members at once. A termination that is no bool would be the worst: ``~1`` is -2, an
    index.

    Args:
        functions: By name; None is learned or unknown and not tried.
        action_size: A.
        like: A state (S,) of the type and device of the rows; zeros of it are tried.

    Raises:
        TypeError: If one takes other arguments.
        ValueError: If one fails otherwise, as that of another task does, or gives no
            tensor of one number a row, or what ends or succeeds is no bool.
    """
    rows = max(len(like), action_size) + 1  # unlike S and A, so that no axis passes
    for leading in ((rows,), (2, rows)):
        state = like.new_zeros(*leading, len(like))
        step = (state, like.new_zeros(*leading, action_size), state)
        tries = {"reward": step, "terminated": (state,), "success": (state,)}
        for name, given in tries.items():
            function = functions[name]
            if function is not None:
                _require_rows(name, _tried(name, function, given), state)


def _tried(name: str, function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    try:
        with torch.no_grad():
            return function(*given)
    except Exception as error:  # whatever a user's function may raise
        takes = "(state, action, next_state)" if len(given) > 1 else "(state)"
        shapes = " and ".join(str(tuple(each.shape)) for each in given[:2])
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"{name} is called with {takes} of torch tensors, and failed: {error} (of "
            f"zeros of shape {shapes}; is it of another task?)"
        ) from error


def _require_rows(name: str, found: Any, state: torch.Tensor) -> None:
    is_bool, leading = name != "reward", tuple(state.shape[:-1])
    if not isinstance(found, torch.Tensor):
        got = type(found).__name__
    else:
        got = f"{str(found.dtype).removeprefix('torch.')} {tuple(found.shape)}"
        if found.shape == leading and (found.dtype == torch.bool) == is_bool:
            return
    raise ValueError(
        f"{name} must give a {'bool' if is_bool else 'float'} tensor {leading} for "
        f"states {tuple(state.shape)}, got {got}; index the last axis, as in "
        "state[..., 0]"
    )
