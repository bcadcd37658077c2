"""Which weights of a car's model are kept: judged on trajectories held out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from suite.checkpoints import require_like
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.recordings import Recordings
from suite.worldmodels.rollout_losses import Losses, OneStep, Pose, Rollout
from suite.worldmodels.state import load_weights
from suite.worldmodels.unrolled import begun, unrolled

ARMS = ("rollout", "one_step")


@dataclass(frozen=True)
class Selection:
    """How weights are chosen, and when a member has had enough.

    Errors are those of the trajectories held out, in deviations, without teacher
    forcing. Weights are kept by both arms; ``select_on`` says which ones count. A good
    single step does not make a good rollout: that arm is there to show it.

    Args:
        select_on: ``"rollout"`` or ``"one_step"``.
        share: Of the trajectories, held out.
        horizon: Steps of a rollout that is judged.
        patience: Epochs without an improvement after which a member is done.
        improvement: How much less an error must be to count as one.
        every: Epochs between two judgements.

    Raises:
        ValueError: If a value is out of range.
    """

    select_on: str = "rollout"
    share: float = 0.1
    horizon: int = 10
    patience: int = 50
    improvement: float = 1e-6
    every: int = 1

    def __post_init__(self) -> None:
        if self.select_on not in ARMS:
            raise ValueError(
                f"select_on must be one of {', '.join(ARMS)}, got {self.select_on!r}"
            )
        if not 0 < self.share < 1 or min(self.horizon, self.patience, self.every) < 1:
            raise ValueError(
                "a selection needs a share within (0, 1) and counts of 1 or more, got "
                f"{self}"
            )


def split(trajectories: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Trajectories to train on and to hold out, (n,) and (m,) int64, by a seed.

    Raises:
        ValueError: If there are too few for both.
    """
    held = max(1, round(trajectories * share))
    if held >= trajectories:
        raise ValueError(
            f"{trajectories} trajectories cannot be split into some to train on and "
            f"some to hold out; give more"
        )
    order = torch.randperm(trajectories, generator=torch.Generator().manual_seed(seed))
    return order[held:].sort().values, order[:held].sort().values


class Judge:
    """Keeps each member's best weights by each arm.

    Args:
        dynamics: What is fitted.
        losses: Whose columns and weights errors have.
        selection: How to choose.
        recordings: All trajectories.
        held: Those held out, one (m,) a member.

    Raises:
        ValueError: If none is long enough.
    """

    def __init__(
        self,
        dynamics: CarDynamics,
        losses: Losses,
        selection: Selection,
        recordings: Recordings,
        held: Sequence[Tensor],
    ):
        self.selection, self.recordings = selection, recordings
        self._losses = Losses(
            one_step=losses.one_step or OneStep(),
            rollout=Rollout(selection.horizon, teacher_forcing=0.0),
            pose=Pose(),
            layout=losses.layout,
        )
        steps = selection.horizon
        starts = [recordings.starts(own, steps, stride=steps) for own in held]
        longest = max(map(len, starts))
        # Members may have held out different numbers: the rest counts for nothing.
        self._counts = torch.stack(
            [torch.arange(longest) < len(own) for own in starts]
        ).to(recordings.first.device)
        self._starts = torch.stack(
            [own[torch.arange(longest) % len(own)] for own in starts]
        )
        self.kept = {arm: copy.deepcopy(dynamics) for arm in ARMS}
        self.best = {arm: torch.full((dynamics.members,), torch.inf) for arm in ARMS}
        self.waited = torch.zeros(dynamics.members, dtype=torch.int64)
        self.last: dict[str, Tensor] = {}

    @property
    def model(self) -> CarDynamics:
        """The best weights so far."""
        return self.kept[self.selection.select_on]

    @property
    def is_done(self) -> Tensor:
        """(E,) bool: whether a member's patience is at its end."""
        return self.waited >= self.selection.patience

    def judge(self, dynamics: CarDynamics, epoch: int) -> dict[str, Tensor]:
        """Errors (E,) by name after an epoch; weights better than ever are kept."""
        if self.last and epoch % self.selection.every:
            return self.last
        self.last = self.errors(dynamics)
        running = ~self.is_done
        improved = torch.zeros_like(running)
        for arm in ARMS:
            found = self.last[f"val_{arm}"].cpu()
            better = (found < self.best[arm] - self.selection.improvement) & running
            self.best[arm] = torch.where(better, found, self.best[arm])
            _copy_members(dynamics, self.kept[arm], better)
            if arm == self.selection.select_on:
                improved = better
        waited = torch.where(improved, 0, self.waited + self.selection.every)
        self.waited = torch.where(running, waited, self.waited)
        return self.last

    @torch.no_grad()
    def errors(self, dynamics: CarDynamics) -> dict[str, Tensor]:
        """Errors (E,) on what each member held out."""
        snippets = self.recordings.snippets(self._starts, self.selection.horizon)
        snippets = type(snippets)(*(part.to(dynamics.twist_std) for part in snippets))
        found = unrolled(dynamics, begun(dynamics, snippets), snippets.actions)
        errors = self._losses.errors(found, snippets.states[1:], dynamics.twist_std)
        names = ("val_rollout", "val_pose", "val_one_step")
        counted = self._counts.to(dynamics.twist_std)
        return {
            # A row that counts for nothing must not bring in infinity.
            name: torch.where(self._counts, error, 0.0).sum(1) / counted.sum(1)
            for name, error in zip(names, errors, strict=True)
            if error is not None
        }

    # ----------------------------------------------------------------- checkpoints
    def state(self) -> dict[str, Any]:
        """What was kept."""
        return {
            "kept": {arm: dict(model.state_dict()) for arm, model in self.kept.items()},
            "best": dict(self.best),
            "waited": self.waited,
            "last": dict(self.last),
        }

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is of other models.
        """
        own = self.state()
        for name in ("best", "waited"):
            require_like(tree[name], own[name], f"selection.{name}")
        for arm, model in self.kept.items():
            load_weights(model, tree["kept"][arm], f"selection.kept.{arm}")
        self.best, self.waited = dict(tree["best"]), tree["waited"]
        self.last = dict(tree["last"])


@torch.no_grad()
def _copy_members(source: CarDynamics, target: CarDynamics, which: Tensor) -> None:
    """Copy the weights of some members (E,) bool."""
    own = dict(target.named_parameters())
    for name, weights in source.named_parameters():
        own[name][which.to(weights.device)] = weights[which.to(weights.device)]
