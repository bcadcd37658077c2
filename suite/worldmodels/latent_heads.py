"""How the output of a network stands for one number, and the loss that goes with it.

Output, loss and reading belong together: logits of bins that are fitted by squared
error all learn the same number, and what is read from them says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn import functional


class Head(Protocol):
    """A way to write a number as outputs of a network."""

    @property
    def outputs(self) -> int:
        """How many outputs stand for the number."""
        ...

    def value(self, output: torch.Tensor) -> torch.Tensor:
        """The number (...) that outputs (..., outputs) stand for."""
        ...

    def losses(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Losses (...) of outputs (..., outputs) for numbers (...)."""
        ...


@dataclass(frozen=True)
class Scalar:
    """The output is the number; the loss is the squared error.

    Use it for one task, as PWM does.
    """

    outputs = 1

    def value(self, output: torch.Tensor) -> torch.Tensor:
        """The number (...) of outputs (..., 1)."""
        self._require_one(output)
        return output[..., 0]

    def losses(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Squared errors (...) of outputs (..., 1).

        Raises:
            ValueError: If the output is of several bins.
        """
        return (self.value(output) - target).square()

    def _require_one(self, output: torch.Tensor) -> None:
        if output.shape[-1] != 1:
            raise ValueError(
                "squared error fits one output, and all bins to the same number, so "
                f"got {output.shape[-1]} bins in vain; use TwoHot(bins="
                f"{output.shape[-1]}), which is fitted by cross entropy, or one output"
            )


@dataclass(frozen=True)
class TwoHot:
    """The outputs are logits of bins, evenly spaced in symlog; the loss cross entropy.

    A number is a weight on the two bins beside it. Use it where rewards differ by
    orders of magnitude, such as over many tasks.

        symlog(x) = sign(x) log(1 + |x|)

    Args:
        bins: How many.
        low: symlog of the first.
        high: symlog of the last.

    Raises:
        ValueError: If there are fewer than 2 bins, or the first is not below the last.

    Source: Hafner et al. 2023, equations 9 and 10, arXiv:2301.04104; numbers of Hansen
    et al. 2024, arXiv:2310.16828.
    """

    bins: int = 101
    low: float = -10.0
    high: float = 10.0

    def __post_init__(self) -> None:
        if self.bins < 2 or self.low >= self.high:
            raise ValueError(
                "TwoHot needs 2 bins or more from low to high, got "
                f"{self.bins} from {self.low} to {self.high}; one output is Scalar()"
            )

    @property
    def outputs(self) -> int:
        """A logit a bin."""
        return self.bins

    def two_hot(self, target: torch.Tensor) -> torch.Tensor:
        """Weights (..., bins) of numbers (...); beyond the bins all on the last one."""
        width = (self.high - self.low) / (self.bins - 1)
        place = ((symlog(target) - self.low) / width).clamp(0, self.bins - 1)
        below = place.floor().clamp(max=self.bins - 2)
        share = (place - below)[..., None]
        below = below.long()[..., None]
        weights = torch.zeros(
            *target.shape, self.bins, dtype=target.dtype, device=target.device
        )
        weights.scatter_(-1, below, 1 - share)
        return weights.scatter_(-1, below + 1, share)

    def value(self, output: torch.Tensor) -> torch.Tensor:
        """The number (...) that logits (..., bins) expect."""
        self._require_bins(output)
        centres = torch.linspace(
            self.low, self.high, self.bins, dtype=output.dtype, device=output.device
        )
        return symexp(output.softmax(dim=-1) @ centres)

    def losses(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Cross entropies (...) of logits (..., bins).

        Raises:
            ValueError: If there are not so many logits.
        """
        self._require_bins(output)
        return -(self.two_hot(target) * functional.log_softmax(output, -1)).sum(-1)

    def _require_bins(self, output: torch.Tensor) -> None:
        if output.shape[-1] != self.bins:
            raise ValueError(
                f"TwoHot of {self.bins} bins needs as many outputs, got "
                f"{output.shape[-1]}; a single output is fitted by Scalar()"
            )


def symlog(x: torch.Tensor) -> torch.Tensor:
    """sign(x) log(1 + |x|)."""
    return x.sign() * x.abs().log1p()


def symexp(x: torch.Tensor) -> torch.Tensor:
    """The inverse of ``symlog``."""
    return x.sign() * x.abs().expm1()
