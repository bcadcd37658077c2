"""Every Python block of the documentation runs as it stands."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from suite import benchmark
from suite.benchmark import get, names

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL), start=1
    )
]


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_python_block_of_the_documentation_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # What a block registers is for the block alone.
    monkeypatch.setattr(benchmark, "_registered", {n: get(n) for n in names()})
    module = ModuleType("documentation")  # dataclasses look theirs up
    monkeypatch.setitem(sys.modules, "documentation", module)
    # Not under this file's own `from __future__`: a block is what a reader types.
    code = compile(block, "documentation", "exec", dont_inherit=True)
    exec(code, vars(module))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    local = [link for link in links if not link.startswith(("http:", "https:"))]
    missing = [link for link in local if not (page.parent / link).exists()]
    assert not missing
