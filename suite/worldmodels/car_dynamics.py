"""Learned dynamics of a car: physics, corrected by networks, in the car's own frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from suite.envs.task import never
from suite.worldmodels.car import CAR, POSE, TWIST, Car
from suite.worldmodels.car_motion import path
from suite.worldmodels.car_networks import Stacked
from suite.worldmodels.car_pass import FELT, CarPass
from suite.worldmodels.dynamics import Transition
from suite.worldmodels.noise import Noise
from suite.worldmodels.unrolled import Teaching, Unrolled

STD_FLOOR = 1e-3  # of a twist's deviation, m/s or rad/s: a constant is not noise
BEYOND = 1.5  # twists that many times the largest ever seen are not believed


class CarZ(NamedTuple):
    """All there is to know of a car.

    Attributes:
        state: (..., S): x, y, theta, vx, vy, omega, then what the task appends.
        history: (..., k, 2), the last commands, oldest first, in [-1, 1].
    """

    state: Tensor
    history: Tensor


class CarDynamics(nn.Module):
    """E models of a car of the same form, each with weights of its own.

    Use it with one member as a ``DynamicsModel`` of rows (B, ...); with several, inside
    ``CarMean``, ``CarTS1`` or ``CarTSInf``, or with rows (E, B, ...), a batch for each
    member, which is how a fit trains them all at once. Networks see the twist and the
    commands, never the pose, so moving or turning the world moves or turns what is
    predicted, exactly. Before it is fitted it is its plant, exactly.

    A step:

        command <- command + bound tanh(adapter)           steering angle and speed
        twist   <- plant(twist, command, grip) + deviation residual
        pose    <- pose exp(twist dt)                      with the new twist

    Args:
        car: What it is made of.
        seeds: One a member, of its first weights.
        functions: The task's: ``reward(state, action, next_state)``, ``terminated(
            state)``, ``success(state)``, ``observe(state)``, and ``extend(state,
            action, car)``, which gives what the task appends to the next six numbers
            (..., S - 6). Left out: no reward, no end, the state is observed, what is
            appended stays.

    Raises:
        ValueError: For an unknown function, or without a seed.
    """

    needs_state = True
    twist_mean: Tensor  # (E, 1, 3)
    twist_std: Tensor
    change_std: Tensor  # of the twist's change in a step
    twist_limit: Tensor  # beyond which a row is not believed

    def __init__(
        self,
        car: Car,
        seeds: Sequence[int] = (0,),
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ):
        super().__init__()
        if not seeds:
            raise ValueError("a car's dynamics need a seed, one a member; got none")
        self.functions = _known_functions(functions or {})
        self.car, self.members = car, len(seeds)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        inputs = FELT + 2 * (car.history + 1)
        adapter, friction = car.adapter, car.friction
        self.adapter = self.friction = self.residual = None
        if adapter is not None:
            self.adapter = Stacked(generators, 2, inputs, 1, adapter.hidden)
        if friction is not None:
            self.friction = Stacked(generators, 1, inputs, 1, friction.hidden)
        if car.residual is not None:
            if adapter is not None:
                inputs += 2  # the corrected command
            self.residual = Stacked(generators, 1, inputs, TWIST, car.residual.hidden)
        shape = (self.members, 1, TWIST)
        for name, value in (("mean", 0.0), ("std", 1.0), ("limit", torch.inf)):
            self.register_buffer(f"twist_{name}", torch.full(shape, value))
        self.register_buffer("change_std", torch.ones(shape))
        self.register_buffer(
            "command_scale", torch.tensor([car.steer_limit, car.speed_limit])
        )
        if adapter is not None:
            bounds = torch.tensor([[adapter.steer], [adapter.speed]])
            self.register_buffer("bounds", bounds, persistent=False)

    command_scale: Tensor  # (2,) rad and m/s
    bounds: Tensor  # (2, 1)

    @torch.no_grad()
    def refresh(self, member: int, twists: Tensor, next_twists: Tensor) -> None:
        """Take over the statistics of a member's training data, (M, 3) each."""
        before, after = twists.double(), next_twists.double()
        std = before.std(dim=0, correction=0).clamp(min=STD_FLOOR)
        change = (after - before).std(dim=0, correction=0).clamp(min=STD_FLOOR)
        self.twist_mean[member, 0] = before.mean(dim=0)
        self.twist_std[member, 0], self.change_std[member, 0] = std, change
        self.twist_limit[member, 0] = BEYOND * before.abs().amax(dim=0) + STD_FLOOR

    def save(self, folder: Path, card: Mapping[str, Any]) -> None:
        """Write it where ``suite.worldmodels.car_stored.load_car`` finds it."""
        from suite.worldmodels.car_stored import save_car  # which names this class

        save_car(self, folder, card)

    # --------------------------------------------------------------- DynamicsModel
    def start(self, state: Tensor, history: Tensor | None = None) -> CarZ:
        """The z of states (..., S).

        Args:
            state: Six numbers of the car and what the task appends.
            history: (..., k, 2), the last commands; None: it stood still, wheels
                straight.

        Raises:
            ValueError: If a shape is another.
        """
        state = state.to(self.twist_std.dtype)
        if state.dim() < 2 or state.shape[-1] < CAR:
            raise ValueError(
                f"a car starts from states (B, {CAR} or more), x, y, theta, vx, vy, "
                f"omega first, got {tuple(state.shape)}"
            )
        shape = (*state.shape[:-1], self.car.history, 2)
        if history is None:
            history = state.new_zeros(shape)
        if history.shape != shape:
            raise ValueError(
                f"the history must have shape {shape}, got {tuple(history.shape)}"
            )
        return CarZ(state, history.to(state))

    def step(self, z: CarZ, action: Tensor, *, generator: Noise = None) -> Transition:
        """One step under actions (..., 2); nothing is drawn."""
        found = self.unroll(z, action[None])
        next_state = self.settle(z.state, action, found.states[0])
        return self.transition(z, action, next_state)

    def observe(self, z: CarZ) -> Tensor:
        """Observations (..., O)."""
        return self.functions["observe"](z.state)

    def success(self, z: CarZ) -> Tensor:
        """Whether the task is solved, (...) bool."""
        return self.functions["success"](z.state)

    def truncated(self, z: CarZ) -> Tensor:
        """Rows (...) bool that move as nothing did that the model has seen."""
        limit = self.twist_limit if z.state.dim() == 3 else self.twist_limit.amax(dim=0)
        return (z.state[..., POSE:CAR].abs() > limit).any(dim=-1)

    def settle(self, state: Tensor, action: Tensor, car: Tensor) -> Tensor:
        """The next state (..., S) of the car's next six numbers."""
        if state.shape[-1] == CAR:
            return car
        extended = self.functions["extend"](state, action, car)
        return torch.cat([car, extended], dim=-1)

    def transition(self, z: CarZ, action: Tensor, next_state: Tensor) -> Transition:
        """What a next state means."""
        window = torch.cat([z.history, action.to(z.history)[..., None, :]], dim=-2)
        return Transition(
            CarZ(next_state, window[..., 1:, :]),
            self.functions["reward"](z.state, action, next_state),
            self.functions["terminated"](next_state),
        )

    def taught(self, z: CarZ, state: Tensor) -> CarZ:
        """The same past at another state: for teacher forcing."""
        return CarZ(state.to(z.state), z.history)

    # ------------------------------------------------------------------- rollouts
    def unroll(
        self, z: CarZ, actions: Tensor, teaching: Teaching | None = None
    ) -> Unrolled:
        """H steps at once; what ``step`` would give, faster.

        Only the twist is recurrent; poses are found after the loop, for all steps at
        once, and so are the gradients of weights.

        Args:
            z: Rows (B, ...) of one member, or (E, B, ...).
            actions: (H, B, 2) or (H, E, B, 2).
            teaching: Where to put the truth in.

        Returns:
            States (H, ..., 6), and ``residual`` (H, ..., 3) in m/s, m/s and rad/s,
            ``correction`` (H, ..., 2) in rad and m/s and ``log_grip`` (H, ...), those
            that the model has.

        Raises:
            ValueError: If shapes do not fit.
        """
        if z.state.dim() == 2:
            return self._single(z, actions, teaching)
        if z.state.shape[0] != self.members or actions.shape[1:-1] != z.state.shape[:2]:
            raise ValueError(
                f"{self.members} members take states ({self.members}, B, S) and actions"
                f" (H, {self.members}, B, 2), got {tuple(z.state.shape)} and "
                f"{tuple(actions.shape)}"
            )
        pass_ = CarPass(self, self._windows(z, actions))
        twist, told = z.state[..., POSE:CAR], []
        for h in range(len(actions)):
            if teaching is not None and h:
                twist = teaching.put_in(h, twist, slice(POSE, CAR))
            twist, *extra = pass_.step(h, twist)
            told.append((twist, *extra))
        twists, *extras = (
            None if column[0] is None else torch.stack(column)
            for column in zip(*told, strict=True)
        )
        assert twists is not None
        poses = self._path(z, twists, teaching)
        named = zip(("residual", "correction", "log_grip"), extras, strict=True)
        return Unrolled(
            torch.cat([poses, twists], dim=-1),
            {name: extra for name, extra in named if extra is not None},
        )

    def _single(self, z: CarZ, actions: Tensor, teaching: Teaching | None) -> Unrolled:
        if self.members != 1:
            raise ValueError(
                f"{self.members} members disagree on rows {tuple(z.state.shape)}; wrap "
                "the dynamics in CarMean, CarTS1 or CarTSInf"
            )
        if teaching is not None:
            teaching = teaching.with_axis(1)
        z = CarZ(z.state[None], z.history[None])
        found = self.unroll(z, actions[:, None], teaching)
        extras = {name: extra[:, 0] for name, extra in found.extras.items()}
        return Unrolled(found.states[:, 0], extras)

    def _windows(self, z: CarZ, actions: Tensor) -> Tensor:
        """Commands each step sees, (H, E, B, k + 1, 2), oldest first."""
        actions = actions.to(z.state)
        before = z.history.movedim(-2, 0)  # (k, E, B, 2)
        commands = torch.cat([before, actions])
        return commands.unfold(0, self.car.history + 1, 1).transpose(-1, -2)

    def _path(self, z: CarZ, twists: Tensor, teaching: Teaching | None) -> Tensor:
        start = z.state[..., :POSE]
        if teaching is None:
            return path(start, twists, self.car.dt)
        truth = teaching.truth[..., :POSE].to(start)
        return path(
            start, twists, self.car.dt, truth, teaching.mask, detach=teaching.detach
        )


def _no_reward(state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
    return torch.zeros_like(next_state[..., 0])


def _nowhere(state: Tensor) -> Tensor:
    return torch.zeros_like(state[..., 0], dtype=torch.bool)


def _itself(state: Tensor) -> Tensor:
    return state


def _unchanged(state: Tensor, action: Tensor, car: Tensor) -> Tensor:
    return state[..., CAR:]


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "reward": _no_reward,
    "terminated": never,
    "success": _nowhere,
    "observe": _itself,
    "extend": _unchanged,
}


def _known_functions(
    functions: Mapping[str, Callable[..., Any]],
) -> dict[str, Callable[..., Any]]:
    unknown = set(functions) - set(_FUNCTIONS)
    if unknown:
        raise ValueError(
            f"a car knows the functions {', '.join(_FUNCTIONS)}, got "
            f"{', '.join(sorted(unknown))}"
        )
    return {**_FUNCTIONS, **functions}
