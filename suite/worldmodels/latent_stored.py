"""Latent world models on disk: hashed, without code."""

from __future__ import annotations

from pathlib import Path

from suite.checkpoints import pack
from suite.storage import IntegrityError, write_directory
from suite.worldmodels.described import Vocabulary, stored_tree
from suite.worldmodels.flow import Flow
from suite.worldmodels.latent import Direct, LatentModel
from suite.worldmodels.latent_heads import Scalar, TwoHot
from suite.worldmodels.latent_sizes import LatentSizes
from suite.worldmodels.ode import Euler, Heun
from suite.worldmodels.state import load_weights

SCHEMA = 1
PARTS = Vocabulary((LatentSizes, Direct, Flow, Euler, Heun, Scalar, TwoHot))


def save_latent(model: LatentModel, folder: str | Path) -> None:
    """Write a latent model to a directory, replacing it.

    Use it to act, plan or evaluate in a model later; a run of ``PWM`` leaves its own as
    ``model`` in the seed's folder. An environment inside it is data, see ``ModelEnv``.

    Raises:
        ValueError: If its dynamics or head are not of this package.
    """
    tree = {
        "schema": SCHEMA,
        "obs_size": model.state_size,
        "action_size": model.action_size,
        "size": PARTS.document(model.sizes),
        "dynamics": PARTS.document(model.strategy),
        "reward": PARTS.document(model.head),
        "has_end": model.end is not None,
        "weights": dict(model.state_dict()),
    }
    write_directory(folder, pack(tree))


def load_latent(folder: str | Path, *, device: str = "cpu") -> LatentModel:
    """The model that ``save_latent`` wrote, verified; nothing in it is executed.

    Args:
        folder: The directory, such as ``model`` in a seed's folder of a run.
        device: Where to put it.

    Raises:
        IntegrityError: If the directory is not what was written.
    """
    tree = stored_tree(folder, SCHEMA, "latent model")
    try:
        parts = {n: PARTS.described(tree[n]) for n in ("size", "dynamics", "reward")}
        sizes = int(tree["obs_size"]), int(tree["action_size"])
        model = LatentModel(*sizes, **parts, has_end=bool(tree["has_end"]))
        weights = tree["weights"]
    except (KeyError, TypeError, ValueError) as reason:
        raise IntegrityError(f"{folder} describes no model of ours: {reason}") from None
    load_weights(model, weights, str(folder))
    return model.to(device)
