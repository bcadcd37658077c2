"""Fitting an ensemble to transitions, resumable after every iteration."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch

from suite.checkpoints import require_like
from suite.envs.arguments import (
    require_above_zero,
    require_kind,
    require_not_negative,
    require_positive,
)
from suite.envs.task import never
from suite.storage import IntegrityError
from suite.worldmodels.batches import Batches, Disjoint, Holdout, require_batches
from suite.worldmodels.experience import Experience
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.state import load_optimizer, load_weights, optimizer_state

log = logging.getLogger("suite.worldmodels")


class Fit:
    """Fits an ensemble to transitions: a ``Learner`` without a policy.

    Use it alone, for supervised training of a model, or inside an agent that calls
    ``run`` whenever it has new data: weights and Adam's memory go on from round to
    round, normalisation, split, resample and best weights begin anew. All members are
    trained by one backward pass through the sum of their losses.

    Metrics of an iteration, which is one epoch: ``model/train_loss``, the mean over
    steps and members; ``model/train_loss_<e>`` and ``model/holdout_error_<e>`` of
    member e (mean squared, of normalised changes); ``model/holdout_error``, the mean of
    the best; ``model/steps``.

    Args:
        dynamics: What to fit.
        data: Begins the first round; None waits for ``begin`` or ``run``.
        batches: Which rows each member sees; None is ``Disjoint()``.
        holdout: None trains on all rows and keeps the last weights.
        learning_rate: Of Adam.
        weight_decay: One rate a layer, times half the squared weights, in the loss; ()
            is none.
        seed: Of splits, resamples and batches.

    Raises:
        TypeError: If one of them is of another kind.
        ValueError: If a number is out of range, or ``data`` of other sizes than the
            model or too little.
    """

    def __init__(
        self,
        dynamics: LearnedDynamics,
        data: Experience | None = None,
        *,
        batches: Batches | None = None,
        holdout: Holdout | None = None,
        learning_rate: float = 1e-3,
        weight_decay: Sequence[float] = (),
        seed: int = 0,
    ):
        advice = "fit what is inside a Mean, TS1 or TSInf, its dynamics"
        require_kind("dynamics", dynamics, LearnedDynamics, advice)
        if holdout is not None:
            require_kind("holdout", holdout, Holdout, "such as Holdout(share=0.2)")
        self.batches: Batches = batches or Disjoint()
        require_batches(self.batches)
        require_above_zero("learning_rate", learning_rate)
        self.dynamics, self.holdout = dynamics, holdout
        require_kind("weight_decay", weight_decay, Sequence, "give one rate a layer")
        self.weight_decay = tuple(weight_decay)
        members = dynamics.ensemble.members
        elites = None if holdout is None else holdout.elites
        if elites is not None and elites > members:
            raise ValueError(f"{members} members have no {elites} elites")
        if elites is not None and not dynamics.is_fitted:
            # Which they will be is not known yet, how many is: planners share by it.
            dynamics.is_elite[elites:] = False
        require_not_negative("weight_decay", *weight_decay)
        if self.weight_decay:
            dynamics.ensemble.decay(self.weight_decay)  # refuses a wrong number
        self._optimizer = torch.optim.Adam(
            dynamics.ensemble.parameters(), lr=learning_rate
        )
        self._generator = torch.Generator().manual_seed(seed)
        self.steps = self.epochs = 0
        self._warned = False
        self._data: Experience | None = None
        self._forget()
        if data is not None:
            self.begin(data)

    def _forget(self) -> None:
        members = self.dynamics.ensemble.members
        self._best_errors = torch.full((members,), torch.inf)
        self._best: dict[str, torch.Tensor] = {}
        self._waited, self.is_done = 0, False

    # ---------------------------------------------------------------------- rounds
    def require(self, rows: int) -> None:
        """Refuse a number of transitions that are too few to fit to.

        Use it before they are collected.

        Raises:
            ValueError: If nothing could be held out, or a step needs more.
        """
        trained = rows - self._held_count(rows)
        self.batches.require(trained, self.dynamics.ensemble.members)

    def require_end(self, count: int | None, name: str = "steps") -> None:
        """Refuse a round that would not begin, or would not end.

        Args:
            count: Steps or epochs of a round; None leaves it to the holdout's patience.
            name: What they are called.

        Raises:
            ValueError: If the count is below 1, or there is neither it nor a patience.
        """
        if count is not None:
            require_positive(name, count)
        elif self.holdout is None or self.holdout.patience is None:
            raise ValueError(
                f"{name}=None fits until a holdout's patience ends it, and this fit "
                f"has none; give it a Holdout with patience, or a number of {name}"
            )

    def begin(self, data: Experience) -> None:
        """Start a round on these transitions; weights and Adam's memory stay.

        Raises:
            TypeError: If the data is no ``Experience``.
            ValueError: If the data is of other sizes than the model or too little.
        """
        require_kind("data", data, Experience, "Experience.of(...) makes one of arrays")
        self._round_seed = int(torch.randint(2**62, (), generator=self._generator))
        self._forget()
        self._attach(data)
        self._warn_of_ends(data)
        self.dynamics.refresh(data[self._trained])
        self._normalise()

    def _warn_of_ends(self, data: Experience) -> None:
        given = self.dynamics.functions["terminated"]
        if given is never and not self._warned and bool((data.terminated > 0).any()):
            self._warned = True
            log.warning(
                "the data hold episodes that terminated, and the model knows no end, "
                "so that it imagines on after one; give LearnedDynamics a terminated"
            )

    def _attach(self, data: Experience) -> None:
        """Split the data as the round's seed says."""
        rows = len(data)
        held = self._held_count(rows)
        own = torch.Generator().manual_seed(self._round_seed)
        order = torch.randperm(rows, generator=own).to(data.states.device)
        self._data, self._held, self._trained = data, order[:held], order[held:]

    def _held_count(self, rows: int) -> int:
        if self.holdout is None:
            return 0
        held = min(int(rows * self.holdout.share), self.holdout.largest)
        if held < 1:
            raise ValueError(
                f"{rows} transitions have no share of {self.holdout.share} to hold "
                "out; give more, or holdout=None"
            )
        return held

    def _normalise(self) -> None:
        assert self._data is not None
        self._x, self._y = self.dynamics.regression(self._data[self._trained])
        self._held_rows = self.dynamics.regression(self._data[self._held])

    @property
    def epoch_steps(self) -> int:
        """Gradient steps of an epoch of the data that are fitted to now."""
        return self.batches.steps(len(self._trained))

    def run(self, data: Experience, steps: int | None = None) -> dict[str, float]:
        """A whole round.

        Args:
            data: All that the model shall know.
            steps: Gradient steps at most; None stops by the holdout's patience.

        Returns:
            The last iteration's metrics.

        Raises:
            ValueError: If nothing would ever stop it, or ``steps`` is below 1.
        """
        self.require_end(steps)
        self.begin(data)
        metrics: dict[str, float] = {}
        total = sys.maxsize if steps is None else self.steps + steps
        for found in self.iterate(total):
            metrics = found
        return metrics

    # -------------------------------------------------------------------- learning
    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        """Train until so many gradient steps in all, or until patience ends the round.

        Raises:
            ValueError: If there is no data.
            FloatingPointError: If a member's loss is no longer finite.
        """
        if self._data is None:
            raise ValueError("a fit needs data; give it some, or call begin(data)")
        while self.steps < total_timesteps and not self.is_done:
            losses = self._epoch(total_timesteps - self.steps)
            self.epochs += 1
            metrics = {"model/train_loss": float(losses.mean())}
            metrics |= _numbered("model/train_loss", losses)
            if self.holdout is not None:
                metrics |= self._judged(self.holdout)
            if self.is_done or self.steps >= total_timesteps:
                self._put_back()
            yield {**metrics, "model/steps": float(self.steps)}

    def planned_updates(self, total_timesteps: int) -> int:
        """Iterations of ``iterate`` from the start, if patience does not end it."""
        rows = len(self._trained) if self._data is not None else 0
        return -(-total_timesteps // max(self.batches.steps(rows), 1))

    def _epoch(self, most: int) -> torch.Tensor:
        """Mean losses (E,) of an epoch of at most so many steps."""
        members, found = self.dynamics.ensemble.members, []
        epoch = self.batches.epoch(
            len(self._trained), members, self._round_seed, self._generator
        )
        for rows in islice(epoch, most):
            rows = rows.to(self._x.device)
            found.append(self._step(self._x[rows], self._y[rows]))
        return torch.stack(found).mean(dim=0)

    def _step(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        ensemble = self.dynamics.ensemble
        losses = self.dynamics.losses(x, y)
        self._require_finite(losses.detach())
        total = losses.sum() + ensemble.regulariser()
        if self.weight_decay:
            total = total + ensemble.decay(self.weight_decay)
        self._optimizer.zero_grad()
        total.backward()
        self._optimizer.step()
        self.steps += 1
        return losses.detach()

    def _require_finite(self, losses: torch.Tensor) -> None:
        wrong = torch.nonzero(~torch.isfinite(losses))
        if len(wrong):
            member = int(wrong[0])
            raise FloatingPointError(
                f"the model's loss became {float(losses[member])} in step {self.steps} "
                f"of its fit, first in member {member}; lower the learning rate, or "
                "look for outliers in the data"
            )

    # --------------------------------------------------------------------- holdout
    def _judged(self, holdout: Holdout) -> dict[str, float]:
        """Errors on the rows held out; weights that are better than ever are kept."""
        errors = self.dynamics.errors(*self._held_rows).cpu()
        better = errors < self._best_errors * (1 - holdout.improvement)
        if not self._best:
            better = torch.ones_like(better)
        for name, weights in self.dynamics.ensemble.named_parameters():
            kept = self._best.setdefault(name, weights.detach().clone())
            kept[better.to(kept.device)] = weights.detach()[better.to(kept.device)]
        self._best_errors = torch.where(better, errors, self._best_errors)
        self._waited = 0 if better.any() else self._waited + 1
        if holdout.patience is not None:
            self.is_done = self._waited >= holdout.patience
        elites = errors.sort().values[: holdout.elites]
        return {
            **_numbered("model/holdout_error", errors),
            "model/holdout_error": float(elites.mean()),
        }

    @torch.no_grad()
    def _put_back(self) -> None:
        """Give each member its best weights, and the best members the word."""
        if self.holdout is None:
            return
        for name, weights in self.dynamics.ensemble.named_parameters():
            weights.copy_(self._best[name])
        best = torch.argsort(self._best_errors, stable=True)[: self.holdout.elites]
        self.dynamics.is_elite.fill_(False)
        self.dynamics.is_elite[best.to(self.dynamics.is_elite.device)] = True

    # ----------------------------------------------------------------- checkpoints
    def state(self) -> dict[str, Any]:
        """All but the data: give a new ``Fit`` the same before ``load_state``."""
        return {
            "weights": dict(self.dynamics.state_dict()),
            "optimizer": optimizer_state(self._optimizer),
            "generator": self._generator.get_state(),
            "best": dict(self._best),
            "best_errors": self._best_errors,
            "counts": {
                "steps": self.steps,
                "epochs": self.epochs,
                "waited": self._waited,
                "is_done": self.is_done,
                "rows": 0 if self._data is None else len(self._data),
                "round_seed": self._round_seed if self._data is not None else 0,
            },
        }

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``.

        A round that is under way goes on if this fit was given the same data.

        Raises:
            IntegrityError: If it is of another model, or of another number of
                transitions. That they are the same is the caller's to see to;
                ``ModelFit`` keeps their hash.
        """
        counts = tree["counts"]
        if self._data is not None and len(self._data) != counts["rows"]:
            raise IntegrityError(
                f"the fit was of {counts['rows']} transitions, this one is of "
                f"{len(self._data)}: give it the data it began with"
            )
        require_like(counts, self.state()["counts"], "fit.counts")
        load_weights(self.dynamics, tree["weights"], "fit.weights")
        if tree["best"]:
            own = {n: p.detach() for n, p in self.dynamics.ensemble.named_parameters()}
            device = self.dynamics.is_elite.device
            self._best = {n: kept.to(device) for n, kept in tree["best"].items()}
            require_like(self._best, own, "fit.best")
        load_optimizer(self._optimizer, tree["optimizer"])
        self._generator.set_state(tree["generator"])
        self._best_errors = tree["best_errors"]
        self.steps, self.epochs = counts["steps"], counts["epochs"]
        self._waited, self.is_done = counts["waited"], counts["is_done"]
        self._round_seed = counts["round_seed"]
        if self._data is not None:
            self._attach(self._data)
            self._normalise()


def _numbered(name: str, values: torch.Tensor) -> dict[str, float]:
    return {f"{name}_{member}": value for member, value in enumerate(values.tolist())}
