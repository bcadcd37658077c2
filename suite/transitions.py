"""Stored transitions: what offline learning reads, a replay streams, a corruption eats.

It stands beside ``suite.arrays`` below every layer: environments replay it, wrappers
change it, ``suite.datasets`` reads and writes it.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

# Name -> (dtype, number of axes). Little-endian, so that hashes hold everywhere.
LAYOUT = {
    "obs": ("<f4", 2),
    "actions": ("<f4", 2),
    "rewards": ("<f4", 1),
    "next_obs": ("<f4", 2),
    "terminated": ("|b1", 1),
    "truncated": ("|b1", 1),
    "lengths": ("<i8", 1),
    "episode_ids": ("<i8", 1),
}
BY_TRANSITION = ("obs", "actions", "rewards", "next_obs", "terminated", "truncated")
BY_EPISODE = ("lengths", "episode_ids")
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)  # that cards tell of
# What a card says of these very numbers.
_OF_ITS_ROWS = ("id", "sha256", "returns")


@dataclass(frozen=True, eq=False)
class Dataset:
    """M transitions of E episodes, one episode after the other.

    Use it through ``suite.datasets.load_dataset``; corrupt it by wrapping it
    (``RewardNoise(dataset, std=0.1)``), stream it with ``ReplayEnv(dataset)``. Arrays
    are converted to the types below and cannot be written to.

    Args:
        obs: (M, O) float32.
        actions: (M, A) float32.
        rewards: (M,) float32.
        next_obs: (M, O) float32; of an episode's last transition too, the true one.
        terminated: (M,) bool, whether the task ended here.
        truncated: (M,) bool, whether the episode was cut off here, by a time limit or
            by the data's end.
        lengths: (E,) int64, transitions of each episode; every episode's last one, and
            no other, is terminated or truncated or both.
        episode_ids: (E,) int64, the ids of the original data: noise goes by them.
        card: Plain JSON: what it is, how it was made, what was done to it.

    Raises:
        ValueError: If shapes do not belong together, a number is not finite, there is
            no transition, or an episode does not end where its length says.
    """

    obs: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_obs: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    lengths: np.ndarray
    episode_ids: np.ndarray
    card: Mapping[str, Any] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    _boxes: dict[str, spaces.Box] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in LAYOUT:
            self._set(name, _typed(name, getattr(self, name)))
        object.__setattr__(self, "card", dict(self.card))
        _require_fitting(self)
        _require_episodes(self)
        for name in BY_TRANSITION:
            self._require_finite(name)

    def __len__(self) -> int:
        """M, the number of transitions."""
        return len(self.rewards)

    @property
    def num_episodes(self) -> int:
        """E, the number of episodes."""
        return len(self.lengths)

    @property
    def offsets(self) -> np.ndarray:
        """(E + 1,) int64: episode i is ``offsets[i]:offsets[i + 1]``."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def steps(self) -> np.ndarray:
        """(M,) int64, each transition's index in its episode."""
        return np.arange(len(self)) - np.repeat(self.offsets[:-1], self.lengths)

    @property
    def returns(self) -> np.ndarray:
        """(E,) float64, each episode's undiscounted sum of rewards."""
        return np.add.reduceat(self.rewards.astype(np.float64), self.offsets[:-1])

    @property
    def sha256(self) -> str:
        """Of the arrays, their names, types and shapes; the card does not count."""
        lines = []
        for name, (dtype, _) in LAYOUT.items():
            array = getattr(self, name)
            if name not in self._digests:
                content = np.ascontiguousarray(array).view(np.uint8)
                self._digests[name] = hashlib.sha256(content.data).hexdigest()
            lines.append(f"{name} {dtype} {array.shape} {self._digests[name]}\n")
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def is_consistent(self) -> bool:
        """Whether each next_obs is the obs that follows it in its episode."""
        follows = (self.next_obs[:-1] == self.obs[1:]).all(axis=1)
        follows[self.offsets[1:-1] - 1] = True  # another episode begins there
        return bool(follows.all())

    @property
    def observation_space(self) -> spaces.Box:
        """Of one observation; unbounded where the card does not know bounds."""
        return self._box("observation", self.obs.shape[1:])

    @property
    def action_space(self) -> spaces.Box:
        """Of one action; unbounded where the card does not know bounds."""
        return self._box("action", self.actions.shape[1:])

    def _box(self, kind: str, shape: tuple[int, ...]) -> spaces.Box:
        if kind not in self._boxes:
            bounds = self.card.get("spaces", {}).get(kind, {})
            self._boxes[kind] = _box(bounds, shape)
        return self._boxes[kind]

    # ---------------------------------------------------------------- derived ones
    @staticmethod
    def of_episodes(
        episodes: Sequence[Mapping[str, Any]],
        episode_ids: Sequence[int],
        card: Mapping[str, Any],
    ) -> Dataset:
        """Episodes put together.

        Args:
            episodes: Each with the arrays of its transitions by name.
            episode_ids: (E,) their ids.
            card: Of all.
        """
        return Dataset(
            **{n: np.concatenate([e[n] for e in episodes]) for n in BY_TRANSITION},
            lengths=np.array([len(each["rewards"]) for each in episodes]),
            episode_ids=np.array(episode_ids),
            card=card,
        )

    @staticmethod
    def concatenated(parts: Sequence[Dataset], card: Mapping[str, Any]) -> Dataset:
        """Several datasets as one, their episodes numbered anew."""
        arrays = {n: np.concatenate([getattr(p, n) for p in parts]) for n in LAYOUT}
        arrays["episode_ids"] = np.arange(len(arrays["lengths"]))
        return Dataset(**arrays, card=card)

    def episode(self, index: int) -> Dataset:
        """The index-th episode alone; its arrays are views."""
        first, after = self.offsets[index : index + 2]
        arrays = {n: getattr(self, n)[first:after] for n in BY_TRANSITION}
        one = slice(index, index + 1)
        return self._derived(
            {**arrays, **{n: getattr(self, n)[one] for n in BY_EPISODE}}
        )

    def select(self, kept: np.ndarray) -> Dataset:
        """The episodes where a mask is true.

        Args:
            kept: (E,) bool.

        Raises:
            ValueError: If none is.
        """
        kept = np.asarray(kept, bool)
        if not kept.any():
            raise ValueError(
                f"none of the {self.num_episodes} episodes would be left; a dataset "
                "needs at least one"
            )
        # Runs of episodes are copied as blocks, several times as fast as rows.
        edges = np.flatnonzero(np.diff(kept, prepend=False, append=False))
        runs = self.offsets[edges].reshape(-1, 2).tolist()
        arrays = {name: self._blocks(name, runs) for name in BY_TRANSITION}
        arrays.update({name: getattr(self, name)[kept] for name in BY_EPISODE})
        return self._derived(arrays)

    def _blocks(self, name: str, runs: list[list[int]]) -> np.ndarray:
        array = getattr(self, name)
        return np.concatenate([array[first:after] for first, after in runs])

    def repeated(self, counts: np.ndarray) -> Dataset:
        """This dataset with some transitions left out and some several times.

        An episode that loses its end is truncated where it now ends; one that loses
        everything is gone.

        Args:
            counts: (M,) how often each; an episode's last one at most once, since it
                ends only once. Something must be left.
        """
        starts = self.offsets[:-1]
        lengths = np.add.reduceat(counts, starts)
        is_left = lengths > 0
        rows = np.repeat(np.arange(len(self)), counts)
        arrays = {name: getattr(self, name)[rows] for name in BY_TRANSITION}
        last = np.cumsum(lengths[is_left]) - 1
        arrays["truncated"][last] |= ~arrays["terminated"][last]
        arrays["lengths"] = lengths[is_left].astype(np.int64)
        arrays["episode_ids"] = self.episode_ids[is_left]
        return self._derived(arrays)

    def with_arrays(self, **arrays: np.ndarray) -> Dataset:
        """This dataset with some arrays of transitions replaced.

        Args:
            **arrays: By name, of the same shape as the old ones.

        Raises:
            ValueError: If a shape differs, or a number is not finite.
        """
        derived = self._derived({n: _typed(n, a) for n, a in arrays.items()})
        for name in arrays:
            got, old = getattr(derived, name).shape, getattr(self, name).shape
            if name not in BY_TRANSITION or got != old:
                raise ValueError(f"{name} must keep its shape {old}, got {got}")
            derived._require_finite(name)
        if {"terminated", "truncated"} & set(arrays):
            _require_episodes(derived)
        return derived

    def with_card(self, card: Mapping[str, Any]) -> Dataset:
        """This dataset with another card."""
        derived = self._derived({})
        object.__setattr__(derived, "card", dict(card))
        object.__setattr__(derived, "_boxes", {})
        return derived

    def _derived(self, arrays: Mapping[str, np.ndarray]) -> Dataset:
        """A copy with other arrays, known to be good; the others' hashes are kept."""
        derived = copy.copy(self)
        for name, array in arrays.items():
            derived._set(name, array)
        kept = {n: d for n, d in self._digests.items() if n not in arrays}
        object.__setattr__(derived, "_digests", kept)
        return derived

    def _set(self, name: str, array: np.ndarray) -> None:
        view = array.view()
        view.flags.writeable = False
        object.__setattr__(self, name, view)

    def _require_finite(self, name: str) -> None:
        array = getattr(self, name)
        if array.dtype.kind != "f" or np.isfinite(array).all():
            return
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        episode = int(np.searchsorted(self.offsets, row, "right")) - 1
        value = array[row][~np.isfinite(array[row])].ravel()[0]
        raise ValueError(
            f"{name} must be finite, got {value} at transition {row} (step "
            f"{row - self.offsets[episode]} of episode {self.episode_ids[episode]}); "
            "repair or leave out that episode"
        )


