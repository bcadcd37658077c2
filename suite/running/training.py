"""One seed under way: what a run does between its start and its result."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.arrays import NotRestorable
from suite.benchmark import Benchmark
from suite.checkpoints import Checkpoints, Found, Learner, ModelBased, pack
from suite.datasets import build_dataset
from suite.evaluation import mean_of_last, require_finite
from suite.parts import ConfigError, build, resolve
from suite.results.details import Detailed, write_details
from suite.results.series import Recording, write_series
from suite.results.units import unit
from suite.running.artefacts import Artefact, located
from suite.running.process import env_seed, random_state, seed_globals, set_random_state
from suite.running.run_folder import RESULT_SCHEMA
from suite.storage import IntegrityError, Table, write_json
from suite.transitions import Dataset

log = logging.getLogger("suite.runs")
TABLES = ("metrics", "eval", "timing")
# A checkpoint is written after every update unless that takes long: then so seldom that
# it takes a twentieth of the time.
LONG = 1.0  # s
SELDOM = 20


@dataclass(frozen=True)
class Progress:
    """A moment of a run, for whoever watches.

    Attributes:
        seed: The run's seed.
        updates: Updates so far.
        total_updates: Updates to come in all.
        timesteps: Environment steps collected.
        sim_steps: Simulator steps, the estimator's included.
        seconds: Of work since the start, interruptions left out.
        evaluation: What the evaluation found, or None.
        metrics: What the update logged, or None.
        note: A sentence that the user should read, or None.
    """

    seed: int
    updates: int
    total_updates: int
    timesteps: int
    sim_steps: int
    seconds: float
    evaluation: dict[str, float] | None = None
    metrics: dict[str, float] | None = None
    note: str | None = None


@dataclass(frozen=True)
class Origin:
    """What a run was started with; its result states it, however often it stopped.

    Attributes:
        command: What the user typed.
        device: ``"cpu"`` or ``"cuda"``.
        provenance: Versions, commit and processor.
    """

    command: str
    device: str
    provenance: dict[str, Any]


class Training:
    """One seed of a benchmark, from the start or from a checkpoint.

    Args:
        spec: What to run.
        home: The seed's folder.
        seed: Of everything random.
        threads: Threads that simulate.
        origin: What it was started with.
        found: The checkpoint to go on from, or None.
        needed: Results of other runs that the specification names.

    Raises:
        ConfigError: If the specification cannot be built.
        IntegrityError: If the checkpoint is of something else.
    """

    def __init__(
        self,
        spec: Benchmark,
        home: Path,
        seed: int,
        threads: int,
        origin: Origin,
        found: Found | None = None,
        needed: Sequence[Artefact] = (),
    ):
        self.spec, self.home, self.seed = spec, home, seed
        self.needed = needed
        parts = located(spec, needed)
        self.origin = origin
        self.started, self.cpu_started = time.perf_counter(), time.process_time()
        self.written_at, self.write_seconds = self.started, 0.0  # the last checkpoint
        self.checkpoints = Checkpoints(home / "checkpoints")
        seed_globals(seed)
        available = {
            "make_env": spec.make_env,
            "seed": seed,
            "device": origin.device,
            "threads": threads,
        }
        parts.check_data()
        self.data: dict[str, Any] | None = None  # which it was; the rest is not kept
        if parts.data is not None:
            data = available["data"] = build_dataset(parts.data, seed=seed)
            self.data = _identity(data)
        env = spec.make_env(spec.env.num_envs, "same_step", num_threads=threads)
        self.agent = build(parts.agent, available, env=env)
        if hasattr(self.agent, "env"):  # what learns from data alone acts in none
            self.agent.env.seed(env_seed(seed))
        self.product = "policy" if hasattr(self.agent, "policy") else "model"
        if self.product == "policy":
            # What cannot be saved at the end is refused before the start.
            resolve("suite.agents.policies:architecture")(self.agent.policy)
        self.evaluation = build(parts.evaluation, available)
        self.updates = 0
        self.evaluations: list[dict[str, float]] = []
        self.phases: dict[str, float] = {}  # seconds
        self.resumed_with: list[dict[str, Any]] = []  # provenances unlike the origin's
        if found is None:
            self.tables = {name: Table(home / f"{name}.csv") for name in TABLES}
            if parts.start is not None:
                self._start_from(parts.start)
        else:
            self._load(found)
        self.unsaved = self._why_unsaved()

    @property
    def trained(self) -> Any:
        """What is evaluated and kept: the agent's policy, or the model of a fit."""
        return getattr(self.agent, self.product)

    def _start_from(self, start: str) -> None:
        policy = resolve("suite.agents.policies:load_policy")(start, self.origin.device)
        if hasattr(self.agent, "start_from"):
            self.agent.start_from(policy)
        else:  # the critic stays as it was initialised: "reset" in the log's words
            resolve("suite.agents.policies:copy_actor")(policy, self.agent.policy)

    # -------------------------------------------------------------- checkpoints
    def _why_unsaved(self) -> str | None:
        """Why there will be no checkpoints, or None if there will."""
        if not isinstance(self.agent, Learner):
            return f"{type(self.agent).__name__} has no state and load_state"
        try:
            pack(self.agent.state())
        except NotRestorable as reason:
            return str(reason)
        return None

    def _checkpoint(self) -> None:
        started, lasts = time.perf_counter(), self.write_seconds
        is_early = started - self.written_at < SELDOM * lasts
        if self.unsaved is not None or (lasts > LONG and is_early):
            return
        tree = {
            "learner": self.agent.state(),
            "random": random_state(),
            "evaluations": self.evaluations,
            "tables": {name: table.text for name, table in self.tables.items()},
            "clock": {
                "seconds": self._seconds(),
                "cpu_seconds": self._cpu_seconds(),
                "phases": self.phases,
            },
            "resumed_with": self.resumed_with,
        }
        self.checkpoints.save(self.updates, tree)
        self.written_at = time.perf_counter()
        self.write_seconds = self.written_at - started
        self._time({"checkpoint": self.write_seconds})

    def _load(self, found: Found) -> None:
        tree = found.tree
        try:
            self.updates = tree["updates"]
            self.agent.load_state(tree["learner"])
            self.evaluations = [dict(row) for row in tree["evaluations"]]
            self.started -= tree["clock"]["seconds"]
            # Runs from before this was counted know nothing of it.
            self.cpu_started -= tree["clock"].get("cpu_seconds", 0.0)
            self.phases = dict(tree["clock"]["phases"])
            self.resumed_with = list(tree["resumed_with"])
            texts = {name: tree["tables"][name] for name in TABLES}
            self.tables = {n: Table(self.home / f"{n}.csv", texts[n]) for n in TABLES}
            # Last, since all that was built above drew from these generators.
            set_random_state(tree["random"])
        except (IntegrityError, *_MISFITS) as reason:
            raise IntegrityError(
                f"{found.path} is not of this benchmark: {reason}; start over with "
                "--fresh"
            ) from reason

    # --------------------------------------------------------------------- loop
    def train(self) -> Iterator[Progress]:
        """Evaluate before each update, and once more after the last."""
        iterations = self.agent.iterate(self.spec.total_timesteps)
        while True:
            require_finite(self.trained)
            is_due = self.updates % self.spec.every == 0
            if is_due:
                yield self._evaluate()
            if self.updates in self.spec.checkpoint_at:
                kept = {"policy": "policies", "model": "models"}[self.product]
                self._save(self.home / kept / str(self.updates))
            metrics = self._update(iterations)
            if metrics is None:
                break
            self.updates += 1
            progress = self._record(metrics)
            self._checkpoint()
            yield progress
        if not is_due:
            yield self._evaluate()

    def _update(
        self, iterations: Iterator[dict[str, float]]
    ) -> dict[str, float] | None:
        try:
            return next(iterations, None)
        except (ValueError, RuntimeError):
            # Weights that ran away within an update surface deep inside torch, as a
            # page about a distribution: say what it is.
            require_finite(self.trained, largest=1e6)
            raise

    def _evaluate(self) -> Progress:
        started = time.perf_counter()
        found = self.evaluation(self.trained, self.updates)
        self._time({"evaluation": time.perf_counter() - started})
        if self.spec.metric not in found:
            raise ConfigError(
                f"the evaluation gives no {self.spec.metric!r}, the metric of "
                f"{self.spec.name}; it gives {', '.join(found)}"
            )
        # Plain numbers: a checkpoint holds no NumPy scalars.
        found = {k: v.item() if hasattr(v, "item") else v for k, v in found.items()}
        row = {**self._where(), **found}
        self.evaluations.append(row)
        self.tables["eval"].append(row)
        log.info("iteration %d: %s", self.updates + 1, found)
        return self.progress(evaluation=found)

    def _record(self, metrics: Mapping[str, float]) -> Progress:
        # Plain floats: an agent may log NumPy scalars, whose text depends on their
        # type.
        metrics = {name: float(value) for name, value in metrics.items()}
        steady = {k: v for k, v in metrics.items() if not k.startswith("time/")}
        where = {**self._where(), "iteration": self.updates}  # the one just finished
        self.tables["metrics"].append({**where, **steady})
        self._time(
            {
                name.removeprefix("time/").removesuffix("_seconds"): seconds
                for name, seconds in metrics.items()
                if name.startswith("time/") and name.endswith("_seconds")
            }
        )
        log.info("update %d done", self.updates)
        return self.progress(metrics=metrics)

    def _seconds(self) -> float:
        return time.perf_counter() - self.started

    def _cpu_seconds(self) -> float:
        """Of all threads: what else the machine does makes no difference to it."""
        return time.process_time() - self.cpu_started

    def _time(self, phases: Mapping[str, float]) -> None:
        row = {"updates": self.updates, "elapsed": self._seconds(), **phases}
        self.tables["timing"].append(row)
        for name, seconds in phases.items():
            self.phases[name] = self.phases.get(name, 0.0) + seconds

    def _where(self) -> dict[str, int]:
        agent = self.agent
        return {
            "iteration": self.updates + 1,
            "updates": self.updates,
            "timesteps": agent.num_timesteps,
            "sim_steps": agent.sim_steps,
        }

    def progress(self, **event: Any) -> Progress:
        """This moment, with an event of ``Progress``."""
        agent = self.agent
        return Progress(
            self.seed,
            self.updates,
            agent.planned_updates(self.spec.total_timesteps),
            agent.num_timesteps,
            agent.sim_steps,
            self._seconds(),
            **event,
        )

    # ---------------------------------------------------------------------- end
    def _save(self, folder: Path) -> None:
        last = self.evaluations[-1] if self.evaluations else None
        card = {
            "benchmark": self.spec.name,
            "digest": self.spec.digest,
            "seed": self.seed,
            **self._where(),
            "evaluation": last and _json_numbers(last),
            **self.origin.provenance,
        }
        if self.product == "policy":
            resolve("suite.agents.policies:save_policy")(self.trained, folder, card)
        else:
            self.trained.save(folder, card)

    def finish(self, timing: Mapping[str, Any]) -> None:
        """Keep policy or model and write the result, which marks the seed as done.

        Args:
            timing: What to keep beside the seconds: when, with how many threads.
        """
        self._save(self.home / self.product)
        if isinstance(self.agent, ModelBased):
            try:
                self.agent.save_model(self.home / "model")
            except ValueError as reason:  # of parts of somebody else's, say
                log.warning("the model is not kept: %s", reason)
        if isinstance(self.agent, Recording):
            write_series(self.home / "series.npz", self.agent.series())
        if isinstance(self.evaluation, Detailed):
            found = self.evaluation.details(self.trained)
            write_details(self.home / "details.npz", found)
        values = [row[self.spec.metric] for row in self.evaluations]
        best = unit(self.spec.metric).best
        peak = values.index(best(values))
        result = {
            "schema": RESULT_SCHEMA,
            "benchmark": self.spec.name,
            "digest": self.spec.digest,
            "seed": self.seed,
            "metric": self.spec.metric,
            "final": values[-1],
            "mean_of_last_3": mean_of_last(values),
            "peak": values[peak],
            "peak_iteration": self.evaluations[peak]["iteration"],
            "evaluation": _json_numbers(self.evaluations[-1]),
            **{
                key: self._where()[key] for key in ("updates", "timesteps", "sim_steps")
            },
            "command": self.origin.command,
            "device": self.origin.device,
            **self.origin.provenance,
            **({} if self.data is None else {"data": self.data}),
            **({"needed": [a.to_json() for a in self.needed]} if self.needed else {}),
            **({"resumed_with": self.resumed_with} if self.resumed_with else {}),
        }
        seconds = {"total": self._seconds(), **self.phases}
        told = {"seconds": seconds, "cpu_seconds": self._cpu_seconds(), **timing}
        write_json(self.home / "timing.json", told)
        write_json(self.home / "result.json", result)


def _json_numbers(row: Mapping[str, float]) -> dict[str, float | None]:
    """Numbers for strict JSON, which load_policy insists on and which has no NaN."""
    return {k: v if math.isfinite(v) else None for k, v in row.items()}


def _identity(data: Dataset) -> dict[str, Any]:
    """Which data it was, for the result; ``source`` is what it was made of."""
    parent = data.card.get("parent")
    return {
        "sha256": data.sha256,
        "transitions": len(data),
        "episodes": data.num_episodes,
        **({"source": parent["sha256"]} if parent else {}),
    }


# What code raises that is handed the checkpoint of another version of itself.
_MISFITS = (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError)
