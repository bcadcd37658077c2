"""How large a latent world model is: widths by name, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from suite.envs.arguments import require_known
from suite.worldmodels.latent_networks import require_groups


@dataclass(frozen=True)
class LatentSizes:
    """Widths of a latent world model.

    Args:
        latent: L, a multiple of 8.
        encoder: Widths of the encoder's hidden layers.
        hidden: Those of transition, reward and termination.

    Raises:
        ValueError: If L is no multiple of 8, or a width is below 1 or missing.
    """

    latent: int
    encoder: tuple[int, ...]
    hidden: tuple[int, ...]

    def __post_init__(self) -> None:
        require_groups(self.latent)
        for name in ("encoder", "hidden"):
            widths = tuple(getattr(self, name))  # a list, if it comes from JSON
            object.__setattr__(self, name, widths)
            if min(widths, default=0) < 1:
                raise ValueError(
                    f"{name} needs hidden layers of width 1 or more, got {widths}"
                )


# "5m" and "48m" are the widths of these names in the configurations of PWM. On Ant they
# come to 1.5 and 18.5 million numbers: TD-MPC2, where the names are from, counts five
# critics and a policy with them. The "full" ones are what their names say.
SIZES = {
    "pendulum": LatentSizes(64, (64,), (128, 128)),
    "hopper": LatentSizes(128, (256,), (256, 256)),
    "5m": LatentSizes(512, (256,), (512, 512)),
    "48m": LatentSizes(768, (1792,) * 3, (1792, 1792)),
    "5m-full": LatentSizes(512, (256,), (1216, 1216)),
    "48m-full": LatentSizes(768, (3104,) * 3, (3104, 3104)),
}


def sizes_of(size: str | LatentSizes) -> LatentSizes:
    """Widths by name, or as they are.

    Raises:
        ValueError: For a name that is none.
    """
    if isinstance(size, LatentSizes):
        return size
    require_known("size", size, tuple(SIZES))
    return SIZES[size]


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Numbers that are learned in each part of a model, by its name, and ``total``."""
    counts = {
        name: sum(weights.numel() for weights in part.parameters())
        for name, part in model.named_children()
    }
    found = {name: count for name, count in counts.items() if count}
    return {**found, "total": sum(found.values())}
