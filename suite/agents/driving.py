"""Driving by planning: a car follows the plan that scores best in a model of it.

Three parts that know nothing of each other: a planner searches for commands, a
``PlanModel`` says where a car would go under them, and an objective of the task says
how good that is. All candidates of all cars are one rollout.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from suite.agents.action_sets import action_set
from suite.agents.planning import Memory, Plan, Planner
from suite.arrays import namespace
from suite.envs import mushr
from suite.envs.mushr import Track
from suite.storage import write_directory


@dataclass(frozen=True)
class Seen:
    """What a driver knows of B cars when it plans.

    Attributes:
        state: (B, S), the named state.
        history: (B, k, 2), the last commands, oldest first; zeros before the first.
        env: What they drive in; only a plan model that is the simulator asks it.
    """

    state: Tensor
    history: Tensor
    env: gym.vector.VectorEnv


class PlanModel(Protocol):
    """Where cars go under commands: what a driver plans with."""

    history: int  # commands before the current one that it wants to see
    sim_steps: int  # steps of the simulator that it has made

    def cars(self, seen: Seen, actions: Tensor) -> Tensor:
        """Where K candidates take each of B cars.

        Args:
            seen: Of B cars.
            actions: (B, K, H, 2).

        Returns:
            (H, B K, 6), the car's numbers after each step; NaN from where on the model
            does not believe itself.
        """
        ...

    def save(self, folder: Path, card: Mapping[str, Any]) -> None:
        """Write down what it is, beside its weights if it has some."""
        ...


class Objective(Protocol):
    """What a driver wants of a step; for NumPy arrays and torch tensors alike."""

    def __call__(self, task: Track, state: Any, action: Any, next_state: Any) -> Any:
        """Reward (...), as the task's."""
        ...


@dataclass(frozen=True)
class Race:
    """The task's own reward: as fast as can be, cutting corners."""

    def __call__(self, task: Track, state: Any, action: Any, next_state: Any) -> Any:
        """Reward (...)."""
        return task.reward(state, action, next_state)


@dataclass(frozen=True)
class Cruise:
    """Follow the centreline at a speed.

    A step is worth 1 - |progress / (speed dt) - 1|, less what offset and jerks cost.

    Use it to compare models: a lap then takes length / speed by a model that is right,
    and the offset is what the model's errors leave.

    Args:
        speed: m/s, along the centreline.
        offset: Weight of (offset / 0.6 m)^2; the task's reward has 0.5.

    Raises:
        ValueError: If one is not positive.
    """

    speed: float = 2.0
    offset: float = 5.0

    def __post_init__(self) -> None:
        if self.speed <= 0 or self.offset <= 0:
            raise ValueError(
                "Cruise needs a positive speed and weight of the offset, got "
                f"{self.speed} and {self.offset}"
            )

    def __call__(self, task: Track, state: Any, action: Any, next_state: Any) -> Any:
        """Reward (...)."""
        xp = namespace(next_state)
        moved = next_state[..., task.S] - state[..., task.S]
        paid = 1 - xp.abs(moved / (self.speed * mushr.DT) - 1)
        offset = next_state[..., task.OFFSET] / mushr.HALF_WIDTH
        lost = mushr.OFF_TRACK * task.terminated(next_state)
        cost = mushr.action_cost(state, action)
        return paid - self.offset * offset**2 - cost - lost


def returns(
    task: Track, objective: Objective, state: Tensor, actions: Tensor, cars: Tensor
) -> Tensor:
    """Summed rewards (R,) of R rollouts until they leave the track.

    What a model does not believe costs as much as leaving the track there.

    Args:
        task: Whose state goes on with the cars.
        objective: What is summed.
        state: (R, S), where they begin.
        actions: (H, R, 2).
        cars: (H, R, 6), from a ``PlanModel``.
    """
    total, running = actions.new_zeros(len(state)), None
    for action, car in zip(actions, cars, strict=True):
        next_state = task.advance(state, action, car)
        paid = objective(task, state, action, next_state)
        is_lost = ~torch.isfinite(car).all(dim=-1)
        paid = torch.where(is_lost, -mushr.OFF_TRACK, paid)
        goes_on = ~(is_lost | task.terminated(next_state))
        total = total + (paid if running is None else torch.where(running, paid, 0.0))
        running = goes_on if running is None else running & goes_on
        state = next_state
    return total


@dataclass
class Wheel:
    """What a driver remembers from one step to the next.

    Attributes:
        memory: The planner's.
        history: (B, k, 2), the last commands.
        generator: Of all its draws.
    """

    memory: Memory
    history: Tensor
    generator: torch.Generator


