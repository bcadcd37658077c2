"""What a run shows on the way: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from suite.results.units import unit
from suite_bench.errors import explained

if TYPE_CHECKING:
    from suite.benchmark import Benchmark
    from suite.running.jobs import Event, Job
    from suite.runs import Progress as RunProgress


class SeedScreen:
    """Shows the progress of a benchmark's seeds on stderr; use it as a context manager.

    Args:
        jobs: The seeds.
    """

    def __init__(self, jobs: Sequence[Job]):
        self._is_one = len(jobs) == 1
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[story]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._lines: dict[int, _Line] = {}
        self._tasks: dict[int, Any] = {}

    def __enter__(self) -> SeedScreen:
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(line, soft_wrap=True, markup=False)

    def take(self, event: Event) -> None:
        """Show what happened."""
        from suite.running.jobs import Failed, Moment, Started

        seed = event.job.seed
        if isinstance(event, Started):
            self._begin(event.job)
        elif isinstance(event, Moment):
            self._show(seed, event.progress)
        elif isinstance(event, Failed) and not self._is_one:
            self.say(f"seed {seed}  failed: {explained(event.reason).format_message()}")

    def _begin(self, job: Job) -> None:
        """The first evaluation takes a while."""
        seed = job.seed
        self._lines[seed] = _Line(job.spec)
        self._tasks[seed] = self._bar.add_task(
            f"seed {seed}", total=None, story="evaluating"
        )

    def _show(self, seed: int, progress: RunProgress) -> None:
        """A moment of a run; an iteration is an evaluation and an update."""
        line = self._lines[seed]
        told = line.take(progress)
        if told is not None:
            self.say(f"seed {seed}  {told}")
        self._bar.update(
            self._tasks[seed],
            total=progress.total_updates or 1,
            completed=progress.updates,
            story=line.story(progress, progress.timesteps),
        )


class _Line:
    """What is known of one seed."""

    def __init__(self, spec: Benchmark):
        self.metric = spec.metric
        self._baselines = spec.baselines
        self._told = tuple(spec.evaluation.kwargs.get("told", ()))
        self._found: dict[str, float] = {}  # by the last evaluation
        self._rate: float | None = None  # simulator steps/s of the last update
        self._steps = self._sim_steps = 0
        # Where this session began: a resumed seed has work of others behind it.
        self._begun: tuple[int, float] | None = None

    def take(self, progress: RunProgress) -> str | None:
        """Remember a moment; what to say of it, if anything."""
        if self._begun is None:
            self._begun = (progress.updates, progress.seconds)
            self._sim_steps = progress.sim_steps
        steps, self._steps = self._steps, progress.timesteps
        if progress.note is not None:
            return progress.note
        if progress.evaluation is not None:
            self._found = progress.evaluation
        if progress.metrics is not None:
            self._measure(progress, progress.metrics)
            # It was evaluated before its update, with so many steps behind.
            return f"iteration {self.story(progress, steps)}"
        if progress.updates >= progress.total_updates:
            return f"end  {progress.timesteps:,} steps  {self._shown_value()}"
        return None

    def _measure(self, progress: RunProgress, metrics: dict[str, float]) -> None:
        seconds = sum(
            metrics.get(f"time/{phase}_seconds", 0.0)
            for phase in ("rollout", "advantage")
        )
        if seconds > 0:
            self._rate = (progress.sim_steps - self._sim_steps) / seconds
        self._sim_steps = progress.sim_steps

    def _shown_value(self) -> str:
        """The metric, what the evaluation tells beside, and scores without learning."""
        name = "success" if self.metric.startswith("success") else self.metric
        value, shown = self._found.get(self.metric), unit(self.metric)
        words = [shown.named(name, value)]
        words += [
            unit(each).named(each, self._found[each])
            for each in self._told
            if each in self._found
        ]
        known = [f"{each} {shown.shown(v)}" for each, v in self._baselines.items()]
        return "  ".join([*words, *([f"({', '.join(known)})"] if known else [])])

    def story(self, progress: RunProgress, steps: int) -> str:
        """How far it is."""
        words = [
            f"{progress.updates}/{progress.total_updates}",
            f"{steps:,} steps",
            self._shown_value(),
        ]
        if self._rate is not None:
            words.append(f"{self._rate:,.0f} sim steps/s")
        updates, seconds = self._begun or (0, 0.0)
        if progress.updates > updates:
            done = progress.updates - updates
            left = progress.total_updates - progress.updates
            eta = round((progress.seconds - seconds) / done * left)
            words.append(f"ETA {eta // 60}:{eta % 60:02}")
        return "  ".join(words)
