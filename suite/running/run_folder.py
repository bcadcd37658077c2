"""Run folders: where the results of a benchmark lie, and what they add up to."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from suite.benchmark import Benchmark, Reference
from suite.checkpoints import Checkpoints
from suite.evaluation import mean_interval, mean_of_last
from suite.parts import ConfigError
from suite.results.columns import no_column, rows_with
from suite.results.units import Unit, unit
from suite.storage import IntegrityError, read_json, read_table

_COUNTED = ("iteration", "updates", "timesteps", "sim_steps")  # what tells a row

RESULT_SCHEMA = 2  # 1 had wall-clock values in the result itself


class RunBusy(OSError):
    """Another process is writing into this run folder."""


class RunFolder:
    """The folder of one benchmark with one set of settings, all its seeds inside.

    Args:
        path: ``runs/<benchmark>/<label>-<digest>``.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)

    @classmethod
    def of(cls, spec: Benchmark, out: str | os.PathLike[str]) -> RunFolder:
        """Where a benchmark's runs lie below an output folder."""
        return cls(Path(out) / spec.name / f"{spec.label}-{spec.digest[:8]}")

    def seed(self, seed: int) -> Path:
        """The folder of one seed."""
        return self.path / f"seed-{seed}"

    def seeds(self) -> list[int]:
        """Seeds that were started."""
        found = [path.parent.name for path in self.path.glob("seed-*/spec.json")]
        return sorted(int(name.removeprefix("seed-")) for name in found)

    def result(self, seed: int) -> dict[str, Any] | None:
        """The result of a finished seed, None if it is not finished."""
        path = self.seed(seed) / "result.json"
        if not path.exists():
            return None
        try:
            result = read_json(path)
        except IntegrityError as reason:
            raise IntegrityError(
                f"{reason}; remove {path.parent} to run the seed again"
            ) from None
        if not isinstance(result, dict) or result.get("schema") != RESULT_SCHEMA:
            raise IntegrityError(
                f"{path} is not a result of schema {RESULT_SCHEMA}, which this version "
                "reads; run the seed again with --fresh"
            )
        return result

    def origin(self, seed: int) -> dict[str, Any]:
        """What a seed was started with: command, device, versions, processor.

        Raises:
            IntegrityError: If it is missing or damaged.
        """
        path = self.seed(seed) / "origin.json"
        origin = read_json(path) if path.exists() else None
        keys = {"command", "device", "versions", "git_commit", "processor"}
        if not isinstance(origin, dict) or set(origin) != keys:
            raise IntegrityError(f"{path} is missing or damaged")
        return origin

    def saved(self, seed: int) -> int | None:
        """After how many updates an unfinished seed can go on, None if it cannot."""
        return max(Checkpoints(self.seed(seed) / "checkpoints").numbers(), default=None)

    def seconds(self, seed: int) -> float:
        """How long a finished seed took, interruptions left out.

        Raises:
            IntegrityError: If its timing.json is damaged.
        """
        path = self.seed(seed) / "timing.json"
        try:
            return float(read_json(path)["seconds"]["total"])
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            raise IntegrityError(f"{path} is missing or damaged") from None

    @contextlib.contextmanager
    def locked(self, seed: int) -> Iterator[None]:
        """Hold the right to write into a seed's folder; the system frees it if we die.

        Raises:
            RunBusy: If another process has it.
        """
        home = self.seed(seed)
        home.parent.mkdir(parents=True, exist_ok=True)
        with (home.parent / f".{home.name}.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunBusy(
                    f"another run is writing into {home}; wait for it or "
                    "choose another --out"
                ) from None
            yield

    def is_busy(self, seed: int) -> bool:
        """Whether another process is writing into a seed's folder."""
        try:
            with self.locked(seed):
                return False
        except RunBusy:
            return True

    def spec(self, seed: int | None = None) -> Benchmark:
        """What was run here, by a seed or by the first.

        Raises:
            ConfigError: If nothing was.
            IntegrityError: If the specification is not JSON.
        """
        seeds = self.seeds() if seed is None else [seed]
        if not seeds or not (self.seed(seeds[0]) / "spec.json").exists():
            raise ConfigError(
                f"there are no runs in {self.path}; give a folder such as "
                "runs/pickcube-awr/default-1a2b3c4d"
            )
        return Benchmark.from_json(read_json(self.seed(seeds[0]) / "spec.json"))

    def evaluations(self, seed: int) -> list[dict[str, float]]:
        """The rows of a seed's eval.csv so far."""
        return self._table(seed, "eval.csv")

    def column(self, seed: int, name: str) -> list[dict[str, float]]:
        """A column of a seed's eval.csv or metrics.csv, with the steps behind it.

        Rows without a number are left out, as before the first episode's end.

        Raises:
            ConfigError: If there are rows, and none has it, or if rows are told by it.
        """
        if name in _COUNTED:
            raise ConfigError(
                f"{name} is what rows are told by; choose another column, such as "
                "return_mean or train/return_mean"
            )
        tables = [self._table(seed, file) for file in ("eval.csv", "metrics.csv")]
        rows = rows_with(tables, name)
        if not rows and any(tables):  # else it has just begun
            raise no_column(tables, name)
        known = [row for row in rows if not math.isnan(row[name])]
        if rows and not known:
            raise ConfigError(f"{name} has no number in seed {seed} of {self.path}")
        return [{key: row[key] for key in (*_COUNTED, name)} for row in known]

    def _table(self, seed: int, file: str) -> list[dict[str, float]]:
        path = self.seed(seed) / file
        return read_table(path) if path.exists() else []


