"""How fast offline agents learn, beside d3rlpy's own ``fit``; a part of ``offline.py``.

Both learn from the same transitions of random actions in HalfCheetah, with the same
networks, batches of 256 and one thread. d3rlpy is called as its documentation does,
with a replay buffer of episodes, but without progress bar, files and evaluation, which
ours has neither. The two take turns, a short epoch each; what is compared is the
processor time of an update, by medians over rounds:

iql_64, iql_256, cql_64, cql_256: two hidden layers of so many units.

``differences`` are the largest between any loss of ours and of d3rlpy's on 50 equal
batches in a row, from equal initial weights; relative, or absolute below 0.1.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from suite.recipes import random_dataset
from suite.transitions import Dataset

TARGETS = {"iql_64": 1.8, "iql_256": 1.2, "cql_64": 1.1, "cql_256": 1.0}
UPDATES = {"iql_64": 200, "iql_256": 80, "cql_64": 40, "cql_256": 10}  # of a round
EPISODES = 100  # of the data
EQUAL = 50  # batches
# A difference in the last bit of a loss grows a thousandfold over the batches; another
# loss, or another batch, differs by more than this at once.
SAME = 2e-3


class Theirs:
    """d3rlpy's algorithm under its own ``fitter``.

    Args:
        kind: "iql" or "cql".
        units: Of each hidden layer.
        data: The transitions.
        updates: Of an epoch.
    """

    def __init__(self, kind: str, units: int, data: Dataset, updates: int):
        import d3rlpy

        network = d3rlpy.models.VectorEncoderFactory(hidden_units=[units, units])
        both: Any = {
            "actor_encoder_factory": network,
            "critic_encoder_factory": network,
        }
        if kind == "iql":
            config = d3rlpy.algos.IQLConfig(**both, value_encoder_factory=network)
        else:
            config = d3rlpy.algos.CQLConfig(**both, alpha_learning_rate=0.0)
        d3rlpy.seed(0)
        self.algorithm: Any = config.create(device="cpu:0")
        self.algorithm.create_impl((data.obs.shape[1],), data.actions.shape[1])
        self.epochs = self._epochs(d3rlpy, data, updates)

    def _epochs(self, d3rlpy: Any, data: Dataset, updates: int) -> Iterator[Any]:
        episodes = [
            d3rlpy.dataset.Episode(
                observations=episode.obs,
                actions=episode.actions,
                rewards=episode.rewards[:, None],
                terminated=bool(episode.terminated[-1]),
            )
            for episode in map(data.episode, range(data.num_episodes))
        ]
        stored = d3rlpy.dataset.ReplayBuffer(
            d3rlpy.dataset.InfiniteBuffer(),
            episodes=episodes,
            action_space=d3rlpy.ActionSpace.CONTINUOUS,
            action_size=data.actions.shape[1],
        )
        return self.algorithm.fitter(
            stored,
            n_steps=10**9,
            n_steps_per_epoch=updates,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
            show_progress=False,
        )

    def learn(self) -> None:
        """An epoch."""
        next(self.epochs)

    def losses(self, data: Dataset, rows: np.ndarray) -> dict[str, float]:
        """Of one update on some rows."""
        from d3rlpy.dataset import TransitionMiniBatch

        batch = TransitionMiniBatch(
            observations=data.obs[rows],
            actions=data.actions[rows],
            rewards=data.rewards[rows, None],
            next_observations=data.next_obs[rows],
            next_actions=data.actions[rows],
            terminals=data.terminated[rows, None].astype(np.float32),
            intervals=np.ones((len(rows), 1), np.float32),
            transitions=[],
        )
        return self.algorithm.update(batch)


class Ours:
    """The same algorithm as our learner.

    Args:
        kind: "iql" or "cql".
        units: Of each hidden layer.
        data: The transitions.
        updates: Of an iteration.
    """

    def __init__(self, kind: str, units: int, data: Dataset, updates: int):
        from suite.agents.offline import CQL, IQL

        settings: dict[str, Any] = {"net_arch": [units, units]}
        settings["updates_per_iteration"] = updates
        if kind == "iql":
            self.agent: Any = IQL(data, **settings)
        else:
            self.agent = CQL(data, **settings, alpha_learning_rate=0.0)
        self.iterations = self.agent.iterate(10**9)

    def learn(self) -> None:
        """An iteration."""
        next(self.iterations)

    def losses(self, rows: np.ndarray) -> dict[str, float]:
        """Of one update on some rows, by d3rlpy's names."""
        import torch

        batch = self.agent.minibatches.batch(torch.from_numpy(rows))
        return self.agent.algorithm.update(batch)


def largest_difference(kind: str, units: int, data: Dataset) -> float:
    """Between losses of ours and d3rlpy's on equal batches."""
    import torch

    ours, theirs = Ours(kind, units, data, 1), Theirs(kind, units, data, 1)
    networks = ours.agent.algorithm.impl.modules.get_torch_modules()
    for name, network in theirs.algorithm.impl.modules.get_torch_modules().items():
        network.load_state_dict(networks[name].state_dict())
    draws, worst = np.random.default_rng(0), 0.0
    for step in range(EQUAL):
        rows = draws.integers(len(data), size=256)
        torch.manual_seed(step)
        found = ours.losses(rows)
        torch.manual_seed(step)
        for name, value in theirs.losses(data, rows).items():
            worst = max(worst, abs(found[name] - value) / max(abs(value), 0.1))
    return worst


def compared(kind: str, units: int, data: Dataset, updates: int, rounds: int) -> Any:
    """Median milliseconds of an update, theirs and ours, and the median ratio."""
    contenders = [side(kind, units, data, updates) for side in (Theirs, Ours)]
    spent: list[list[float]] = [[], []]
    for number in range(rounds + 1):
        for which in (0, 1) if number % 2 else (1, 0):
            started = time.process_time()
            contenders[which].learn()
            if number:  # the first epoch warms up
                spent[which].append(time.process_time() - started)
    ratio = statistics.median(a / b for a, b in zip(*spent, strict=True))
    return [1000 * statistics.median(each) / updates for each in spent], ratio


def measured(
    rounds: int,
) -> tuple[dict[str, dict[str, float]], dict[str, float], dict[str, float]]:
    """Milliseconds, differences and ratios of all.

    Raises:
        SystemExit: If the losses of ours are not d3rlpy's.
    """
    data = random_dataset("BatchedHalfCheetah-v5", 1000 * EPISODES)
    milliseconds, differences, ratios = {}, {}, {}
    for name, updates in UPDATES.items():
        kind, _, units = name.partition("_")
        difference = largest_difference(kind, int(units), data)
        if difference > SAME:
            raise SystemExit(f"{name}: losses differ by {difference:.1e}, not the same")
        spent, ratios[name] = compared(kind, int(units), data, updates, rounds)
        milliseconds[name] = dict(zip(("d3rlpy", "ours"), spent, strict=True))
        differences[name] = float(f"{difference:.1e}")
    return milliseconds, differences, ratios
