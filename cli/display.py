"""What a run shows on the way: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

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
            BarColumn(bar_width=12),
            TextColumn("{task.fields[story]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: Any = None
        self._success = 0.0
        self._rate: float | None = None  # simulator steps/s of the last update
        self._steps = self._sim_steps = 0

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

    def begin(self, seed: int) -> None:
        """A seed starts; the first evaluation takes a while."""
        self._task = self._bar.add_task(f"seed {seed}", total=None, story="evaluating")
        self._steps = self._sim_steps = 0
        self._rate = None

    def show(self, progress: RunProgress) -> None:
        """Take in a moment of a run; an iteration is an evaluation and an update."""
        if progress.evaluation is not None:
            self._success = progress.evaluation[self.metric]
        if progress.metrics is not None:
            self._measure(progress, progress.metrics)
            self.say(
                f"seed {progress.seed}  iteration "
                # Its success was measured before its update, with so many steps behind.
                f"{self._story(progress, steps=self._steps)}"
            )
        elif progress.updates >= progress.total_updates:
            self.say(
                f"seed {progress.seed}  end  {progress.timesteps:,} steps  "
                f"success {self._success:.1%}"
            )
        self._bar.update(
            self._task,
            total=progress.total_updates or 1,
            completed=progress.updates,
            story=self._story(progress, steps=progress.timesteps),
        )
        self._steps = progress.timesteps

    def _measure(self, progress: RunProgress, metrics: dict[str, float]) -> None:
        seconds = sum(
            metrics.get(f"time/{phase}_seconds", 0.0)
            for phase in ("rollout", "advantage")
        )
        if seconds > 0:
            self._rate = (progress.sim_steps - self._sim_steps) / seconds
        self._sim_steps = progress.sim_steps

    def _story(self, progress: RunProgress, steps: int) -> str:
        words = [
            f"{progress.updates}/{progress.total_updates}",
            f"{steps:,} steps",
            f"success {self._success:.1%}",
        ]
        if self._rate is not None:
            words.append(f"{self._rate:,.0f} sim steps/s")
        if progress.updates:
            left = progress.total_updates - progress.updates
            seconds = round(progress.seconds / progress.updates * left)
            words.append(f"ETA {seconds // 60}:{seconds % 60:02}")
        return "  ".join(words)
