"""A stack of wrappers: its layers, its autoreset mode, and whether it can be saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from suite.arrays import NotRestorable, Restorable, Snapshot

# Gymnasium's wrappers that keep nothing of an episode between two steps. Of the vector
# ones, those of observations are missing: they write into a buffer of all N rows.
STATELESS = frozenset(
    getattr(gym.wrappers, name)
    for name in (
        "ClipAction",
        "ClipReward",
        "DtypeObservation",
        "FilterObservation",
        "FlattenObservation",
        "GrayscaleObservation",
        "OrderEnforcing",
        "PassiveEnvChecker",
        "RescaleAction",
        "RescaleObservation",
        "ReshapeObservation",
        "ResizeObservation",
        "TransformAction",
        "TransformObservation",
        "TransformReward",
    )
) | frozenset(
    getattr(gym.wrappers.vector, name)
    for name in (
        "ClipAction",
        "ClipReward",
        "RescaleAction",
        "TransformAction",
        "TransformReward",
    )
)


def layers(env: Any) -> Iterator[Any]:
    """The layers of an environment, outermost first."""
    yield env
    while isinstance(env, gym.Wrapper | gym.vector.VectorWrapper):
        env = env.env
        yield env


def autoreset_mode(env: Any) -> str:
    """When a vector environment resets, by Gymnasium's name such as ``"same_step"``.

    Gymnasium 1.0 writes names, later ones an enum; one that says nothing does as both.
    """
    mode = env.metadata.get("autoreset_mode", "next_step")
    return str(getattr(mode, "name", mode)).lower()


def require_same_step(env: Any, who: str) -> None:
    """Refuse a vector environment in which a step may be a reset.

    Args:
        env: The vector environment.
        who: Needs it.

    Raises:
        ValueError: If its autoreset mode is another one.
    """
    mode = autoreset_mode(env)
    if mode != "same_step":
        raise ValueError(
            f"{who} needs autoreset_mode='same_step', so that no step is a reset, got "
            f"{mode!r}; pass it to gym.make_vec for an environment of this suite, and "
            "put others into suite.envs.same_step.SameStepVectorEnv"
        )


def restorable(env: Any) -> Restorable:
    """The environment, or a view of it, that can be saved and restored.

    Use it before relying on ``snapshot``: it refuses a stack in which some layer would
    keep its own state while the others go back. Layers without ``snapshot`` pass if
    they are known to be stateless: Gymnasium's transformations and clips, and any
    wrapper whose class says ``stateless = True``. What lies inside a wrapper whose
    class says ``saves_all = True`` does not matter: it is not stepped.

    Args:
        env: An ``Env`` or a ``VectorEnv``.

    Returns:
        ``env`` itself if it is restorable.

    Raises:
        NotRestorable: Naming the layer that cannot be restored.
    """
    for layer in layers(env):
        if _saves_itself(layer):
            if getattr(type(layer), "saves_all", False):
                break
            continue
        if not isinstance(layer, gym.Wrapper | gym.vector.VectorWrapper):
            raise NotRestorable(f"{layer!r} has no snapshot, restore and halt")
        if type(layer) not in STATELESS and not getattr(layer, "stateless", False):
            raise NotRestorable(
                f"the wrapper {type(layer).__name__} has no snapshot, restore and "
                "halt: its state would stay behind when the environment goes back; "
                "leave it out, give it these methods, or set stateless = True on its "
                "class if it keeps nothing between steps"
            )
    return env if _saves_itself(env) else _Through(env)


def _saves_itself(layer: Any) -> bool:
    # A wrapper by its class: one that passes every attribute on looks restorable by
    # what it wraps, while its own memory would stay behind.
    is_wrapper = isinstance(layer, gym.Wrapper | gym.vector.VectorWrapper)
    return isinstance(layer, Restorable) and (
        not is_wrapper or all(hasattr(type(layer), name) for name in _METHODS)
    )


_METHODS = ("snapshot", "restore", "halt")


class _Through:
    """A stateless wrapper seen as what it wraps, with its own view of observations."""

    def __init__(self, env: Any):
        self._env, self._inner = env, restorable(env.env)

    def snapshot(self, ids: np.ndarray | None = None) -> Snapshot:
        return self._inner.snapshot(ids)

    def restore(
        self,
        snapshot: Snapshot,
        ids: np.ndarray | None = None,
        *,
        reseed: int | None = None,
    ) -> np.ndarray:
        obs = self._inner.restore(snapshot, ids, reseed=reseed)
        if isinstance(self._env, gym.ObservationWrapper):
            return self._env.observation(obs)
        if isinstance(self._env, gym.vector.VectorObservationWrapper):
            return self._env.observations(obs)
        return obs

    def halt(self, ids: np.ndarray) -> None:
        self._inner.halt(ids)
