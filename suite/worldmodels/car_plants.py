"""Physics of a car in SI units: what a learned model starts from.

A plant says how a twist [vx, vy, omega] (m/s, m/s, rad/s, in the body's frame, at the
body's origin) changes within ``dt`` under a commanded steering angle (rad) and speed
(m/s). It has no memory: servo lags act on what can be seen of them, speed and
curvature. So a rollout may start anywhere in a recording. Every plant can be
differentiated at rest, and drives backwards.

Lengths are those of the MuSHR car: axles at +0.1385 and -0.158 m from the origin.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

GRAVITY = 9.81  # m/s^2
FRONT, REAR = 0.1385, 0.158  # m, from the body's origin to the axles
AT_REST = 0.05  # m/s, where divisions by the speed begin to be softened


class Plant(Protocol):
    """Physics of one step."""

    def step(
        self,
        twist: Tensor,
        steer: Tensor,
        speed: Tensor,
        grip: Tensor | None,
        dt: float,
    ) -> Tensor:
        """The twist (..., 3) after a step.

        Args:
            twist: (..., 3).
            steer: (...,) rad, commanded.
            speed: (...,) m/s, commanded.
            grip: (...,) a factor of what the tyres hold, 1 as specified; None is 1.
            dt: s.
        """
        ...


@dataclass(frozen=True)
class Hold:
    """No physics at all: the twist stays as it is.

    Use it for a direct model, in which a network says the whole change.
    """

    def step(
        self,
        twist: Tensor,
        steer: Tensor,
        speed: Tensor,
        grip: Tensor | None,
        dt: float,
    ) -> Tensor:
        """See ``Plant.step``."""
        return twist


@dataclass(frozen=True)
class Kinematic:
    """A bicycle whose wheels never slip, with first-order lags of speed and curvature.

    Use it at low accelerations, and as the baseline. In a steady turn
    omega = vx tan(steer) / L and vy = rear omega, at any speed; the rear axle follows
    a circle of radius L / tan(steer). Grip multiplies the curvature.

    Source: Kong et al. 2015, "Kinematic and dynamic vehicle models for autonomous
    driving control design", equation 1, about the rear axle.

    Args:
        front: m, from the origin to the front axle.
        rear: m, from the rear axle to the origin.
        speed_lag: s, time constant of the speed; 0 is none.
        steer_lag: s, time constant of the curvature; 0 is none.

    Raises:
        ValueError: If a length is not positive or a lag negative.
    """

    front: float = FRONT
    rear: float = REAR
    speed_lag: float = 0.09
    steer_lag: float = 0.05

    def __post_init__(self) -> None:
        _require("Kinematic", (self.front, self.rear), (self.speed_lag, self.steer_lag))

    def step(
        self,
        twist: Tensor,
        steer: Tensor,
        speed: Tensor,
        grip: Tensor | None,
        dt: float,
    ) -> Tensor:
        """See ``Plant.step``."""
        vx, _, omega = twist.unbind(-1)
        vx_next = torch.lerp(vx, speed, _rate(self.speed_lag, dt))
        curvature = torch.tan(steer) / (self.front + self.rear)
        if grip is not None:
            curvature = curvature * grip
        # A curvature omega / vx that is kept turns into vx_next / vx times the yaw
        # rate; the ratio is 1 at rest.
        floor = AT_REST**2
        kept = (vx * vx_next + floor) / (vx * vx + floor)
        kept = kept * (1 - _rate(self.steer_lag, dt))
        omega_next = vx_next * curvature + kept * (omega - vx * curvature)
        return torch.stack([vx_next, self.rear * omega_next, omega_next], dim=-1)


@dataclass(frozen=True)
class _Bicycle(ABC):
    """A car with one tyre an axle that slips; use ``SingleTrack`` or ``Pacejka``.

    The origin is taken as the centre of mass. The mass divides out: tyre forces are
    proportional to loads. Steps are linearly implicit in vy and omega, so that tyres
    that are stiff at low speed need no smaller ones; a steady state is exact.
    """

    front: float = FRONT
    rear: float = REAR
    gyration: float = 0.132  # m, sqrt(yaw inertia / mass)
    height: float = 0.08  # m, of the centre of mass, for the transfer of load
    friction: float = 1.0
    speed_lag: float = 0.09  # s
    substeps: int = 4

    def __post_init__(self) -> None:
        lengths = (self.front, self.rear, self.gyration, self.speed_lag, self.friction)
        _require(type(self).__name__, lengths, (self.height,))
        if self.substeps < 1:
            raise ValueError(f"substeps must be 1 or more, got {self.substeps}")

    @abstractmethod
    def _tyre(self, slip: Tensor, is_front: bool) -> tuple[Tensor, Tensor]:
        """Lateral force over load and its slope per rad, at a slip angle in rad."""

    def step(
        self,
        twist: Tensor,
        steer: Tensor,
        speed: Tensor,
        grip: Tensor | None,
        dt: float,
    ) -> Tensor:
        """See ``Plant.step``."""
        hold = torch.full_like(speed, self.friction)
        hold = hold if grip is None else hold * grip
        cos, sin = torch.cos(steer), torch.sin(steer)
        vx, vy, omega = twist.unbind(-1)
        for _ in range(self.substeps):
            vx, vy, omega = self._substep(
                (vx, vy, omega), (cos, sin), speed, hold, dt / self.substeps
            )
        return torch.stack([vx, vy, omega], dim=-1)

    def _substep(
        self,
        twist: tuple[Tensor, Tensor, Tensor],
        steer: tuple[Tensor, Tensor],
        speed: Tensor,
        hold: Tensor,
        h: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        (vx, vy, omega), (cos, sin) = twist, steer
        front, rear, inertia = self.front, self.rear, self.gyration**2
        limit = hold * GRAVITY  # the tyres cannot accelerate it more than that
        pull = limit * torch.tanh((speed - vx) / (self.speed_lag * limit))
        transfer = pull * (self.height / GRAVITY)
        # In each wheel's own frame, so that reversing needs no case of its own.
        at_front, at_rear = vy + front * omega, vy - rear * omega
        force_f, stiff_f = self._axle(
            at_front * cos - vx * sin, vx * cos + at_front * sin, True
        )
        force_r, stiff_r = self._axle(at_rear, vx, False)
        load_f = limit * (rear - transfer) / (front + rear)
        load_r = limit * (front + transfer) / (front + rear)
        push_f, push_r = load_f * force_f, load_r * force_r  # m/s^2
        change_y = push_f * cos + push_r - vx * omega
        change_o = (front * push_f * cos - rear * push_r) / inertia
        # (1 - h J) d = h f with J of the tyres' local stiffness.
        soft_f, soft_r = h * load_f * stiff_f * cos * cos, h * load_r * stiff_r
        a = 1 + soft_f + soft_r
        b = front * soft_f - rear * soft_r + h * vx
        c = (front * soft_f - rear * soft_r) / inertia
        d = 1 + (front * front * soft_f + rear * rear * soft_r) / inertia
        scale = h / (a * d - b * c)
        vy_next = vy + scale * (d * change_y - b * change_o)
        omega_next = omega + scale * (a * change_o - c * change_y)
        # With the new ones, or the turning of the frame would add energy.
        vx_next = vx + h * (pull - push_f * sin + vy_next * omega_next)
        return vx_next, vy_next, omega_next

    def _axle(
        self, sideways: Tensor, forwards: Tensor, is_front: bool
    ) -> tuple[Tensor, Tensor]:
        """Force over load of an axle, and how it falls with its sideways speed."""
        rolling = torch.sqrt(forwards * forwards + AT_REST**2)
        force, slope = self._tyre(-torch.atan(sideways / rolling), is_front)
        fall = slope * rolling / (rolling * rolling + sideways * sideways)
        return force, fall


@dataclass(frozen=True)
class SingleTrack(_Bicycle):
    """A bicycle with tyres whose force is proportional to the slip angle.

    Use it for fast driving short of sliding. Loads move with the acceleration. In a
    steady turn, for small angles, omega = v steer / (L + K v^2) with the understeer
    gradient K = (1 / stiffness_front - 1 / stiffness_rear) / (friction g).

    Source: Althoff et al. 2017, "CommonRoad: vehicle models", section 7, in velocities
    instead of angles, which is what makes rest and reversing regular; coefficients of
    the F1TENTH car (f1tenth_gym).

    Args:
        front: m, from the origin to the front axle.
        rear: m, from the rear axle to the origin.
        gyration: m, sqrt(yaw inertia / mass).
        height: m, of the centre of mass.
        friction: Of tyres and floor.
        speed_lag: s, time constant of the speed.
        substeps: Of one step.
        stiffness_front: Force over load and friction, per rad.
        stiffness_rear: Likewise.

    Raises:
        ValueError: If a number is not positive.
    """

    stiffness_front: float = 4.718
    stiffness_rear: float = 5.4562

    def _tyre(self, slip: Tensor, is_front: bool) -> tuple[Tensor, Tensor]:
        stiffness = self.stiffness_front if is_front else self.stiffness_rear
        return stiffness * slip, torch.full_like(slip, stiffness)


@dataclass(frozen=True)
class Pacejka(_Bicycle):
    """A bicycle with tyres that saturate: peak sin(shape atan(stiffness slip)).

    Use it where the car slides.

    Source: Pacejka and Bakker 1992, "The magic formula tyre model", without curvature;
    coefficients of a car of this size on tarmac (HOUND).

    Args:
        front: m, from the origin to the front axle.
        rear: m, from the rear axle to the origin.
        gyration: m, sqrt(yaw inertia / mass).
        height: m, of the centre of mass.
        friction: Of tyres and floor.
        speed_lag: s, time constant of the speed.
        substeps: Of one step.
        stiffness: B, per rad.
        shape: C.
        peak: D, force over load and friction.

    Raises:
        ValueError: If a number is not positive.
    """

    stiffness: float = 6.8
    shape: float = 1.5
    peak: float = 1.0

    def _tyre(self, slip: Tensor, is_front: bool) -> tuple[Tensor, Tensor]:
        inner = self.stiffness * slip
        angle = self.shape * torch.atan(inner)
        slope = self.peak * self.shape * self.stiffness * torch.cos(angle)
        # Beyond the peak the force falls; an implicit step takes that as level.
        return self.peak * torch.sin(angle), slope.clamp(min=0) / (1 + inner * inner)


def _rate(lag: float, dt: float) -> float:
    """The share of its way that a first-order lag goes in a step."""
    return -math.expm1(-dt / lag) if lag > 0 else 1.0


def _require(
    name: str, positive: tuple[float, ...], not_negative: tuple[float, ...]
) -> None:
    if min(positive) <= 0 or min(not_negative) < 0:
        raise ValueError(
            f"{name} needs positive lengths and coefficients and lags of 0 or more, "
            f"got {positive} and {not_negative}"
        )
