"""What a run shows on the way: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.progress import TimeElapsedColumn as ElapsedColumn

if TYPE_CHECKING:
    from suite.runs import Progress as RunProgress


class Screen:
    """Shows the progress of runs on stderr; use it as a context manager.

    Args:
        metric: The number of an evaluation to show.
    """

    def __init__(self, metric: str):
        self.metric = metric
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[story]}"),
            ElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[int, Any] = {}
        self._success = 0.0
        self._sim_steps = 0  # before the update that is shown

    def __enter__(self) -> Screen:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        reason: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(line, soft_wrap=True, markup=False)

    def show(self, progress: RunProgress) -> None:
        """Take in a moment of a run; an iteration is an evaluation and an update."""
        if progress.seed not in self._tasks:
            self._tasks[progress.seed] = self._bar.add_task(
                f"seed {progress.seed}", total=progress.total_updates or 1, story=""
            )
            self._sim_steps = 0
        is_end = progress.updates >= progress.total_updates
        if progress.evaluation is not None:
            self._success = progress.evaluation[self.metric]
        story = self._story(progress, is_end)
        if progress.metrics is not None or (is_end and progress.evaluation is not None):
            self.say(f"seed {progress.seed}  {story}")
        self._sim_steps = progress.sim_steps
        self._bar.update(
            self._tasks[progress.seed], completed=progress.updates, story=story
        )

    def _story(self, progress: RunProgress, is_end: bool) -> str:
        words = [f"{progress.timesteps:,} steps", f"success {self._success:.1%}"]
        if progress.metrics is not None:
            metrics = progress.metrics
            words.insert(0, f"iteration {progress.updates}/{progress.total_updates}")
            simulating = sum(
                metrics.get(f"time/{phase}_seconds", 0.0)
                for phase in ("rollout", "advantage")
            )
            if simulating > 0:
                rate = (progress.sim_steps - self._sim_steps) / simulating
                words.append(f"{rate:,.0f} simulator steps/s")
            left = progress.total_updates - progress.updates
            minutes, seconds = divmod(
                round(progress.seconds / progress.updates * left), 60
            )
            words.append(f"ETA {minutes}:{seconds:02}")
        else:
            words.insert(0, "end" if is_end else f"iteration {progress.updates + 1}")
        return "  ".join(words)
