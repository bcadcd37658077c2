"""How figures look: colours, dashes, titles, legends."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from suite.results.units import unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from suite.results.sweep_results import Results

# Okabe and Ito's colours, which the colour-blind can tell apart.
INK = "#000000"
HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")
FEWEST, FAR = 3, 2.0  # points after a start that is left out; their heights from it
FAINTEST = 0.45  # how near to white the weakest condition of a kind may come


@dataclass(frozen=True)
class Look:
    """How a condition is drawn wherever it is."""

    color: Any
    dashes: str = "-"
    marker: str = "o"


def mark(rank: int) -> Look:
    """The look of a name by its rank alone."""
    return Look(HUES[rank % len(HUES)], marker=MARKERS[rank % len(MARKERS)])


def look(results: Results, condition: str) -> Look:
    """A condition's colour, by what it is (k, random), and its dashes, by how much."""
    sweep = results.sweep
    if condition == sweep.baseline:
        return Look(INK)
    families: dict[str, list[str]] = {}
    for name in sweep.conditions:
        if name != sweep.baseline:
            families.setdefault(_family(name), []).append(name)
    family = families[_family(condition)]
    hue = HUES[list(families).index(_family(condition)) % len(HUES)]
    level = family.index(condition)
    return Look(
        _lighter(hue, FAINTEST * (1 - (level + 1) / len(family))),
        DASHES[level % len(DASHES)],
        MARKERS[level % len(MARKERS)],
    )


def _family(condition: str) -> str:
    return re.sub(r"[\d.]+$", "", condition)


def _lighter(color: str, by: float) -> tuple[float, ...]:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return tuple(channel + (1 - channel) * by for channel in channels)


def written(results: Results, value: Any) -> str:
    """A rival or a task as a reader wants it."""
    return results.sweep.written("" if value is None else f"{value}")


def factor(results: Results, column: str) -> float:
    """What a column is multiplied by to be shown: a share becomes per cent."""
    return unit(column).factor if column == results.sweep.metric else 1.0


def column_name(results: Results, column: str) -> str:
    """A column as a reader wants it, the metric with its unit."""
    written = results.sweep.written(column)
    return unit(column).headed(written) if column == results.sweep.metric else written


def say_empty(panel: Axes) -> None:
    """What a panel without anything says, so that it is not taken for zeros."""
    panel.text(0.5, 0.5, "not run", ha="center", va="center", transform=panel.transAxes)


def plain(panel: Axes, title: str = "") -> None:
    """A light grid, no box, the title at the left."""
    panel.set_title(title, loc="left", fontsize=10)
    panel.grid(alpha=0.25, linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


class Span(NamedTuple):
    """A line with its band.

    Attributes:
        steps: (points,), of which there is one or more.
        low: (points,) lower ends of the band, the line itself where there is none.
        high: (points,) upper ends.
    """

    steps: np.ndarray
    low: np.ndarray
    high: np.ndarray


def leave_out_far_start(
    panel: Axes, spans: Sequence[Span], others: Sequence[float] = ()
) -> None:
    """Leave the first points out of the axis if they are far from all that follows.

    Untrained agents may be so bad that what is learned would have no height. Where they
    began is written beside the lines instead.

    Args:
        panel: Whose lines have been drawn.
        spans: The lines; short ones are left as they are.
        others: Further heights to keep in sight.
    """
    if not spans or min(len(span.steps) for span in spans) <= FEWEST:
        return
    low = min([*others, *(span.low[1:].min() for span in spans)])
    high = max([*others, *(span.high[1:].max() for span in spans)])
    height = high - low
    is_below = max(span.high[0] for span in spans) < low - FAR * height
    is_above = min(span.low[0] for span in spans) > high + FAR * height
    if not height or not (is_below or is_above):
        return
    panel.set_ylim(low - 0.25 * height, high + 0.15 * height)
    start = np.mean([(span.low[0] + span.high[0]) / 2 for span in spans])
    panel.annotate(
        f"from {start:,.0f} at {spans[0].steps[0]:,.0f}",
        # Beside the lines, which leave the picture just before their second points.
        xy=(max(span.steps[1] for span in spans), float(is_above)),
        xytext=(6, -6 if is_above else 6),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top" if is_above else "bottom",
        fontsize=9,
    )


def name_y(panel: Axes, words: str) -> None:
    """Words at the y axis, in lines that fit beside a panel two inches high."""
    panel.set_ylabel(textwrap.fill(words, 28))


def name_ticks(panel: Axes, names: Sequence[str]) -> None:
    """Words at the x axis, slanted if they would touch."""
    is_long = max(map(len, names)) * len(names) > 40
    panel.set_xticks(
        range(len(names)),
        names,
        rotation=40 if is_long else 0,
        ha="right" if is_long else "center",
        rotation_mode="anchor",
    )


def legend(canvas: Canvas, panels: np.ndarray) -> None:
    """One legend for all panels, below them."""
    entries: dict[str, Any] = {}
    for panel in panels.flat:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    entries.pop("", None)
    if entries:
        entry = 0.5 + 0.075 * max(map(len, entries))  # inches, of the longest
        fitting = max(int(canvas.get_figwidth() / entry), 1)
        canvas.legend(
            *(list(entries.values()), list(entries)),
            loc="outside lower center",
            ncols=min(len(entries), 6, fitting),
            frameon=False,
            fontsize=9,
        )


def estimate(
    panel: Axes,
    x: float,
    y: float,
    *,
    style: Look,
    xerr: Mapping[str, Any] | None = None,
    yerr: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> None:
    """A dot with its interval, which lies along one of the axes."""
    panel.errorbar(
        *(x, y, _ends(yerr), _ends(xerr)),
        fmt=style.marker,
        color=style.color,
        markersize=4,
        capsize=2.5,
        linewidth=1.2,
        label=name,
    )


def _ends(told: Mapping[str, Any] | None) -> list[list[float]] | None:
    """How far an interval reaches to both sides, None if that is not known."""
    if told is None or told["low"] is None:
        return None
    return [[told["value"] - told["low"]], [told["high"] - told["value"]]]


def thousands(value: float, _: Any) -> str:
    """A count of steps: 20k."""
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
