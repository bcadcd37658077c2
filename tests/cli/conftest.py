from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from toys import TOY

from suite import benchmark
from suite_bench.main import main

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    """Call suite-bench in an empty folder in which the toy benchmark is known."""
    monkeypatch.setitem(benchmark._registered, "toy", TOY)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])
