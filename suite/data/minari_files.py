"""Datasets in Minari's local store: sealed folders that Minari itself reads."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np

from suite.data.cards import bounds, stored_card
from suite.parts import ConfigError
from suite.storage import (
    MANIFEST,
    IntegrityError,
    parse_json,
    seal_directory,
    verify_directory,
)
from suite.transitions import Dataset

CARD = "suite"  # the key of our card among Minari's metadata
ORIGINAL_ID = "original_id"  # of an episode, among its attributes
NEXT_OBS = "next_obs"  # among the infos, where they are others than what follows
_TOLD = ("algorithm_name", "author", "code_permalink", "description", "minari_version")
# Minari's own rule; it says less of what is wrong.
_ID = re.compile(r"([-\w][-\w/]*[-\w]/)?[-\w]+?-v\d+", re.ASCII)


def root() -> Path:
    """The folder of Minari's local datasets: $MINARI_DATASETS_PATH, or the usual."""
    usual = Path.home() / ".minari" / "datasets"
    return Path(os.environ.get("MINARI_DATASETS_PATH", usual))


def require_id(name: str) -> str:
    """The name, if Minari takes it.

    Raises:
        ValueError: With what such an id looks like.
    """
    if not _ID.fullmatch(name) or "//" in name:
        raise ValueError(
            f"{name!r} is no Minari id: it must read namespace/name-v0, of letters, "
            "digits, - and _ (write n0p5 for 0.5)"
        )
    return name


def local_ids() -> list[str]:
    """The ids of the local datasets, sorted."""
    found = root().rglob("data/metadata.json")
    folders = (path.parent.parent.relative_to(root()) for path in found)
    ids = (folder.as_posix() for folder in folders)
    return sorted(each for each in ids if _ID.fullmatch(each))


def metadata(dataset_id: str) -> dict[str, Any]:
    """What Minari knows of a local dataset, our card among it.

    Raises:
        ValueError: If there is none of that id.
        IntegrityError: If it is damaged.
    """
    path = _data(dataset_id) / "metadata.json"
    if not path.is_file():
        raise ValueError(f"there is no dataset {dataset_id!r} in {root()}")
    told = parse_json(path.read_bytes(), path, allow_nan=True)
    if not isinstance(told, dict):
        raise IntegrityError(f"{path} is damaged: it is no JSON object")
    return told


def _data(dataset_id: str) -> Path:
    return root() / require_id(dataset_id) / "data"


def is_sealed(dataset_id: str) -> bool:
    """Whether its files have recorded hashes: ours have, others have not."""
    return (_data(dataset_id) / MANIFEST).is_file()


# --------------------------------------------------------------------------- reading
class Unsupported(ConfigError):
    """A dataset that is whole and that nothing here can read, such as one of dicts."""


def read_minari(dataset_id: str) -> Dataset:
    """A local dataset, ours or anybody's.

    Raises:
        ValueError: If there is none, or an episode is none.
        Unsupported: If its spaces are no flat boxes, or it is in a format whose package
            is not installed.
        IntegrityError: If it is damaged.
    """
    told, folder = metadata(dataset_id), _data(dataset_id)
    if is_sealed(dataset_id) or CARD in told:
        verify_directory(folder)
    minari = _minari()
    try:
        stored = minari.MinariDataset(folder)
        _require_flat(stored.observation_space, stored.action_space)
        notes = stored.storage.get_episode_metadata(range(stored.total_episodes))
        ids = [note.get(ORIGINAL_ID) for note in notes]
        episodes = [_episode(each) for each in stored.iterate_episodes()]
    except Unsupported as reason:
        raise Unsupported(f"{dataset_id} cannot be read: {reason}") from None
    except ValueError as reason:
        raise ValueError(f"{dataset_id} holds no dataset: {reason}") from None
    except ImportError as reason:  # Minari's other formats need more than HDF5 does
        raise Unsupported(
            f"{dataset_id} is stored in a format that needs a package which is not "
            f"installed: {' '.join(str(reason).split())}"
        ) from None
    except (OSError, KeyError, RuntimeError, AssertionError, TypeError) as reason:
        words = " ".join(str(reason).split()) or type(reason).__name__
        raise IntegrityError(f"{folder} is damaged: {words}") from None
    card = told.get(CARD) or _foreign_card(dataset_id, told, stored)
    return _assembled(dataset_id, episodes, ids, card)


def _minari() -> ModuleType:
    try:
        import minari
    except ImportError as reason:
        raise ConfigError(
            f"Minari datasets need {reason.name}, which is not installed; install "
            "suite-bench[offline], or use a .npz file"
        ) from None
    return minari


def _require_flat(observation: gym.Space, action: gym.Space) -> None:
    for name, space in (("observations", observation), ("actions", action)):
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
            raise Unsupported(
                f"its {name} are of {space}; only flat boxes of numbers can be read"
            )


def _episode(stored: Any) -> dict[str, np.ndarray]:
    """The transitions of a Minari episode: it has T + 1 observations for T steps."""
    obs, steps = np.asarray(stored.observations), len(stored.rewards)
    if steps == 0 or len(obs) != steps + 1 or len(stored.actions) != steps:
        raise ValueError(
            f"episode {stored.id} has {len(obs)} observations, {len(stored.actions)} "
            f"actions and {steps} rewards; an episode of T steps has T + 1, T and T"
        )
    terminated = np.asarray(stored.terminations, bool).copy()
    truncated = np.asarray(stored.truncations, bool).copy()
    truncated[-1] |= not terminated[-1]  # the data end there, the episode does not
    infos = stored.infos or {}
    return {
        "obs": obs[:-1],
        "actions": np.asarray(stored.actions),
        "rewards": np.asarray(stored.rewards),
        "next_obs": np.asarray(infos.get(NEXT_OBS, obs))[1:],
        "terminated": terminated,
        "truncated": truncated,
    }


