"""``data make``, ``corrupt`` and ``import``: the commands that store a new dataset."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from suite_bench.errors import WrongUse
from suite_bench.options import json_option

if TYPE_CHECKING:
    from suite.datasets import Dataset
    from suite.parts import Part

d4rl_option = click.option(
    "--d4rl-scale",
    is_flag=True,
    help="Note D4RL's reference returns on the card, so that Minari normalises by "
    "them; on v5 tasks they are a convention and nothing more.",
)


@click.command()
@click.argument("dataset_id", metavar="ID")
@d4rl_option
@json_option
def make(dataset_id: str, d4rl_scale: bool, as_json: bool) -> None:
    """Collect one of our own datasets; the same id gives the same bits.

    ID reads suite/ROBOT-QUALITY-v0 or, with a size in thousands of transitions,
    suite/ROBOT-QUALITY-20k-v0; `data list` shows which there are. Actions are sampled
    from packaged policies. suite/mushr-GAP[-test|-ood][-clean][-20k][-seed1]-v0 are
    trajectories of a car, for learning how it moves.

    \b
    Examples:
      suite-bench data make suite/hopper-medium-20k-v0
      suite-bench data make suite/halfcheetah-mixed-v0 --d4rl-scale
      suite-bench data make suite/mushr-real-v0
    """
    from suite.data.minari_files import require_free
    from suite.datasets import save_dataset
    from suite.recipes import make_dataset, recipe
    from suite.running.process import prepare_process
    from suite.trajectories import Trajectories, make_trajectories, trajectories
    from suite_bench.data_tables import Bar

    made = trajectories(dataset_id) or recipe(dataset_id)
    if d4rl_scale and isinstance(made, Trajectories):
        raise WrongUse(f"--d4rl-scale: D4RL has no car like that of {dataset_id}")
    require_free(dataset_id)  # said now rather than in an hour
    prepare_process()
    with Bar(f"collecting {dataset_id}", made.steps) as bar:
        if isinstance(made, Trajectories):
            dataset = make_trajectories(made, progress=bar.show)
        else:
            dataset = make_dataset(made, with_d4rl_scale=d4rl_scale, progress=bar.show)
    save_dataset(dataset, dataset_id)
    _tell(dataset_id, dataset, as_json)


@click.command()
@click.argument("source")
@click.argument("target")
@click.option(
    "--with",
    "changes",
    multiple=True,
    required=True,
    metavar="'WRAPPER key=value ...'",
    help="A wrapper of suite.wrappers, or module:Class, with its arguments. "
    "Repeatable; the first one is done first.",
)
@json_option
def corrupt(source: str, target: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Corrupt a dataset by wrappers and store what comes out as TARGET.

    TARGET is a new Minari id or a path that ends in .npz. Its card keeps the parent's
    hash, every wrapper with its arguments in their order, which episodes and how many
    transitions are gone, and the new hash. The order matters: DropBestEpisodes after
    RewardNoise ranks by noisy returns.

    \b
    Examples:
      suite-bench data corrupt suite/hopper-medium-v0 suite/hopper-k30-v0 \\
          --with "DropBestEpisodes percent=30"
      suite-bench data corrupt mine.npz worse.npz \\
          --with "RewardNoise std=0.1 seed=3" --with "DropTransitions rate=0.2"
    """
    from suite.datasets import corrupt as corrupted
    from suite.datasets import load_dataset, require_new, save_dataset

    parts = [_part(each) for each in changes]
    require_new(target)
    dataset = corrupted(load_dataset(source), parts)
    save_dataset(dataset, target)
    _tell(target, dataset, as_json)


def _part(text: str) -> Part:
    """``WRAPPER key=value ...`` as the part that it stands for."""
    from suite.parts import Part, check, from_json
    from suite.settings import parse
    from suite.unknown_names import no_such

    try:
        name, *assignments = shlex.split(_quoted(text)) or [""]
        if not name:
            raise ValueError("it is empty")
        kwargs = from_json(dict(parse(assignment) for assignment in assignments))
    except ValueError as reason:
        raise WrongUse(f"--with must read 'WRAPPER key=value ...': {reason}") from None
    known = _wrappers()
    if ":" not in name and name not in known:
        raise WrongUse(no_such("wrapper", name, known))
    part = Part(name if ":" in name else f"suite.wrappers:{name}", kwargs)
    check(part, {"env": None})
    return part


