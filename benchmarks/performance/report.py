"""How a harness ends: a table of ratios beside their targets, then one line of JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from suite.running.process import provenance


def show(ratios: Mapping[str, float], targets: Mapping[str, float]) -> None:
    """Each ratio beside its target, if it has one, and whether that is met."""
    width = max(map(len, ratios))
    for name, ratio in ratios.items():
        target = targets.get(name)
        verdict = "" if target is None else "met" if ratio >= target else "MISSED"
        print(f"{name:{width}s} {ratio:8.3f}  target {target or '-'}  {verdict}")


def rounded(found: Mapping[str, Any], digits: int | None = None) -> dict[str, Any]:
    """Numbers by name, also in groups, to so many digits; whole ones by default."""
    return {
        name: rounded(value, digits)
        if isinstance(value, Mapping)
        else round(value, digits)
        for name, value in found.items()
    }


def finish(benchmark: str, **found: Any) -> None:
    """The JSON line: what was measured, with what, on which machine."""
    line = {"benchmark": benchmark, **found, **provenance(), "cores": os.cpu_count()}
    print(json.dumps(line))
