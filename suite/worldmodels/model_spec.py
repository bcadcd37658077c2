"""A model as data, so that an environment inside it is data too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from suite.parts import Part, build, from_json, is_part, to_json
from suite.worldmodels.dynamics import DynamicsModel
from suite.worldmodels.learned import LearnedDynamics

Model = DynamicsModel | Part | Mapping[str, Any]
_LIVE = "a live model: "  # in the place of a model that JSON cannot hold


def live_model(model: Model) -> DynamicsModel:
    """The model that a ``Part``, or its JSON, makes; another one as it is.

    Raises:
        ValueError: If it is what is left of a live model in JSON.
        TypeError: If it is no model.
    """
    if isinstance(model, str) and model.startswith(_LIVE):
        raise ValueError(
            f"the spec was of {model}, which JSON does not hold; save the model and "
            "give ModelEnv a Part that loads it"
        )
    if isinstance(model, Part) or is_part(model):
        model = build(from_json(to_json(model)), {})
    if isinstance(model, LearnedDynamics):
        raise TypeError(
            "a LearnedDynamics says what each member thinks, not what happens; wrap it "
            "in Mean, TS1 or TSInf"
        )
    if isinstance(model, type):
        raise TypeError(f"a model must be made, got the class {model.__name__} itself")
    missing = [n for n in ("start", "step", "observe") if not hasattr(model, n)]
    if missing:
        raise TypeError(
            f"a model needs start, step and observe; {type(model).__name__} has no "
            f"{' and no '.join(missing)}"
        )
    return model  # pyright: ignore[reportReturnType]


def recorded(model: Model) -> Any:
    """What a spec says of a model: its ``Part``, or that there was a live one."""
    if isinstance(model, Part) or is_part(model):
        return to_json(model)
    return f"{_LIVE}{type(model).__name__}"
