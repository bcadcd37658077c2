"""Models that a driver plans with: a car's model, or the simulator itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.agents.driving import Seen, write_card
from suite.envs.arguments import require_positive
from suite.envs.mushr_car import CarSimulation
from suite.envs.mushr_env import MushrVectorEnv
from suite.worldmodels.car import CAR, POSE, Car
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_ensemble import CarEnsemble


class CarPlan:
    """A car's model: physics alone, or what a fit made of it.

    Args:
        dynamics: A ``CarDynamics`` of one member, an ensemble of several, or a ``Car``
            of physics alone.

    Raises:
        ValueError: If several members are in no ensemble.
    """

    sim_steps = 0

    def __init__(self, dynamics: Car | CarDynamics | CarEnsemble):
        made = CarDynamics(dynamics) if isinstance(dynamics, Car) else dynamics
        if isinstance(made, CarDynamics) and made.members > 1:
            raise ValueError(
                f"{made.members} members disagree on a plan; wrap the dynamics in "
                "CarMean, CarTS1 or CarTSInf"
            )
        self.dynamics = made
        self.car = made if isinstance(made, CarDynamics) else made.dynamics
        self.history = self.car.car.history

    @torch.inference_mode()
    def cars(self, seen: Seen, actions: Tensor) -> Tensor:
        """See ``PlanModel.cars``; NaN beyond what the model has seen."""
        count = actions.shape[1]
        state = seen.state[:, :CAR].repeat_interleave(count, dim=0)
        history = seen.history.repeat_interleave(count, dim=0)
        steps = actions.flatten(0, 1).transpose(0, 1).contiguous()
        if isinstance(self.dynamics, CarDynamics):
            z = self.dynamics.start(state, history)
            found = self.dynamics.unroll(z, steps).states
        else:
            found = _stepped(self.dynamics, state, history, steps)
        limit = self.car.twist_limit.amax(dim=0)
        is_beyond = (found[..., POSE:].abs() > limit).any(dim=-1, keepdim=True)
        return found.masked_fill(is_beyond, torch.nan)

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Of its networks."""
        return self.dynamics.named_parameters()

    def save(self, folder: Path, card: Mapping[str, Any]) -> None:
        """As ``suite.worldmodels.car_stored.load_car`` reads it."""
        self.car.save(folder, card)


def _stepped(
    model: CarEnsemble, state: Tensor, history: Tensor, steps: Tensor
) -> Tensor:
    """Cars (H, R, 6) of an ensemble under steps (H, R, 2)."""
    z, found = model.start(state, history), []
    for action in steps:
        z = model.step(z, action).next_z
        found.append(z.car.state)
    return torch.stack(found)


class Simulator:
    """The true simulator, from where the car stands, with all that is hidden.

    It knows the gap and the state of servos and delay lines, so it foretells exactly.
    It costs a physics step for each candidate and step.

    Args:
        threads: Threads that simulate; results do not depend on it.

    Raises:
        ValueError: If there is none.
    """

    history = 0

    def __init__(self, *, threads: int = 1):
        require_positive("threads", threads)
        self.threads, self.sim_steps = threads, 0
        self._rows: CarSimulation | None = None
        self._of: MushrVectorEnv | None = None  # whose gap and floor the rows have

    def cars(self, seen: Seen, actions: Tensor) -> Tensor:
        """See ``PlanModel.cars``; NaN where the physics blew up.

        Raises:
            TypeError: If the environment is not MuJoCo's car.
        """
        if not isinstance(seen.env, MushrVectorEnv):
            raise TypeError(
                "the simulator can only be planned with in MuSHR-v0, got "
                f"{type(seen.env).__name__}"
            )
        batch, count = actions.shape[:2]
        rows = self._simulation(seen.env, batch * count)
        states = seen.env.cars.get_state(None)
        rows.set_state(None, np.repeat(states, count, axis=0))
        steps = actions.flatten(0, 1).transpose(0, 1).numpy()
        found, is_lost = [], np.zeros(batch * count, bool)
        for action in steps:
            is_lost |= rows.step(None, action)
            cars = rows.named_state(None)[:, :CAR]
            found.append(np.where(is_lost[:, None], np.nan, cars))
        self.sim_steps += steps.shape[0] * steps.shape[1]
        return torch.as_tensor(np.stack(found), dtype=torch.float32)

    def _simulation(self, env: MushrVectorEnv, rows: int) -> CarSimulation:
        if self._rows is None or self._of is not env or self._rows.num_rows != rows:
            self._of = env
            self._rows = CarSimulation(
                rows, env.driving, env.gap, env.patches, self.threads
            )
        return self._rows

    def save(self, folder: Path, card: Mapping[str, Any]) -> None:
        """A card: it has no weights."""
        write_card(folder, card, kind="simulator")
