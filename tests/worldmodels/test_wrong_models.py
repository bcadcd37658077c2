"""Models, and what is handed over beside them, that are not what they must be."""

# pyright: reportArgumentType=false
# Most of what is handed over here is wrong on purpose.

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.nn import Module
from worlds import Pendulum, Swing, pendulum_data, pendulum_dynamics

from suite.agents.believed import Fitted
from suite.agents.branching import Branched, Fixed, Growing
from suite.agents.lookahead import look_ahead
from suite.agents.mpc import MPC
from suite.agents.pace import Pace
from suite.agents.planned_policy import Imagination, PlannedPolicy
from suite.agents.planners import CEM, ICEM, RandomShooting
from suite.envs.same_step import SameStepVectorEnv
from suite.worldmodels.batches import Bootstrap, Holdout
from suite.worldmodels.branches import branches
from suite.worldmodels.dynamics import Transition
from suite.worldmodels.ensemble import Ensemble
from suite.worldmodels.fit import Fit
from suite.worldmodels.imagine import imagine
from suite.worldmodels.imagined_score import score_with
from suite.worldmodels.latent import LatentModel
from suite.worldmodels.latent_fit import LatentFit
from suite.worldmodels.model_env import ModelEnv, ModelVectorEnv
from suite.worldmodels.propagation import TS1, Mean, TSInf
from suite.worldmodels.scoring import EnsembleScore
from suite.worldmodels.uncertainty import Bounded, Penalised

ROWS = 4
STATES = torch.zeros(ROWS, 3)


class _Column(Pendulum):
    """Its reward kept its axis, as of ``sum(dim=1, keepdim=True)``."""

    def step(self, z: Swing, action: torch.Tensor, *, generator: Any = None):
        found = super().step(z, action)
        return found._replace(reward=found.reward[:, None])


class _Counted(Pendulum):
    """Whether it ended is a number."""

    def step(self, z: Swing, action: torch.Tensor, *, generator: Any = None):
        found = super().step(z, action)
        return found._replace(terminated=found.terminated.float())


class _Loose(Pendulum):
    """A step is a plain tuple."""

    def step(self, z: Swing, action: torch.Tensor, *, generator: Any = None) -> Any:
        return tuple(super().step(z, action))


class _Named(Pendulum):
    """z is a dict."""

    def start(self, state: torch.Tensor) -> Any:
        return super().start(state)._asdict()

    def step(self, z: Any, action: torch.Tensor, *, generator: Any = None):
        found = super().step(Swing(**z), action)
        ends = action[:, 0] > 0
        return Transition(found.next_z._asdict(), found.reward, ends)

    def observe(self, z: Any) -> torch.Tensor:
        return super().observe(Swing(**z))


class _Arrays(Pendulum):
    """Its reward is an array."""

    def step(self, z: Swing, action: torch.Tensor, *, generator: Any = None):
        found = super().step(z, action)
        return found._replace(reward=found.reward.numpy())


class _Undecided(Pendulum):
    """What it does not believe kept its axis."""

    def truncated(self, z: Swing) -> torch.Tensor:
        return (z.speed > 5)[:, None]


class _Limited(Module, Pendulum):
    """An infinite constant, and state that is no tensor."""

    def __init__(self, start: float):
        super().__init__()
        self.register_buffer("high", torch.tensor([1.0, start]))

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 1}

    def step(self, z: Swing, action: torch.Tensor, *, generator: Any = None):
        found = super().step(z, action)
        return found._replace(reward=found.reward * torch.inf)


def imagined(model: Any) -> None:
    # As many steps as rows: where (B, 1) would pass for (H, B) later on.
    imagine(model, model.start(STATES), torch.zeros(ROWS, ROWS, 1), ROWS)


def planned(model: Any) -> None:
    score_with(model, horizon=2)(STATES, torch.zeros(ROWS, 5, 2, 1))


def branched(model: Any) -> None:
    branches(model, STATES, lambda obs: torch.zeros(len(obs), 1), 2)


def stepped(model: Any) -> None:
    env = ModelEnv(gym.make("Pendulum-v1"), model)
    env.reset(seed=0)
    env.step(np.zeros(1, np.float32))


