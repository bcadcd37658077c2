"""Fitting models of a car to recorded drives, several seeds at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from suite.checkpoints import require_like
from suite.storage import IntegrityError
from suite.transitions import Dataset
from suite.worldmodels.car import POSE, TWIST, Car
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_history import car_recordings
from suite.worldmodels.car_optimisation import Optimisation, clipped
from suite.worldmodels.car_selection import Judge, Selection, split
from suite.worldmodels.recordings import Recordings
from suite.worldmodels.rollout_losses import Losses
from suite.worldmodels.state import load_optimizer, load_weights, optimizer_state

_LARGEST = 1e8  # of a loss in deviations squared: nothing comes back from there


class CarFit:
    """Fits a car's model to recorded trajectories: a ``Learner`` without a policy.

    Use it for one seed or, in stacked weights, for several at once: members share
    nothing, so each ends as if it had been alone, up to rounding. Each has its own
    first weights, order of snippets and teacher forcing (``seeds``) and its own split
    (``data_seeds``), or even its own data. Standardisers are those of a member's own
    training trajectories.

    A step of ``total_timesteps`` is a gradient step; an iteration is an epoch. Its
    metrics, each the mean over members, and with several also ``name_<seed's place>``:
    ``train_loss``; raw, without weights, ``one_step``, ``rollout_mean``,
    ``rollout_cvar`` (of the samples in the tail), ``pose``, ``reg_<penalty>``;
    ``k_used``, ``alpha``; ``grad_norm`` before clipping; ``lr``; ``val_rollout``,
    ``val_one_step``, ``val_pose`` of the trajectories held out; ``epoch``.

    Args:
        data: Trajectories of x, y, theta, vx, vy, omega and commands; one for all
            members or one each.
        car: What the model is made of.
        losses: What it is fitted by.
        optimisation: How.
        selection: Which weights are kept.
        seed: Of a single member, if ``seeds`` is not given.
        seeds: One a member.
        data_seeds: Of the split, one a member; None is 0 for all.
        device: ``"cpu"`` or ``"cuda"``.

    Attributes:
        dynamics: As it is trained.
        model: The weights selected so far, which is what to use.

    Raises:
        ValueError: If seeds, data and model do not belong together.
    """

    def __init__(
        self,
        data: Dataset | Sequence[Dataset],
        car: Car | None = None,
        losses: Losses | None = None,
        *,
        optimisation: Optimisation | None = None,
        selection: Selection | None = None,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        data_seeds: Sequence[int] | None = None,
        device: str = "cpu",
    ):
        self.car, self.losses = car or Car(), losses or Losses()
        self.optimisation = optimisation or Optimisation()
        self.seeds = tuple(seeds) if seeds is not None else (seed,)
        selection = selection or Selection()
        members = len(self.seeds)
        splits = tuple(data_seeds) if data_seeds is not None else (0,) * members
        sets = [data] if isinstance(data, Dataset) else list(data)
        _require_counts(self.seeds, splits, len(sets))
        self._sha256 = [part.sha256 for part in sets]
        each = [car_recordings(part, self.car, device) for part in sets]
        self.recordings = Recordings.concatenate(each)
        self.trained, held = _split(each, splits, selection.share)
        self.dynamics = CarDynamics(self.car, self.seeds).to(device)
        if not any(True for _ in self.dynamics.parameters()):
            raise ValueError(
                "a car without networks has nothing to fit; give it an adapter, a "
                "residual or friction, or use its CarDynamics as it is"
            )
        self._standardise()
        self._starts = [
            self.recordings.starts(own, self.losses.horizon) for own in self.trained
        ]
        self._judge = Judge(
            self.dynamics, self.losses, selection, self.recordings, held
        )
        self._optimizer = torch.optim.Adam(
            self.dynamics.parameters(),
            lr=self.optimisation.learning_rate,
            weight_decay=self.optimisation.weight_decay,
            fused=True,
        )
        # Streams of their own: how often one is drawn from must not move the other.
        self._orders = [torch.Generator().manual_seed(s + 2**32) for s in self.seeds]
        self._draws = [torch.Generator().manual_seed(s + 2**31) for s in self.seeds]
        self._memory = torch.full((members,), torch.nan, device=device)
        self.steps = self.epochs = 0
        self.sim_steps = 0  # it learns from what was recorded

    @property
    def model(self) -> CarDynamics:
        """The weights selected so far; before the first epoch the plant."""
        return self._judge.model

    def selected(self, arm: str) -> CarDynamics:
        """The weights that an arm, ``"rollout"`` or ``"one_step"``, selected so far."""
        return self._judge.kept[arm]

    @property
    def is_done(self) -> bool:
        """Whether all members' patience is at its end."""
        return bool(self._judge.is_done.all())

    @property
    def num_timesteps(self) -> int:
        """Gradient steps so far."""
        return self.steps

    @property
    def steps_per_epoch(self) -> int:
        """Gradient steps of an epoch."""
        given = self.optimisation.steps_per_epoch
        fewest = min(map(len, self._starts))
        return given or max(1, fewest // self.optimisation.batch_size)

    def _standardise(self) -> None:
        records, twist = self.recordings, slice(POSE, POSE + TWIST)
        for member, own in enumerate(self.trained):
            rows = records.starts(own, 1)
            before, after = records.states[rows], records.states[rows + 1]
            self.dynamics.refresh(member, before[:, twist], after[:, twist])

    # -------------------------------------------------------------------- learning
    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        """Train until so many gradient steps, or until every member is done.

        Raises:
            FloatingPointError: If a member's loss or gradient is no longer finite.
        """
        while self.steps < total_timesteps and not self.is_done:
            started = time.perf_counter()
            told = self._epoch(min(self.steps_per_epoch, total_timesteps - self.steps))
            told |= self._judge.judge(self.dynamics, self.epochs)
            metrics = {**_spread(told), "lr": self.optimisation.rate(self.epochs)}
            self.epochs += 1
            seconds = time.perf_counter() - started
            yield {
                **metrics,
                "epoch": float(self.epochs),
                "time/update_seconds": seconds,
            }

    def planned_updates(self, total_timesteps: int) -> int:
        """Iterations of ``iterate`` from the start, if patience does not end it."""
        return -(-total_timesteps // self.steps_per_epoch)

    def _epoch(self, steps: int) -> dict[str, Tensor]:
        """Means over an epoch of what is told, each (E,)."""
        rate = self.optimisation.rate(self.epochs)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        found: list[dict[str, Tensor]] = []
        for starts in self._order(steps):
            found.append(self._step(starts))
            self.steps += 1
        return {n: torch.stack([row[n] for row in found]).mean(dim=0) for n in found[0]}

    def _order(self, steps: int) -> Tensor:
        """Where snippets begin, (steps, E, B): each member's starts in an own order."""
        size = steps * self.optimisation.batch_size
        orders = []
        for starts, generator in zip(self._starts, self._orders, strict=True):
            passes = -(-size // len(starts))
            order = [
                torch.randperm(len(starts), generator=generator) for _ in range(passes)
            ]
            picked = torch.cat(order)[:size].to(starts.device)
            orders.append(starts[picked].view(steps, -1))
        return torch.stack(orders, dim=1)

    def _step(self, starts: Tensor) -> dict[str, Tensor]:
        """One gradient step of all members."""
        horizon, rows = self.losses.horizon, starts.shape[1]
        snippets = self.recordings.snippets(starts, horizon)
        draws = torch.stack(
            [torch.rand(horizon, rows, generator=g) for g in self._draws], dim=1
        )
        found = self.losses.terms(
            self.dynamics,
            snippets,
            self.dynamics.twist_std,
            epoch=self.epochs,
            draws=draws.to(starts.device),
            memory=self._memory,
        )
        self._require_finite("loss", found.loss.detach())
        self._optimizer.zero_grad()
        found.loss.sum().backward()
        norms = clipped(self.dynamics, self.optimisation.clip)
        self._require_finite("gradient", norms)
        self._optimizer.step()
        self._memory = found.memory
        return {"train_loss": found.loss.detach(), **found.told, "grad_norm": norms}

    def _require_finite(self, what: str, values: Tensor) -> None:
        wrong = torch.nonzero(~(values.abs() < _LARGEST))
        if len(wrong):
            member = int(wrong[0])
            raise FloatingPointError(
                f"the {what} of seed {self.seeds[member]} became "
                f"{float(values[member]):.3g} in step {self.steps}: its rollouts of "
                f"{self.losses.horizon} steps diverge; lower the learning rate or the "
                "horizon, or use more teacher forcing"
            )

    # ----------------------------------------------------------------- checkpoints
    def state(self) -> dict[str, Any]:
        """All but the data: give a new ``CarFit`` the same before ``load_state``."""
        return {
            "data": list(self._sha256),
            "weights": dict(self.dynamics.state_dict()),
            "optimizer": optimizer_state(self._optimizer),
            "orders": [generator.get_state() for generator in self._orders],
            "draws": [generator.get_state() for generator in self._draws],
            "memory": self._memory,
            "selection": self._judge.state(),
            "counts": {"steps": self.steps, "epochs": self.epochs},
        }

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is of another model or other data.
        """
        if tree["data"] != self._sha256:
            raise IntegrityError(
                f"it was fitted to data of sha256 {tree['data']}, not {self._sha256}"
            )
        require_like(tree["counts"], self.state()["counts"], "fit.counts")
        require_like(tree["memory"], self._memory.cpu(), "fit.memory")
        load_weights(self.dynamics, tree["weights"], "fit.weights")
        load_optimizer(self._optimizer, tree["optimizer"])
        for name, own in (("orders", self._orders), ("draws", self._draws)):
            for generator, state in zip(own, tree[name], strict=True):
                generator.set_state(state)
        self._memory = tree["memory"].to(self._memory.device)
        self._judge.load_state(tree["selection"])
        self.steps, self.epochs = tree["counts"]["steps"], tree["counts"]["epochs"]


def _split(
    each: Sequence[Recordings], seeds: Sequence[int], share: float
) -> tuple[list[Tensor], list[Tensor]]:
    """Trajectories each member trains on and holds out, among all of them."""
    trained, held = [], []
    for member, seed in enumerate(seeds):
        own = member if len(each) > 1 else 0
        before = sum(len(part) for part in each[:own])
        train, hold = split(len(each[own]), share, seed)
        trained.append(train + before)
        held.append(hold + before)
    return trained, held


def _require_counts(seeds: Sequence[int], data_seeds: Sequence[int], sets: int) -> None:
    members = len(seeds)
    if not members or len(data_seeds) != members or sets not in (1, members):
        raise ValueError(
            "a fit needs a data seed for each seed and one dataset or one each, got "
            f"{members} seeds, {len(data_seeds)} data seeds and {sets} datasets"
        )


def _spread(told: dict[str, Tensor]) -> dict[str, float]:
    """Means over members, and each of several."""
    metrics = {name: float(values.mean()) for name, values in told.items()}
    for name, values in told.items():
        if len(values) > 1:
            metrics |= {f"{name}_{e}": v for e, v in enumerate(values.tolist())}
    return metrics
