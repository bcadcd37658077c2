"""What the policies that a run kept are worth, played again beside each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.benchmark import Benchmark
from suite.envs.arguments import require_positive
from suite.parts import ConfigError, build, resolve
from suite.results.units import unit
from suite.storage import read_json

LAST = 10  # policies whose mean says how stable a training was


@dataclass(frozen=True)
class Scored:
    """One kept policy.

    Attributes:
        updates: After how many it was kept; -1 is the last one.
        scores: What the evaluation found.
    """

    updates: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Stability:
    """The best of some policies beside the mean of the last ten, or of all if fewer."""

    peak: float
    last: float


def scored(
    home: Path, *, key: int = 0, settings: Mapping[str, Any] | None = None
) -> Iterator[Scored]:
    """Evaluate every policy that a seed kept, all in the same episodes.

    Use it on runs whose benchmark says ``checkpoint_at``. A training's own evaluations
    play other episodes each time; these differ by the policy alone. The specification
    names the Python that it calls: give only folders that you trust.

    Args:
        home: The seed's folder.
        key: Which episodes.
        settings: Changes of the specification, such as ``evaluation.episodes``.

    Raises:
        ConfigError: If there is no policy.
        IntegrityError: If one is damaged.
    """
    folders = _kept(home)
    if not folders:
        raise ConfigError(
            f"there is no policy in {home}; give the folder of a seed that has "
            "finished, or whose benchmark has checkpoint_at"
        )
    spec = Benchmark.from_json(read_json(home / "spec.json"))
    spec = spec.with_settings(settings or {})
    available = {"make_env": spec.make_env, "seed": 0, "device": "cpu", "threads": 1}
    evaluation = build(spec.evaluation, available)
    for updates, folder in folders:
        policy = resolve("suite.agents.policies:load_policy")(folder)
        yield Scored(updates, evaluation(policy, key))


def stability(values: list[float], metric: str) -> Stability:
    """Of a metric of policies in their order.

    Raises:
        ValueError: If there is none.
    """
    require_positive("the number of values", len(values))
    last = values[-LAST:]
    return Stability(unit(metric).best(values), math.fsum(last) / len(last))


def _kept(home: Path) -> list[tuple[int, Path]]:
    """The policies of a seed in the order of their training."""
    folder = home / "policies"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    numbers = sorted(int(name) for name in names if name.isdecimal())
    found = [(number, folder / str(number)) for number in numbers]
    final = home / "policy"
    return [*found, (-1, final)] if final.is_dir() else found