def summary(folder: RunFolder, column: str = "") -> dict[str, Any]:
    """A run folder as numbers, plain JSON: what tables and pictures are made of.

    Args:
        folder: Of the run.
        column: Of eval.csv or metrics.csv; the metric if empty. What is compared with
            the metric, the reference and the baselines, is left out beside another.

    Returns:
        ``steps``: what is counted, where that is not environment steps; ``rows``: one
        for each iteration that was evaluated, with the reference's number
        beside the mean over seeds; ``final``, ``mean_of_last_3`` and ``peak`` (biased:
        the best of many noisy numbers) of the finished seeds; ``curves``: (steps,
        metric) of each seed; costs as means over the finished seeds.

    Raises:
        ConfigError: If there are no runs, or none has the column.
        IntegrityError: If a file is damaged.
    """
    spec, seeds = folder.spec(), folder.seeds()
    is_metric = column in ("", spec.metric)
    if not is_metric:
        spec = replace(spec, metric=column, reference=None, baselines={})
    results = {seed: folder.result(seed) for seed in seeds}
    done = [result for result in results.values() if result is not None]
    tables = {
        seed: folder.evaluations(seed) if is_metric else folder.column(seed, column)
        for seed in seeds
    }
    ends = {result["updates"] + 1 for result in done}
    rows = _rows(tables, ends, spec)
    return {
        "benchmark": spec.name,
        "run": folder.path.name,
        "folder": str(folder.path),
        "metric": spec.metric,
        **({} if spec.data is None else {"steps": spec.steps}),
        "seeds": seeds,
        "unfinished": [seed for seed in seeds if results[seed] is None],
        "reference": None if spec.reference is None else spec.reference.source,
        "baselines": dict(spec.baselines),
        "rows": rows,
        **_totals([tables[s] for s in seeds if results[s] is not None], rows, spec),
        "timesteps": _mean([result["timesteps"] for result in done]),
        "sim_steps": _mean([result["sim_steps"] for result in done]),
        "seconds": _mean([folder.seconds(s) for s in seeds if results[s] is not None]),
        "curves": {
            str(seed): [[row["timesteps"], row[spec.metric]] for row in table]
            for seed, table in tables.items()
        },
        "reference_curve": [
            [steps, value] for _, steps, value in _reference_rows(spec.reference)
        ],
    }


def unit_of(found: dict[str, Any]) -> Unit:
    """The unit that a summary's numbers are shown in."""
    metric = found["metric"]
    return unit(metric, [row[metric]["mean"] for row in found["rows"]])


def _rows(
    tables: dict[int, list[dict[str, float]]],
    ends: set[int],
    spec: Benchmark,
) -> list[dict[str, Any]]:
    by_iteration: dict[int, list[dict[str, float]]] = {}
    for table in tables.values():
        for row in table:
            by_iteration.setdefault(int(row["iteration"]), []).append(row)
    published = {row[:2]: row[2] for row in _reference_rows(spec.reference)}
    rows = []
    for iteration, found in sorted(by_iteration.items()):
        means = {name: _mean([row[name] for row in found]) for name in found[0]}
        rows.append(
            {
                **means,
                "iteration": iteration,
                "updates": iteration - 1,
                "is_end": iteration in ends,
                # Beside each other only where as many steps lie behind both.
                "reference": published.get((iteration, int(found[0]["timesteps"]))),
                spec.metric: _spread([row[spec.metric] for row in found]),
            }
        )
    return rows


def _reference_rows(reference: Reference | None) -> tuple[tuple[int, int, float], ...]:
    return () if reference is None else reference.rows


def _totals(
    tables: list[list[dict[str, float]]], rows: list[dict[str, Any]], spec: Benchmark
) -> dict[str, dict[str, Any]]:
    """Final, mean of the last three and peak of the finished seeds.

    Where we got as far as the reference, they are over its iterations only: ours has
    one evaluation more, after the last update, which would favour us.
    """
    published = [value for _, _, value in _reference_rows(spec.reference)]
    reached = [row["iteration"] for row in rows if row["reference"] is not None]
    is_comparable = len(published) > 2 and len(reached) == len(published)
    last = reached[-1] if is_comparable else float("inf")
    curves = [
        [row[spec.metric] for row in table if row["iteration"] <= last]
        for table in tables
    ]
    # metrics.csv begins with the first update, eval.csv before it.
    is_trained = any(row["updates"] > 0 for table in tables for row in table[:1])
    totals = {}
    for key, of in {
        "final": lambda values: values[-1],
        "mean_of_last_3": partial(mean_of_last, untrained=0 if is_trained else 1),
        "peak": unit(spec.metric).best,
    }.items():
        reference = of(published) if is_comparable else None
        totals[key] = {**_spread([of(c) for c in curves]), "reference": reference}
    return totals


def _spread(values: list[float]) -> dict[str, Any]:
    if not values:
        return {"mean": None, "low": None, "high": None, "seeds": 0}
    found = mean_interval(values)
    return {
        "mean": found.value,
        "low": found.low,
        "high": found.high,
        "seeds": len(values),
    }


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