def _quoted(text: str) -> str:
    """The text with its JSON objects and lists quoted, as a shell would need them."""
    pieces, end = [], 0
    for found in re.finditer(r"(?:^|\s)\w+=(?=[{\[])", text):
        begin = found.end()
        before = "".join([*pieces, text[end:begin]])
        if begin < end or _is_open(before):
            continue  # inside of another one, or of quotes
        try:
            _, after = json.JSONDecoder().raw_decode(text, begin)
        except ValueError:
            continue
        if not text[after : after + 1].strip():
            pieces = [before, shlex.quote(text[begin:after])]
            end = after
    return "".join([*pieces, text[end:]])


def _is_open(text: str) -> bool:
    """Whether a quotation has begun in it and not ended."""
    try:
        shlex.split(text)
    except ValueError:
        return True
    return False


def _wrappers() -> list[str]:
    import suite.wrappers as found

    return [
        name
        for name, each in vars(found).items()
        if isinstance(each, type)
        and issubclass(each, found.CorruptionWrapper)
        and each is not found.CorruptionWrapper
    ]


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("dataset_id", metavar="ID")
@click.option(
    "--env",
    "env_id",
    help="Gymnasium's id of the task; its spaces become the data's. Without, bounds "
    "are unknown and nothing is clipped.",
)
@d4rl_option
@click.option(
    "--steer-scale",
    type=float,
    help="Of a folder of text: the steering that an action of 1 is; 0.38 for radians.",
)
@click.option("--speed-scale", type=float, help="The same for velocity; 3 for m/s.")
@click.option(
    "--dt", type=float, help="Seconds between rows, where the text does not say."
)
@json_option
def import_dataset(
    path: Path,
    dataset_id: str,
    env_id: str | None,
    d4rl_scale: bool,
    as_json: bool,
    **text: float | None,
) -> None:
    """Put a file's arrays, or a folder's text, into Minari's local store as ID.

    The file is HDF5 or npz with the arrays observations, actions, rewards, terminals
    and timeouts, as D4RL's are, and next_observations if there are any: without them an
    episode that was cut off loses its last transition, since nobody knows where it led.
    A folder holds trajectories of a car in either text format of mushr_mujoco_sysid.

    \b
    Examples:
      suite-bench data import hopper_medium-v2.hdf5 theirs/hopper-medium-v2 \\
          --env Hopper-v4 --d4rl-scale
      suite-bench data import my_logs.npz mine/logs-v0
      suite-bench data import sysid_trajs mine/car-v0 --steer-scale 0.38
    """
    from suite.data.mushr_text import read_mushr_text
    from suite.datasets import load_dataset, require_new, save_dataset

    require_new(dataset_id)
    if not path.exists():
        raise ValueError(f"there is no file {path} (nor folder)")
    given = {name: value for name, value in text.items() if value is not None}
    if given and not path.is_dir():
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise WrongUse(f"{options}: only for a folder of text; {path} is a file")
    dataset = read_mushr_text(path, **given) if path.is_dir() else load_dataset(path)
    dataset = _described(dataset, env_id, d4rl_scale)
    save_dataset(dataset, dataset_id)
    _tell(dataset_id, dataset, as_json)


def _described(dataset: Dataset, env_id: str | None, d4rl_scale: bool) -> Dataset:
    from suite.data.cards import D4RL, described, robot_of

    if env_id is not None:
        dataset = described(dataset, env_id)
    if not d4rl_scale:
        return dataset
    robot = robot_of(dataset.card.get("env_id"))
    if robot is None:
        raise WrongUse(
            f"--d4rl-scale knows {', '.join(D4RL)}; say which with --env, such as "
            "--env Hopper-v5"
        )
    return dataset.with_card({**dataset.card, "references": {"d4rl": [*D4RL[robot]]}})


def _tell(name: str, dataset: Dataset, as_json: bool) -> None:
    from suite.data.cards import stored_card
    from suite_bench.data_tables import print_card

    card = stored_card(dataset, name)
    if as_json:
        click.echo(json.dumps(card, indent=2))
    else:
        print_card(name, card, len(dataset), dataset.num_episodes)
