"""Several models of a car as one: which of them is believed at which step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from suite.worldmodels.car import POSE
from suite.worldmodels.car_dynamics import CarDynamics, CarZ
from suite.worldmodels.car_motion import moved
from suite.worldmodels.dynamics import Transition
from suite.worldmodels.noise import Noise, random_indices


class CarEnsembleZ(NamedTuple):
    """A car's z of rows (B, ...), and whom each believes.

    Attributes:
        car: State and history.
        member: (B,) int64, -1 if not drawn yet.
    """

    car: CarZ
    member: Tensor


class CarEnsemble(nn.Module, ABC):
    """What ``CarMean``, ``CarTS1`` and ``CarTSInf`` have in common; use one of them.

    Args:
        dynamics: The members, such as the seeds of a fit.

    Raises:
        TypeError: If it is another model.
    """

    needs_state = True

    def __init__(self, dynamics: CarDynamics):
        super().__init__()
        if not isinstance(dynamics, CarDynamics):
            raise TypeError(
                f"{type(self).__name__} is of a CarDynamics, got "
                f"{type(dynamics).__name__}; for a LearnedDynamics there is Mean"
            )
        self.dynamics = dynamics

    def start(self, state: Tensor, history: Tensor | None = None) -> CarEnsembleZ:
        """The z of states (B, S) and the commands before, (B, k, 2)."""
        member = torch.full((len(state),), -1, device=state.device)
        return CarEnsembleZ(self.dynamics.start(state, history), member)

    def step(
        self, z: CarEnsembleZ, action: Tensor, *, generator: Noise = None
    ) -> Transition:
        """One step under actions (B, 2)."""
        twists = self.twists(z.car, action)
        return self.follow(twists, z, action, generator=generator)

    def follow(
        self,
        twists: Tensor,
        z: CarEnsembleZ,
        action: Tensor,
        *,
        generator: Noise = None,
    ) -> Transition:
        """The step (B, ...) that comes of what the members say, (E, B, 3).

        Use it, after ``twists``, where their disagreement is to be known as well.
        """
        twist, member = self._believed(twists, z.member, generator)
        state, car = z.car.state, self.dynamics.car
        pose = moved(state[..., :POSE], twist, car.dt)
        next_state = self.dynamics.settle(
            state, action, torch.cat([pose, twist], dim=-1)
        )
        found = self.dynamics.transition(z.car, action, next_state)
        return found._replace(next_z=CarEnsembleZ(found.next_z, member))

    def twists(self, z: CarZ, action: Tensor) -> Tensor:
        """The next twist that each member predicts, (E, B, 3)."""
        members = self.dynamics.members
        each = CarZ(*(leaf.expand(members, *leaf.shape) for leaf in z))
        actions = action.expand(1, members, *action.shape)
        return self.dynamics.unroll(each, actions).states[0][..., POSE:]

    def disagreement(self, twists: Tensor) -> Tensor:
        """How far members differ about the next twist, (B,).

        The standard deviation over members, in deviations of the twists they were
        fitted to: the root of the mean square over vx, vy and omega. 0 of one member.

        Args:
            twists: (E, B, 3).
        """
        scale = self.dynamics.twist_std.mean(dim=0)
        spread = twists.std(dim=0, correction=0) / scale
        return spread.square().mean(dim=-1).sqrt()

    @abstractmethod
    def _believed(
        self, twists: Tensor, member: Tensor, generator: Noise
    ) -> tuple[Tensor, Tensor]:
        """The twist (B, 3) that is believed, and by whom (B,)."""

    def taught(self, z: CarEnsembleZ, state: Tensor) -> CarEnsembleZ:
        """The same past at another state: for teacher forcing."""
        return CarEnsembleZ(self.dynamics.taught(z.car, state), z.member)

    def observe(self, z: CarEnsembleZ) -> Tensor:
        """Observations (B, O)."""
        return self.dynamics.observe(z.car)

    def success(self, z: CarEnsembleZ) -> Tensor:
        """Whether the task is solved, (B,) bool."""
        return self.dynamics.success(z.car)

    def truncated(self, z: CarEnsembleZ) -> Tensor:
        """Rows (B,) bool that move as nothing did that the members have seen."""
        return self.dynamics.truncated(z.car)


class CarMean(CarEnsemble):
    """All members together: the mean of their twists.

    Use it where nothing shall be random.

    Args, errors: As ``CarEnsemble``.
    """

    def _believed(
        self, twists: Tensor, member: Tensor, generator: Noise
    ) -> tuple[Tensor, Tensor]:
        return twists.mean(dim=0), member


class CarTS1(CarEnsemble):
    """One member a row, drawn anew at every step.

    Source: Chua et al. 2018, section 5, arXiv:1805.12114.

    Args, errors: As ``CarEnsemble``.
    """

    def _believed(
        self, twists: Tensor, member: Tensor, generator: Noise
    ) -> tuple[Tensor, Tensor]:
        drawn = random_indices(len(member), len(twists), member, generator)
        return _picked(twists, drawn), member


class CarTSInf(CarEnsemble):
    """One member a row for as long as the row lasts.

    Use it for planning: what members disagree on stays coherent over the horizon.

    Source: Chua et al. 2018, section 5, arXiv:1805.12114.

    Args, errors: As ``CarEnsemble``.
    """

    def _believed(
        self, twists: Tensor, member: Tensor, generator: Noise
    ) -> tuple[Tensor, Tensor]:
        # Drawn for all rows at all steps: what a row draws must not depend on others.
        drawn = random_indices(len(member), len(twists), member, generator)
        member = torch.where(member < 0, drawn, member)
        return _picked(twists, member), member


def _picked(twists: Tensor, member: Tensor) -> Tensor:
    return twists[member, torch.arange(len(member), device=member.device)]
