"""``data``: make, corrupt, check and look at offline datasets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from suite_bench.damage import collected, require_none
from suite_bench.data_new import corrupt, import_dataset, make
from suite_bench.options import json_option


@click.group()
def data() -> None:
    """Make, corrupt, check and look at offline datasets.

    A SOURCE is the id of a local Minari dataset, such as suite/hopper-medium-v0, or a
    file with the arrays of D4RL: .npz, .hdf5 or .h5. Datasets lie where Minari looks
    for them, in $MINARI_DATASETS_PATH or ~/.minari/datasets, and Minari reads them.

    \b
    Examples:
      suite-bench data list
      suite-bench data make suite/hopper-medium-20k-v0
      suite-bench data corrupt suite/hopper-medium-20k-v0 suite/hopper-k30-v0 \\
          --with "DropBestEpisodes percent=30"
      suite-bench data stats suite/hopper-k30-v0
      suite-bench data verify suite/hopper-k30-v0
    """


for command in (make, corrupt, import_dataset):
    data.add_command(command)


# ---------------------------------------------------------------------- what is there
@data.command("list")
@json_option
def list_datasets(as_json: bool) -> None:
    """Show the local datasets, and those that can be made.

    \b
    Examples:
      suite-bench data list
      suite-bench data list --json
    """
    from suite.data.minari_files import local_ids, metadata, root
    from suite.recipes import can_be_made, recipe, recipe_ids
    from suite.trajectories import trajectory_ids

    local = local_ids()
    rows, damaged = collected(lambda each: _row(each, metadata(each)), local)
    found = list(rows.values())
    recipes = [each for each in recipe_ids() if can_be_made(recipe(each))]
    recipes = [each for each in [*recipes, *trajectory_ids()] if each not in local]
    if as_json:
        told = {"local": found, "damaged": damaged, "recipes": recipes}
        click.echo(json.dumps(told, indent=2))
        require_none(damaged, len(local))
        return
    click.echo(f"in {root()}:")
    if not found:
        click.echo("  nothing yet")
    else:
        from suite_bench.data_tables import print_list

        print_list(found)
    click.echo("\ncan be made (suite-bench data make ID; smaller: -20k-v0 for -v0):")
    for each in recipes:
        click.echo(f"  {each}")
    require_none(damaged, len(local))


def _row(dataset_id: str, told: dict[str, Any]) -> dict[str, Any]:
    card = told.get("suite", {})
    return {
        "id": dataset_id,
        "transitions": told.get("total_steps"),
        "episodes": told.get("total_episodes"),
        "mean_return": card.get("returns", {}).get("mean"),
        "megabytes": told.get("dataset_size"),
        "corruptions": [each["kind"] for each in card.get("corruptions", ())],
        "ours": bool(card),
    }


@data.command()
@click.argument("source")
@json_option
def show(source: str, as_json: bool) -> None:
    """Show a dataset's card: what it is, how it was made, what was done to it.

    Nothing but the card is read; see `data verify` and `data stats` for the rest.

    \b
    Examples:
      suite-bench data show suite/hopper-medium-v0
      suite-bench data show suite/hopper-k30-v0 --json
    """
    from suite.data.dataset_files import is_file
    from suite.data.minari_files import metadata
    from suite.datasets import dataset_card

    card = dataset_card(source)
    if as_json:
        click.echo(json.dumps(card, indent=2))
        return
    from suite_bench.data_tables import print_card

    told = {} if is_file(source) else metadata(source)
    print_card(
        source, card, *(told.get(n, 0) for n in ("total_steps", "total_episodes"))
    )


# ---------------------------------------------------------------------- looked through
@data.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
@json_option
def verify(sources: Sequence[str], as_json: bool) -> None:
    """Read datasets whole and compare them with the hashes that were stored with them.

    Without a SOURCE, all local ones; one that is damaged stops no other, nor does one
    of others that cannot be read, such as one of pictures. A single flipped bit is
    found, in whatever file of a Minari dataset of ours; in an .npz wherever it changes
    a number or the card. Others' datasets carry no hashes: of those it is checked that
    they can be read and make sense.

    \b
    Examples:
      suite-bench data verify
      suite-bench data verify suite/hopper-medium-v0 mine.npz
    """
    from suite.data.minari_files import local_ids
    from suite.data.published import is_published
    from suite.datasets import verify as verified
    from suite_bench.data_tables import Bar

    names = list(sources or local_ids())
    unread: dict[str, str] = {}  # of others; who names one is told by an error
    with Bar("reading", len(names)) as bar:

        def checked(name: str) -> dict[str, Any]:
            bar.show(names.index(name))
            told = verified(name)
            told["published"] = is_published(name, told["sha256"])
            if not as_json:
                click.echo(_intact(name, told))
            return told

        found, damaged = collected(checked, names, None if sources else unread)
    if as_json:
        told = {**found, **{name: {"damaged": why} for name, why in damaged.items()}}
        told.update({name: {"unread": why} for name, why in unread.items()})
        click.echo(json.dumps(told, indent=2))
    for name, why in unread.items():
        click.echo(f"{name}  not checked: {why}", err=True)
    if not names:
        click.echo("there are no local datasets", err=True)
    require_none(damaged, len(names))


def _intact(name: str, told: dict[str, Any]) -> str:
    words = "intact" if told["recorded"] else "readable, no hash to compare with"
    published = {True: "  as published", False: "  not as published", None: ""}
    return (
        f"{name}  {words}  {told['transitions']:,} transitions, "
        f"{told['episodes']:,} episodes  sha256 {told['sha256'][:16]}"
        f"{published[told['published']]}"
    )


@data.command()
@click.argument("source")
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    help="Draw the histogram of returns there (.png, .pdf or .svg).",
)
@json_option
def stats(source: str, picture: Path | None, as_json: bool) -> None:
    """Show what is in a dataset: sizes, lengths, rewards, a histogram of returns.

    \b
    Examples:
      suite-bench data stats suite/hopper-medium-v0
      suite-bench data stats mine.npz --picture returns.png
    """
    from suite.data.cards import statistics
    from suite.datasets import load_dataset

    found = statistics(load_dataset(source))
    if picture is not None:
        from suite_bench.data_tables import draw_returns

        draw_returns(source, found["returns"], picture)
        found["picture"] = str(picture)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    from suite_bench.data_tables import print_statistics

    print_statistics(source, found)