def descended(card: Mapping[str, Any], parent: Dataset) -> dict[str, Any]:
    """A card for what was made of a dataset: nothing on it is about the parent's rows.

    Args:
        card: Of the parent, and of what was done to it.
        parent: What it was made of; named on the card if no one before it is.
    """
    kept = {name: card[name] for name in card if name not in _OF_ITS_ROWS}
    if not kept.get("parent"):  # a hash of all the rows takes longer than most changes
        kept["parent"] = {"id": parent.card.get("id"), "sha256": parent.sha256}
    return kept


def _typed(name: str, values: Any) -> np.ndarray:
    dtype, axes = LAYOUT[name]
    array = np.asarray(values)
    if array.ndim != axes or array.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} must be an array of {axes} axes of numbers, got shape "
            f"{array.shape} of {array.dtype}"
        )
    with np.errstate(over="ignore"):  # infinite then, and refused as that
        return np.ascontiguousarray(array, dtype)


def _require_fitting(data: Dataset) -> None:
    shapes = {name: getattr(data, name).shape for name in LAYOUT}
    counts = {name: shapes[name][0] for name in BY_TRANSITION}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(f"all arrays need as many rows as there are steps, got {told}")
    if shapes["obs"] != shapes["next_obs"]:
        raise ValueError(
            f"obs and next_obs must have one shape, got {shapes['obs']} and "
            f"{shapes['next_obs']}"
        )
    if len(data) == 0 or data.num_episodes == 0:
        raise ValueError("the dataset is empty: it needs at least one transition")
    if 0 in (*shapes["obs"], *shapes["actions"]):
        raise ValueError(
            f"observations and actions need an entry, got shapes {shapes['obs']} and "
            f"{shapes['actions']}"
        )