def looked_ahead(model: Any) -> None:
    look_ahead(
        model,
        model.start(STATES),
        lambda obs, step: torch.zeros(len(obs), 1),
        lambda obs: obs[..., 0],
        2,
        gamma=0.9,
    )


@pytest.mark.parametrize("use", [imagined, planned, branched, stepped, looked_ahead])
@pytest.mark.parametrize(
    ("model", "error", "complaint"),
    [
        (_Column(), ValueError, r"reward \(\d+,\) .*\(\d+, 1\)"),
        (_Counted(), ValueError, r"terminated \(\d+,\) bool, got .*torch.float32"),
        (_Arrays(), ValueError, r"must give torch tensors, .*got ndarray float64"),
        (_Loose(), TypeError, "must give a .*Transition, got tuple"),
    ],
)
def test_whoever_steps_a_model_refuses_a_step_that_is_none(
    use, model, error, complaint
):
    with pytest.raises(error, match=complaint):
        use(model)


@pytest.mark.parametrize("use", [imagined, planned, branched, stepped])
def test_doubts_of_another_form_are_refused(use):
    with pytest.raises(ValueError, match=r"truncated\(z\) of \d+ rows must .*, 1\)"):
        use(_Undecided())


def test_an_infinite_constant_is_no_bad_weight_and_nan_is_one():
    for start, is_bad in ((torch.inf, False), (torch.nan, True)):
        env = ModelEnv(gym.make("Pendulum-v1"), _Limited(start))
        env.reset(seed=0)
        if is_bad:
            with pytest.raises(FloatingPointError, match="its high is not finite"):
                env.step(np.zeros(1, np.float32))
        else:
            assert env.step(np.zeros(1, np.float32))[3]  # the row is truncated


def test_a_z_whose_rows_cannot_be_picked_is_refused():
    def pushed(obs: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])  # half of the rows end

    for use in (stepped, lambda model: branches(model, STATES, pushed, 2)):
        with pytest.raises(
            TypeError, match=r"tensor or a NamedTuple of them.* got dict"
        ):
            use(_Named())


def test_a_normalisation_of_nan_is_named():
    dynamics = pendulum_dynamics()
    Fit(dynamics, pendulum_data(80))
    env = ModelEnv(gym.make("Pendulum-v1"), Mean(dynamics))
    dict(dynamics.named_buffers())["output_scale.std"][0] = torch.nan
    env.reset(seed=0)
    with pytest.raises(
        FloatingPointError, match=r"its dynamics\.output_scale.std is not"
    ):
        env.step(np.zeros(1, np.float32))


def test_a_start_of_nan_is_refused_and_its_weights_named():
    model = LatentModel(3, 1)
    env = ModelVectorEnv(gym.make("Pendulum-v1"), model, 2)
    with torch.no_grad():
        next(model.encoder.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match=r"its encoder.* is not finite"):
        env.reset(seed=0)


@pytest.mark.parametrize("wrapper", [Penalised, Bounded])
def test_only_an_ensemble_can_be_asked_for_its_doubts(wrapper):
    with pytest.raises(TypeError, match="members of an ensemble, got LatentModel"):
        wrapper(LatentModel(3, 1), 1.0)


ENV = SameStepVectorEnv([lambda: gym.make("Pendulum-v1")] * 2)


