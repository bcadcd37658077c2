r"""Behaviour policies: trained by a library's agent, every stage kept, some packaged.

They are what makes our own datasets, see ``suite.recipes``. Training takes hours and is
done once; what is packaged lies in ``suite/agents/behaviours`` with its provenance:

    python -m suite_bench.benchmarks.behaviours train hopper --out stages/hopper
    python -m suite_bench.benchmarks.behaviours score hopper stages/hopper 20000
    python -m suite_bench.benchmarks.behaviours package hopper stages/hopper \
        20000 medium
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sb3_contrib import TQC
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from suite.agents.behaviour import PACKAGED, SquashedGaussian, save_behaviour
from suite.data.collection import collect
from suite.recipes import D4RL
from suite.running.process import prepare_process, provenance

EPISODES = 200  # a card's score
COLUMNS = ("step", "cpu_s", "deterministic", "stochastic", "stochastic_std")


@dataclass(frozen=True)
class Training:
    """How a behaviour is trained; everything else is the library's default.

    Args:
        task: Gymnasium's id. Ours of that version is the same, bit for bit.
        algorithm: ``"SAC"`` or ``"TQC"``.
        rows: Environments that step together, two updates each time.
        every: Environment steps between the stages that are kept.
        settings: Of the algorithm.
    """

    task: str
    algorithm: str
    rows: int
    every: int
    settings: dict[str, Any]


TRAININGS = {
    "halfcheetah": Training(
        "HalfCheetah-v5", "SAC", 8, 20_000, {"learning_rate": 7.3e-4}
    ),
    # With a quarter of an update a step and the rate above Hopper stays for hours where
    # it hops four metres and falls; TQC's updates cost five of SAC's.
    "hopper": Training("Hopper-v5", "SAC", 2, 10_000, {}),
    "walker2d": Training("Walker2d-v5", "SAC", 2, 10_000, {}),
}


class Stages(BaseCallback):
    """Keep the actor now and then, and how it scores; stop after so many core-hours."""

    def __init__(self, training: Training, out: Path, hours: float):
        super().__init__()
        self.every, self.out, self.hours = training.every, out, hours
        self.envs = make_vec_env(training.task, n_envs=1, seed=10_000)
        self.file = (out / "curve.csv").open("w", newline="")
        self.rows = csv.writer(self.file)
        self.rows.writerow(COLUMNS)

    def _on_step(self) -> bool:
        if self.num_timesteps % self.every == 0:
            self._keep()
        return time.process_time() < self.hours * 3600

    def _keep(self) -> None:
        state = torch.get_rng_state()  # acting draws from the training's generator
        best, _ = evaluate_policy(self.model, self.envs, 4)
        mean, std = evaluate_policy(self.model, self.envs, 6, deterministic=False)
        torch.set_rng_state(state)
        scores = (round(float(score), 1) for score in (best, mean, std))  # pyright: ignore[reportArgumentType]
        self.rows.writerow((self.num_timesteps, round(time.process_time()), *scores))
        self.file.flush()
        actor = self.model.policy.get_submodule("actor")
        tensors = {name: t.contiguous() for name, t in actor.state_dict().items()}
        save_file(tensors, str(stage(self.out, self.num_timesteps)))


def stage(folder: Path, step: int) -> Path:
    """The file of the actor after so many environment steps."""
    return folder / f"actor-{step:07d}.safetensors"


def train(training: Training, out: Path, hours: float, seed: int) -> None:
    """Train with SB3 for so many core-hours, keeping every stage."""
    out.mkdir(parents=True, exist_ok=True)
    facts = {**asdict(training), "hours": hours, "seed": seed, **provenance()}
    (out / "training.json").write_text(json.dumps(facts, indent=2))
    agent = {"SAC": SAC, "TQC": TQC}[training.algorithm](
        "MlpPolicy",
        make_vec_env(training.task, n_envs=training.rows, seed=seed),
        learning_starts=10_000,
        gradient_steps=2,
        seed=seed,
        policy_kwargs={"net_arch": [256, 256]},
        **training.settings,
    )
    stages = Stages(training, out, hours)
    agent.learn(10_000_000, callback=stages, log_interval=10**9)


def actor_of(path: Path, task: str) -> SquashedGaussian:
    """The behaviour of a stage."""
    found, space = load_file(str(path)), gym.make(task).action_space
    assert isinstance(space, gym.spaces.Box)

    def layer(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        # Rounded to halves, as it is packaged: eighteen policies lie in the repository,
        # and a rounded one is a behaviour like any other. Scores are of the rounded.
        weight, bias = found[f"{name}.weight"], found[f"{name}.bias"]
        return weight.half().float(), bias.half().float()

    hidden = (layer("latent_pi.0"), layer("latent_pi.2"))
    bounds = (space.low.astype(np.float32), space.high.astype(np.float32))
    return SquashedGaussian(hidden, layer("mu"), layer("log_std"), *bounds)


class Quiet:
    """A behaviour without its noise."""

    def __init__(self, behaviour: SquashedGaussian):
        self.noise_shape, self.draw = behaviour.noise_shape, behaviour.draw
        self._behaviour = behaviour

    def act(self, obs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The deterministic action."""
        return self._behaviour.act(obs, np.zeros_like(noise))


