"""A car's model begins as its plant, moves with the world, and unrolls as it steps."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from cars import PLANT_ALONE

from suite.envs.task import never
from suite.worldmodels.car import Adapter, Car, Friction, Residual
from suite.worldmodels.car_dynamics import CarDynamics, CarZ
from suite.worldmodels.car_ensemble import CarMean, CarTS1, CarTSInf
from suite.worldmodels.car_motion import moved
from suite.worldmodels.car_plants import Hold, Kinematic, Pacejka, SingleTrack
from suite.worldmodels.dynamics import map_leaves
from suite.worldmodels.imagine import imagine
from suite.worldmodels.unrolled import Teaching, Unrolled, unrolled

SMALL = Car(
    adapter=Adapter((8, 8)), residual=Residual((8,)), friction=Friction((8,)), history=2
)
DIRECT = Car(Hold(), adapter=None, residual=Residual((8, 8)), history=0)
CARS = {
    "structured": SMALL,
    "magic": dataclasses.replace(SMALL, plant=Pacejka(), friction=None),
    "linear": dataclasses.replace(SMALL, plant=SingleTrack()),
    "direct": DIRECT,
    "direct-adapted": dataclasses.replace(DIRECT, adapter=Adapter((8,)), history=1),
    "plant": PLANT_ALONE,
}
EACH = pytest.mark.parametrize("car", list(CARS.values()), ids=list(CARS))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(car: Car, seeds=(0,), **kwargs) -> CarDynamics:
    """A model with no weight at zero and statistics of its own, in float64."""
    dynamics = CarDynamics(car, seeds, **kwargs).double()
    draws = generator(9)
    with torch.no_grad():
        for part in dynamics.parameters():
            part.add_(0.3 * torch.randn(part.shape, generator=draws))
        for name in ("twist_mean", "twist_std", "change_std"):
            buffer = getattr(dynamics, name)
            buffer.copy_(0.1 + torch.rand(buffer.shape, generator=draws))
    return dynamics


def scene(rows=(5,), steps: int = 4, history: int = 2):
    """States (..., 6), histories (..., k, 2) and commands (H, ..., 2)."""
    draws = generator(3)
    state = torch.randn(*rows, 6, generator=draws, dtype=torch.float64)
    past = 2 * torch.rand(*rows, history, 2, generator=draws, dtype=torch.float64) - 1
    actions = torch.rand(steps, *rows, 2, generator=draws, dtype=torch.float64)
    return state, past, 2 * actions - 1


@EACH
def test_an_unfitted_model_is_its_plant_exactly(car):
    dynamics = CarDynamics(car).double()
    state, past, actions = scene(history=car.history)
    found = dynamics.unroll(dynamics.start(state, past), actions).states
    for h, action in enumerate(actions):
        steer, speed = 0.38 * action[:, 0], 3.0 * action[:, 1]
        twist = car.plant.step(state[:, 3:], steer, speed, None, 0.05)
        state = torch.cat([moved(state[:, :3], twist, 0.05), twist], dim=1)
        torch.testing.assert_close(found[h], state, rtol=1e-6, atol=1e-7)


@EACH
def test_a_moved_and_turned_world_moves_and_turns_the_prediction(car):
    dynamics = shaken(car)
    state, past, actions = scene(history=car.history)
    turn, shift = 1.1, torch.tensor([5.0, -3.0], dtype=torch.float64)
    rotation = torch.tensor(
        [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]],
        dtype=torch.float64,
    )

    def placed(states: torch.Tensor) -> torch.Tensor:
        place = states[..., :2] @ rotation.T + shift
        return torch.cat([place, states[..., 2:3] + turn, states[..., 3:]], dim=-1)

    one = dynamics.unroll(dynamics.start(state, past), actions).states
    other = dynamics.unroll(dynamics.start(placed(state), past), actions).states
    torch.testing.assert_close(other, placed(one))


@EACH
def test_unrolling_is_stepping(car):
    dynamics = shaken(car)
    state, past, actions = scene(history=car.history)
    z = dynamics.start(state, past)
    at_once = dynamics.unroll(z, actions).states
    for h, action in enumerate(actions):
        found = dynamics.step(z, action)
        z = found.next_z
        torch.testing.assert_close(dynamics.observe(z), at_once[h])
        if car.history:
            torch.testing.assert_close(z.history[:, -1], action)


@pytest.mark.parametrize("detach", [False, True])
def test_unrolling_with_a_teacher_is_what_any_model_does(detach):
    dynamics = shaken(SMALL)
    state, past, actions = scene(steps=6)
    truth = torch.randn(6, 5, 6, generator=generator(), dtype=torch.float64)
    mask = torch.rand(6, 5, generator=generator(1)) < 0.4
    mask[0] = False
    teaching = Teaching(truth, mask, detach)

    class Plain:  # has no unroll of its own
        step, observe = dynamics.step, dynamics.observe
        taught = dynamics.taught

    gradients, found = [], []
    for model in (dynamics, Plain()):
        dynamics.zero_grad()
        z = dynamics.start(state, past)
        states = unrolled(model, z, actions, teaching).states  # pyright: ignore
        states.square().sum().backward()
        found.append(states.detach())
        gradients.append(
            [p.grad.clone() for p in dynamics.parameters() if p.grad is not None]
        )
    torch.testing.assert_close(*found)
    torch.testing.assert_close(*gradients)


def test_members_in_one_pass_are_members_alone():
    dynamics = shaken(SMALL, seeds=(4, 5, 6))
    state, past, actions = scene(rows=(3, 5))
    together = dynamics.unroll(dynamics.start(state, past), actions)
    for member in range(3):
        alone = CarDynamics(SMALL).double()
        tree = {
            name: part if name == "command_scale" else part[member : member + 1]
            for name, part in dynamics.state_dict().items()
        }
        alone.load_state_dict(tree)
        z = alone.start(state[member], past[member])
        found = alone.unroll(z, actions[:, member])
        torch.testing.assert_close(found.states, together.states[:, member])
        for name, extra in found.extras.items():
            torch.testing.assert_close(extra, together.extras[name][:, member])


@EACH
@pytest.mark.parametrize(
    "twist", [(0, 0, 0), (0, 0, 2.0), (1.0, 0, 0), (1e-9, 0, 1e-9)]
)
def test_gradients_are_finite_at_zero_speed_and_yaw_rate(car, twist):
    dynamics = shaken(car)
    state = torch.zeros(2, 6, dtype=torch.float64)
    state[:, 3:] = torch.tensor(twist)
    state.requires_grad_()
    actions = torch.zeros(3, 2, 2, dtype=torch.float64, requires_grad=True)
    found = dynamics.unroll(dynamics.start(state), actions).states
    found.square().sum().backward()
    for part in (state, actions, *dynamics.parameters()):
        assert part.grad is not None and torch.isfinite(part.grad).all()


def test_gradients_equal_differences():
    dynamics = shaken(SMALL)
    state, past, actions = scene(rows=(2,), steps=3)
    inputs = [part.requires_grad_() for part in (state, past, actions)]
    assert torch.autograd.gradcheck(
        lambda s, p, a: dynamics.unroll(CarZ(s, p), a).states, inputs
    )


def test_what_networks_say_of_themselves_is_bounded():
    dynamics = shaken(SMALL)
    with torch.no_grad():
        for part in dynamics.parameters():
            part.mul_(50)
    state, past, actions = scene()
    extras = dynamics.unroll(dynamics.start(state, past), actions).extras
    assert set(extras) == {"residual", "correction", "log_grip"}
    assert extras["correction"].shape == (4, 5, 2)
    assert extras["correction"].abs().amax((0, 1)).tolist() == pytest.approx([0.2, 1.0])
    assert extras["log_grip"].abs().max().item() == pytest.approx(math.log(4))


def test_networks_see_standardised_twists():
    # Where a network reads nothing but the twist, mean m and deviation s of the data
    # are those of what it reads.
    found = []
    state, past, actions = scene(steps=1)
    for scale, shift in ((1.0, 0.0), (2.0, 0.5)):
        dynamics = shaken(CARS["direct"])
        dynamics.twist_std.fill_(scale)
        dynamics.twist_mean.fill_(shift)
        dynamics.change_std.fill_(1.0)
        assert dynamics.residual is not None
        with torch.no_grad():
            dynamics.residual.weights[0][:, :, 3:] = 0
        own = state.clone()
        own[:, 3:] = state[:, 3:] * scale + shift
        z = dynamics.start(own, past[:, :0])
        found.append(dynamics.unroll(z, actions).extras["residual"].detach())
    torch.testing.assert_close(*found)


def test_history_is_what_was_commanded_before():
    dynamics = shaken(SMALL)
    state, past, actions = scene()
    usual = dynamics.step(dynamics.start(state, past), actions[0]).next_z.state
    other = dynamics.step(dynamics.start(state), actions[0]).next_z.state
    assert not torch.allclose(usual, other)
    zeros = torch.zeros_like(past)
    stood = dynamics.step(dynamics.start(state, zeros), actions[0]).next_z.state
    assert torch.equal(stood, other)


def test_a_task_pays_ends_and_appends():
    def reward(state, action, next_state):
        return next_state[..., 3] - action[..., 0]

    def extend(state, action, car):
        return torch.cat([action, car[..., :1]], dim=-1)

    dynamics = CarDynamics(
        PLANT_ALONE,
        functions={
            "reward": reward,
            "terminated": lambda state: state[..., 0] > 0,
            "observe": lambda state: state[..., 3:],
            "extend": extend,
        },
    )
    state = torch.cat([scene()[0].float(), torch.zeros(5, 3)], dim=1)
    found = imagine(dynamics, dynamics.start(state), torch.ones(2, 5, 2), 2)
    last = found.final_z.state
    assert last.shape == (5, 9) and found.obs.shape == (3, 5, 6)
    assert torch.equal(last[:, 6:8], torch.ones(5, 2))
    assert torch.equal(last[:, 8], last[:, 0])
    assert torch.equal(found.terminated[-1], last[:, 0] > 0)
    torch.testing.assert_close(found.rewards[-1], last[:, 3] - 1)


def test_without_a_task_what_is_appended_stays():
    dynamics = CarDynamics(PLANT_ALONE)
    state = torch.rand(4, 8)
    found = dynamics.step(dynamics.start(state), torch.ones(4, 2))
    assert torch.equal(found.next_z.state[:, 6:], state[:, 6:])
    assert not found.terminated.any() and not found.reward.any()
    assert never(state).shape == found.terminated.shape


@pytest.mark.parametrize("kind", [CarMean, CarTS1, CarTSInf])
def test_an_ensemble_is_a_model_of_rows(kind):
    dynamics = shaken(SMALL, seeds=(0, 1, 2))
    model = kind(dynamics)
    state, past, actions = scene(rows=(40,))
    z = model.start(state, past)
    found = imagine(model, z, actions, 4, generator=generator())
    assert found.obs.shape == (5, 40, 6)
    each = model.twists(z.car, actions[0])
    twist = found.obs[1][:, 3:]
    if kind is CarMean:
        torch.testing.assert_close(twist, each.mean(dim=0))
        return
    gaps = (each - twist).abs().amax(dim=-1)
    assert (gaps.min(dim=0).values < 1e-12).all()
    chosen = [gaps.argmin(dim=0)]
    assert len(chosen[0].unique()) == 3
    second = model.twists(
        map_leaves(
            lambda leaf: leaf,
            model.step(z, actions[0], generator=generator()).next_z.car,
        ),
        actions[1],
    )
    chosen.append((second - found.obs[2][:, 3:]).abs().amax(dim=-1).argmin(dim=0))
    assert torch.equal(*chosen) == (kind is CarTSInf)


def test_rows_beyond_all_that_was_seen_are_not_believed():
    dynamics = CarDynamics(PLANT_ALONE)
    assert not dynamics.truncated(dynamics.start(torch.full((1, 6), 1e6))).any()
    twists = torch.tensor([[1.0, -0.2, 3.0], [2.0, 0.1, -1.0]])
    dynamics.refresh(0, twists, twists + 0.1)
    states = torch.zeros(3, 6)
    states[0, 3], states[1, 3], states[2, 5] = 2.9, 3.1, -4.6
    assert dynamics.truncated(dynamics.start(states)).tolist() == [False, True, True]


def test_a_constant_twist_is_not_divided_by_nothing():
    dynamics = CarDynamics(SMALL)
    twists = torch.zeros(10, 3)
    twists[:, 0] = torch.arange(10.0)
    dynamics.refresh(0, twists, twists)
    assert dynamics.twist_std[0, 0, 1:].tolist() == pytest.approx([1e-3, 1e-3])
    assert float(dynamics.twist_std[0, 0, 0]) == pytest.approx(math.sqrt(8.25))
    assert float(dynamics.change_std[0, 0, 0]) == pytest.approx(1e-3)


def test_what_does_not_fit_is_refused():
    dynamics = CarDynamics(SMALL, (0, 1))
    with pytest.raises(ValueError, match="2 members disagree on rows"):
        dynamics.step(dynamics.start(torch.zeros(4, 6)), torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"starts from states \(B, 6 or more\)"):
        dynamics.start(torch.zeros(4, 5))
    with pytest.raises(ValueError, match=r"history must have shape \(4, 2, 2\)"):
        dynamics.start(torch.zeros(4, 6), torch.zeros(4, 3, 2))
    with pytest.raises(ValueError, match=r"knows the functions reward, .* got rewards"):
        CarDynamics(SMALL, functions={"rewards": never})
    with pytest.raises(ValueError, match="need a seed"):
        CarDynamics(SMALL, ())
    with pytest.raises(ValueError, match="needs a history of 0 or more"):
        Car(history=-1)
    with pytest.raises(ValueError, match="must be above 1, got 1"):
        Car(friction=Friction(largest=1.0))
    with pytest.raises(TypeError, match="CarMean is of a CarDynamics, got Kinematic"):
        CarMean(Kinematic())  # pyright: ignore[reportArgumentType]


def test_any_model_unrolls():
    class Counter:
        def start(self, state):
            return state

        def step(self, z, action, *, generator=None):
            return type("T", (), {"next_z": z + action})

        def observe(self, z):
            return z

    found = unrolled(Counter(), torch.zeros(3, 1), torch.ones(4, 3, 1))  # pyright: ignore
    assert isinstance(found, Unrolled)
    assert found.states[:, 0, 0].tolist() == [1, 2, 3, 4]
    mask = torch.zeros(4, 3, dtype=torch.bool)
    mask[2, 1] = True
    teaching = Teaching(torch.full((4, 3, 1), 10.0), mask)
    found = unrolled(Counter(), torch.zeros(3, 1), torch.ones(4, 3, 1), teaching)  # pyright: ignore
    assert found.states[:, 1, 0].tolist() == [1, 2, 11, 12]
    assert found.states[:, 0, 0].tolist() == [1, 2, 3, 4]
