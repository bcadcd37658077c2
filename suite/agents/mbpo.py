"""Model-based policy optimisation: soft actor-critic on branched rollouts."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from suite.agents.believed import Believed
from suite.agents.branching import Branched
from suite.agents.pace import Pace
from suite.agents.replay import Memory, Mixture
from suite.agents.ring_buffer import RingBuffer
from suite.agents.sac import SAC
from suite.agents.soft_update import Soft
from suite.checkpoints import require_like
from suite.envs.arguments import require_kind, require_members, require_positive
from suite.worldmodels.branches import branches
from suite.worldmodels.experience import Experience

_CAPACITY = 1_000_000  # transitions that the model is fitted to


class MBPO(SAC):
    """SAC whose minibatches are mostly imagined; Dyna if rollouts have one step.

    Use it where real steps are dear and a model can be learned from them. After the
    exploration the model is fitted to all real transitions, every ``fit_every`` real
    steps; the policy acts in it from states that were really met, and every update
    draws from what came of both. The published algorithm and CS285's are compositions:

        published  Fitted(fit, propagation=TS1), Branched(100_000, Growing(...)),
                   Mixture(real_share=0.05)
        CS285      Fitted(fit, propagation=Mean, steps=1500, data_noise=0.01),
                   Branched(1, Fixed(10), every=1), Replay(100_000)

    Metrics: those of ``SAC``, the last fit's (``model/...``), and of what was imagined
    in the epoch: rows, length, mean reward and share of ends (``imagined/...``).

    Args:
        env: As ``SAC``.
        believed: The model to imagine in.
        branched: When, how many and how long rollouts are.
        fit_every: Real steps between two fits.
        soft: As ``SAC``.
        pace: As ``SAC``.
        memory: Where minibatches come from; None is ``Mixture()``.
        seed: As ``SAC``.
        device: As ``SAC``.

    Raises:
        ValueError: As ``SAC``, or if the model is of other spaces than the environment.

    Source: Janner et al. 2019, algorithm 2, arXiv:1906.08253; Dyna: Sutton 1990.
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv,
        *,
        believed: Believed,
        branched: Branched | None = None,
        fit_every: int = 250,
        soft: Soft | None = None,
        pace: Pace | None = None,
        memory: Memory | None = None,
        seed: int = 0,
        device: str = "cpu",
    ):
        require_positive("fit_every", fit_every)
        memory, branched = memory or Mixture(), branched or Branched()
        require_kind("branched", branched, Branched, "Branched(10, Fixed(2)) makes one")
        require_members("memory", memory, ("imagine", "expect"), "Mixture()")
        super().__init__(
            env, soft=soft, pace=pace, memory=memory, seed=seed, device=device
        )
        _require_whole(believed)
        _require_fitting(believed.model, env)
        believed.require(self.pace.first_learned_from)
        self.believed, self.branched = believed, branched
        self.fit_every = fit_every
        self.data = RingBuffer(_CAPACITY)  # real, what the model is fitted to
        words = np.random.SeedSequence(self._seed).generate_state(3).tolist()
        self._streams = {
            name: torch.Generator().manual_seed(word)
            for name, word in zip(("noise", "starts", "model"), words, strict=True)
        }
        # Numbers of steps and updates; -1 steps is before the first fit.
        self._fitted_at, self._updates_since, self._length = -1, 0, 0
        self._unseen = 0  # transitions that came after the last fit
        self._model_told: dict[str, float] = {}
        self._imagined: list[tuple[float, ...]] = []  # rows, their rewards, their ends

    # ---------------------------------------------------------------------- training
    def _add(self, real: Experience) -> None:
        super()._add(real)
        self._unseen += len(real)
        self.data.add(self.believed.noised(real, self._streams["noise"]))

    def _learn(self) -> None:
        age = self.num_timesteps - self._fitted_at
        if self._fitted_at < 0 or age >= self.fit_every:
            started = time.perf_counter()
            self._fit()
            self._lengthen()
            self._spent("model", started)
        super()._learn()

    def _fit(self) -> None:
        data, told = self.data.all(), {}
        if self._fitted_at >= 0 and self._unseen:
            told = self.believed.judged(data[-self._unseen :])
        self._model_told = told | self.believed.refit(data)
        self._fitted_at = self.num_timesteps
        self._updates_since = self._unseen = 0

    def _lengthen(self) -> None:
        """The rollouts' length from this fit on, and the memory that it asks for."""
        pace = self.pace
        epoch = max(self.num_timesteps - 1 - pace.exploration, 0) // pace.epoch
        length = self.branched.length(epoch)
        if length != self._length:
            self._length = length
            # A fit waits for the block of steps in which it is due to be complete.
            between = math.ceil(self.fit_every / pace.collect) * pace.collect
            fits, updates = pace.epoch / between, pace.updates_per_epoch
            self.memory.expect(self.branched.rows_per_epoch(length, fits, updates))

    def _before_update(self) -> None:
        if self.branched.is_due(self._updates_since):
            started = time.perf_counter()
            self._imagine()
            self._spent("imagine", started)
        self._updates_since += 1

    def _imagine(self) -> None:
        starts = self.data.sample(self.branched.starts, self._streams["starts"])
        noise = self._streams["model"]
        found = branches(
            self.believed.model,
            starts.states,
            lambda obs: self.policy.act(obs, noise),
            self._length,
            generator=noise,
        )
        self.memory.imagine(found)
        told = (len(found), found.rewards.sum(), found.terminated.sum())
        self._imagined.append(tuple(float(each) for each in told))

    def _told(self) -> dict[str, float]:
        told = super()._told()
        # The clock of the updates ran on while it imagined.
        imagining = self._seconds.get("imagine", 0.0)
        told["time/update_seconds"] -= imagining
        rows, rewards, ends = np.sum([(0.0, 0.0, 0.0), *self._imagined], axis=0)
        self._imagined = []
        return {
            **told,
            **self._model_told,
            "imagined/rows": float(rows),
            "imagined/length": float(self._length),
            "imagined/reward_mean": float(rewards / rows) if rows else math.nan,
            "imagined/ended": float(ends / rows) if rows else math.nan,
        }

    # ------------------------------------------------------------------- checkpoints
    def state(self) -> dict[str, Any]:
        """As ``SAC``, with the model, its data and what was imagined."""
        streams = self._streams.items()
        return {
            **super().state(),
            "model": self.believed.state(),
            "data": self.data.state(),
            "streams": {name: each.get_state() for name, each in streams},
            "counts": {
                "fitted_at": self._fitted_at,
                "updates_since": self._updates_since,
                "length": self._length,
                "unseen": self._unseen,
            },
            "told": dict(self._model_told),
        }

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``; the next ``iterate`` goes on from there.

        Raises:
            IntegrityError: If it is not of an agent and environment like these.
        """
        own = self.state()
        for name in ("counts", "streams"):
            require_like(tree[name], own[name], name)
        super().load_state(tree)
        self.believed.load_state(tree["model"])
        self.data.load_state(tree["data"], self.device)
        for name, stream in self._streams.items():
            stream.set_state(tree["streams"][name])
        counts = tree["counts"]
        self._fitted_at, self._length = counts["fitted_at"], counts["length"]
        self._updates_since, self._unseen = counts["updates_since"], counts["unseen"]
        self._model_told = dict(tree["told"])

    def save_model(self, folder: Path) -> None:
        """Write what it believes, unless that was given; see ``ModelBased``."""
        self.believed.save(folder)


def _require_whole(believed: Any) -> None:
    """See that all is there, before a run misses it at its end."""
    names = (
        *("model", "require", "noised", "judged", "refit"),
        *("state", "load_state", "save"),
    )
    missing = [name for name in names if not hasattr(believed, name)]
    if missing:
        raise ValueError(
            f"{type(believed).__name__} is no Believed, it lacks {', '.join(missing)}; "
            "hand over Fitted(fit) or Given(model)"
        )


def _require_fitting(model: Any, env: gym.vector.VectorEnv) -> None:
    """See that a model says what it is of, and that it is of these spaces."""
    spaces = env.single_observation_space, env.single_action_space
    for kind, space in zip(("state", "action"), spaces, strict=True):
        size = getattr(model, f"{kind}_size", None)  # exact dynamics need not say
        assert space.shape is not None
        if size is not None and size != space.shape[0]:
            raise ValueError(
                f"the model is of {size} numbers of {kind}, the environment has "
                f"{space.shape[0]}; was it made for another one?"
            )
