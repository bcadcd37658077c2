"""What a run's model predicts in open loop, beside what happened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suite.benchmark import Benchmark
from suite.checkpoints import unpack
from suite.parts import ConfigError, Part, build, resolve
from suite.storage import IntegrityError, read_directory, read_json

STEPS = 10  # of the course's picture


@dataclass(frozen=True, eq=False)
class Predicted:
    """One episode of random actions, from its start.

    Attributes:
        benchmark: Whose model.
        true: (T + 1, S), what was observed.
        predicted: (T + 1, S), by the first elite on its own; the start is the true
            one.
    """

    benchmark: str
    true: np.ndarray
    predicted: np.ndarray

    @property
    def error(self) -> float:
        """Mean squared error over T states, the exact start among them: the MPE."""
        return float(np.square(self.predicted - self.true)[:-1].mean())


def predicted(home: Path, *, steps: int = STEPS, seed: int = 0) -> Predicted:
    """Let the model that a finished seed left predict an episode of random actions.

    Use it for agents that fit one (``MPC``, ``MBPO``, ``ModelFit``). The specification
    names the Python that it calls: give only folders that you trust.

    Args:
        home: The seed's folder.
        steps: T.
        seed: Of the episode.

    Raises:
        ConfigError: If the seed has not finished, its agent keeps no model, or the
            episode ends before.
        IntegrityError: If its files are damaged.
    """
    if steps < 2:
        raise ConfigError(
            f"steps must be at least 2, since the first state is given, got {steps}"
        )
    if not (home / "policy").is_dir():
        raise ConfigError(
            f"there is no policy in {home}; give the folder of a finished seed, such "
            "as runs/cs285-q2/default-1a2b3c4d/seed-0"
        )
    spec = Benchmark.from_json(read_json(home / "spec.json"))
    dynamics = _model(spec, home)
    env = spec.make_env(1)
    obs = [env.reset(seed=seed)[0]]
    env.action_space.seed(seed)
    actions = [env.action_space.sample() for _ in range(steps)]
    for number, action in enumerate(actions, 1):
        reached, _, terminated, truncated, _ = env.step(action)
        obs.append(reached)
        if (terminated | truncated).any() and number < steps:
            raise ConfigError(
                f"the episode of seed {seed} ended after {number} of {steps} "
                "steps; ask for fewer, or for another seed"
            )
    true, done = np.stack(obs), np.zeros((steps, 1), bool)
    module = "suite.worldmodels.diagnostics"
    space = env.single_action_space
    taken = resolve(f"{module}:model_actions")(space, np.stack(actions))
    given = (true[:-1], taken, true[1:], done)
    found = resolve(f"{module}:windows")(*given, horizon=steps)
    trajectory = resolve(f"{module}:open_loop")(dynamics, found)
    return Predicted(spec.name, true[:, 0], trajectory[:, 0, 0].numpy())


def _model(spec: Benchmark, home: Path) -> Any:
    """The dynamics inside an agent, with the weights that its run left."""
    believed = spec.agent.kwargs.get("believed")
    inside = believed if isinstance(believed, Part) else spec.agent
    fit = inside.kwargs.get("fit")
    part = fit.kwargs.get("dynamics") if isinstance(fit, Part) else None
    if not isinstance(part, Part):
        raise ConfigError(
            f"a run of {spec.agent.call} leaves no model that predicts observations; "
            "those of MPC, MBPO and ModelFit do"
        )
    weights = _kept(home, is_policy=inside is spec.agent)
    dynamics = build(part, {})
    resolve("suite.worldmodels.state:load_weights")(dynamics, weights, str(home))
    return dynamics


def _kept(home: Path, is_policy: bool) -> dict[str, Any]:
    """The weights of a model beside the policy, or of the policy that has it inside."""
    if (home / "model").is_dir():
        tree = unpack(read_directory(home / "model"), home / "model")
        return tree["weights"]
    if not is_policy:
        raise ConfigError(f"{home} holds no model; run the seed again, with --fresh")
    files = read_directory(home / "policy")
    if "policy.safetensors" not in files:
        raise IntegrityError(f"{home / 'policy'} holds no weights")
    tensors = resolve("safetensors.torch:load")(files["policy.safetensors"])
    # A policy that plans holds its model by this name.
    return {name.removeprefix("dynamics."): tensors[name] for name in tensors}


def draw(found: Predicted, path: Path) -> Path:
    """Draw every number of the state, true and predicted, as a PNG.

    Returns:
        The path.
    """
    # The object interface: no window system, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = found.true.shape[1]
    columns = min(size, 7)
    rows = -(-size // columns)
    canvas = Figure(
        figsize=(0.6 + 1.7 * columns, 0.9 + 1.3 * rows), dpi=150, layout="constrained"
    )
    FigureCanvasAgg(canvas)
    panels = canvas.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    for number, panel in enumerate(panels):
        if number >= size:
            panel.set_visible(False)
            continue
        panel.plot(found.true[:, number], color="#009E73", lw=1.6, label="true")
        panel.plot(
            *(found.predicted[:, number], "--"),
            color="#D55E00",
            lw=1.6,
            label="predicted",
        )
        panel.set_title(f"obs[{number}]", loc="left", fontsize=8)
        panel.tick_params(labelsize=7)
        if number + columns >= size:
            panel.set_xlabel("step", fontsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    handles, names = panels[0].get_legend_handles_labels()
    canvas.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
    title = (
        f"{found.benchmark}: mean prediction error of this episode {found.error:.3g}"
    )
    canvas.suptitle(title, fontsize=11)
    canvas.savefig(path, metadata={"Software": None})
    return path
