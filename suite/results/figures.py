"""Figures of a sweep, described by data and drawn from its stored results.

A figure names columns, conditions and nothing of the experiment itself, so that every
sweep can use it: panels are the sweep's rivals and tasks, colours its conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from suite.evaluation import Interval, mean_interval
from suite.parts import ConfigError
from suite.results.drive_figures import DRIVE_KINDS
from suite.results.figure_looks import (
    HUES,
    INK,
    Look,
    Span,
    column_name,
    estimate,
    factor,
    leave_out_far_start,
    legend,
    look,
    mark,
    name_ticks,
    name_y,
    plain,
    say_empty,
    thousands,
    written,
)
from suite.results.sweep_results import CellResults, Results
from suite.settings import record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


class Figure(Protocol):
    """What can be drawn of a sweep: a frozen dataclass of names."""

    @property
    def kind(self) -> str:
        """Which of ``KINDS`` it is."""
        ...

    @property
    def name(self) -> str:
        """Of its file."""
        ...

    @property
    def conditions(self) -> tuple[str, ...]:
        """Which to show, in this order; all if empty."""
        ...

    def paint(self, results: Results, canvas: Canvas) -> bool:
        """Draw; False if there is nothing to draw yet."""
        ...


@dataclass(frozen=True)
class Curves:
    """A column over training: a row of panels a rival, a column of them a task.

    Rivals and tasks of which nothing has finished are left out.

    Each line is the mean over seeds. The band is one standard deviation over seeds, the
    bar at its end the 95 % interval of the mean. With ``spread`` the band is the mean
    of another column instead, such as the standard deviation over states. On a
    logarithmic axis mean, band and interval are those of the logarithm.

    Args:
        name: Of its file.
        y: A column of eval.csv or metrics.csv.
        spread: A column to draw as the band, or None.
        conditions: Which to show; all if empty.
        is_log: Whether the y axis is logarithmic.
        is_shared: Whether all panels have one y axis.
    """

    name: str
    y: str
    spread: str | None = None
    conditions: tuple[str, ...] = ()
    is_log: bool = False
    is_shared: bool = False
    kind: Literal["curves"] = "curves"

    def __post_init__(self) -> None:
        if self.is_log and self.spread is not None:
            raise ConfigError("a band of another column needs a linear axis")

    def paint(self, results: Results, canvas: Canvas) -> bool:
        """See ``Figure.paint``."""
        rows, columns = results.begun
        canvas.set_size_inches(1.2 + 3.1 * len(columns), 0.9 + 2.3 * len(rows))
        panels = canvas.subplots(
            *(len(rows), len(columns)),
            sharex=True,
            sharey="all" if self.is_shared else False,
            squeeze=False,
        )
        drawn = 0
        for place, panel in np.ndenumerate(panels):
            rival, task = rows[place[0]], columns[place[1]]
            drawn += self._panel(panel, results, rival, task)
        for panel in panels[:, 0]:
            name_y(panel, column_name(results, self.y))
        for panel in panels[-1]:
            panel.set_xlabel(results.sweep.cells[0].spec.steps)
            panel.xaxis.set_major_formatter(thousands)
        legend(canvas, panels)
        return drawn > 0

    def _panel(self, panel: Axes, results: Results, rival: Any, task: Any) -> int:
        words = [
            written(results, value) for value in (rival, task) if value is not None
        ]
        plain(panel, ", ".join(words))
        if self.is_log:
            panel.set_yscale("log")
        spans: list[Span] = []
        for condition in self.conditions or results.sweep.conditions:
            found = results.places.get((rival, task, condition))
            # A variance of fewer values than its window, say, is not a number.
            if found is not None and np.isfinite(found.curves(self.y)[1]).any():
                spans.append(self._line(panel, results, found, condition, len(spans)))
        if not spans:
            say_empty(panel)
        elif not self.is_log and not self.is_shared:
            leave_out_far_start(panel, spans)
        return len(spans)

    def _line(
        self,
        panel: Axes,
        results: Results,
        found: CellResults,
        condition: str,
        rank: int,
    ) -> Span:
        steps, values = found.curves(self.y)
        values = values * factor(results, self.y)
        shown: Callable[[Any], Any] = np.asarray
        if self.is_log:
            values, shown = np.log(np.where(values > 0, values, np.nan)), np.exp
        style, middle = look(results, condition), values.mean(axis=0)
        line = panel.plot(steps, shown(middle), style.dashes, color=style.color, lw=1.6)
        line[0].set_label(results.sweep.written(condition))
        width = self._width(results, found, values)
        band = 0.0 if width is None else width
        ends = shown(middle - band), shown(middle + band)
        if width is not None:
            panel.fill_between(steps, *ends, color=style.color, alpha=0.15, lw=0)
        if len(values) > 1:
            aside = 0.025 * (1 + rank) * (steps[-1] - steps[0] or 1)
            last = _told(mean_interval(values[:, -1]), shown)
            estimate(panel, steps[-1] + aside, last["value"], yerr=last, style=style)
        return Span(steps, *ends)

    def _width(
        self, results: Results, found: CellResults, values: np.ndarray
    ) -> np.ndarray | None:
        if self.spread is not None:
            # Around y, so in the units that y is shown in.
            spreads = factor(results, self.y) * found.curves(self.spread)[1]
            return spreads.mean(axis=0) if spreads.size else None
        return values.std(axis=0, ddof=1) if len(values) > 1 else None


@dataclass(frozen=True)
class Bars:
    """The score at the end by condition, a panel a task, a bar a rival.

    The bar is the mean over seeds with its 95 % interval, the points are the seeds.
    Tasks of which nothing has finished are left out.

    Args:
        name: Of its file.
        conditions: Which to show; all if empty.
    """

    name: str
    conditions: tuple[str, ...] = ()
    kind: Literal["bars"] = "bars"

    def paint(self, results: Results, canvas: Canvas) -> bool:
        """See ``Figure.paint``."""
        conditions = self.conditions or tuple(results.sweep.conditions)
        _, tasks = results.begun
        width = max(3.0, 0.4 * len(conditions) * len(results.rivals) ** 0.5)
        canvas.set_size_inches(0.9 + width * len(tasks), 3.6)
        panels = canvas.subplots(1, len(tasks), sharey=True, squeeze=False)
        drawn = 0
        for panel, task in zip(panels[0], tasks, strict=True):
            plain(panel, written(results, task))
            before = drawn
            for rank, rival in enumerate(results.rivals):
                for x, condition in enumerate(conditions):
                    found = results.places.get((rival, task, condition))
                    if found is not None and found.seeds:
                        _bar(panel, results, found, x, rank)
                        drawn += 1
            if drawn == before:
                say_empty(panel)
            name_ticks(panel, [results.sweep.written(name) for name in conditions])
            panel.axhline(0, color=INK, linewidth=0.6)
        name_y(panels[0, 0], column_name(results, results.sweep.metric))
        legend(canvas, panels)
        return drawn > 0


def _bar(
    panel: Axes, results: Results, found: CellResults, x: float, rank: int
) -> None:
    times = factor(results, results.sweep.metric)
    scores = [times * score for score in found.scores().values()]
    told = _told(mean_interval(scores))
    width = 0.8 / len(results.rivals)
    center = x - 0.4 + width * (rank + 0.5)
    color = HUES[rank % len(HUES)]
    label = written(results, results.rivals[rank])
    panel.bar(center, told["value"], 0.92 * width, color=color, alpha=0.55, label=label)
    estimate(panel, center, told["value"], yerr=told, style=Look(INK, marker="none"))
    spots = center + width * np.linspace(-0.25, 0.25, len(scores))
    panel.scatter(spots, scores, 9, color, edgecolor=INK, linewidth=0.4, zorder=3)


@dataclass(frozen=True)
class Comparison:
    """All tasks together: the interquartile mean, and who beats whom how probably.

    Bars are 95 % intervals of a bootstrap that draws seeds within each task.

    Args:
        name: Of its file.
        conditions: Which to show; all if empty.
    """

    name: str
    conditions: tuple[str, ...] = ()
    kind: Literal["comparison"] = "comparison"

    def paint(self, results: Results, canvas: Canvas) -> bool:
        """See ``Figure.paint``."""
        conditions = self.conditions or tuple(results.sweep.conditions)
        canvas.set_size_inches(7.6, 1.4 + 0.34 * len(conditions))
        panels = canvas.subplots(1, 2, sharey=True, squeeze=False)
        left, right = panels[0]
        means, wins = _means(results), _wins(results)
        _points(left, conditions, means, 0)
        _points(right, conditions, wins, len(means))
        name = results.sweep.written
        left.set_yticks(range(len(conditions)), [name(each) for each in conditions])
        left.set_ylim(len(conditions) - 0.5, -0.5)
        left.set_xlabel(f"IQM of {column_name(results, results.sweep.metric)}")
        right.set_xlim(-0.04, 1.04)
        right.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
        right.set_xlabel("probability of improvement")
        legend(canvas, panels)
        return bool(means)


_ByName = dict[str, dict[str, Any]]  # and then by condition


def _means(results: Results) -> _ByName:
    """Interquartile means as they are shown."""
    times = factor(results, results.sweep.metric)
    means: _ByName = {}
    for row in results.aggregates:
        told = {end: None if x is None else times * x for end, x in row["iqm"].items()}
        means.setdefault(written(results, row["rival"]), {})[row["condition"]] = told
    return means


def _wins(results: Results) -> _ByName:
    """Probabilities of improvement by who beats whom."""
    wins: _ByName = {}
    for row in results.improvements:
        name = " beats ".join(written(results, row[who]) for who in ("rival", "over"))
        wins.setdefault(name, {})[row["condition"]] = row["probability"]
    return wins


def _points(
    panel: Axes,
    conditions: Sequence[str],
    found: Mapping[str, Mapping[str, Any]],
    first: int,
) -> None:
    """Estimates with intervals, a row a condition, a look and a place for each name."""
    plain(panel)
    for rank, (name, by_condition) in enumerate(found.items()):
        aside = 0.3 * ((rank + 0.5) / len(found) - 0.5) * min(len(found), 2)
        for condition in filter(by_condition.__contains__, conditions):
            told = by_condition[condition]
            y = conditions.index(condition) + aside
            estimate(
                panel, told["value"], y, xerr=told, style=mark(first + rank), name=name
            )


def _told(found: Interval, shown: Callable[[Any], Any] = float) -> dict[str, Any]:
    ends = {"value": found.value, "low": found.low, "high": found.high}
    return {name: None if end is None else shown(end) for name, end in ends.items()}


KINDS: Mapping[str, type] = {
    "curves": Curves,
    "bars": Bars,
    "comparison": Comparison,
    **DRIVE_KINDS,
}


def figure_from_json(document: Any) -> Figure:
    """The figure of its fields; ``kind`` says which.

    Raises:
        ConfigError: If there is no such kind, or a field is unknown or mistyped.
    """
    if not isinstance(document, Mapping) or document.get("kind") not in KINDS:
        raise ConfigError(
            f"a figure's kind is one of {', '.join(KINDS)}, got {document}"
        )
    lists = {n: tuple(v) for n, v in document.items() if isinstance(v, list | tuple)}
    fields = {**document, **lists}
    return record(KINDS[fields["kind"]], fields, "figure")


def draw(figure: Figure, results: Results, folder: Path) -> Path | None:
    """Draw a figure into a folder, as <name>.png.

    Returns:
        Its path, or None if there is nothing to draw yet.
    """
    # The object interface: no window system, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(dpi=150, layout="constrained")
    FigureCanvasAgg(canvas)
    if not figure.paint(results, canvas):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{figure.name}.png"
    canvas.savefig(path, metadata={"Software": None})
    return path
