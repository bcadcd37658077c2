"""A latent model as its actor and critics see it: rewards as they are learned."""

from __future__ import annotations

import torch

from suite.worldmodels.dynamics import Transition
from suite.worldmodels.latent import Latent, LatentModel
from suite.worldmodels.noise import Noise


class LearnedUnits:
    """A latent model that pays normalised rewards; a ``DynamicsModel``.

    Use it in ``PWM``. In these units a critic's values are of the size of its weights,
    whatever the environment pays.

        r' = (r - mean) / deviation, or r / deviation if the model's episodes end

    A mean that is taken off every step would make an end worth as much as an average
    life from then on, and so ending early a way to gain.

    Args:
        model: Whose rewards they are.
    """

    def __init__(self, model: LatentModel):
        self._model, self._has_end = model, model.end is not None
        self.observe, self.going_on = model.observe, model.going_on

    def start(self, state: torch.Tensor) -> Latent:
        """The latent of observations (B, O)."""
        return self._model.start(state)

    def step(
        self, z: Latent, action: torch.Tensor, *, generator: Noise = None
    ) -> Transition:
        """One step under actions (B, A); whether it ended, ``going_on`` says."""
        model = self._model
        after = model.next(z.z, action, generator=generator)
        paid = model.normalised_reward(z.z, action)
        if self._has_end:
            scale = model.reward_scale
            paid = paid + (scale.mean / scale.std).to(paid)
        never = torch.zeros(len(after), dtype=torch.bool, device=after.device)
        return Transition(Latent(after), paid, never)