def _foreign_card(dataset_id: str, told: dict[str, Any], stored: Any) -> dict[str, Any]:
    env = stored.env_spec
    return {
        "id": dataset_id,
        "env_id": None if env is None else env.id,
        "spaces": {
            "observation": bounds(stored.observation_space),
            "action": bounds(stored.action_space),
        },
        "minari": {n: told[n] for n in _TOLD if n in told},
    }


def _assembled(
    dataset_id: str, episodes: list[dict[str, np.ndarray]], ids: list[Any], card: Any
) -> Dataset:
    if not episodes:
        raise ValueError(f"{dataset_id} is empty: it has no episode")
    known = all(each is not None for each in ids)
    try:
        return Dataset.of_episodes(episodes, ids if known else range(len(ids)), card)
    except ValueError as reason:
        raise ValueError(f"{dataset_id} holds no dataset: {reason}") from None


# --------------------------------------------------------------------------- writing
def write_minari(dataset: Dataset, dataset_id: str) -> None:
    """Put a dataset into Minari's local store, whole or not at all.

    It is written beside its place, sealed with hashes and renamed. An episode of T
    steps has T + 1 observations there; where next_obs are not the observations that
    follow, they are in ``infos``.

    Raises:
        ValueError: If the id is none, or taken.
        OSError: If the disk refuses.
    """
    place = require_free(dataset_id)
    _make_namespace(_minari(), dataset_id)
    beside = place.with_name(f".{place.name}.tmp-{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)  # a leftover of a dead process of this id
    try:
        beside.mkdir(parents=True)
        _fill(dataset, dataset_id, beside / "data")
        seal_directory(beside / "data", {"sha256": dataset.sha256})
        beside.rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def require_free(dataset_id: str) -> Path:
    """Where a new dataset would lie.

    Raises:
        ValueError: If the id is none, or taken.
    """
    place = root() / require_id(dataset_id)
    if place.exists():
        raise ValueError(
            f"there is a dataset {dataset_id!r} already; delete {place}, or choose "
            "another id"
        )
    return place


def _make_namespace(minari: ModuleType, dataset_id: str) -> None:
    from minari.namespace import create_namespace, list_local_namespaces

    namespace = dataset_id.rpartition("/")[0]
    root().mkdir(parents=True, exist_ok=True)
    if namespace and namespace not in list_local_namespaces():
        create_namespace(namespace)


def _fill(dataset: Dataset, dataset_id: str, folder: Path) -> None:
    from minari.dataset.minari_storage import MinariStorage

    storage = MinariStorage.new(
        folder,
        observation_space=dataset.observation_space,
        action_space=dataset.action_space,
        env_spec=_env_spec(dataset),
    )
    storage.update_metadata(_metadata(dataset, dataset_id))
    storage.update_episodes(_buffers(dataset))
    storage.update_episode_metadata(_notes(dataset))


def _env_spec(dataset: Dataset) -> Any:
    env_id = dataset.card.get("env_id")
    return gym.registry.get(env_id) if isinstance(env_id, str) else None


def _metadata(dataset: Dataset, dataset_id: str) -> dict[str, Any]:
    card = stored_card(dataset, dataset_id)
    found = {
        "dataset_id": dataset_id,
        "minari_version": importlib.metadata.version("minari"),
        "description": str(card.get("about", "made by suite-bench; see its card")),
        CARD: card,
    }
    env = _env_spec(dataset)
    if env is not None:
        found["eval_env_spec"] = env.to_json()
    if "d4rl" in card.get("references", {}):
        low, high = card["references"]["d4rl"]
        found |= {"ref_min_score": low, "ref_max_score": high}
    # Minari opens its file before it finds out what is no JSON, and leaves it empty.
    return json.loads(json.dumps(found, allow_nan=False))


def _buffers(dataset: Dataset) -> Iterator[Any]:
    from minari.data_collector import EpisodeBuffer

    buffer: Any = EpisodeBuffer  # typed as if it took lists alone
    is_consistent = dataset.is_consistent
    for index in range(dataset.num_episodes):
        one = dataset.episode(index)
        infos = None
        if not is_consistent:
            infos = {NEXT_OBS: np.concatenate([one.obs[:1], one.next_obs])}
        yield buffer(
            observations=np.concatenate([one.obs, one.next_obs[-1:]]),
            actions=one.actions,
            rewards=one.rewards,
            terminations=one.terminated,
            truncations=one.truncated,
            infos=infos,
        )


def _notes(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """What Minari's own collector writes down of an episode, and its original id."""
    for index, episode_id in enumerate(dataset.episode_ids.tolist()):
        rewards = dataset.episode(index).rewards.astype(np.float64)
        yield {
            ORIGINAL_ID: episode_id,
            "rewards_sum": float(rewards.sum()),
            "rewards_mean": float(rewards.mean()),
            "rewards_std": float(rewards.std()),
            "rewards_max": float(rewards.max()),
            "rewards_min": float(rewards.min()),
        }
