"""Less work for the same losses: what makes d3rlpy's updates faster, and only that.

Each of these leaves the losses of equal batches equal to the rounding of float32.
d3rlpy's own methods compute all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from d3rlpy.optimizers import AdamFactory

# PyTorch documents its foreach functions under these names, underscore included.
_multiplied = torch._foreach_mul  # pyright: ignore[reportPrivateImportUsage]
_multiply_ = torch._foreach_mul_  # pyright: ignore[reportPrivateImportUsage]
_add_ = torch._foreach_add_  # pyright: ignore[reportPrivateImportUsage]

_NOTHING = (None, None, None)  # asked for yet


@dataclass
class FusedAdam(AdamFactory):
    """d3rlpy's Adam, all parameters of an optimizer in one kernel instead of a loop."""

    def create_optimizer(self, named_modules: Any, lr: float) -> torch.optim.Adam:
        """See d3rlpy's."""
        (group,) = super().create_optimizer(named_modules, lr).param_groups
        return torch.optim.Adam(
            group["params"],
            lr,
            self.betas,
            self.eps,
            self.weight_decay,
            amsgrad=self.amsgrad,
            fused=True,
        )


class SoftUpdate:
    """target <- (1 - tau) target + tau source, for all parameters at once.

    Args:
        target: A network.
        source: Another one of the same shape.
        tau: The step.
    """

    def __init__(self, target: torch.nn.Module, source: torch.nn.Module, tau: float):
        self._target: tuple[torch.Tensor, ...] = tuple(target.parameters())
        self._source: tuple[torch.Tensor, ...] = tuple(source.parameters())
        self._tau = tau

    @torch.no_grad()
    def __call__(self) -> None:
        """Make one step, rounded as d3rlpy's is."""
        _multiply_(self._target, 1 - self._tau)
        _add_(self._target, _multiplied(self._source, self._tau))


class OncePerBatch:
    """Target critics that compute their values of a batch once, and without a graph.

    Use it for IQL, whose value loss and whose actor's weights ask for the same values;
    the targets move only after both, by what ``moving`` returns, which forgets them.

    Args:
        critics: d3rlpy's forwarder of the target critics.
    """

    def __init__(self, critics: Any):
        self._critics = critics
        self._asked: tuple[Any, ...] = _NOTHING
        self._values = torch.empty(0)

    def compute_expected_q(
        self, x: torch.Tensor, action: torch.Tensor, reduction: str = "mean"
    ) -> torch.Tensor:
        """See d3rlpy's."""
        asked = (x, action, reduction)
        if any(a is not b for a, b in zip(asked, self._asked, strict=True)):
            with torch.no_grad():
                self._values = self._critics.compute_expected_q(*asked)
            self._asked = asked
        return self._values

    def moving(self, move: Callable[[], None]) -> Callable[[], None]:
        """What moves the target critics, after which old values do not count."""

        def moved() -> None:
            move()
            self._asked, self._values = _NOTHING, torch.empty(0)

        return moved


def relu_in_place(networks: Iterable[torch.nn.Module]) -> None:
    """Let rectifiers overwrite their input, which no gradient needs."""
    for network in networks:
        for layer in network.modules():
            if isinstance(layer, torch.nn.ReLU):
                layer.inplace = True
