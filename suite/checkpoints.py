"""Checkpoints: what a learner needs to go on exactly, as arrays and JSON on disk.

<seed folder>/checkpoints/<updates>/
    tree.json            everything but the arrays, which it names
    arrays.safetensors   NumPy's
    tensors.safetensors  torch's
    MANIFEST.json        hashes of all three

Nothing is pickled, so that loading runs no code, whoever wrote the files.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from suite.storage import (
    IntegrityError,
    parse_json,
    read_directory,
    remove_directory,
    write_directory,
)

SCHEMA = 1
KEPT = 2  # the newest, and one to fall back to if the disk damages that
_TREE, _ARRAYS, _TENSORS = "tree.json", "arrays.safetensors", "tensors.safetensors"
_NUMPY, _TORCH, _FLOAT = "$numpy", "$torch", "$float"  # stand for a leaf in tree.json


@runtime_checkable
class ModelBased(Protocol):
    """A learner with a model that outlives the training.

    Use it beside ``Learner``: when the seed is done, the run keeps the model as
    ``model`` beside the policy, for ``load_dynamics`` or ``load_latent``.
    """

    def save_model(self, folder: Path) -> None:
        """Write the model to a directory; nothing, if it has none of its own."""
        ...


@runtime_checkable
class Learner(Protocol):
    """What a run trains, a step at a time, and can put away between two steps.

    Use it to make an agent or a model fit resumable: a run iterates it, writes
    ``state()`` after every iteration and hands it to ``load_state`` of a new object
    built from the same specification. The global generators of Python, NumPy and torch
    belong to the run, everything else that the next iteration depends on to the state.
    """

    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        """Train until so many steps in all; yields metrics after each iteration.

        After ``load_state`` it goes on from there.
        """
        ...

    def planned_updates(self, total_timesteps: int) -> int:
        """How many iterations ``iterate(total_timesteps)`` makes from the start."""
        ...

    def state(self) -> dict[str, Any]:
        """Dicts with string keys and lists of arrays, tensors and JSON values.

        It may refer to live arrays: write or copy it before the next iteration.

        Raises:
            suite.arrays.NotRestorable: If the environment cannot be saved.
        """
        ...

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is of another learner.
        """
        ...


@dataclass(frozen=True)
class Found:
    """A checkpoint that was read.

    Attributes:
        path: Its directory.
        tree: What was saved.
        damaged: What was wrong with each newer one, a sentence each.
    """

    path: Path
    tree: dict[str, Any]
    damaged: tuple[str, ...]


