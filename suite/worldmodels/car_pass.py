"""Steps of a car's model along commands that are known before the first one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from suite.worldmodels.car import TWIST, Car

if TYPE_CHECKING:
    from suite.worldmodels.car_dynamics import CarDynamics

FELT = 5  # vx, vy, omega, which way it moves, how fast, smooth at rest
FORWARDS = 5.0  # s/m: tanh(5 vx) stands for the sign of the motion


class CarPass:
    """What does not change over the steps of a rollout, computed once."""

    def __init__(self, dynamics: CarDynamics, windows: Tensor):
        self.dynamics = dynamics
        steps, _, rows = windows.shape[:3]
        # Taken apart once: taking step h out of all steps would cost, backwards, an
        # array of all steps each time.
        self.known = windows.flatten(-2).unbind(0)
        commands = felt_commands(windows, dynamics.car) * dynamics.command_scale
        self.steer, self.speed = (part.unbind(0) for part in commands.unbind(-1))
        mean, std = dynamics.twist_mean, dynamics.twist_std
        rest = mean.new_zeros(len(mean), 1, FELT - TWIST + self.known[0].shape[-1])
        shift = torch.cat([mean, rest], dim=-1)
        scale = torch.cat([std, torch.ones_like(rest)], dim=-1)
        nets = {"adapter": dynamics.adapter, "friction": dynamics.friction}
        self.nets = {
            name: net.run(shift, scale, steps, rows)
            for name, net in nets.items()
            if net is not None
        }
        if dynamics.residual is not None:
            if dynamics.adapter is not None:
                command = dynamics.command_scale.expand(len(mean), 1, 2)
                shift = torch.cat([shift, torch.zeros_like(command)], dim=-1)
                scale = torch.cat([scale, command], dim=-1)
            self.nets["residual"] = dynamics.residual.run(shift, scale, steps, rows)

    def _net(self, name: str, h: int, seen: Tensor) -> Tensor | None:
        return self.nets[name].step(h, seen) if name in self.nets else None

    def step(self, h: int, twist: Tensor) -> tuple[Tensor, ...]:
        """The next twist (E, B, 3), residual, correction and log of the grip."""
        vx = twist[..., :1]
        way = torch.tanh(FORWARDS * vx)
        seen = torch.cat([twist, way, vx * way, self.known[h]], dim=-1)
        steer, speed = self.steer[h], self.speed[h]
        correction = self._correction(h, seen)
        if correction is not None:
            to_steer, to_speed = correction.unbind(1)
            steer, speed = steer + to_steer, speed + to_speed
            correction = correction.transpose(1, 2)
        grip, log_grip = self._grip(h, seen)
        car = self.dynamics.car
        next_twist = car.plant.step(twist, steer, speed, grip, car.dt)
        if correction is not None:  # the command that physics saw
            seen = torch.cat([seen, steer[..., None], speed[..., None]], dim=-1)
        residual = self._net("residual", h, seen)
        if residual is not None:
            residual = residual * self.dynamics.change_std
            next_twist = next_twist + residual
        return next_twist, residual, correction, log_grip  # pyright: ignore

    def _correction(self, h: int, seen: Tensor) -> Tensor | None:
        """Of steering angle and speed, (E, 2, B)."""
        if "adapter" not in self.nets:
            return None
        both = seen[:, None].expand(-1, 2, -1, -1).flatten(0, 1)
        found = self._net("adapter", h, both)
        assert found is not None
        shape = (len(seen), 2, seen.shape[1])
        return torch.tanh(found).view(shape) * self.dynamics.bounds

    def _grip(self, h: int, seen: Tensor) -> tuple[Tensor | None, Tensor | None]:
        found = self._net("friction", h, seen)
        if found is None:
            return None, None
        assert self.dynamics.car.friction is not None
        limit = math.log(self.dynamics.car.friction.largest)
        log_grip = limit * torch.tanh(found[..., 0])
        return torch.exp(log_grip), log_grip


def felt_commands(windows: Tensor, car: Car) -> Tensor:
    """The commands (..., 2) that act in a step, of windows (..., k + 1, 2).

    Those are the ones of ``delay`` before; between two of them their mean over the
    step.
    """
    late = car.delay / car.dt
    # A whole number of steps that was rounded is one.
    whole = round(late) if math.isclose(late, round(late)) else math.floor(late)
    last = windows.shape[-2] - 1 - whole
    command = windows[..., last, :]
    if math.isclose(late, whole):
        return command
    return torch.lerp(command, windows[..., last - 1, :], late - whole)
