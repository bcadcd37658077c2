"""Sweeps: grids of benchmarks that are run, compared and drawn together, as data.

A sweep has cells; a cell has a place on named axes and a specification. A cell with one
of its seeds is a trial: it is carried out by ``suite.runs.run_seed`` like any
other run, into runs/<sweep>/<cell>-<digest>/seed-<n>.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from suite.cell import PLAIN_WORD, SEED, Cell, Value, label, spelled
from suite.parts import ConfigError, canonical, to_json
from suite.results.figures import Figure, figure_from_json
from suite.settings import changes, differences, record, require_fields
from suite.settings import label as run_label
from suite.unknown_names import UnknownName, no_such


@dataclass(frozen=True)
class SweepScale:
    """A named size of a sweep: the cells' specifications at their scale of that name.

    Args:
        time: How long it takes, for the reader.
        only: Values by axis; cells that have others, or no such axis, are left out.
    """

    time: str
    only: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """A cell with one of its seeds: what is run, or was, as a whole."""

    cell: Cell
    seed: int


@dataclass(frozen=True, eq=False)
class Sweep:
    """A grid of benchmarks, and how its results are compared.

    Use it through ``get(name)`` and ``at_scale``. Two are equal if their JSON is.

    Args:
        name: Unique, for the command line; its results lie in a folder of that name.
        about: What it asks, a sentence or two.
        cells: All it has; those of one metric.
        tasks: The axis over which results are put together, such as ``"env"``.
        rivals: The axis whose values are compared with each other, such as ``"algo"``.
            What the other axes say is the condition, such as ``"k30"``.
        baseline: The condition that others are compared with, such as ``"k0"``.
        scales: Sizes by name; ``"default"`` has all cells if it is not given.
        figures: What to draw.
        labels: How to write a name (of a column, a value, a condition) for a reader.

    Raises:
        ConfigError: If two cells have one name, a cell has no place, or the metrics
            differ.
    """

    name: str
    about: str
    cells: tuple[Cell, ...]
    tasks: str | None = None
    rivals: str | None = None
    baseline: str | None = None
    scales: Mapping[str, SweepScale] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.name, *(figure.name for figure in self.figures)):
            if not PLAIN_WORD.fullmatch(name):
                raise ConfigError(f"sweeps and figures need plain names, got {name!r}")
        if not self.cells:
            raise ConfigError(f"the sweep {self.name} needs a cell, got none")
        if len({cell.label for cell in self.cells}) < len(self.cells):
            raise ConfigError(f"two cells of the sweep {self.name} have one name")
        if len({cell.spec.metric for cell in self.cells}) > 1:
            raise ConfigError(f"the cells of the sweep {self.name} differ in metric")
        self._require_places()

    def _require_places(self) -> None:
        for axis in filter(None, (self.tasks, self.rivals)):
            for cell in self.cells:
                if axis not in cell.axes:
                    raise ConfigError(f"the cell {cell.label} has no {axis}")
        shown = [name for figure in self.figures for name in figure.conditions]
        for condition in filter(None, (self.baseline, *shown)):
            if condition not in self.conditions:
                raise ConfigError(no_such("condition", condition, self.conditions))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sweep) and canonical(self) == canonical(other)

    def __hash__(self) -> int:
        return hash(canonical(self))

    # ------------------------------------------------------------------ as data
    def to_json(self) -> dict[str, Any]:
        """The whole sweep as plain JSON values."""
        return to_json(self)

    @staticmethod
    def from_json(document: Any) -> Sweep:
        """The sweep of a document by ``to_json``; nothing that it names is imported.

        Raises:
            ConfigError: If a field is unknown, missing or of the wrong type.
        """
        require_fields(Sweep, document, "sweep")
        fields = dict(document)
        fields["cells"] = tuple(Cell.from_json(cell) for cell in fields["cells"])
        scales = fields.get("scales", {}).items()
        fields["scales"] = {
            name: record(SweepScale, scale, name) for name, scale in scales
        }
        fields["figures"] = tuple(map(figure_from_json, fields.get("figures", ())))
        return Sweep(**fields)

    # ----------------------------------------------------------------- its parts
    @property
    def metric(self) -> str:
        """The number that its cells are judged by."""
        return self.cells[0].spec.metric

    @property
    def axes(self) -> dict[str, list[Value]]:
        """The values of every axis, in the order of the cells, seeds last."""
        found: dict[str, dict[Value, None]] = {}
        for cell in self.cells:
            for axis, value in cell.axes.items():
                found.setdefault(axis, {})[value] = None
        seeds = {seed for cell in self.cells for seed in cell.spec.seeds}
        return {
            **{axis: list(values) for axis, values in found.items()},
            SEED: sorted(seeds),
        }

    def condition(self, cell: Cell) -> str:
        """What a cell's axes say beside its task and rival: ``k30``."""
        beside = (self.tasks, self.rivals)
        axes = {axis: value for axis, value in cell.axes.items() if axis not in beside}
        return label(axes)

    @property
    def conditions(self) -> list[str]:
        """All conditions, in the order of the cells."""
        return list(dict.fromkeys(map(self.condition, self.cells)))

    def written(self, name: str) -> str:
        """A name as a reader wants it."""
        return self.labels.get(name, name)

    def cells_at(self, scale: str) -> list[Cell]:
        """The cells that take part at one of its sizes, as they are by default.

        Raises:
            UnknownName: If it has no such scale.
        """
        known = {"default": SweepScale(""), **self.scales}
        if scale not in known:
            raise UnknownName(no_such("scale", scale, known))
        only = known[scale].only.items()
        return [
            cell
            for cell in self.cells
            if all(cell.axes.get(axis) in values for axis, values in only)
        ]

    def at_scale(self, name: str) -> Sweep:
        """This sweep at one of its sizes; its name says which, unless the default.

        Raises:
            UnknownName: If it has no such scale.
        """
        cells = tuple(
            replace(cell, spec=replace(cell.spec.at_scale(name), scales={}))
            for cell in self.cells_at(name)
        )
        there = set(map(self.condition, cells))
        figures = [f for f in self.figures if there.issuperset(f.conditions)]
        return replace(
            self,
            name=self.name if name == "default" else f"{self.name}-{name}",
            cells=cells,
            scales={},
            figures=tuple(figures),
        )

    def with_settings(self, settings: Mapping[str, Any]) -> Sweep:
        """This sweep with other values in all cells, at keys as ``--set`` takes them.

        Its name says which, as a run folder's does, so that their results lie apart;
        ``seeds`` alone leave it as it is. Take the scale first.

        Raises:
            ConfigError: If a cell has no such key, the value is of the wrong type, or
                the cells differ in what would be set.
        """
        cells = tuple(_changed(cell, settings) for cell in self.cells)
        found: dict[str, Any] = {}  # by full key; None where nothing is left
        words: dict[str, None] = {}
        for before, after in zip(self.cells, cells, strict=True):
            theirs, ours = before.spec.settings, after.spec.settings
            words |= dict.fromkeys(differences(ours, theirs))
            found |= dict.fromkeys(changes(theirs, ours)) | changes(ours, theirs)
        self._require_shared(found)
        if not words:
            return replace(self, cells=cells)
        told = run_label(self.name, list(words)).replace("+", "-and")  # a plain name
        digest = hashlib.sha256(canonical(found).encode()).hexdigest()
        return replace(self, name=f"{told}-{digest[:8]}", cells=cells)

    @property
    def setting_values(self) -> dict[str, dict[str, str]]:
        """By setting: each value, as JSON, and the first cell that has it."""
        settings = {cell.label: cell.spec.settings for cell in self.cells}
        told: dict[str, dict[str, str]] = {}
        for key in dict.fromkeys(key for each in settings.values() for key in each):
            told[key] = {}
            for name, each in settings.items():
                value = json.dumps(each[key]) if key in each else "its default"
                told[key].setdefault(value, name)
        return told

    def _require_shared(self, keys: Iterable[str]) -> None:
        told = self.setting_values
        for key in keys:
            values = told.get(key, {})
            if len(values) > 1:
                (one, first), (other, second) = list(values.items())[:2]
                raise ConfigError(
                    f"the cells of the sweep {self.name} differ in {key}: {first} has "
                    f"{one}, {second} has {other}; it cannot be set for all"
                )

    def joined_by(self, other: Sweep) -> Sweep:
        """This sweep with the seeds that the same cells have in another one, too."""
        seeds = {cell.folder_name: cell.spec.seeds for cell in other.cells}
        return replace(
            self,
            cells=tuple(
                replace(cell, spec=replace(cell.spec, seeds=tuple(sorted(both))))
                for cell in self.cells
                for both in [{*cell.spec.seeds, *seeds.get(cell.folder_name, ())}]
            ),
        )

    # ----------------------------------------------------------------- selection
    def trials(self, only: str = "") -> list[Trial]:
        """The work, the dearest first; of two alike the lower seed.

        Args:
            only: Such as ``"algo=cql,env=hopper|walker2d,k=30,seed=0"``; ``|`` joins
                values. All if empty.

        Raises:
            UnknownName: If there is no such axis or value, or no cell at that place.
        """
        chosen = self._chosen(only)
        trials = [
            Trial(cell, seed)
            for cell in self.cells
            for seed in cell.spec.seeds
            if all(
                {**cell.axes, SEED: seed}.get(axis) in values
                for axis, values in chosen.items()
            )
        ]
        if not trials:
            raise UnknownName(f"no cell of the sweep {self.name} is at {only}")
        return sorted(trials, key=lambda trial: (-trial.cell.cost, trial.seed))

    def check(self, trials: Iterable[Trial]) -> None:
        """Import what the specifications of some trials name, see that it fits.

        Raises:
            ConfigError: Naming the cell, the part and the argument.
        """
        for cell in dict.fromkeys(trial.cell for trial in trials):
            try:
                cell.spec.check()
            except ValueError as reason:
                raise ConfigError(f"{cell.label}: {reason}") from reason

    def _chosen(self, only: str) -> dict[str, list[Value]]:
        chosen: dict[str, list[Value]] = {}
        for item in filter(None, only.split(",")):
            axis, separator, words = (part.strip() for part in item.partition("="))
            if not separator:
                raise UnknownName(f"a selection must read axis=value, got {item!r}")
            if axis not in self.axes:
                raise UnknownName(no_such("axis", axis, self.axes))
            known = {spelled(value): value for value in self.axes[axis]}
            for word in words.split("|"):
                if word.strip() not in known:
                    raise UnknownName(no_such(axis, word.strip(), known))
                chosen.setdefault(axis, []).append(known[word.strip()])
        return chosen


def _changed(cell: Cell, settings: Mapping[str, Any]) -> Cell:
    try:
        return replace(cell, spec=cell.spec.with_settings(settings))
    except ConfigError as reason:
        raise ConfigError(f"{cell.label}: {reason}") from reason


# --------------------------------------------------------------------- the registry
_registered: dict[str, Sweep] = {}


def register(sweep: Sweep) -> Sweep:
    """Make a sweep known by its name; returns it.

    Raises:
        ValueError: If another one has that name.
    """
    if _registered.setdefault(sweep.name, sweep) != sweep:
        raise ValueError(f"there is another sweep called {sweep.name!r}")
    return sweep


def names() -> list[str]:
    """The names of all registered sweeps, sorted."""
    importlib.import_module("suite_bench.benchmarks")
    return sorted(_registered)


def get(name: str) -> Sweep:
    """The registered sweep of that name.

    Raises:
        UnknownName: With the nearest names.
    """
    if name not in names():
        raise UnknownName(no_such("sweep", name, names()))
    return _registered[name]
