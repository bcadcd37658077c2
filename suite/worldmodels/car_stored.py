"""Models of a car on disk: what they are made of as JSON, weights, nothing executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from suite.checkpoints import pack, unpack
from suite.storage import IntegrityError, read_directory, write_directory
from suite.worldmodels import car_plants
from suite.worldmodels.car import Adapter, Car, Friction, Residual
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_servo import Servo
from suite.worldmodels.described import Vocabulary, stored_tree
from suite.worldmodels.state import load_weights

SCHEMA = 1
_PLANTS = (
    car_plants.Hold,
    car_plants.Kinematic,
    car_plants.SingleTrack,
    car_plants.Pacejka,
    Servo,
)
PARTS = Vocabulary((Car, Adapter, Residual, Friction, *_PLANTS))


def save_car(
    dynamics: CarDynamics, folder: str | Path, card: Mapping[str, Any] | None = None
) -> None:
    """Write a car's model to a directory, replacing it.

    The task's functions are code and are named again when it is loaded.

    Args:
        dynamics: The model.
        folder: Where.
        card: Provenance, any JSON.

    Raises:
        ValueError: If its plant is not one of ours.
    """
    tree = {
        "schema": SCHEMA,
        "car": PARTS.document(dynamics.car),
        "members": dynamics.members,
        "weights": dict(dynamics.state_dict()),
        "card": dict(card or {}),
    }
    write_directory(folder, pack(tree))


def load_car(
    folder: str | Path,
    functions: Mapping[str, Callable[..., Any]] | None = None,
    *,
    device: str = "cpu",
) -> CarDynamics:
    """The model that ``save_car`` wrote, verified; nothing in it is executed.

    Args:
        folder: The directory, such as ``model`` in a seed's folder of a run.
        functions: The task's, as ``CarDynamics`` takes them.
        device: Where to put it.

    Raises:
        IntegrityError: If the directory is not what was written.
    """
    tree = stored_tree(folder, SCHEMA, "model of a car")
    try:
        car, members = PARTS.described(tree["car"]), int(tree["members"])
        # The seeds' weights are replaced at once.
        dynamics = CarDynamics(car, range(members), functions)
    except (KeyError, TypeError, ValueError, AttributeError) as reason:
        raise IntegrityError(f"{folder} describes no car of ours: {reason}") from reason
    load_weights(dynamics, tree["weights"], str(folder))
    return dynamics.to(device)


def read_card(folder: str | Path) -> dict[str, Any]:
    """The provenance that a model was saved with.

    Raises:
        IntegrityError: If the directory is not what was written.
    """
    return unpack(read_directory(folder), Path(folder))["card"]
