"""The ``suite-bench`` command: a group whose commands load when they are called."""

from __future__ import annotations

import importlib
from typing import Any

import click

from suite_bench.errors import explained

# Name -> where it is, what it does. Help and list must not wait for torch.
COMMANDS = {
    "list": ("suite_bench.catalogue:list_benchmarks", "Show the benchmarks."),
    "show": ("suite_bench.catalogue:show", "Show a benchmark and its settings."),
    "run": ("suite_bench.run:run", "Run a benchmark and print its table."),
    "resume": ("suite_bench.resume:resume", "Go on with a run that was stopped."),
    "sweep": ("suite_bench.sweep:sweep", "Run a grid of benchmarks."),
    "report": ("suite_bench.report:report", "Print the table of a run again."),
    "plot": ("suite_bench.plot:plot", "Draw the figures of a sweep again."),
    "compare": ("suite_bench.compare:compare", "Compare cells of a sweep, paired."),
    "predictions": (
        "suite_bench.predictions:predictions",
        "Draw what a run's model predicts.",
    ),
    "checkpoints": (
        "suite_bench.checkpoints:checkpoints",
        "Evaluate all policies that a seed kept.",
    ),
    "film": ("suite_bench.film:film", "Film a drive of a benchmark's driver."),
    "thin": ("suite_bench.thin:thin", "Copy the results of a sweep to be committed."),
    "models": ("suite_bench.models:models", "Show the sizes of latent world models."),
    "data": ("suite_bench.data:data", "Make, corrupt and check offline datasets."),
}
DEBUG = "suite_bench.debug"
ARGUMENTS = "suite_bench.arguments"


class LazyGroup(click.Group):
    """Commands by name, imported on use; failures as sentences with exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments as given: a result states the command it came from."""
        ctx.meta[ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command; without --debug no traceback leaves here."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:  # `| head` has enough: click ends quietly
            raise
        except (Exception, KeyboardInterrupt) as reason:
            if ctx.meta.get(DEBUG):
                raise
            raise explained(reason) from None


def _debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[DEBUG] = value


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="suite-bench")
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_debug,
    help="Show tracebacks of failures.",
)
def main() -> None:
    """Composable environments, agents and world models, and benchmarks of them.

    \b
    Examples:
      suite-bench list
      suite-bench show pickcube-awr
      suite-bench run pickcube-awr --scale quick
      suite-bench run pickcube-awr --seeds 0-2
      suite-bench resume runs/pickcube-awr/default-1a2b3c4d
      suite-bench run pickcube-awr --set agent.advantage.samples=5
      suite-bench sweep offline-corruption --scale smoke --jobs 2
      suite-bench data list

    Results go to stdout, everything else to stderr. Exit codes: 0 done, 2 wrong
    usage, 3 bad setting or data, 4 training diverged, 5 damaged file, 6 disk or
    resources, 130 interrupted, 143 terminated.
    """
