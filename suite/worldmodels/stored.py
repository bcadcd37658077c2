"""Fitted dynamics on disk: hashed, without code, functions named by whoever loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from suite.checkpoints import pack
from suite.envs.task import Task, never
from suite.storage import IntegrityError, write_directory
from suite.worldmodels.described import stored_tree
from suite.worldmodels.ensemble import ACTIVATIONS, Ensemble, GaussianEnsemble
from suite.worldmodels.functions import task_functions
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.normaliser import Folded
from suite.worldmodels.state import load_weights

SCHEMA = 2
KINDS = {"Ensemble": Ensemble, "GaussianEnsemble": GaussianEnsemble}


def save_dynamics(dynamics: LearnedDynamics, folder: str | Path) -> None:
    """Write fitted dynamics to a directory, replacing it.

    Use it so that a model has a name: an environment inside it then is data, see
    ``ModelEnv``. Weights, normalisation and elites are written; reward and other
    functions are code and are named again when it is loaded.

    Raises:
        ValueError: If the model is frozen, or no ``LearnedDynamics``.
    """
    if not isinstance(dynamics, LearnedDynamics):
        raise ValueError(
            "save_dynamics writes LearnedDynamics, which a propagation such as TS1 has "
            "as .dynamics, and save_latent a LatentModel; got "
            f"{type(dynamics).__name__}"
        )
    if isinstance(dynamics.input_scale, Folded):
        raise ValueError("a frozen model is not saved; save the one it was made from")
    tree = {
        "schema": SCHEMA,
        "kind": type(dynamics.ensemble).__name__,
        "activation": dynamics.ensemble.activation,
        "functions": _kinds(dynamics.functions),
        "action_size": dynamics.action_size,
        "needs_state": dynamics.needs_state,
        "weights": dict(dynamics.state_dict()),
    }
    write_directory(folder, pack(tree))


def load_dynamics(
    folder: str | Path,
    *,
    device: str = "cpu",
    task: Task | None = None,
    reward: Callable[..., Any] | None = None,
    terminated: Callable[..., Any] | None = never,
    success: Callable[..., Any] | None = None,
    features: Callable[..., Any] | None = None,
    observe: Callable[..., Any] | None = None,
) -> LearnedDynamics:
    """Dynamics that ``save_dynamics`` wrote, verified; nothing in it is executed.

    Args:
        folder: The directory.
        device: Where to put it.
        task: Whose functions it had, as ``LearnedDynamics.of_task``; instead of those
            below.
        reward: As ``LearnedDynamics``, like the others: the functions it had.
        terminated: Likewise.
        success: Likewise.
        features: Likewise.
        observe: Likewise.

    Raises:
        IntegrityError: If the directory is not what was written.
        ValueError: If there are other functions than it was fitted with. What they say
            is not compared: that a reward is the same one is the caller's to see to.
    """
    tree = stored_tree(folder, SCHEMA, "dynamics")
    ensemble = _ensemble(tree, folder)
    functions = {
        "reward": reward,
        "terminated": terminated,
        "success": success,
        "features": features,
        "observe": observe,
    }
    if task is not None:
        functions = task_functions(task, ensemble.outputs)
    _require_same(_kinds(functions), tree["functions"], folder)
    needs_state = bool(tree["needs_state"])
    dynamics = LearnedDynamics(ensemble, **functions, needs_state=needs_state)
    if dynamics.action_size != tree["action_size"]:
        raise ValueError(
            f"the model in {folder} takes {tree['action_size']} numbers of action, and "
            f"{dynamics.action_size} with these features; give it the ones it had"
        )
    load_weights(dynamics, tree["weights"], str(folder))
    return dynamics.to(device)


def _kinds(functions: dict[str, Any]) -> dict[str, str]:
    """What is said of each function: given, never, or none."""
    return {
        name: "none" if each is None else "never" if each is never else "given"
        for name, each in functions.items()
    }


def _require_same(
    given: dict[str, str], stored: dict[str, str], folder: str | Path
) -> None:
    for name, kind in stored.items():
        if given[name] != kind:
            raise ValueError(
                f"the model in {folder} was fitted with {name}: {kind}, and is loaded "
                f"with {name}: {given[name]}; name the functions that it had"
            )


def _ensemble(tree: dict[str, Any], folder: str | Path) -> Ensemble:
    """An ensemble of the form that the stored weights have."""
    weights, shapes = tree["weights"], []
    while isinstance(
        weight := weights.get(f"ensemble.weights.{len(shapes)}"), torch.Tensor
    ):
        shapes.append(tuple(weight.shape))
    known = tree["kind"] in KINDS and tree["activation"] in ACTIVATIONS
    if not known or not shapes or any(len(shape) != 3 for shape in shapes):
        raise IntegrityError(f"{folder} holds no ensemble that this version knows")
    kind = KINDS[tree["kind"]]
    widths = [shape[2] for shape in shapes]
    return kind(
        shapes[0][0],
        shapes[0][1],
        widths[-1] // kind.heads,
        hidden=widths[:-1],
        activation=tree["activation"],
    )
