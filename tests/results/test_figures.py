"""Figures say what is stored, and draw whatever there is of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from dials import spec
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from suite.cell import Cell
from suite.evaluation import mean_interval
from suite.results.figure_looks import INK, Span, leave_out_far_start, look
from suite.results.figures import Bars, Comparison, Curves, draw
from suite.results.sweep_results import CellResults, Results, SeedResult
from suite.sweep import Sweep

STEPS = (0.0, 1000.0, 2000.0)


def cell_results(
    axes: dict[str, Any], curves: Sequence[Sequence[float]]
) -> CellResults:
    seeds = {
        seed: SeedResult(
            {"final": curve[-1], "mean_of_last_3": curve[-1]},
            (
                [
                    {"timesteps": step, "y": value, "width": 2.0}
                    for step, value in zip(STEPS, curve, strict=False)
                ],
            ),
        )
        for seed, curve in enumerate(curves)
    }
    return CellResults(Cell(axes, spec(1)), seeds)


def of(*cells: CellResults, **arrangement: Any) -> Results:
    grid = Sweep("x", "", tuple(found.cell for found in cells), **arrangement)
    return Results(grid, cells)


CURVES = {0: [[1, 2, 3], [1, 4, 7], [1, 3, 5]], 30: [[1, 1, 1], [1, 2, 2], [1, 3, 3]]}
PAIRED = of(
    *(
        cell_results({"algo": algo, "env": env, "k": k}, curves)
        for algo in ("a", "b")
        for env in ("s", "t")
        for k, curves in CURVES.items()
    ),
    tasks="env",
    rivals="algo",
    baseline="k0",
    labels={"a": "Algo A", "k0": "clean", "y": "score of it"},
)


def painted(figure: Any, results: Results = PAIRED) -> Any:
    canvas = Canvas(layout="constrained")
    FigureCanvasAgg(canvas)
    assert figure.paint(results, canvas)
    canvas.draw_without_rendering()
    return canvas


def lines(canvas: Any, panel: int = 0) -> dict[str, np.ndarray]:
    """The curves of a panel by their name in the legend."""
    drawn = canvas.axes[panel].lines
    return {
        str(line.get_label()): np.asarray(line.get_ydata())
        for line in drawn
        if not str(line.get_label()).startswith("_")
    }


def test_curves_have_a_row_a_rival_and_a_column_a_task():
    canvas = painted(Curves("c", "y"))
    titles = [panel.get_title(loc="left") for panel in canvas.axes]
    assert titles == ["Algo A, s", "Algo A, t", "b, s", "b, t"]
    assert canvas.axes[0].get_ylabel() == "score of it"
    assert canvas.axes[2].get_xlabel() == "environment steps"
    assert [t.get_text() for t in canvas.legends[0].texts] == ["clean", "k30"]


def test_a_curve_is_the_mean_its_band_the_deviation_its_bar_the_interval():
    canvas = painted(Curves("c", "y"))
    shown = lines(canvas)
    assert shown["clean"].tolist() == [1, 3, 5] and shown["k30"].tolist() == [1, 2, 2]
    band, *_ = canvas.axes[0].collections
    bounds = band.get_paths()[0].vertices[:, 1]
    assert (bounds.min(), bounds.max()) == (1, 7)  # 5 -+ a deviation of 2, and 1
    last = mean_interval([3, 7, 5])
    bars = [
        segment[:, 1].tolist()
        for c in canvas.axes[0].collections
        if hasattr(c, "get_segments")
        for segment in c.get_segments()
    ]
    assert pytest.approx([last.low, last.high]) in bars


def test_on_a_logarithmic_axis_the_mean_is_that_of_the_logarithm():
    results = of(cell_results({"k": 1}, [[1, 10, 0], [100, 1000, 10]]))
    canvas = painted(Curves("c", "y", is_log=True), results)
    (shown,) = lines(canvas).values()
    assert shown[:2] == pytest.approx([10, 100])
    assert np.isnan(shown[2])  # a variance of nothing has no place there
    assert canvas.axes[0].get_yscale() == "log"


def test_a_band_may_be_another_column():
    results = of(cell_results({"k": 1}, [[1, 2, 3]]))
    canvas = painted(Curves("c", "y", spread="width"), results)
    (band,) = canvas.axes[0].collections
    bounds = band.get_paths()[0].vertices[:, 1]
    assert (bounds.min(), bounds.max()) == (-1, 5)


def test_a_band_of_another_column_has_the_units_of_its_line(monkeypatch):
    results = of(cell_results({"k": 1}, [[0.1, 0.2, 0.3]]))
    monkeypatch.setattr("suite.results.figures.factor", lambda results, column: 100.0)
    (band,) = painted(Curves("c", "y", spread="width"), results).axes[0].collections
    bounds = band.get_paths()[0].vertices[:, 1]
    assert (bounds.min(), bounds.max()) == pytest.approx((10 - 200, 30 + 200))


@pytest.mark.parametrize("figure", [Curves("c", "y"), Bars("b")])
def test_a_panel_without_results_says_so(figure):
    figure = replace(figure, conditions=("k1",))
    done = [("s", 1), ("t", 2)]  # both tasks have begun, k 1 of one only
    cells = [
        cell_results({"env": env, "k": k}, [[1, 2, 3]] if (env, k) in done else [])
        for env in ("s", "t")
        for k in (1, 2)
    ]
    panels = painted(figure, of(*cells, tasks="env")).axes
    texts = [[t.get_text() for t in each.texts] for each in panels]
    assert texts == [[], ["not run"]]


@pytest.mark.parametrize("figure", [Curves("c", "y"), Bars("b")])
def test_what_has_not_begun_gets_no_panel(figure):
    cells = [
        cell_results(
            {"algo": algo, "env": env, "k": 1},
            [[1, 2, 3]] if (algo, env) == ("b", "s") else [],
        )
        for algo in ("a", "b")
        for env in ("s", "t")
    ]
    canvas = painted(figure, of(*cells, tasks="env", rivals="algo"))
    (panel,) = canvas.axes
    assert panel.get_title(loc="left").endswith("s") and not panel.texts


def test_a_panel_of_the_value_0_says_so():
    cells = [cell_results({"b": b, "k": 1}, [[1, 2, 3]]) for b in (0, 1)]
    canvas = painted(Curves("c", "y"), of(*cells, tasks="b"))
    assert [panel.get_title(loc="left") for panel in canvas.axes] == ["0", "1"]


def test_bars_are_means_with_their_seeds():
    canvas = painted(Bars("b"))
    first, second = canvas.axes
    assert [panel.get_title(loc="left") for panel in (first, second)] == ["s", "t"]
    assert [bar.get_height() for bar in first.patches] == [5, 2, 5, 2]
    dots = [c.get_offsets() for c in first.collections if len(c.get_offsets()) == 3]
    assert [sorted(each[:, 1].tolist()) for each in dots[:2]] == [[3, 5, 7], [1, 2, 3]]
    assert [t.get_text() for t in first.get_xticklabels()] == ["clean", "k30"]
    assert [t.get_text() for t in canvas.legends[0].texts] == ["Algo A", "b"]


def test_a_comparison_shows_means_over_tasks_and_who_wins():
    canvas = painted(Comparison("d"))
    left, right = canvas.axes
    shown = [
        line.get_xdata().tolist() for line in left.lines if line.get_marker() == "o"
    ]
    # 3 5 7 on two tasks, a quarter off each end: 3 5 5 7; 1 2 3: 1 2 2 3.
    assert shown == [[5], [2]]
    assert left.get_xlabel() == "IQM of normalized_return (points)"
    wins = [
        line.get_xdata().tolist() for line in right.lines if line.get_marker() == "^"
    ]
    assert wins == [[0.5], [0.5]]  # they are the same
    assert "Algo A beats b" in [t.get_text() for t in canvas.legends[0].texts]


def test_only_the_conditions_that_are_asked_for_are_shown_in_their_order():
    canvas = painted(Bars("b", ("k30", "k0")))
    assert [bar.get_height() for bar in canvas.axes[0].patches] == [2, 5, 2, 5]
    assert set(lines(painted(Curves("c", "y", conditions=("k30",))))) == {"k30"}


def test_kinds_of_conditions_have_a_colour_and_amounts_dashes():
    names = ("k0", "k30", "k60", "random30", "random60")
    grid = of(
        *(cell_results({"c": name}, [[1, 2, 3]]) for name in names), baseline="k0"
    )
    looks = {name: look(grid, name) for name in names}
    assert looks["k0"].color == INK
    assert looks["k30"].dashes == looks["random30"].dashes != looks["k60"].dashes
    assert len({each.color for each in looks.values()}) == 5


@pytest.mark.parametrize(
    "results",
    [
        of(cell_results({"k": 1}, [[1, 2, 3]])),
        of(cell_results({"k": 1}, [[float("nan")] * 3, [1, 1, 1]])),
        of(cell_results({"k": 1}, [[5, 5, 5]] * 3), cell_results({"k": 2}, [])),
        of(
            cell_results({"e": "s", "k": 1}, [[1, 2, 3]]),
            cell_results({"e": "t", "k": 2}, [[1, 2, 3]]),
            tasks="e",
        ),
        of(
            *(
                cell_results({"k": f"a-long-name-of-it-{i}"}, [[-1, 0, i]] * 2)
                for i in range(12)
            )
        ),
    ],
    ids=["one seed", "nan", "unfinished", "sparse", "many"],
)
def test_whatever_there_is_can_be_drawn(results, tmp_path):
    figures = (Curves("c", "y"), Curves("l", "y", is_log=True), Bars("b"))
    for figure in figures:
        path = draw(figure, results, tmp_path)
        assert path and path.read_bytes().startswith(b"\x89PNG")


def test_what_is_not_there_is_left_out(tmp_path):
    nothing = of(cell_results({"k": 1}, []))
    for figure in (Curves("c", "y"), Bars("b"), Comparison("d")):
        assert draw(figure, nothing, tmp_path / "none") is None
    assert draw(Curves("c", "absent"), PAIRED, tmp_path / "none") is None
    unknown = of(cell_results({"k": 1}, [[float("nan")] * 3] * 2))
    assert draw(Curves("c", "y"), unknown, tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def test_the_same_results_give_the_same_bytes(tmp_path):
    one, other = (draw(Bars("b"), replace(PAIRED), tmp_path / n) for n in "ab")
    assert one and other and one.read_bytes() == other.read_bytes()


# ------------------------------------------------------------------------- far starts
def limits(
    *first: float, points: int = 3, others: Sequence[float] = (8.0,)
) -> tuple[float, float]:
    """Of an axis with a line for each start, all of which go on from 2 to 4."""
    axes = Canvas().add_subplot()
    spans = []
    for start in first:
        middle = np.array([start, *np.linspace(2.0, 4.0, points)])
        axes.plot(middle)
        spans.append(Span(np.arange(points + 1), middle - 1, middle + 1))
    leave_out_far_start(axes, spans, others)
    return axes.get_ylim()


def test_a_start_far_from_all_that_follows_is_left_out_of_the_axis():
    # What follows lies from 1 to 8; two of its heights below is -13, above 22.
    cut = pytest.approx((1 - 0.25 * 7, 8 + 0.15 * 7))
    assert limits(-14.1) == cut
    assert limits(23.1) == cut
    assert limits(-14.1, -20.0) == cut
    assert limits(-13.9)[0] < -13.9
    assert limits(22.9)[1] > 22.9


def test_a_start_stays_in_the_axis_if_another_line_begins_near_or_ends_soon():
    assert limits(-100.0, 2.0)[0] < -100.0
    assert limits(-100.0, points=2)[0] < -100.0


def test_a_start_stays_in_the_axis_with_what_lies_as_low():
    assert limits(-100.0, others=[8.0, -100.0])[0] < -100.0


def test_a_start_stays_in_the_axis_if_all_that_follows_is_one_number():
    axes, line = Canvas().add_subplot(), np.array([0.0, 1.0, 1.0, 1.0])
    axes.plot(line)
    leave_out_far_start(axes, [Span(np.arange(4), line, line)])
    assert axes.get_ylim()[0] < 0.0
