"""A fit closes the gap to the true car, goes on exactly, and keeps seeds apart."""

from __future__ import annotations

import copy
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from cars import PLANT_ALONE, drives, recorded

from suite.checkpoints import Learner, pack, unpack
from suite.storage import IntegrityError
from suite.transitions import Dataset
from suite.worldmodels.car import Adapter, Car, Friction, Residual
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_fit import CarFit
from suite.worldmodels.car_optimisation import Optimisation
from suite.worldmodels.car_plants import Hold
from suite.worldmodels.car_selection import Selection, split
from suite.worldmodels.cvar import CVaR, RockafellarUryasev
from suite.worldmodels.open_loop import OpenLoop
from suite.worldmodels.recordings import Recordings
from suite.worldmodels.rollout_losses import Losses, Pose, Rollout

TINY = Car(adapter=Adapter((8,)), residual=Residual((8,)), history=1)
ROLLED = Losses(rollout=Rollout(4), pose=Pose(), penalties={"residual": 0.01})
TAILED = Losses(
    rollout=Rollout(4), pose=Pose(), cvar=CVaR(0.3, estimator=RockafellarUryasev(0.9))
)
FEW = Optimisation(batch_size=16, steps_per_epoch=3, decay_epochs=6)
JUDGED = Selection(share=0.2, horizon=4)


def fit(data: Any = None, car: Car = TINY, losses=ROLLED, **kwargs) -> CarFit:
    kwargs = {"optimisation": FEW, "selection": JUDGED, **kwargs}
    return CarFit(drives(10, 20) if data is None else data, car, losses, **kwargs)


def steady(metrics: dict[str, float]) -> dict[str, float]:
    return {k: v for k, v in metrics.items() if not k.startswith("time/")}


def ran(learner: CarFit, steps: int) -> list[dict[str, float]]:
    return [steady(found) for found in learner.iterate(steps)]


# ------------------------------------------------------------------------- learning
@pytest.mark.parametrize(
    ("car", "share"),
    [
        (Car(adapter=Adapter((16, 16)), residual=Residual((16,)), history=1), 0.4),
        (Car(Hold(), adapter=None, residual=Residual((32, 32)), history=1), 0.7),
    ],
    ids=["structured", "direct"],
)
def test_a_fit_beats_the_plant_on_drives_it_has_not_seen(car, share):
    learner = CarFit(
        drives(30, 40),
        car,
        Losses(rollout=Rollout(5, teacher_forcing=0.0), pose=Pose()),
        optimisation=Optimisation(64, 5e-3, 1e-4, decay_epochs=12, steps_per_epoch=20),
        selection=Selection(horizon=5),
    )
    found = ran(learner, 240)
    judge = OpenLoop(drives(12, 40, seed=7))
    plant, fitted = judge(CarDynamics(PLANT_ALONE), 0), judge(learner.model, 0)
    assert fitted["error_1s"] < share * plant["error_1s"]
    assert fitted["ade_p95"] < share * plant["ade_p95"]
    assert found[-1]["val_rollout"] < 0.5 * found[0]["val_rollout"]


def test_what_is_logged():
    (found,) = ran(fit(losses=TAILED), 3)
    raw = {"one_step", "rollout_mean", "rollout_cvar", "pose", "k_used", "alpha"}
    rest = {"train_loss", "grad_norm", "lr", "epoch"}
    judged = {"val_rollout", "val_one_step", "val_pose"}
    assert set(found) == raw | rest | judged
    assert found["rollout_cvar"] > found["rollout_mean"]
    assert found["alpha"] == pytest.approx(0.3) and found["epoch"] == 1
    assert "reg_residual" in ran(fit(), 3)[0]
    seeds = ran(fit(seeds=(0, 1)), 3)[0]
    mean = (seeds["train_loss_0"] + seeds["train_loss_1"]) / 2
    assert seeds["train_loss"] == pytest.approx(mean)


