"""Networks as stacked weights: one batched product evaluates all members."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from suite.envs.arguments import require_kind, require_positive

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": torch.tanh,
    "silu": functional.silu,
}
MAX_LOGVAR, MIN_LOGVAR = 0.5, -10.0  # PETS: where the learned bounds begin
BOUND_WEIGHT = 0.01  # PETS: weight of the bounds' own term in the loss


class Output(NamedTuple):
    """What the members say of (E, B, in) inputs.

    Attributes:
        mean: (E, B, out).
        logvar: (E, B, out), the log of the variance; None of deterministic members.
    """

    mean: torch.Tensor
    logvar: torch.Tensor | None

    def each(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Output:
        """A function of the mean, and of the log-variance if there is one."""
        logvar = None if self.logvar is None else function(self.logvar)
        return Output(function(self.mean), logvar)

    def losses(self, target: torch.Tensor) -> torch.Tensor:
        """Each member's loss, (E,): squared error or Gaussian log-likelihood.

        mean[(mu - y)^2], or mean[(mu - y)^2 exp(-logvar) + logvar].
        Source: Chua et al. 2018, eq. 1, arXiv:1805.12114, without its constants.
        """
        errors = (self.mean - target).square()
        if self.logvar is not None:
            errors = errors * torch.exp(-self.logvar) + self.logvar
        return errors.mean(dim=(1, 2))


class Ensemble(nn.Module):
    """E deterministic networks of the same form, evaluated side by side.

    Use it as the network of a ``LearnedDynamics``. Its members share nothing: one
    backward pass through the sum of their losses trains each as if it were alone.

    Attributes:
        weights: One (E, in, out) a layer.
        biases: One (E, 1, out) a layer.

    Args:
        members: E.
        inputs: Numbers that go in.
        outputs: Numbers that come out.
        hidden: Widths of the hidden layers; () is a linear model.
        activation: ``"tanh"``, or ``"silu"``, which is cheaper on a CPU.
        generator: Of the first weights; None is torch's global one.

    Raises:
        ValueError: For an unknown activation or a size below 1.
    """

    heads = 1  # numbers a prediction takes: the mean

    def __init__(
        self,
        members: int,
        inputs: int,
        outputs: int,
        *,
        hidden: Sequence[int] = (250, 250),
        activation: str = "tanh",
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        require_kind("hidden", hidden, Sequence, "such as (250, 250)")
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {list(ACTIVATIONS)}, got {activation!r}"
            )
        for name, sizes in {
            "members": (members,),
            "inputs": (inputs,),
            "outputs": (outputs,),
            "hidden widths": hidden,
        }.items():
            for size in sizes:
                require_positive(name, size)
        self.members, self.inputs, self.outputs = members, inputs, outputs
        self.hidden, self.activation = tuple(hidden), activation
        widths = (inputs, *hidden, self.heads * outputs)
        shapes = list(pairwise(widths))
        self.weights = nn.ParameterList([torch.empty(members, *s) for s in shapes])
        self.biases = nn.ParameterList([torch.empty(members, 1, b) for _, b in shapes])
        self._initialise(generator)

    def _initialise(self, generator: torch.Generator | None) -> None:
        """As ``torch.nn.Linear``: uniform within 1 / sqrt(inputs of the layer)."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = 1 / math.sqrt(weight.shape[1])
            nn.init.uniform_(weight, -bound, bound, generator=generator)
            nn.init.uniform_(bias, -bound, bound, generator=generator)

    def forward(self, x: torch.Tensor) -> Output:
        """Each member on its own inputs (E, B, in), or all on the same (B, in)."""
        return Output(self._raw(x), None)

    def _raw(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() == 2:
            x = x.expand(self.members, *x.shape)
        activate, last = ACTIVATIONS[self.activation], len(self.weights) - 1
        for layer, (weight, bias) in enumerate(
            zip(self.weights, self.biases, strict=True)
        ):
            # Only frozen hidden layers have another dtype than the rest.
            x = torch.baddbmm(bias, x.to(weight.dtype), weight)
            if layer < last:
                x = activate(x)
        return x

    def regulariser(self) -> torch.Tensor:
        """What the loss has beside the data's terms: nothing."""
        return self.weights[0].new_zeros(())

    def decay(self, rates: Sequence[float]) -> torch.Tensor:
        """Half the squared weights of each layer, times its rate, summed.

        Raises:
            ValueError: If there is not one rate a layer.
        """
        if len(rates) != len(self.weights):
            raise ValueError(
                f"weight decay needs one rate a layer ({len(self.weights)}), got "
                f"{list(rates)}"
            )
        terms = [
            rate * weight.square().sum() / 2
            for rate, weight in zip(rates, self.weights, strict=True)
        ]
        return torch.stack(terms).sum()

    # --------------------------------------------------------------------- freezing
    @torch.no_grad()
    def folded(
        self,
        members: torch.Tensor,
        inputs: tuple[torch.Tensor, torch.Tensor],
        outputs: tuple[torch.Tensor, torch.Tensor],
        hidden_dtype: torch.dtype | None = None,
    ) -> Ensemble:
        """A copy of some members with the normalisation folded into its weights.

        Use it through ``LearnedDynamics.frozen``.

        Args:
            members: (K,) which to keep.
            inputs: Mean and deviation (in,) that inputs are normalised with.
            outputs: Mean and deviation (out,) that outputs are scaled back with.
            hidden_dtype: Of the layers between the first and the last, such as
                ``torch.bfloat16``; None keeps it. The first, which holds the
                normalisation, and the last, which holds the scale, stay as they are.
        """
        dtype = self.weights[0].dtype
        # Folded in float64 and rounded once.
        weights = [weight[members].double() for weight in self.weights]
        biases = [bias[members].double() for bias in self.biases]
        (mean, std), (shift, scale) = inputs, outputs
        weights[0] = weights[0] / std.double()[:, None]
        moved = torch.einsum("i,kio->ko", mean.double(), weights[0])
        biases[0] = biases[0] - moved[:, None]
        scale, shift = self._head_scale(scale.double(), shift.double())
        weights[-1], biases[-1] = weights[-1] * scale, biases[-1] * scale + shift
        types = [dtype] * len(weights)
        types[1:-1] = [hidden_dtype or dtype] * len(types[1:-1])
        twin = copy.deepcopy(self)
        twin.members = len(members)
        for layer, kind in enumerate(types):
            twin.weights[layer] = _constant(weights[layer].to(kind))
            twin.biases[layer] = _constant(biases[layer].to(kind))
        return twin

    def _head_scale(
        self, scale: torch.Tensor, shift: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return scale, shift


class GaussianEnsemble(Ensemble):
    """E networks that predict a mean and a variance for each output.

    Use it where noise or missing knowledge should show in the predictions: PETS, MBPO.
    The log of the variance is kept within learned soft bounds:

        logvar <- max - softplus(max - logvar);  logvar <- min + softplus(logvar - min)

    Each member has its own bounds, so that members share nothing; PETS has one pair for
    all of them. First weights are normal, cut at two deviations of 1 / (2 sqrt(in)),
    first biases 0.

    Source: Chua et al. 2018, appendix A.1, arXiv:1805.12114, and its code.

    Args, errors: As ``Ensemble``.
    """

    heads = 2

    def __init__(self, members: int, inputs: int, outputs: int, **kwargs):
        super().__init__(members, inputs, outputs, **kwargs)
        shape = (members, 1, outputs)
        self.max_logvar = nn.Parameter(torch.full(shape, MAX_LOGVAR))
        self.min_logvar = nn.Parameter(torch.full(shape, MIN_LOGVAR))

    def _initialise(self, generator: torch.Generator | None) -> None:
        for weight, bias in zip(self.weights, self.biases, strict=True):
            std = 1 / (2 * math.sqrt(weight.shape[1]))
            nn.init.trunc_normal_(weight, 0, std, -2 * std, 2 * std, generator)
            nn.init.zeros_(bias)

    def forward(self, x: torch.Tensor) -> Output:
        """Means and log-variances of each member, as ``Ensemble.forward``."""
        mean, logvar = self._raw(x).chunk(2, dim=-1)
        logvar = self.max_logvar - functional.softplus(self.max_logvar - logvar)
        logvar = self.min_logvar + functional.softplus(logvar - self.min_logvar)
        return Output(mean, logvar)

    def regulariser(self) -> torch.Tensor:
        """Draws the bounds together: 0.01 (sum of max - sum of min)."""
        return BOUND_WEIGHT * (self.max_logvar.sum() - self.min_logvar.sum())

    @torch.no_grad()
    def folded(
        self,
        members: torch.Tensor,
        inputs: tuple[torch.Tensor, torch.Tensor],
        outputs: tuple[torch.Tensor, torch.Tensor],
        hidden_dtype: torch.dtype | None = None,
    ) -> Ensemble:
        """As ``Ensemble.folded``: a scale adds its log to logvar and to both bounds."""
        twin = super().folded(members, inputs, outputs, hidden_dtype)
        assert isinstance(twin, GaussianEnsemble)
        offset = 2 * torch.log(outputs[1])
        twin.max_logvar = _constant(self.max_logvar[members] + offset)
        twin.min_logvar = _constant(self.min_logvar[members] + offset)
        return twin

    def _head_scale(
        self, scale: torch.Tensor, shift: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        spread = 2 * torch.log(scale)
        return (
            torch.cat([scale, torch.ones_like(scale)]),
            torch.cat([shift, spread]),
        )


def _constant(tensor: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)
