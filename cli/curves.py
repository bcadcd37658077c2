"""Learning curves as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from suite.results.figure_looks import Span, leave_out_far_start
from suite.results.units import Unit
from suite.running.run_folder import unit_of

OURS, LOG, MUTED = "#1f6feb", "#d1495b", "#6e7781"
DASHES = ("--", "-.", ":")  # of scores without learning


def draw(found: dict[str, Any], path: Path) -> Path:
    """Draw a summary's curves: each seed thin, their mean bold, the log's dashed.

    Args:
        found: Of ``suite.running.run_folder.summary``.
        path: The PNG to write.

    Returns:
        The path.
    """
    # The object interface: no window system, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = unit_of(found)
    _draw_ours(axes, found, shown)
    if found["reference_curve"]:
        steps, values = zip(*found["reference_curve"], strict=True)
        axes.plot(
            steps,
            [shown.factor * value for value in values],
            color=LOG,
            linestyle="--",
            linewidth=1.4,
            marker="s",
            markersize=4,
            label="experiment log (1 seed)",
        )
    for (name, value), dashes in zip(found["baselines"].items(), DASHES, strict=False):
        height = shown.factor * value
        axes.axhline(height, color=MUTED, lw=1, linestyle=dashes, label=name)
    axes.set_xlabel(found.get("steps", "environment steps"))
    axes.set_ylabel(_words(found["metric"], shown))
    if shown.low is not None and shown.high is not None:
        ends = shown.factor * shown.low, shown.factor * shown.high
        axes.set_ylim(ends[0] - 2, ends[1] + 2)
    elif found["rows"]:
        _leave_out_start(axes, found, shown)
    axes.set_title(f"{found['benchmark']}  ({found['run']})", loc="left", fontsize=11)
    if not any(row["timesteps"] for row in found["rows"]):
        axes.set_xticks([0])  # nothing was trained
    axes.xaxis.set_major_formatter(lambda steps, _: f"{steps:,.0f}")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Software": None})
    return path


def _words(metric: str, shown: Unit) -> str:
    """A metric with its unit as a reader wants it; of metrics.csv by its own name."""
    if "/" in metric:
        return metric
    if metric == f"{shown.name}_mean":
        return shown.name
    is_success = metric.startswith("success")
    return shown.headed("success" if is_success else metric.replace("_", " "))


def _leave_out_start(axes: Any, found: dict[str, Any], shown: Unit) -> None:
    """Leave the untrained agent out of the axis if it is far from all else in it."""
    spreads = [row[found["metric"]] for row in found["rows"]]
    low, high = (
        np.array([each["mean"] if each[end] is None else each[end] for each in spreads])
        for end in ("low", "high")
    )
    steps = np.array([row["timesteps"] for row in found["rows"]])
    others = [value for _, value in found["reference_curve"]]
    others += found["baselines"].values()
    ours = Span(steps, shown.factor * low, shown.factor * high)
    leave_out_far_start(axes, [ours], [shown.factor * value for value in others])


def _draw_ours(axes: Any, found: dict[str, Any], shown: Unit) -> None:
    rows, metric = found["rows"], found["metric"]
    for curve in found["curves"].values():
        if curve:
            steps, values = zip(*curve, strict=True)
            shares = [shown.factor * value for value in values]
            axes.plot(steps, shares, color=OURS, alpha=0.35, lw=0.9)
    if not rows:
        return
    steps = [row["timesteps"] for row in rows]
    if all(row[metric]["low"] is not None for row in rows):
        axes.fill_between(
            steps,
            [shown.factor * shown.within(row[metric]["low"]) for row in rows],
            [shown.factor * shown.within(row[metric]["high"]) for row in rows],
            color=OURS,
            alpha=0.12,
            linewidth=0,
            label="95 % interval of the mean",
        )
    count = rows[0][metric]["seeds"]
    axes.plot(
        steps,
        [shown.factor * row[metric]["mean"] for row in rows],
        color=OURS,
        lw=2.4,
        marker="o",
        markersize=4.5,
        label=f"ours ({count} seed{'s' if count > 1 else ''})",
    )
    deterministic = "success_first_deterministic"
    if deterministic in rows[0]:
        axes.plot(
            steps,
            [100 * row[deterministic] for row in rows],
            color=MUTED,
            lw=1.2,
            linestyle=":",
            label="ours, most likely actions",
        )