def score(robot: str, behaviour: SquashedGaussian, episodes: int) -> dict[str, Any]:
    """Returns of new episodes, sampled and deterministic, raw and on D4RL's scale."""
    env = gym.make_vec(
        f"Batched{TRAININGS[robot].task}",
        num_envs=50,
        vectorization_mode=gym.VectorizeMode.VECTOR_ENTRY_POINT,
        autoreset_mode="disabled",
    )
    low, high = D4RL[robot]
    found: dict[str, Any] = {"episodes": episodes}
    for name, policy in (("sampled", behaviour), ("deterministic", Quiet(behaviour))):
        made = collect(env, policy, 1000 * episodes, seed=424_242)
        returns = made.returns[:episodes]
        found[name] = {
            "return_mean": float(returns.mean()),
            "return_std": float(returns.std(ddof=1)),
            "length_mean": float(made.lengths[:episodes].mean()),
            "d4rl_normalized": float(100 * (returns.mean() - low) / (high - low)),
        }
    return found


def package(robot: str, folder: Path, step: int, quality: str) -> Path:
    """Put a stage beside the packaged behaviours, with its score and provenance."""
    behaviour = actor_of(stage(folder, step), TRAININGS[robot].task)
    with (folder / "curve.csv").open() as file:
        row = next(r for r in csv.DictReader(file) if int(r["step"]) == step)
    card = {
        "about": f"{robot}, {quality}: a stage of one training; no expert of D4RL's.",
        "training": json.loads((folder / "training.json").read_text()),
        "environment_steps": step,
        "core_seconds": float(row["cpu_s"]),
        "score": score(robot, behaviour, EPISODES),
    }
    home = PACKAGED / f"{robot}-{quality}"
    save_behaviour(behaviour, home, card)
    return home


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # pyright: ignore[reportOptionalMemberAccess]
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("train")
    one.add_argument("robot", choices=TRAININGS)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--hours", type=float, default=3.0)
    one.add_argument("--seed", type=int, default=0)
    for name in ("score", "package"):
        one = commands.add_parser(name)
        one.add_argument("robot", choices=TRAININGS)
        one.add_argument("folder", type=Path)
        one.add_argument("step", type=int)
        if name == "package":
            one.add_argument("quality")
    given = parser.parse_args(arguments)
    prepare_process()
    if given.command == "train":
        train(TRAININGS[given.robot], given.out, given.hours, given.seed)
    elif given.command == "score":
        task = TRAININGS[given.robot].task
        behaviour = actor_of(stage(given.folder, given.step), task)
        print(json.dumps(score(given.robot, behaviour, EPISODES), indent=2))
    else:
        print(package(given.robot, given.folder, given.step, given.quality))


if __name__ == "__main__":
    main()