class Driver:
    """Plans at every step, for all cars at once, and does the first action.

    Use it as the agent of a benchmark on ``MuSHR-v0``: it learns nothing, so the run is
    its evaluation by ``suite.laps:Laps``; or by hand:

        wheel = driver.begin(env.num_envs, seed=0)
        actions = driver.act(driver.seen(env, info["state"], wheel), wheel)

    Args:
        env: Whose spaces and task it is for.
        planner: Searches for the commands.
        model: What it plans with.
        objective: What it wants; the task's reward by default.
        seed: Of what is drawn.

    Raises:
        ValueError: If the environment is no track of a car.
    """

    num_timesteps = 0  # it does not learn

    def __init__(
        self,
        env: gym.vector.VectorEnv,
        *,
        planner: Planner,
        model: PlanModel,
        objective: Objective | None = None,
        seed: int = 0,
    ):
        task = getattr(env.unwrapped, "driving", None)
        if not isinstance(task, Track):
            raise ValueError(
                'a Driver drives laps: it needs MuSHR-v0 with task="track", got '
                f"{env.unwrapped} with {type(task).__name__}"
            )
        self.task, self.planner, self.plan_model = task, planner, model
        self.objective = objective or Race()
        self.actions = action_set(env.single_action_space)
        self.seed = seed
        planner.start(self.actions, 1)  # refuses actions that it cannot propose

    @property
    def sim_steps(self) -> int:
        """Simulator steps that plans took; 0 where the model is another."""
        return self.plan_model.sim_steps

    def begin(self, rows: int, seed: int | None = None) -> Wheel:
        """What cars remember that have not moved yet."""
        generator = torch.Generator()
        generator.manual_seed(self.seed if seed is None else seed)
        history = torch.zeros(rows, self.plan_model.history, 2)
        return Wheel(self.planner.start(self.actions, rows), history, generator)

    def seen(self, env: Any, state: np.ndarray, wheel: Wheel) -> Seen:
        """What it knows of cars in an environment, of named states (B, S)."""
        found = torch.as_tensor(state, dtype=torch.float32)
        return Seen(found, wheel.history, env.unwrapped)

    def act(self, seen: Seen, wheel: Wheel) -> np.ndarray:
        """Commands (B, 2); ``wheel`` moves on.

        Raises:
            FloatingPointError: If no candidate of a car has a finite score.
        """
        plan = self.plan(seen, wheel)
        action = plan.actions[:, 0]
        history = torch.cat([wheel.history, action[:, None]], dim=1)
        wheel.memory, wheel.history = plan.memory, history[:, 1:]
        return self.actions.to_env(action)

    def plan(self, seen: Seen, wheel: Wheel) -> Plan:
        """The sequences (B, H, 2) to follow; only the generator moves on."""
        return self.planner.plan(
            self._score(seen), self.actions, wheel.memory, generator=wheel.generator
        )

    def _score(self, seen: Seen) -> Callable[[Tensor], Tensor]:
        def score(actions: Tensor) -> Tensor:
            batch, count = actions.shape[:2]
            cars = self.plan_model.cars(seen, actions)
            state = seen.state.repeat_interleave(count, dim=0)
            steps = actions.flatten(0, 1).transpose(0, 1)
            found = returns(self.task, self.objective, state, steps, cars)
            return found.view(batch, count)

        return score

    # ------------------------------------------------------- the agent of a benchmark
    @property
    def model(self) -> Driver:
        """What is evaluated and kept: itself."""
        return self

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Weights of the plan model, for who looks whether they are finite."""
        named = getattr(self.plan_model, "named_parameters", dict[str, Tensor]().items)
        yield from named()

    def save(self, folder: Path, card: Mapping[str, Any]) -> None:
        """Write the plan model to a folder."""
        self.plan_model.save(folder, card)

    def planned_updates(self, total_timesteps: int) -> int:
        """None: it does not learn."""
        return 0

    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        """Nothing to do."""
        yield from ()

    def state(self) -> dict[str, Any]:
        """Nothing changes."""
        return {}

    def load_state(self, tree: dict[str, Any]) -> None:
        """Nothing to take over."""


def write_card(folder: Path, card: Mapping[str, Any], **facts: Any) -> None:
    """A folder that says what a plan model without weights is."""
    text = json.dumps({**card, "plan_model": facts}, indent=2, sort_keys=True)
    write_directory(folder, {"card.json": text.encode() + b"\n"})