def _require_episodes(data: Dataset) -> None:
    lengths, ids = data.lengths, data.episode_ids
    if lengths.min() < 1 or lengths.sum() != len(data) or len(ids) != len(lengths):
        raise ValueError(
            f"{len(lengths)} lengths that add up to {lengths.sum()}, {len(ids)} "
            f"episode ids and {len(data)} transitions do not belong together"
        )
    if ids.min() < 0 or len(np.unique(ids)) != len(ids):
        raise ValueError("episode ids must be different numbers of 0 or more")
    ends = data.terminated | data.truncated
    last = np.zeros(len(data), bool)
    last[data.offsets[1:] - 1] = True
    if (ends != last).any():
        row = int(np.flatnonzero(ends != last)[0])
        episode = int(np.searchsorted(data.offsets, row, "right")) - 1
        what = "ends before" if ends[row] else "is neither terminated nor truncated at"
        raise ValueError(
            f"episode {ids[episode]} {what} its last transition (transition {row}, "
            f"step {row - data.offsets[episode]} of {lengths[episode]})"
        )


def _box(bounds: Mapping[str, Any], shape: tuple[int, ...]) -> spaces.Box:
    def bound(name: str, unknown: float) -> np.ndarray:
        values = bounds.get(name, [None] * shape[0])
        full = [unknown if value is None else value for value in values]
        return np.array(full, np.float32).reshape(shape)

    return spaces.Box(bound("low", -np.inf), bound("high", np.inf), shape, np.float32)
