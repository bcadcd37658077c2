"""Figures of drives say what is stored, and draw whatever there is of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from dials import spec
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from suite.cell import Cell
from suite.parts import to_json
from suite.results.drive_figures import (
    DRIVE_KINDS,
    Distribution,
    Growth,
    Paths,
    SeedBoxes,
    Tails,
)
from suite.results.figures import figure_from_json
from suite.results.sweep_results import CellResults, Results, SeedResult, summary
from suite.sweep import Sweep

RNG = np.random.default_rng(0)
TIME = np.arange(1, 6) / 2
FIGURES = (
    Distribution("distribution", "ade"),
    Growth("growth", "growth", "time"),
    SeedBoxes("seeds", "ade"),
    Tails("tails", "ade"),
    Paths("paths", "paths", only=("seeds",)),
)


def details(fits: int, ade: float) -> dict[str, np.ndarray]:
    return {
        "ade": ade + np.linspace(0, 1, 10) + np.zeros((fits, 1)),
        "growth": np.ones((fits, 2, 5)) * TIME * np.array([[[1], [3]]]),
        "time": TIME,
        "paths": np.cumsum(RNG.normal(size=(2, 2, 9, 2)), axis=2),
    }


def cell(config: str, tail: str, data: int, found: Mapping[str, Any]) -> CellResults:
    axes = {"config": config, "tail": tail, "data": data}
    tables = ([{"timesteps": 0.0, "y": 1.0}],)
    result = SeedResult({"final": 1.0, "mean_of_last_3": 1.0}, tables, found)
    return CellResults(Cell(axes, spec(1)), {0: result} if found else {})


def results(*cells: CellResults) -> Results:
    grid = Sweep(
        "x",
        "",
        tuple(found.cell for found in cells),
        tasks="config",
        rivals="tail",
        figures=FIGURES,
        labels={"cvar": "CVaR", "seeds": "five seeds"},
    )
    return Results(grid, cells)


FULL = results(
    *(
        cell("seeds", tail, data, details(5, ade))
        for tail, ade in (("base", 1.0), ("cvar", 0.8))
        for data in (0, 1)
    ),
    cell("direct", "base", 0, details(1, 2.0)),
    cell("direct", "cvar", 0, {}),
)


def painted(figure: Any, found: Results = FULL) -> Any:
    canvas = Canvas(layout="constrained")
    FigureCanvasAgg(canvas)
    if not figure.paint(found, canvas):
        return None
    canvas.draw_without_rendering()
    return canvas


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_every_kind_is_data_and_is_drawn(figure):
    assert figure_from_json(to_json(figure)) == figure
    assert painted(figure) is not None
    nothing = results(cell("seeds", "base", 0, {}), cell("seeds", "cvar", 0, {}))
    assert painted(figure, nothing) is None
    assert {each.kind for each in FIGURES} == set(DRIVE_KINDS)


def test_a_distribution_reaches_all_drives_at_the_largest_error():
    canvas = painted(Distribution("d", "ade"))
    titles = [panel.get_title(loc="left") for panel in canvas.axes]
    assert titles[:2] == ["five seeds", "direct"]
    lines = {str(line.get_label()): line for line in canvas.axes[0].lines}
    x, y = lines["CVaR"].get_data()
    assert y[-1] == 1 and x[-1] == pytest.approx(100 * 1.8)  # shown in per cent or cm


def test_growth_is_the_mean_over_fits_and_panels_without_results_say_so():
    canvas = painted(Growth("g", "growth", "time"))
    lines = {str(line.get_label()): line for line in canvas.axes[0].lines}
    np.testing.assert_allclose(lines["base, median"].get_ydata(), TIME)
    np.testing.assert_allclose(lines["base, 95 %"].get_ydata(), 3 * TIME)
    half = results(cell("seeds", "base", 0, details(2, 1)), cell("b", "base", 0, {}))
    texts = [t.get_text() for t in painted(Growth("g", "growth", "time"), half).texts]
    panel = painted(Growth("g", "growth", "time"), half).axes[1]
    assert "not run" in texts + [t.get_text() for t in panel.texts]


def test_pairs_are_told_where_both_are_there():
    (row,) = summary(FULL)["pairs"]
    assert (row["rival"], row["over"], row["task"]) == ("cvar", "base", "seeds")
    assert (row["data"], row["fits"], row["drives"]) == (2, 5, 10)
    for name in ("mean", "median", "p95", "max"):
        assert row["statistics"][name]["difference"] == pytest.approx(-0.2)


def test_tails_show_the_difference():
    canvas = painted(Tails("t", "ade"))
    assert [p.get_title(loc="left") for p in canvas.axes] == [
        *("mean", "median", "95 %", "largest")
    ]
    labels = [tick.get_text() for tick in canvas.axes[0].get_yticklabels()]
    assert labels == ["five seeds (10 fits)"]
    ((x, y),) = canvas.axes[3].collections[-1].get_offsets()
    assert (x, y) == pytest.approx((-20, 0))
