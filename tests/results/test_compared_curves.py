"""What is compared is drawn in one panel, to the end of the shortest."""

from __future__ import annotations

import numpy as np
import pytest
from test_figures import PAIRED, cell_results, lines, of, painted

from suite.parts import ConfigError
from suite.results.compared_curves import draw_compared, side_by_side
from suite.results.figures import Curves


def test_lines_end_where_the_shortest_does():
    long = cell_results({"k": 0}, [[1, 2, 3], [3, 4, 5]])
    short = cell_results({"k": 30}, [[5, 6, 7], [7, 8]])
    drawn = lines(painted(Curves("x", "y"), side_by_side(of(long, short), (), "y")))
    np.testing.assert_array_equal(drawn["k0"], [2, 3])
    np.testing.assert_array_equal(drawn["k30"], [6, 7])


def test_cells_of_several_tasks_and_rivals_share_one_panel():
    canvas = painted(Curves("x", "y"), side_by_side(PAIRED, ("b-t-k30", "a-s-k0"), "y"))
    assert len(canvas.axes) == 1
    drawn = lines(canvas)
    assert list(drawn) == ["b-t-k30", "a-s-k0"]
    np.testing.assert_allclose(drawn["a-s-k0"], [1, 3, 5])


def test_a_figure_is_a_png(tmp_path):
    path = draw_compared(PAIRED, ("a-s-k0",), tmp_path / "one.png", column="y")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match=r"\.png, got .*one\.pdf"):
        draw_compared(PAIRED, ("a-s-k0",), tmp_path / "one.pdf", column="y")
