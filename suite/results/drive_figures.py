"""Figures of what evaluations keep beside tables: errors of single drives, paths.

Like those of ``suite.results.figures`` they name arrays of details.npz and nothing of
the experiment: panels are the sweep's tasks, colours its rivals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from suite.results.figure_looks import INK, legend, mark, plain, say_empty, written
from suite.results.paired import errors_of, pairs
from suite.results.sweep_results import Results
from suite.results.units import unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from suite.cell import Value

COLUMNS = 3  # of panels


def _shown_tasks(results: Results, only: Sequence[str]) -> list[Any]:
    return [task for task in results.tasks if not only or task in only]


def _panels(canvas: Canvas, tasks: Sequence[Any], results: Results) -> Iterator[Axes]:
    """A panel a task, titled."""
    columns = min(COLUMNS, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    canvas.set_size_inches(1.0 + 3.0 * columns, 0.8 + 2.3 * rows)
    grid = canvas.subplots(rows, columns, squeeze=False)
    for panel in grid.flat[len(tasks) :]:
        panel.set_axis_off()
    for panel, task in zip(grid.flat, tasks, strict=False):
        plain(panel, written(results, task))
        yield panel


def _axis(results: Results, name: str) -> tuple[str, float]:
    """How an array is called and what it is multiplied by: ``ood_`` has its unit."""
    shown = unit(name.removeprefix("ood_"))
    return shown.headed(results.sweep.written(name)), shown.factor


def _logarithmic(panel: Axes, which: Literal["x", "y"]) -> None:
    """A logarithmic axis with plain numbers: powers would need fonts for formulas."""
    panel.set(**{f"{which}scale": "log"})
    axis = getattr(panel, f"{which}axis")
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(lambda value, _: "")


@dataclass(frozen=True)
class Distribution:
    """The share of drives whose error is at most so large; a panel a task.

    Thin lines are fits, the bold one has the drives of all of them.

    Args:
        name: Of the file.
        values: An array (E, N) of details.npz.
        conditions: Not used: all are pooled.
        only: Tasks to show; all if empty.
    """

    name: str
    values: str
    conditions: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    kind: Literal["distribution"] = "distribution"

    def paint(self, results: Results, canvas: Canvas) -> bool:
        """See ``Figure.paint``."""
        label, times = _axis(results, self.values)
        drawn, tasks = 0, _shown_tasks(results, self.only)
        panels = list(_panels(canvas, tasks, results))
        for panel, task in zip(panels, tasks, strict=True):
            before = drawn
            for rank, rival in enumerate(results.rivals):
                found = errors_of(results, rival, task, self.values)
                if found:
                    fits = times * np.concatenate(list(found.values()))
                    _steps(panel, fits, mark(rank).color, written(results, rival))
                    drawn += 1
            if drawn == before:
                say_empty(panel)
            _logarithmic(panel, "x")
            panel.set_xlabel(label.replace(", ", ",\n"))  # panels are narrow
            panel.set_ylabel("share of drives")
        legend(canvas, np.array(panels))
        return drawn > 0


def _steps(panel: Axes, fits: np.ndarray, color: Any, name: str) -> None:
    for fit in fits if len(fits) > 1 else ():
        panel.ecdf(fit, color=color, alpha=0.2, lw=0.7)
    panel.ecdf(fits.ravel(), color=color, lw=1.8, label=name)


@dataclass(frozen=True)
class Growth:
    """How errors grow with time: median and 95 % quantile over drives.

    Each line is the mean over fits.

    Args:
        name: Of the file.
        values: An array (E, 2, T) of details.npz.
        time: One (T,), s.
        conditions: Not used: all are pooled.
        only: Tasks to show; all if empty.
    """

    name: str
    values: str
    time: str
    conditions: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    kind: Literal["growth"] = "growth"

    def paint(self, results: Results, canvas: Canvas) -> bool:
        """See ``Figure.paint``."""
        drawn, tasks = 0, _shown_tasks(results, self.only)
        panels = list(_panels(canvas, tasks, results))
        for panel, task in zip(panels, tasks, strict=True):
            before = drawn
            for rank, rival in enumerate(results.rivals):
                found = errors_of(results, rival, task, self.values)
                if found:
                    times = errors_of(results, rival, task, self.time)
                    middle = np.concatenate(list(found.values())).mean(axis=0)
                    self._lines(panel, next(iter(times.values())), middle, rank)
                    panel.lines[-2].set_label(f"{written(results, rival)}, median")
                    panel.lines[-1].set_label(f"{written(results, rival)}, 95 %")
                    drawn += 1
            if drawn == before:
                say_empty(panel)
            _logarithmic(panel, "y")
            panel.set_xlabel("time (s)")
            panel.set_ylabel(f"{results.sweep.written(self.values)} (m)")
        legend(canvas, np.array(panels))
        return drawn > 0

    def _lines(
        self, panel: Axes, time: np.ndarray, middle: np.ndarray, rank: int
    ) -> None:
        color = mark(rank).color
        panel.plot(time, middle[0], color=color, lw=1.6)
        panel.plot(time, middle[1], "--", color=color, lw=1.3)


@dataclass(frozen=True)
class SeedBoxes:
    """What each fit has on average over drives: a box a task and rival, dots the fits.

    Args:
        name: Of the file.
        values: An array (E, N) of details.npz.
        conditions: Not used: all are pooled.
    """

    name: str
    values: str
    conditions: tuple[str, ...] = ()
    kind: Literal["seed-boxes"] = "seed-boxes"

    def paint(self, results: Results, canvas: Canvas) -> bool:
        """See ``Figure.paint``."""
        tasks, rivals = results.tasks, results.rivals
        canvas.set_size_inches(7.6, 1.2 + 0.42 * len(tasks))
        panel = canvas.subplots()
        plain(panel)
        label, times = _axis(results, self.values)
        drawn = 0
        for row, task in enumerate(tasks):
            for rank, rival in enumerate(rivals):
                found = errors_of(results, rival, task, self.values)
                if found:
                    parts = [part.mean(axis=-1) for part in found.values()]
                    y = row + 0.7 * ((rank + 0.5) / len(rivals) - 0.5)
                    name = "" if drawn >= len(rivals) else written(results, rival)
                    _box(panel, times * np.concatenate(parts), y, rank, name)
                    drawn += 1
        panel.set_yticks(range(len(tasks)), [written(results, task) for task in tasks])
        panel.set_ylim(len(tasks) - 0.5, -0.5)
        panel.set_xlabel(label)
        legend(canvas, np.array([panel]))
        return drawn > 0


def _box(panel: Axes, means: np.ndarray, y: float, rank: int, name: str) -> None:
    """Quartiles and median of three fits or more, from least to largest; dots."""
    color = mark(rank).color
    if len(means) > 2:
        low, first, middle, third, high = np.quantile(means, np.linspace(0, 1, 5))
        panel.hlines(y, low, high, color=color, lw=0.8)
        panel.barh(y, third - first, 0.26, left=first, color=color, alpha=0.25)
        panel.vlines(middle, y - 0.13, y + 0.13, color=INK, lw=1.2)
    panel.scatter(means, np.full(len(means), y), 14, color, alpha=0.8, label=name)


@dataclass(frozen=True)
class Tails:
    """Differences of a rival to the first one, paired: mean, median, 95 %, largest.

    Bars are 95 % intervals of ``suite.results.paired.compared``; left of 0 is less
    error.

    Args:
        name: Of the file.
        values: An array (E, N) of details.npz.
        conditions: Not used: all are pooled.
    """

    name: str
    values: str
    conditions: tuple[str, ...] = ()
    kind: Literal["tails"] = "tails"

    def paint(self, results: Results, canvas: Canvas) -> bool:
        """See ``Figure.paint``."""
        rows = pairs(results, [self.values])
        if not rows:
            return False
        kinds = {"mean": "mean", "median": "median", "p95": "95 %", "max": "largest"}
        canvas.set_size_inches(9.6, 1.2 + 0.34 * len(rows))
        panels = canvas.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        label, times = _axis(results, self.values)
        for panel, (kind, title) in zip(panels, kinds.items(), strict=True):
            plain(panel, title)
            panel.axvline(0, color=INK, linewidth=0.8, linestyle=":")
            for y, row in enumerate(rows):
                told = row["statistics"][kind]
                ends = [[times * told["low"]], [times * told["high"]]]
                panel.hlines(y, ends[0], ends[1], color=mark(0).color, lw=1.4)
                panel.scatter(times * told["difference"], y, 18, mark(0).color)
        names = [_row_name(results, row) for row in rows]
        panels[0].set_yticks(range(len(rows)), names)
        panels[0].set_ylim(len(rows) - 0.5, -0.5)
        first, second = (written(results, rows[0][who]) for who in ("rival", "over"))
        canvas.supxlabel(f"{label}: {first} less {second}", fontsize=10)
        return True


def _row_name(results: Results, row: Any) -> str:
    fits = row["data"] * row["fits"]
    return f"{written(results, row['task'])} ({fits} fit{'s' if fits > 1 else ''})"


@dataclass(frozen=True)
class Paths:
    """Where cars went and where models foretold them; a row a task, a panel a drive.

    Args:
        name: Of the file.
        values: An array (K, 2, P, 2) of details.npz: true and foretold places.
        conditions: Not used: the first that has finished is shown.
        only: Tasks to show; all if empty.
    """

    name: str
    values: str
    conditions: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    kind: Literal["paths"] = "paths"

    def paint(self, results: Results, canvas: Canvas) -> bool:
        """See ``Figure.paint``."""
        rows = [
            (task, found)
            for task in _shown_tasks(results, self.only)
            if (found := self._found(results, task))
        ]
        if not rows:
            return False
        count = len(next(iter(rows[0][1].values())))
        canvas.set_size_inches(0.6 + 2.4 * count, 0.6 + 2.4 * len(rows))
        panels = canvas.subplots(len(rows), count, squeeze=False)
        for line, (task, found) in zip(panels, rows, strict=True):
            for drive, panel in enumerate(line):
                plain(panel, written(results, task) if drive == 0 else "")
                _overlay(panel, results, found, drive)
        legend(canvas, panels)
        return True

    def _found(self, results: Results, task: Value | None) -> dict[Any, np.ndarray]:
        """Paths of each rival."""
        told = {}
        for rival in results.rivals:
            found = errors_of(results, rival, task, self.values)
            if found:
                told[rival] = next(iter(found.values()))
        return told


def _overlay(
    panel: Axes, results: Results, found: dict[Any, np.ndarray], drive: int
) -> None:
    truth = next(iter(found.values()))[drive, 0]
    panel.plot(*truth.T, color=INK, lw=1.6, label="driven")
    panel.plot(*truth[0], "o", color=INK, markersize=4)
    for rank, rival in enumerate(results.rivals):
        if rival in found:
            style = mark(rank)
            name = written(results, rival)
            panel.plot(*found[rival][drive, 1].T, "--", color=style.color, label=name)
    panel.set_aspect("equal", adjustable="datalim")
    panel.tick_params(labelsize=7)


DRIVE_KINDS: dict[str, type] = {
    "distribution": Distribution,
    "growth": Growth,
    "seed-boxes": SeedBoxes,
    "tails": Tails,
    "paths": Paths,
}
