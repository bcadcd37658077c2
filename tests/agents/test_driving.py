"""A car that follows its plans: laps, objectives, and what is planned with."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from suite.agents.driving import Cruise, Driver, Race, returns
from suite.agents.plan_models import CarPlan, Simulator
from suite.agents.planners import MPPI
from suite.agents.proposals import ClippedNormal
from suite.envs import mushr
from suite.envs.mushr import Track
from suite.envs.mushr_env import MushrVectorEnv
from suite.laps import Laps
from suite.worldmodels.car import Car
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_ensemble import CarMean
from suite.worldmodels.car_plants import Kinematic
from suite.worldmodels.car_stored import load_car

PHYSICS = Car(Kinematic(), adapter=None, residual=None)


def cars(
    num_envs: int = 1, autoreset_mode: str = "disabled", num_threads: int = 1, **k
):
    return MushrVectorEnv(num_envs, autoreset_mode=autoreset_mode, **k)


def track(env: MushrVectorEnv) -> Track:
    assert isinstance(env.driving, Track)
    return env.driving


def driver(model, candidates: int = 64, **kwargs) -> Driver:
    noise = ClippedNormal(0.2, 1.0)
    planner = MPPI(20, candidates, 0.5, proposal=noise)
    return Driver(cars(), planner=planner, model=model, **kwargs)


def seen(who: Driver, env: MushrVectorEnv, wheel):
    return who.seen(env, env.cars.named_state(None), wheel)


@pytest.mark.slow
def test_a_lap_with_a_model_that_is_right_takes_its_length_over_the_speed():
    who = driver(CarPlan(PHYSICS), objective=Cruise(2.0))
    told = Laps(functools.partial(cars, max_steps=600), laps=2)(who, 0)
    assert told["laps"] == 2 and told["crashes"] == 0
    # The servo holds 96 % of a command, and the first lap begins slowly.
    length = who.task.centreline.length
    assert told["lap_time_2"] == pytest.approx(length / 2.0, rel=0.06)
    assert told["lap_time_1"] > told["lap_time_2"]
    assert told["cross_track"] < 0.05 <= told["speed"]
    mean = (told["lap_time_1"] + told["lap_time_2"]) / 2
    assert told["lap_time"] == pytest.approx(mean)


def test_a_car_that_leaves_the_track_is_out_and_the_others_go_on():
    class Blind:
        history, sim_steps = 0, 0

        def cars(self, seen, actions):
            rows = seen.state[:, :6].repeat_interleave(actions.shape[1], dim=0)
            return rows.expand(actions.shape[2], *rows.shape)

        def save(self, folder, card):
            raise NotImplementedError

    class Pushed(Driver):
        def act(self, seen, wheel):
            found = super().act(seen, wheel)
            found[0] = 1.0, 1.0  # a circle, off the track
            found[1] = 0.0, 0.0  # stands still
            return found

    who = Pushed(cars(), planner=MPPI(2, 4), model=Blind())
    told = Laps(functools.partial(cars, max_steps=60), laps=1, cars=2)(who, 0)
    assert (told["laps"], told["crashes"]) == (0, 1)
    assert np.isnan(told["lap_time"]) and told["cross_track_max"] > mushr.HALF_WIDTH
    assert 60 < told["steps"] < 120


def test_the_simulator_foretells_what_the_car_then_does_hidden_state_and_gap_included():
    env = cars(2, gap="real", friction_patches=[(1.0, 0.0, 2.0, 0.2)])
    env.reset(seed=3)
    rng = np.random.default_rng(0)
    commands = rng.uniform(-1, 1, (12, 2, 2)).astype(np.float32)
    for command in commands[:6]:
        env.step(command)
    model = Simulator()
    who = driver(model)
    wheel = who.begin(2)
    actions = torch.as_tensor(commands[6:]).transpose(0, 1)[:, None]
    other = torch.zeros_like(actions)
    foretold = model.cars(seen(who, env, wheel), torch.cat([actions, other], dim=1))
    for step, command in enumerate(commands[6:]):
        env.step(command)
        now = env.cars.named_state(None)[:, :6].astype(np.float32)
        np.testing.assert_array_equal(foretold[step, ::2], now)
    assert model.sim_steps == 6 * 4


def test_the_simulator_plans_on_the_floor_of_the_environment_it_is_asked_about():
    ice = [(0.0, 0.0, 50.0, 0.05)]
    model, ends = Simulator(), []
    actions = torch.full((1, 1, 10, 2), 0.8)
    for env in (cars(1), cars(1, friction_patches=ice)):
        env.reset(seed=3)
        who = driver(model)
        found = model.cars(seen(who, env, who.begin(1)), actions)
        alone = Simulator().cars(seen(who, env, who.begin(1)), actions)
        torch.testing.assert_close(found, alone, rtol=0, atol=0)
        ends.append(found[-1])
    assert not torch.equal(*ends)


def test_a_plan_in_a_car_model_begins_with_the_commands_before():
    late = Car(Kinematic(), adapter=None, residual=None, delay=0.05)
    model, env = CarPlan(late), cars()
    env.reset_to(np.array([[0, 0, 0, 1.0, 0, 0]]))
    who = driver(model)
    wheel = who.begin(1)
    wheel.history[0, -1] = torch.tensor([0.5, 0.0])  # is still under way
    straight = torch.zeros(1, 1, 2, 2)
    straight[..., 1] = 1 / 3
    found = model.cars(seen(who, env, wheel), straight)
    assert found[0, 0, 5] > 0.2 and abs(found[1, 0, 5]) < found[0, 0, 5]


def test_returns_are_the_tasks_rewards_until_the_track_is_left():
    env = cars()
    env.reset_to(np.array([[0, 0, 0, 2.0, 0, 0]]))
    task = track(env)
    states = torch.as_tensor(env.cars.named_state(None))
    actions = torch.tensor([[[1.0, 1.0]]]).repeat(30, 1, 1).double()
    model = CarDynamics(PHYSICS).double()
    path = model.unroll(model.start(states[:, :6]), actions).states
    found = returns(task, Race(), states, actions, path)
    total, state = 0.0, states
    for action, car in zip(actions, path, strict=True):
        after = task.advance(state, action, car)
        total += float(task.reward(state, action, after))
        if task.terminated(after):
            break
        state = after
    else:
        raise AssertionError("the car should have left the track")
    assert float(found) == pytest.approx(total)


def test_what_a_model_does_not_believe_costs_as_much_as_leaving_the_track():
    env = cars()
    env.reset_to(np.array([[0, 0, 0, 2.0, 0, 0]]))
    states = torch.as_tensor(env.cars.named_state(None)).float()
    path = torch.full((3, 1, 6), torch.nan)
    found = returns(track(env), Race(), states, torch.zeros(3, 1, 2), path)
    assert float(found) == -mushr.OFF_TRACK
    slow = CarDynamics(PHYSICS)
    slow.refresh(0, 0.1 * torch.ones(2, 3), 0.1 * torch.ones(2, 3))
    who = driver(CarPlan(slow))
    plan = CarPlan(slow).cars(seen(who, env, who.begin(1)), torch.ones(1, 2, 4, 2))
    assert bool(torch.isnan(plan).all())


def test_cruise_is_worth_most_at_its_speed_on_the_centreline():
    task = track(cars())
    state = task.begin(np.zeros((5, 6)), np.zeros((5, 1)))
    places = np.zeros((5, 6))
    places[:, 0] = 0.1, 0.08, 0.12, 0.1, 0.1  # m in a step of 0.05 s
    places[:, 1] = 0.0, 0.0, 0.0, 0.06, -0.06
    after = task.advance(state, np.zeros((5, 2)), places)
    worth = Cruise(2.0, offset=5.0)(task, state, np.zeros((5, 2)), after)
    np.testing.assert_allclose(worth, [1.0, 0.8, 0.8, 0.95, 0.95])


def test_an_ensemble_is_planned_with_through_its_mean_and_bare_members_are_refused():
    members = CarDynamics(Car(Kinematic()), seeds=(0, 1))
    with pytest.raises(ValueError, match="2 members disagree on a plan; wrap"):
        CarPlan(members)
    env = cars()
    env.reset(seed=0)
    who = driver(CarPlan(CarMean(members)))
    alone = driver(CarPlan(PHYSICS))
    actions = torch.rand(1, 3, 5, 2)
    found = who.plan_model.cars(seen(who, env, who.begin(1)), actions)
    expected = alone.plan_model.cars(seen(alone, env, alone.begin(1)), actions)
    torch.testing.assert_close(found, expected)  # unfitted, they are their plant


def test_the_plan_model_is_kept(tmp_path):
    who = driver(CarPlan(PHYSICS))
    who.save(tmp_path / "model", {"about": "a test"})
    assert load_car(tmp_path / "model").car == PHYSICS
    driver(Simulator()).save(tmp_path / "simulator", {"about": "a test"})
    assert (tmp_path / "simulator" / "card.json").exists()


def test_a_driver_wants_a_track():
    env = cars(task="goal")
    with pytest.raises(ValueError, match='MuSHR-v0 with task="track"'):
        Driver(env, planner=MPPI(2, 4), model=Simulator())

    other = SimpleNamespace()
    other.unwrapped = other
    with pytest.raises(TypeError, match="only be planned with in MuSHR-v0"):
        who = driver(Simulator())
        wheel = who.begin(1)
        who.act(who.seen(other, np.zeros((1, 14)), wheel), wheel)
    with pytest.raises(ValueError, match="Cruise needs a positive speed"):
        Cruise(0.0)