def test_the_rate_falls_on_a_cosine_and_stays():
    made = Optimisation(learning_rate=1.0, final_rate=0.2, decay_epochs=4)
    rates = [made.rate(epoch) for epoch in (0, 2, 4, 9)]
    assert rates == pytest.approx([1.0, 0.6, 0.2, 0.2])
    assert [m["lr"] for m in ran(fit(), 9)] == [FEW.rate(e) for e in range(3)]


def test_gradients_are_clipped_for_each_member_apart():
    learner = fit(
        seeds=(0, 1), optimisation=Optimisation(16, clip=1e-3, steps_per_epoch=1)
    )
    for found in ran(learner, 1):
        assert found["grad_norm"] > 1e-3
    for member in range(2):
        square = sum(
            float(p.grad[member].square().sum())
            for p in learner.dynamics.parameters()
            if p.grad is not None
        )
        assert square**0.5 == pytest.approx(1e-3, rel=1e-3)


# ----------------------------------------------------------------------- exactness
@pytest.mark.parametrize(
    "losses", [ROLLED, TAILED, Losses()], ids=["mean", "ru", "one"]
)
def test_a_fit_that_was_stopped_goes_on_as_if_it_had_not_been(losses, tmp_path):
    data, kwargs = drives(10, 20), {"losses": losses, "seeds": (3, 4)}
    whole = fit(data, **kwargs)
    expected = ran(whole, 15)
    stopped = fit(data, **kwargs)
    first = [steady(m) for m in islice(stopped.iterate(15), 2)]
    files = pack(stopped.state())
    resumed = fit(data, **kwargs)
    assert isinstance(resumed, Learner)
    resumed.load_state(unpack(files, tmp_path))
    assert first + ran(resumed, 15) == expected
    for one, other in (
        (whole.dynamics, resumed.dynamics),
        (whole.model, resumed.model),
    ):
        for left, right in zip(
            one.state_dict().values(), other.state_dict().values(), strict=True
        ):
            assert torch.equal(left, right)
    assert ran(resumed, 15) == [] and whole.planned_updates(15) == len(expected)


def test_what_was_selected_is_part_of_a_checkpoint():
    whole, resumed = fit(), fit()
    ran(whole, 15)
    resumed.load_state(copy.deepcopy(whole.state()))
    for arm in ("rollout", "one_step"):
        one, other = (f.selected(arm).state_dict() for f in (whole, resumed))
        assert all(part.equal(other[name]) for name, part in one.items())
        assert whole._judge.best[arm].equal(resumed._judge.best[arm])
    assert whole._judge.waited.equal(resumed._judge.waited)


def test_a_threshold_goes_from_step_to_step():
    slow = CVaR(0.3, estimator=RockafellarUryasev(0.999))
    learner = fit(losses=Losses(rollout=Rollout(4), cvar=slow))
    ran(learner, 1)
    first = learner._memory.clone()
    ran(learner, 4)
    # It keeps 0.999 of itself in a step, whatever the batches are.
    torch.testing.assert_close(learner._memory, first, rtol=0.05, atol=0)
    assert torch.isfinite(first).all() and not torch.equal(learner._memory, first)


@pytest.mark.parametrize("losses", [ROLLED, TAILED], ids=["mean", "tail"])
def test_seeds_trained_at_once_are_seeds_trained_alone(losses):
    car = Car(adapter=Adapter((8,)), residual=Residual((8,)), friction=Friction((8,)))
    data, seeds, splits = drives(10, 20), (5, 8, 13), (0, 1, 1)
    kwargs = {"car": car, "losses": losses}
    together = fit(data, seeds=seeds, data_seeds=splits, **kwargs)
    at_once = ran(together, 12)
    for member, (seed, split_seed) in enumerate(zip(seeds, splits, strict=True)):
        alone = fit(data, seeds=(seed,), data_seeds=(split_seed,), **kwargs)
        for one, all_of_them in zip(ran(alone, 12), at_once, strict=True):
            for name in ("train_loss", "val_rollout", "rollout_cvar", "grad_norm"):
                told = all_of_them[f"{name}_{member}"]
                assert one[name] == pytest.approx(told, rel=2e-3), name
        for name, part in alone.model.named_parameters():
            other = dict(together.model.named_parameters())[name][member : member + 1]
            torch.testing.assert_close(part, other, rtol=1e-3, atol=1e-4)


