"""``resume``: go on with the unfinished seeds of a run folder."""

from __future__ import annotations

from pathlib import Path

import click

from suite_bench.options import jobs_option, json_option, threads_option


@click.command()
@click.argument("run", metavar="RUN_FOLDER", type=click.Path(path_type=Path))
@jobs_option
@threads_option
@json_option
def resume(run: Path, jobs: int, threads: int | None, as_json: bool) -> None:
    """Go on with a run that was stopped, and print its table.

    \b
    Examples:
      suite-bench resume runs/pickcube-awr/default-1a2b3c4d
      suite-bench resume runs/pickcube-awr/default-1a2b3c4d/seed-1
      suite-bench resume runs/pickcube-awr/default-1a2b3c4d --jobs 2

    Every seed in the folder that is not finished goes on after its last update, from
    its own spec.json and on the device it was begun on; one that has no update yet
    starts again. It ends with the same files, byte for byte, as if it had never been
    stopped. A specification names the Python that it calls: resume only what you
    trust.
    """
    from suite.data.named_data import require_data, strays
    from suite.parts import ConfigError
    from suite.running.jobs import Job
    from suite.running.process import prepare_process
    from suite.running.run_folder import RunFolder

    is_seed = run.name.startswith("seed-")
    folder = RunFolder(run.parent if is_seed else run)
    seeds = [seed for seed in folder.seeds() if not is_seed or folder.seed(seed) == run]
    if not seeds:
        raise ConfigError(
            f"there are no runs in {run}; give a folder such as "
            "runs/pickcube-awr/default-1a2b3c4d"
        )
    todo = [seed for seed in seeds if folder.result(seed) is None]
    prepare_process()  # before anything imports torch
    specs = {seed: folder.spec(seed) for seed in todo}
    for spec in specs.values():
        spec.check()
    require_data(specs.values())
    origins = {seed: folder.origin(seed) for seed in todo}
    remarks = [f"seed {seed} is finished already" for seed in seeds if seed not in todo]
    remarks += strays(specs.values()).values()
    from suite_bench.seeds import carry_out

    carry_out(
        [
            Job(folder.path, seed, specs[seed], began["device"], began["command"])
            for seed, began in origins.items()
        ],
        folder,
        remarks,
        jobs,
        threads,
        as_json,
    )