def mpc(**changed: Any) -> MPC:
    given = {"planner": CEM(2), "fit": Fit(pendulum_dynamics()), **changed}
    return MPC(ENV, initial_steps=2000, batch_size=200, **given)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Fit(TS1(pendulum_dynamics())), "must be of type LearnedDynamics, got"),
        (lambda: Fit(pendulum_dynamics(), (1, 2)), "of type Experience, got tuple"),
        (lambda: Fit(pendulum_dynamics(), weight_decay=1e-4), "one rate a layer"),
        (lambda: LatentFit(pendulum_dynamics()), "must be of type LatentModel, got"),
        (lambda: mpc(fit=pendulum_dynamics()), "fit must be of type Fit, got Learned"),
        (lambda: mpc(imagination=TSInf), "imagination must be of type Imagination"),
        (
            lambda: mpc(planner="cem"),
            "planner must have horizon, .*'cem'",
        ),
        (lambda: mpc(planner=CEM), r"such as CEM\(15\), got <class"),
        (lambda: MPC("Pendulum-v1", planner=CEM(2), fit=1), "env must be of type Vect"),
        (lambda: ModelEnv(gym.make("Pendulum-v1"), TS1), "got the class TS1 itself"),
        (lambda: Branched(length=Fixed), r"a Length such as Fixed\(1\), got <class"),
        (lambda: Fitted(pendulum_dynamics()), "fit must be of type Fit, got Learned"),
        (
            lambda: Fitted(
                Fit(pendulum_dynamics()), propagation=TS1(pendulum_dynamics())
            ),
            "such as TSInf itself, got a TS1",
        ),
        (
            lambda: Fit(pendulum_dynamics(), batches=64),
            r"batches .* Bootstrap\(...\), got 64",
        ),
        (lambda: Fit(pendulum_dynamics(), holdout=0.2), "holdout must be of type Hold"),
        (lambda: Imagination(TS1(pendulum_dynamics())), "such as TSInf itself, got a"),
        (lambda: Branched(length=3), r"a Length such as Fixed\(1\), got 3"),
        (
            lambda: ModelEnv("Pendulum-v1", Pendulum()),
            "env must be of type Env, got str",
        ),
        (
            lambda: ModelVectorEnv(ENV, Pendulum()),
            "the one environment where the rows'",
        ),
        (
            lambda: PlannedPolicy(
                pendulum_dynamics(), CEM(2), Imagination(), gym.make("Pendulum-v1")
            ),
            "env must be of type VectorEnv.*gym.make_vec makes one",
        ),
    ],
)
def test_another_kind_of_object_is_refused_where_it_is_given(make, complaint):
    with pytest.raises(TypeError, match=complaint):
        make()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: CEM("15"), "horizon must be a whole number, got '15'"),
        (lambda: CEM(15.0), "horizon must be a whole number, got 15.0"),
        (lambda: CEM(float("nan")), "horizon must be a whole number, got nan"),
        (lambda: RandomShooting(5, 2.5), "candidates must be a whole number, got 2.5"),
        (lambda: Bootstrap("64"), "batch_size must be a whole number, got '64'"),
        (lambda: Ensemble("3", 1, 1), "members must be a whole number, got '3'"),
        (lambda: Ensemble(3, 1, 1, hidden=("8",)), "widths must be a whole number"),
        (lambda: Pace(exploration="100"), "exploration must be a whole number, got"),
        (lambda: Pace(exploration=float("inf")), "exploration must be a whole number"),
        (lambda: CEM(True), "horizon must be a whole number, got True"),
        (lambda: CEM(5, alpha=".1"), "alpha must be a number, got '.1'"),
        (lambda: ICEM(5, keep=".1"), "keep must be a number, got '.1'"),
        (lambda: ICEM(5, decay=float("nan")), "decay must be at least 1, got nan"),
        (lambda: Holdout(patience="5"), "patience must be a whole number, got '5'"),
        (lambda: Holdout(elites=2.5), "elites must be a whole number, got 2.5"),
        (lambda: Holdout(improvement=-1), "improvement must be 0 or more, got -1"),
        (
            lambda: Fit(pendulum_dynamics(), learning_rate="1e-3"),
            "learning_rate must be a number, got '1e-3'",
        ),
        (lambda: imagine(Pendulum(), None, None, 2.5), "horizon must be a whole"),
        (lambda: branches(Pendulum(), STATES, None, 2.5), "steps must be a whole"),
        (
            lambda: score_with(TSInf(pendulum_dynamics()), horizon=3, particles=0),
            "particles must be at least 1, got 0",
        ),
        (
            lambda: EnsembleScore.of(pendulum_dynamics().frozen(), horizon=3, block=-1),
            "block must be at least 1, got -1",
        ),
        (lambda: Pace(updates=0.5), "updates must be a whole number, got 0.5"),
        (lambda: Growing(0, 3, 1, 2.5), "steps must be a whole number, got 2.5"),
        (lambda: Fixed("2"), "steps must be a whole number, got '2'"),
        (lambda: ModelVectorEnv(gym.make("Pendulum-v1"), Pendulum(), "4"), "num_envs"),
    ],
)
def test_what_is_no_number_is_refused_by_name(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()
