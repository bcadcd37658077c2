"""The actions there are, for a planner, and random numbers to draw them with.

Shapes: B environments planned for at once, K candidates, H steps, A numbers an action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

# One for all environments, or one each: a row's plan then depends on no other row.
Generators = torch.Generator | Sequence[torch.Generator]
Draw = Callable[..., Tensor]  # torch.rand or torch.randn


def drawn(draw: Draw, shape: tuple[int, ...], generator: Generators) -> Tensor:
    """Random numbers (B, ...) on the generator's device.

    Args:
        draw: ``torch.rand`` or ``torch.randn``.
        shape: B first.
        generator: One for all, or B of them, of which the b-th draws row b.

    Raises:
        TypeError: If it is no generator of torch.
        ValueError: If there is another number of generators.
    """
    if isinstance(generator, torch.Generator):
        return draw(shape, generator=generator, device=generator.device)
    if not isinstance(generator, Sequence):
        raise TypeError(
            "generator must be a torch.Generator, or a list of one for each "
            f"environment, got {type(generator).__name__}"
        )
    if len(generator) != shape[0]:
        raise ValueError(
            f"{len(generator)} generators for {shape[0]} environments; give one for "
            "all or one each"
        )
    return torch.stack(
        [draw(shape[1:], generator=g, device=g.device) for g in generator]
    )


@dataclass(frozen=True)
class Bounds:
    """Continuous actions between two bounds.

    Args:
        low: (A,).
        high: (A,).
    """

    low: Tensor
    high: Tensor

    @property
    def size(self) -> int:
        """Numbers in an action."""
        return len(self.low)

    @property
    def middle(self) -> Tensor:
        """The action (A,) that nothing is known about."""
        return (self.low + self.high) / 2

    def uniform(self, shape: tuple[int, int, int], generator: Generators) -> Tensor:
        """Actions (B, K, H, A), each as likely as any other."""
        noise = drawn(torch.rand, (*shape, self.size), generator)
        return noise.mul_(self.high - self.low).add_(self.low)

    def to_env(self, actions: Tensor) -> np.ndarray:
        """Actions (..., A) as the environment takes them."""
        return actions.cpu().numpy()


@dataclass(frozen=True)
class Choices:
    """One of so many discrete actions, which planners and models see as one-hot rows.

    Args:
        size: How many.
        first: The environment's number of the first.
        device: Of the tensors.
    """

    size: int
    first: int = 0
    device: torch.device | str = "cpu"

    @property
    def middle(self) -> Tensor:
        """Equal probabilities (A,)."""
        return torch.full((self.size,), 1 / self.size, device=self.device)

    def uniform(self, shape: tuple[int, int, int], generator: Generators) -> Tensor:
        """One-hot actions (B, K, H, A), each as likely as any other."""
        noise = drawn(torch.rand, shape, generator)
        # A float32 just below 1 times the size may round up to it.
        index = (noise * self.size).long().clamp_(max=self.size - 1)
        return torch.nn.functional.one_hot(index, self.size).float()

    def to_env(self, actions: Tensor) -> np.ndarray:
        """One-hot actions (..., A) as the environment's numbers (...)."""
        return actions.argmax(dim=-1).cpu().numpy() + self.first


Actions = Bounds | Choices


def action_set(space: gym.Space, device: torch.device | str = "cpu") -> Actions:
    """The actions of an environment's space, for a planner.

    Args:
        space: Of a single environment: ``Discrete``, or a bounded ``Box`` of one axis.
        device: Where planning takes place.

    Raises:
        ValueError: For another space.
    """
    if isinstance(space, gym.spaces.Discrete):
        return Choices(int(space.n), int(space.start), device)
    is_flat = isinstance(space, gym.spaces.Box) and len(space.shape) == 1
    if not is_flat or not space.is_bounded():  # pyright: ignore[reportAttributeAccessIssue]
        raise ValueError(
            "a planner needs a Discrete action space or a bounded Box with one axis, "
            f"got {space}"
        )
    assert isinstance(space, gym.spaces.Box)
    low, high = (
        torch.as_tensor(bound, dtype=torch.float32, device=device)
        for bound in (space.low, space.high)
    )
    return Bounds(low, high)