def test_members_may_have_data_of_their_own():
    one, two = drives(10, 20, seed=1), drives(10, 20, seed=2)
    together = fit([one, two], seeds=(0, 0))
    told = ran(together, 6)[-1]
    for member, data in enumerate((one, two)):
        alone = ran(fit(data), 6)[-1]
        assert alone["train_loss"] == pytest.approx(
            told[f"train_loss_{member}"], rel=1e-3
        )
    assert told["train_loss_0"] != pytest.approx(told["train_loss_1"], rel=1e-3)


def test_a_seed_decides_everything():
    one, same, other = (ran(fit(seed=seed), 6) for seed in (1, 1, 2))
    assert one == same and one != other


# ------------------------------------------------------------- splits and statistics
def test_standardisers_are_those_of_the_training_trajectories_alone():
    data = drives(10, 20)
    learner = fit(data, seeds=(0, 0), data_seeds=(1, 2))
    for member, split_seed in enumerate((1, 2)):
        train, held = split(10, 0.2, split_seed)
        assert len(held) == 2 and not set(train.tolist()) & set(held.tolist())
        rows = np.concatenate([np.arange(20) + 20 * i for i in train.tolist()])
        twists, after = data.obs[rows, 3:], data.next_obs[rows, 3:]
        buffers = learner.dynamics
        for buffer, expected in (
            (buffers.twist_mean, twists.mean(axis=0)),
            (buffers.twist_std, twists.std(axis=0)),
            (buffers.change_std, (after - twists).std(axis=0)),
            (buffers.twist_limit, 1.5 * abs(twists).max(axis=0) + 1e-3),
        ):
            np.testing.assert_allclose(
                buffer[member, 0], expected, rtol=1e-4, atol=1e-6
            )
    held_out = data.obs.copy()
    for i in split(10, 0.2, 1)[1].tolist():
        held_out[20 * i : 20 * i + 20, 3:] *= 3  # what is held out changes nothing
    changed = fit(data.with_arrays(obs=held_out), data_seeds=(1,), seeds=(0,))
    assert torch.equal(changed.dynamics.twist_std[0], learner.dynamics.twist_std[0])


def test_snippets_stay_within_their_trajectory_and_cover_it():
    states = torch.arange(2 * 6 * 6, dtype=torch.float32).view(2, 6, 6)
    actions = torch.arange(2 * 5 * 2, dtype=torch.float32).view(2, 5, 2)
    records = Recordings.of(recorded(states, actions), history=2)
    starts = records.starts(torch.tensor([0, 1]), 3)
    assert len(starts) == 2 * 3
    found = records.snippets(starts, 3)
    for n, (drive, t) in enumerate([(d, t) for d in range(2) for t in range(3)]):
        assert torch.equal(found.states[:, n], states[drive, t : t + 4])
        assert torch.equal(found.actions[:, n], actions[drive, t : t + 3])
        past = torch.cat([torch.zeros(2, 2), actions[drive]])[t : t + 2]
        assert torch.equal(found.history[n], past)


def test_each_epoch_is_a_pass_over_all_starts():
    learner = fit(optimisation=Optimisation(batch_size=8))
    assert learner.steps_per_epoch == 8 * 17 // 8
    order = learner._order(learner.steps_per_epoch)
    assert order.flatten().sort().values.tolist() == learner._starts[0].tolist()
    assert not torch.equal(order, learner._order(learner.steps_per_epoch))


# ----------------------------------------------------------------------- selection
@pytest.mark.parametrize("arm", ["rollout", "one_step"])
def test_the_best_weights_of_the_arm_are_kept(arm):
    # A rate at which errors jump about, so that the last weights are not the best.
    wild = Optimisation(16, 0.5, 0.5, steps_per_epoch=3)
    chosen = Selection(arm, share=0.2, horizon=4)
    learner = fit(optimisation=wild, selection=chosen, seeds=(0, 1))
    found = ran(learner, 45)
    now = learner._judge.errors(learner.model)[f"val_{arm}"]
    names = [f"val_{arm}_{member}" for member in range(2)]
    best = [min(m[name] for m in found) for name in names]
    assert best != [found[-1][name] for name in names]
    assert now.tolist() == pytest.approx(best, rel=1e-5)
    assert learner.selected(arm) is learner.model
    assert learner.selected("rollout") is not learner.selected("one_step")


