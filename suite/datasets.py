"""Datasets: how they are loaded, corrupted and stored."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from suite.parts import Part, build
from suite.storage import IntegrityError
from suite.transitions import LAYOUT
from suite.transitions import Dataset as Dataset

Change = Part | Callable[[Dataset], Dataset]


def load_dataset(source: str | Path, corruptions: Sequence[Change] = ()) -> Dataset:
    """A dataset by the name of where it is, corrupted if so desired.

    Args:
        source: A path of an npz file.
        corruptions: What is done to it, the first one first; see ``corrupt``.

    Raises:
        ValueError: If there is no such dataset or it cannot be one.
        IntegrityError: If a file is damaged.
    """
    return corrupt(_from_npz(Path(source)), corruptions)


def corrupt(dataset: Dataset, corruptions: Sequence[Change]) -> Dataset:
    """A dataset after some corruptions, all episodes at once.

    Use it with what a specification or a command line says; in Python, wrapping is the
    same: ``RewardNoise(DropBestEpisodes(dataset, percent=30), std=0.1)``.

    Args:
        dataset: Left as it is.
        corruptions: Parts such as ``Part("suite.wrappers:RewardNoise", {"std": 0.1})``,
            or functions of a dataset; the first one is done first.
    """
    for change in corruptions:
        if isinstance(change, Part):
            dataset = build(change, {}, env=dataset)
        else:
            dataset = change(dataset)
    return dataset


def _from_npz(path: Path) -> Dataset:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as reason:
        raise IntegrityError(f"{path} is no intact npz file: {reason}") from None
    card: Any = json.loads(str(arrays.pop("card", "{}")))
    return Dataset(**{name: arrays[name] for name in LAYOUT}, card=card)
