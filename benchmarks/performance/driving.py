"""What one control step of MPPI on MuSHR-v0 costs, by plan model.

    python benchmarks/performance/driving.py [--rounds 9]

A step plans 256 sequences of 20 commands for one car: one rollout of 256 rows, with the
task's own state and reward at each of its 20 steps. Everything runs on one thread and
is measured in processor seconds; contenders take turns, medians over the rounds are
told. The car's own step, of MuJoCo, is not in it. The last line is one JSON object of
milliseconds; a control step has 50.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from report import finish
from turns import turns

from suite.agents.driving import Cruise, Driver, PlanModel, returns
from suite.agents.plan_models import CarPlan, Simulator
from suite.agents.planners import MPPI
from suite.agents.proposals import ClippedNormal
from suite.envs.mushr import Track
from suite.envs.mushr_env import MushrVectorEnv
from suite.running.process import prepare_process
from suite.worldmodels.car import Car
from suite.worldmodels.car_ensemble import CarMean
from suite.worldmodels.car_plants import Kinematic, Pacejka
from suite.worldmodels.mushr_learned import load_mushr

CANDIDATES, HORIZON, START = 256, 20, [0.0, 0.0, 0.0, 1.5, 0.0, 0.0]
MODELS: dict[str, Callable[[], PlanModel]] = {
    "kinematic": lambda: CarPlan(Car(Kinematic(), adapter=None, residual=None)),
    "pacejka": lambda: CarPlan(Car(Pacejka(), adapter=None, residual=None)),
    "learned": lambda: CarPlan(CarMean(load_mushr())),
    "simulator": lambda: Simulator(threads=1),
}


def contender(model: PlanModel) -> Callable[[], object]:
    """One plan of one car that drives."""
    env = MushrVectorEnv(1, gap="real", autoreset_mode="disabled")
    env.reset_to(np.array([START]))
    planner = MPPI(HORIZON, CANDIDATES, 0.5, proposal=ClippedNormal(0.2, 1.0))
    driver = Driver(env, planner=planner, model=model, objective=Cruise(1.5))
    wheel = driver.begin(1)
    seen = driver.seen(env, env.cars.named_state(None), wheel)
    wheel.memory = driver.plan(seen, wheel).memory
    return lambda: driver.plan(seen, wheel)


def scoring() -> Callable[[], object]:
    """The part of it that is not the model: the task along 256 x 20 steps."""
    env = MushrVectorEnv(1, gap="real", autoreset_mode="disabled")
    env.reset_to(np.array([START]))
    state = torch.as_tensor(env.cars.named_state(None), dtype=torch.float32)
    assert isinstance(env.driving, Track)
    task = env.driving
    cars = state[:, :6].expand(HORIZON, CANDIDATES, 6)
    actions = torch.zeros(HORIZON, CANDIDATES, 2)
    rows = state.expand(CANDIDATES, -1)
    return lambda: returns(task, Cruise(1.5), rows, actions, cars)


def main() -> None:
    """Take turns, print medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    prepare_process()
    contenders = {name: contender(make()) for name, make in MODELS.items()}
    contenders["scoring alone"] = scoring()
    seconds = turns(contenders, rounds, repeats=1, clock=time.process_time)
    found = {name: round(1000 * each, 1) for name, each in seconds.items()}
    for name, milliseconds in found.items():
        print(f"{name:14s} {milliseconds:8.1f} ms")
    finish("driving", rounds=rounds, milliseconds=found)


if __name__ == "__main__":
    main()
