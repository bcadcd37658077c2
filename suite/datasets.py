"""Datasets: one door for loading, corrupting, checking and storing them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from suite.data.collection import collect as collect
from suite.data.dataset_files import HDF5, is_file, read_card, read_file, write_npz
from suite.data.minari_files import (
    CARD,
    local_ids,
    metadata,
    read_minari,
    require_free,
    require_id,
    write_minari,
)
from suite.data.recording import recorded as recorded
from suite.parts import Part, build
from suite.storage import IntegrityError
from suite.transitions import Dataset as Dataset
from suite.unknown_names import near
from suite.wrappers import LATER

Change = Part | Callable[[Dataset], Dataset]
HINT = f"a file of arrays ends in .npz, {' or '.join(HDF5)}"


def load_dataset(source: str | Path, corruptions: Sequence[Change] = ()) -> Dataset:
    """A dataset by its name, corrupted if so desired.

    Use it for whatever offline data there is: Minari's local datasets, ours among them
    (``"suite/hopper-medium-v0"``), HDF5 files of D4RL, and npz or HDF5 files of your
    own with the arrays ``observations, actions, rewards, terminals, timeouts`` and, if
    you have them, ``next_observations``. Without the latter an episode that was cut off
    loses its last transition, since nobody knows where that led.

    Args:
        source: A Minari id, or a path that ends in .npz, .hdf5 or .h5.
        corruptions: What is done to it, the first one first; see ``corrupt``.

    Raises:
        ValueError: If there is no such dataset, or it cannot be one.
        IntegrityError: If it is damaged; ours are compared with their hashes.
    """
    require_source(source)
    dataset = read_file(Path(source)) if is_file(source) else read_minari(str(source))
    if dataset.card.get("sha256", dataset.sha256) != dataset.sha256:
        raise IntegrityError(
            f"{source} is damaged: its arrays do not have the recorded hash"
        )
    return corrupt(dataset, corruptions)


def require_source(source: str | Path) -> None:
    """Refuse a name of data that are not there, before anything is read.

    Raises:
        ValueError: With the near names, or how to make it.
    """
    if not is_file(source):
        _known(str(source))
    elif not Path(source).is_file():
        raise ValueError(f"there is no file {source}")


def dataset_card(source: str | Path) -> dict[str, Any]:
    """The card of a dataset, the rest of it unread.

    Raises:
        ValueError: If there is no such dataset.
        IntegrityError: If its card is damaged.
    """
    require_source(source)
    if is_file(source):
        return read_card(Path(source))
    told = metadata(str(source))
    return told.get(CARD) or {"id": str(source), "minari": told}


def _known(dataset_id: str) -> None:
    ids = local_ids()
    if _required(dataset_id, HINT) in ids:
        return
    others = "`data list` shows all, `minari download` fetches hosted ones"
    hint = near(dataset_id, ids, others)
    if _has_recipe(dataset_id):
        hint = f"make it: suite-bench data make {dataset_id}"
    raise ValueError(f"there is no local dataset {dataset_id!r}; {hint}")


def _required(dataset_id: str, hint: str) -> str:
    """The id, if Minari takes it; perhaps it was meant as a file."""
    try:
        return require_id(dataset_id)
    except ValueError as reason:
        raise ValueError(f"{reason}; {hint}") from None


def _has_recipe(dataset_id: str) -> bool:
    from suite.recipes import can_be_made, recipe  # which collects, and so needs us
    from suite.trajectories import trajectories

    if trajectories(dataset_id) is not None:
        return True
    try:
        return can_be_made(recipe(dataset_id))
    except ValueError:
        return False


def corrupt(dataset: Dataset, corruptions: Sequence[Change]) -> Dataset:
    """A dataset after some corruptions, all episodes at once.

    Use it with what a specification or a command line says; in Python, wrapping is the
    same: ``RewardNoise(DropBestEpisodes(dataset, percent=30), std=0.1)``.

    Args:
        dataset: Left as it is.
        corruptions: Parts such as ``Part("suite.wrappers:RewardNoise", {"std": 0.1})``,
            or functions of a dataset; the first one is done first.

    Raises:
        ValueError: If one of them does not fit, or makes no dataset.
    """
    for change in corruptions:
        if isinstance(change, Part):
            changed = build(change, {}, env=dataset)
        else:
            changed = change(dataset)
        if not isinstance(changed, Dataset):
            name = change.call if isinstance(change, Part) else repr(change)
            raise ValueError(
                f"{name} makes {type(changed).__name__} of a dataset, not a dataset; "
                "name a wrapper, such as suite.wrappers:RewardNoise"
            )
        dataset = changed
    return dataset


def build_dataset(part: Part, **available: Any) -> Dataset:
    """What a specification calls its data, made.

    A run injects its seed: noise and random removal are drawn anew for each seed, and
    an interval over seeds covers them, too. A ``seed`` in a part holds it fixed.

    Args:
        part: Such as ``Part("suite.datasets:load_dataset", {"source": ...,
            "corruptions": [Part("suite.wrappers:RewardNoise", {"std": 0.1})]})``.
        **available: Injected by name, as ``suite.parts.build`` does.

    Raises:
        ConfigError: If a name or an argument is wrong.
    """
    return build(part, {**available, "env": LATER})


def save_dataset(dataset: Dataset, target: str | Path) -> None:
    """Store a dataset with its card and its hash; never over another one.

    Args:
        dataset: What to store.
        target: A Minari id, or a path that ends in .npz.

    Raises:
        ValueError: If the id is none Minari takes, or something is there already.
        OSError: If the disk refuses.
    """
    require_new(target)
    if is_file(target):
        write_npz(dataset, Path(target))
    else:
        write_minari(dataset, str(target))


def require_new(target: str | Path) -> None:
    """Refuse a place where no dataset can be stored, before one is made.

    Raises:
        ValueError: If the id is none Minari takes, or something is there already.
    """
    if not is_file(target):
        require_free(_required(str(target), "a file of arrays ends in .npz"))
        return
    path = Path(target)
    if path.suffix != ".npz":
        raise ValueError(f"arrays are written to .npz files, got {path}")
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent} for {path}; make it first")
    if path.exists():
        raise ValueError(f"there is a file {path} already; delete it or choose another")


def verify(source: str | Path) -> dict[str, Any]:
    """Read all of a dataset and compare it with what was recorded of it.

    Returns:
        ``sha256``, ``transitions``, ``episodes``, and ``recorded``: whether there was
        anything to compare with. Others' datasets have no hashes; of those it is known
        only that they can be read and make sense.

    Raises:
        ValueError: If there is no such dataset, or it makes no sense.
        IntegrityError: If it is damaged; says which file.
    """
    dataset = load_dataset(source)
    return {
        "sha256": dataset.sha256,
        "transitions": len(dataset),
        "episodes": dataset.num_episodes,
        "recorded": "sha256" in dataset.card,
    }
