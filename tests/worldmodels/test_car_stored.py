"""A model of a car comes back from disk as it was, or is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from suite.checkpoints import pack
from suite.storage import IntegrityError, write_directory
from suite.worldmodels.car import Adapter, Car, Friction, Residual
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_plants import Hold, Kinematic, Pacejka, SingleTrack
from suite.worldmodels.car_stored import load_car, read_card, save_car


@pytest.mark.parametrize(
    "plant", [Hold(), Kinematic(rear=0.2), SingleTrack(), Pacejka()]
)
def test_what_was_saved_is_loaded(plant, tmp_path):
    car = Car(plant, Adapter((4, 5)), Residual((6,)), Friction((3,)), history=2, dt=0.1)
    dynamics = CarDynamics(car, (3, 4))
    twists = torch.randn(20, 3)
    dynamics.refresh(1, twists, 2 * twists)
    with torch.no_grad():
        for part in dynamics.parameters():
            part.add_(torch.randn(part.shape))
    save_car(dynamics, tmp_path / "model", {"why": "a test"})
    again = load_car(tmp_path / "model", {"observe": lambda state: state[..., :3]})
    assert again.car.plant == plant and again.car.dt == 0.1 and again.members == 2
    for name, part in dynamics.state_dict().items():
        assert torch.equal(part, again.state_dict()[name])
    state, actions = torch.randn(2, 5, 6), torch.rand(4, 2, 5, 2)
    one, other = (m.unroll(m.start(state), actions).states for m in (dynamics, again))
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    assert again.observe(again.start(state)).shape == (2, 5, 3)
    assert read_card(tmp_path / "model") == {"why": "a test"}


def test_what_is_not_ours_is_refused(tmp_path):
    @dataclass(frozen=True)
    class Own(Hold):
        pass

    with pytest.raises(ValueError, match="a part of another module cannot be saved"):
        save_car(CarDynamics(Car(Own())), tmp_path / "own")
    good = tmp_path / "good"
    save_car(CarDynamics(Car()), good)
    (good / "tree.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"tree\.json"):
        load_car(good)
    write_directory(tmp_path / "other", pack({"schema": 1, "car": {"kind": "Boat"}}))
    with pytest.raises(IntegrityError, match="describes no car of ours"):
        load_car(tmp_path / "other")
    write_directory(tmp_path / "empty", pack({"schema": 9}))
    with pytest.raises(IntegrityError, match="holds no model of a car"):
        load_car(tmp_path / "empty")