class Checkpoints:
    """The newest checkpoints of one run; one process at a time may write.

    Args:
        folder: Where they lie, one directory each.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def numbers(self) -> list[int]:
        """After how many updates there are checkpoints, in rising order."""
        if not self.folder.is_dir():
            return []
        names = (path.name for path in self.folder.iterdir())
        return sorted(int(n) for n in names if re.fullmatch(r"0|[1-9]\d{0,11}", n))

    def save(self, updates: int, tree: Mapping[str, Any]) -> None:
        """Write a checkpoint whole or not at all, then remove all but the newest two.

        Raises:
            TypeError: If the tree holds something else than arrays and JSON.
            OSError: If the disk refuses; those that are there stay.
        """
        files = pack({**tree, "updates": updates})
        write_directory(self.folder / str(updates), files)
        # A higher number is a damaged one that a resumed run fell back from.
        kept = [number for number in self.numbers() if number <= updates][-KEPT:]
        for number in set(self.numbers()) - set(kept):
            remove_directory(self.folder / str(number))

    def newest(self) -> Found | None:
        """The newest checkpoint that is what was written; None if none was.

        Raises:
            IntegrityError: If all are damaged, naming their files.
        """
        damaged: list[str] = []
        for number in reversed(self.numbers()):
            path = self.folder / str(number)
            try:
                return Found(path, _read(path), tuple(damaged))
            except IntegrityError as reason:
                damaged.append(str(reason))
        if damaged:
            raise IntegrityError(
                f"{'; '.join(damaged)}; no checkpoint is left, start over with --fresh"
            )
        return None


def _read(path: Path) -> dict[str, Any]:
    if path.is_symlink():
        raise IntegrityError(f"{path} is a link, not a checkpoint")
    tree = unpack(read_directory(path), path)
    if not isinstance(tree, dict) or tree.get("updates") != int(path.name):
        raise IntegrityError(f"{path} is not the checkpoint that its name says")
    return tree


# ------------------------------------------------------------------- trees as files
def pack(tree: Any) -> dict[str, bytes]:
    """A tree of dicts, lists, arrays, tensors and JSON values as files.

    Raises:
        TypeError: If it holds anything else, naming where.
    """
    arrays: dict[str, Any] = {}
    tensors: dict[str, Any] = {}
    document = {"schema": SCHEMA, "tree": _plain(tree, "", arrays, tensors)}
    files = {_TREE: json.dumps(document, allow_nan=False).encode()}
    if arrays:
        from safetensors.numpy import save

        files[_ARRAYS] = save(arrays)
    if tensors:
        from safetensors.torch import save as save_tensors

        files[_TENSORS] = save_tensors(tensors)
    return files


def _plain(
    node: Any, where: str, arrays: dict[str, Any], tensors: dict[str, Any]
) -> Any:
    if isinstance(node, dict):
        for key in node:
            if not isinstance(key, str) or key.startswith("$"):
                raise TypeError(
                    f"a key of a checkpoint must be a string without a leading $, got "
                    f"{key!r} in {where or 'its root'}"
                )
        items = node.items()
        return {k: _plain(v, f"{where}/{k}", arrays, tensors) for k, v in items}
    if isinstance(node, list):
        numbered = enumerate(node)
        return [_plain(v, f"{where}/{i}", arrays, tensors) for i, v in numbered]
    if isinstance(node, float) and not math.isfinite(node):
        return {_FLOAT: repr(float(node))}
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    return _array(node, where, arrays, tensors)


def _array(
    node: Any, where: str, arrays: dict[str, Any], tensors: dict[str, Any]
) -> dict[str, str]:
    torch = sys.modules.get("torch")  # whoever holds a tensor has loaded it
    if torch is not None and isinstance(node, torch.Tensor):
        # A copy each: safetensors refuses tensors that share their memory.
        tensors[where] = node.detach().to("cpu", copy=True).contiguous()
        return {_TORCH: where}
    if isinstance(node, np.ndarray) and node.dtype.kind in "biuf":
        arrays[where] = np.asarray(node, order="C")
        return {_NUMPY: where}
    raise TypeError(
        "a checkpoint holds arrays, JSON values, lists and dicts alone, got "
        f"{type(node).__name__} at {where}"
    )


def unpack(files: Mapping[str, bytes], path: Path) -> Any:
    """The tree of files made by ``pack``.

    Args:
        files: Content by name.
        path: Where they are from, for errors.

    Raises:
        IntegrityError: If they are anything else; nothing in them is executed.
    """
    strange = set(files) - {_TREE, _ARRAYS, _TENSORS}
    if strange or _TREE not in files:
        raise IntegrityError(
            f"{path} holds {', '.join(sorted(files)) or 'nothing'}: no checkpoint"
        )
    document = parse_json(files[_TREE], path / _TREE)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise IntegrityError(
            f"{path / _TREE} is of another version: this one reads schema {SCHEMA}; "
            "finish with the version that began, or start over with --fresh"
        )
    arrays = {
        _NUMPY: _loaded(files, path, _ARRAYS, "safetensors.numpy"),
        _TORCH: _loaded(files, path, _TENSORS, "safetensors.torch"),
    }
    try:
        tree = _revived(document["tree"], arrays)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise IntegrityError(f"{path / _TREE} is not a tree of arrays") from None
    if any(arrays.values()):
        raise IntegrityError(f"{path} holds arrays that its {_TREE} does not name")
    return tree


def _loaded(
    files: Mapping[str, bytes], path: Path, name: str, module: str
) -> dict[str, Any]:
    if name not in files:
        return {}
    import importlib

    from safetensors import SafetensorError

    try:
        return importlib.import_module(module).load(files[name])
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as reason:
        raise IntegrityError(
            f"{path / name} is not in safetensors form: {reason}"
        ) from None


def _revived(node: Any, arrays: dict[str, dict[str, Any]]) -> Any:
    if isinstance(node, list):
        return [_revived(item, arrays) for item in node]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        ((key, value),) = node.items()
        if key == _FLOAT:
            return float(value)
        if key in arrays:
            return arrays[key].pop(value)  # each is named once
    return {key: _revived(value, arrays) for key, value in node.items()}


def require_like(tree: Any, model: Any, where: str) -> None:
    """Refuse a tree whose keys, types, shapes or dtypes are not those of another.

    Use it before loading: torch and NumPy would cast or broadcast in silence.

    Args:
        tree: What was read.
        model: What is expected there.
        where: Its name, for the message.

    Raises:
        IntegrityError: Naming the first place where they differ.
    """
    if isinstance(model, Mapping):
        keys = set(tree) if isinstance(tree, Mapping) else set()
        if keys != set(model):
            raise IntegrityError(
                f"{where} does not fit: it should hold {sorted(model)}, not "
                f"{sorted(keys) if keys else type(tree).__name__}"
            )
        for key in model:
            require_like(tree[key], model[key], f"{where}.{key}")
    elif _form(tree) != _form(model):
        raise IntegrityError(
            f"{where} does not fit: it should be {_form(model)}, not {_form(tree)}"
        )


def _form(leaf: Any) -> str:
    if not hasattr(leaf, "dtype"):
        return type(leaf).__name__
    return f"{type(leaf).__name__} {leaf.dtype} {tuple(leaf.shape)}"