def test_before_the_first_epoch_the_model_is_the_plant():
    learner = fit()
    state = torch.randn(5, 6)
    start = learner.model.start(state)
    plant = CarDynamics(PLANT_ALONE)
    expected = plant.step(plant.start(state), torch.ones(5, 2)).next_z.state
    found = learner.model.step(start, torch.ones(5, 2)).next_z.state
    torch.testing.assert_close(found, expected)


def test_patience_stops_a_member_and_then_the_fit():
    impatient = Selection(share=0.2, horizon=4, patience=2, improvement=1e9)
    learner = fit(selection=impatient, seeds=(0, 1))
    assert len(ran(learner, 300)) == 3  # infinity to something counts once
    assert learner.is_done
    learner = fit(selection=impatient, seeds=(0, 1))
    learner._judge.waited[0] = 2  # member 0 is done: what comes is not kept
    before = [p[0].clone() for p in learner.model.parameters()]
    ran(learner, 3)
    for old, new in zip(before, learner.model.parameters(), strict=True):
        assert torch.equal(old, new[0])
    assert torch.isinf(learner._judge.best["rollout"][0])
    assert torch.isfinite(learner._judge.best["rollout"][1])


# -------------------------------------------------------------------------- errors
def test_bad_data_is_named():
    data = drives(4, 20)
    narrow = Dataset(
        data.obs[:, :5],
        data.actions,
        data.rewards,
        data.next_obs[:, :5],
        data.terminated,
        data.truncated,
        data.lengths,
        data.episode_ids,
    )
    with pytest.raises(ValueError, match=r"needs 6 columns of state .* have 5 and 2"):
        fit(narrow)
    obs = data.obs.copy()
    obs[27, 3] = np.nan
    with pytest.raises(ValueError, match=r"got nan at transition 27 \(step 7 of epis"):
        fit(data.with_arrays(obs=obs))
    with pytest.raises(ValueError, match=r"no trajectory has 30 steps .* has 20"):
        fit(data, losses=Losses(rollout=Rollout(30)))
    with pytest.raises(ValueError, match="1 trajectories cannot be split"):
        fit(drives(1, 20))


def test_a_rollout_that_diverges_is_named():
    wild = Optimisation(16, learning_rate=1e4, clip=None, steps_per_epoch=50)
    direct = Car(Hold(), adapter=None, residual=Residual((8,)), history=0)
    learner = CarFit(
        drives(10, 20), direct, Losses(rollout=Rollout(10)), optimisation=wild, seed=7
    )
    with pytest.raises(
        FloatingPointError, match=r"of seed 7 became .* in step \d+: its rollouts of 10"
    ):
        ran(learner, 500)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Selection("best"), "one of rollout, one_step, got 'best'"),
        (lambda: Selection(share=1.0), r"share within \(0, 1\)"),
        (lambda: Optimisation(batch_size=0), "counts of 1 or more"),
        (lambda: fit(seeds=(0, 1), data_seeds=(0,)), "got 2 seeds, 1 data seeds"),
        (lambda: fit([drives(5, 20)] * 3, seeds=(0, 1)), "and 3 datasets"),
        (lambda: fit(car=PLANT_ALONE, losses=Losses()), "has nothing to fit"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_checkpoint_of_something_else_is_refused():
    tree = fit().state()
    with pytest.raises(IntegrityError, match="fitted to data of sha256"):
        fit(drives(10, 20, seed=1)).load_state(tree)
    other = Car(adapter=None, residual=Residual((8,)), history=1)
    with pytest.raises(IntegrityError, match="does not fit"):
        fit(car=other).load_state(tree)
    with pytest.raises(IntegrityError, match="does not fit"):
        fit(seeds=(0, 1)).load_state(tree)
