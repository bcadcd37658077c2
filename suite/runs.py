"""Run folders, and the loop that fills them: seeds, threads, logs, results.

runs/<benchmark>/<label>-<digest>/seed-<n>/
    spec.json     the whole specification; ``suite-bench run spec.json`` reruns it
    metrics.csv   a row for each update
    eval.csv      a row for each evaluation; it precedes the update of its iteration
    timing.csv    wall-clock seconds, kept apart: the others repeat byte for byte
    run.log       what happened when
    policies/<n>/ the policy after n updates, where the benchmark asks for it
    policy/       the last policy
    result.json   written last: its presence means done
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import math
import shutil
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.benchmark import Benchmark
from suite.evaluation import require_finite
from suite.parts import ConfigError, build, resolve
from suite.process import (
    cores,
    env_seed,
    prepare_process,
    provenance,
    resolve_device,
    seed_globals,
)
from suite.run_folder import RunFolder as RunFolder
from suite.storage import IntegrityError as IntegrityError
from suite.storage import Table, write_json
from suite.storage import read_directory as read_directory
from suite.storage import write_directory as write_directory

log = logging.getLogger("suite.runs")


@dataclass(frozen=True)
class Progress:
    """A moment of a run, for whoever watches.

    Attributes:
        seed: The run's seed.
        updates: Updates so far.
        total_updates: Updates to come in all.
        timesteps: Environment steps collected.
        sim_steps: Simulator steps, the estimator's included.
        seconds: Since the start.
        evaluation: What the evaluation found, or None after an update.
        metrics: What the update logged, or None after an evaluation.
    """

    seed: int
    updates: int
    total_updates: int
    timesteps: int
    sim_steps: int
    seconds: float
    evaluation: dict[str, float] | None = None
    metrics: dict[str, float] | None = None


def run_seed(
    spec: Benchmark,
    folder: RunFolder,
    seed: int,
    *,
    device: str = "auto",
    threads: int | None = None,
    command: str = "",
    fresh: bool = False,
) -> Generator[Progress, None, None]:
    """Run one seed of a benchmark into its folder; yields as it goes.

    A finished seed yields nothing. An unfinished one starts over.

    Args:
        spec: What to run.
        folder: Where, see ``RunFolder.of``.
        seed: Of everything random in the run.
        device: ``"auto"`` (CUDA if there is one), ``"cpu"`` or ``"cuda"``.
        threads: Threads that simulate; all cores if None. Results do not depend on it.
        command: What the user typed, for the record.
        fresh: Start over even if finished.

    Raises:
        RunBusy: If another process writes there.
        ConfigError: If the specification cannot be built.
        FloatingPointError: If the training diverged.
        IntegrityError: If the start policy is damaged.
        OSError: If the disk refuses.
    """
    home = folder.seed(seed)
    with folder.locked(seed):
        if folder.result(seed) is not None and not fresh:
            return
        if home.exists():
            shutil.rmtree(home)
        home.mkdir()
        write_json(home / "spec.json", spec.to_json())
        with _log_file(home / "run.log"):
            prepare_process()
            run = _Run(spec, home, seed, resolve_device(device), threads or cores())
            log.info("started: %s", command or "from Python")
            yield from run.train()
            run.finish(command)
            log.info("finished")


class _Run:
    """One seed under way."""

    def __init__(
        self, spec: Benchmark, home: Path, seed: int, device: str, threads: int
    ):
        self.spec, self.home, self.seed = spec, home, seed
        self.device, self.threads = device, threads
        self.started = time.perf_counter()
        self.started_at = datetime.datetime.now(datetime.UTC)
        seed_globals(seed)
        available = {
            "make_env": spec.make_env,
            "seed": seed,
            "device": device,
            "threads": threads,
        }
        env = spec.make_env(spec.env.num_envs, "same_step", num_threads=threads)
        self.agent = build(spec.agent, available, env=env)
        self.agent.env.seed(env_seed(seed))
        # What cannot be saved at the end is refused before the start.
        resolve("suite.agents.policies:architecture")(self.agent.policy)
        self.evaluation = build(spec.evaluation, available)
        self.updates = 0
        self.evaluations: list[dict[str, float]] = []
        self.phases: dict[str, float] = {}  # seconds
        self.tables = {
            n: Table(home / f"{n}.csv") for n in ("metrics", "eval", "timing")
        }
        if spec.start is not None:
            self._start_from(
                resolve("suite.agents.policies:load_policy")(spec.start, device)
            )

    def _start_from(self, policy: Any) -> None:
        if hasattr(self.agent, "start_from"):
            self.agent.start_from(policy)
        else:  # the critic stays as it was initialised: "reset" in the log's words
            resolve("suite.agents.policies:copy_actor")(policy, self.agent.policy)

    def train(self) -> Iterator[Progress]:
        """Evaluate before each update, and once more after the last."""
        iterations = self.agent.iterate(self.spec.total_timesteps)
        while True:
            require_finite(self.agent.policy)
            is_due = self.updates % self.spec.every == 0
            if is_due:
                yield self._evaluate()
            if self.updates in self.spec.checkpoint_at:
                self._save(self.home / "policies" / str(self.updates))
            metrics = self._update(iterations)
            if metrics is None:
                break
            self.updates += 1
            yield self._record(metrics)
        if not is_due:
            yield self._evaluate()

    def _update(
        self, iterations: Iterator[dict[str, float]]
    ) -> dict[str, float] | None:
        try:
            return next(iterations, None)
        except (ValueError, RuntimeError):
            # Weights that went to NaN within an update surface deep inside torch, as a
            # page about a distribution: say what it is.
            require_finite(self.agent.policy)
            raise

    def _evaluate(self) -> Progress:
        started = time.perf_counter()
        found = self.evaluation(self.agent.policy, self.updates)
        self._time({"evaluation": time.perf_counter() - started})
        if self.spec.metric not in found:
            raise ConfigError(
                f"the evaluation gives no {self.spec.metric!r}, the metric of "
                f"{self.spec.name}; it gives {', '.join(found)}"
            )
        row = {**self._where(), **found}
        self.evaluations.append(row)
        self.tables["eval"].append(row)
        log.info("iteration %d: %s", self.updates + 1, found)
        return self._progress(evaluation=found)

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
        return self._progress(metrics=metrics)

    def _time(self, phases: Mapping[str, float]) -> None:
        elapsed = time.perf_counter() - self.started
        row = {"updates": self.updates, "elapsed": elapsed, **phases}
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

    def _progress(self, **event: Any) -> Progress:
        agent, seconds = self.agent, time.perf_counter() - self.started
        batch = getattr(agent, "n_steps", 0) * self.spec.env.num_envs
        total = math.ceil(self.spec.total_timesteps / batch) if batch else self.updates
        return Progress(
            self.seed,
            self.updates,
            total,
            agent.num_timesteps,
            agent.sim_steps,
            seconds,
            **event,
        )

    def _save(self, folder: Path) -> None:
        card = {
            "benchmark": self.spec.name,
            "digest": self.spec.digest,
            "seed": self.seed,
            **self._where(),
            "evaluation": self.evaluations[-1] if self.evaluations else None,
            **provenance(),
        }
        resolve("suite.agents.policies:save_policy")(self.agent.policy, folder, card)

    def finish(self, command: str) -> None:
        """Keep the policy and write the result, which marks the seed as done."""
        self._save(self.home / "policy")
        values = [row[self.spec.metric] for row in self.evaluations]
        peak = max(range(len(values)), key=values.__getitem__)
        result = {
            "schema": 1,
            "benchmark": self.spec.name,
            "digest": self.spec.digest,
            "seed": self.seed,
            "metric": self.spec.metric,
            "final": values[-1],
            "mean_of_last_3": sum(values[-3:]) / len(values[-3:]),
            "peak": values[peak],
            "peak_iteration": self.evaluations[peak]["iteration"],
            **{
                key: self._where()[key] for key in ("updates", "timesteps", "sim_steps")
            },
            "seconds": {"total": time.perf_counter() - self.started, **self.phases},
            "started": self.started_at.isoformat(timespec="seconds"),
            "command": command,
            "device": self.device,
            "threads": self.threads,
            **provenance(),
        }
        write_json(self.home / "result.json", result)


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    root = logging.getLogger("suite")
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    except BaseException as reason:
        log.info("stopped: %s: %s", type(reason).__name__, reason)
        raise
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()
