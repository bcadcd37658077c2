"""A fit finds what there is, chooses by rows it has not seen, and goes on exactly."""

from __future__ import annotations

import copy
from itertools import islice

import pytest
import torch
from worlds import is_far, line_data, pays_first, pendulum_data, pendulum_dynamics

from suite.checkpoints import Learner, pack, unpack
from suite.storage import IntegrityError
from suite.worldmodels.batches import Bootstrap, Disjoint, Holdout
from suite.worldmodels.ensemble import Ensemble, GaussianEnsemble
from suite.worldmodels.experience import Experience
from suite.worldmodels.fit import Fit
from suite.worldmodels.learned import LearnedDynamics

SMALL = Disjoint(batch_size=32, steps_per_epoch=5)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def weights(fit: Fit) -> list[torch.Tensor]:
    return [part.clone() for part in fit.dynamics.state_dict().values()]


def assert_same(one: Fit, other: Fit) -> None:
    for left, right in zip(weights(one), weights(other), strict=True):
        assert torch.equal(left, right)


def test_a_linear_world_is_found_with_its_reward_and_its_end():
    ensemble = Ensemble(2, 3, 4, hidden=(), generator=generator())
    dynamics = LearnedDynamics(ensemble, terminated=None)
    fit = Fit(dynamics, batches=Disjoint(64, 50), learning_rate=0.05)
    fit.run(line_data(), steps=600)
    test = line_data(seed=1)
    found = dynamics(test.states, test.actions).mean
    # The data is normalised, so what is left is rounding and Adam's last step.
    torch.testing.assert_close(
        found[..., :2], test.next_states.expand(2, -1, -1), rtol=0, atol=0.02
    )
    torch.testing.assert_close(
        found[..., 2], test.rewards.expand(2, -1), rtol=0, atol=0.03
    )
    ends = (found[..., 3] > 0) == (test.terminated > 0)
    assert ends.float().mean() > 0.98


def test_gaussian_members_find_the_noise():
    x, a, noise = torch.randn(3, 2000, 1, generator=generator())
    noise = 0.3 * noise
    after = x + a + noise
    data = Experience.of(x, a, after[:, 0], after, torch.zeros(2000))
    ensemble = GaussianEnsemble(2, 2, 1, hidden=(), generator=generator())
    dynamics = LearnedDynamics(ensemble, reward=lambda s, a, n: n[..., 0])
    Fit(dynamics, batches=Bootstrap(256), learning_rate=0.02).run(data, steps=300)
    std = dynamics.predict(x, a).std
    assert std is not None
    assert std.mean().item() == pytest.approx(float(noise.std()), rel=0.1)


def test_disjoint_members_never_share_a_row_within_a_step():
    batches = Disjoint(batch_size=20, steps_per_epoch=4)
    for rows in (120, 100, 5000):
        found = list(batches.epoch(rows, 5, 0, generator()))
        assert len(found) == batches.steps(rows) == 4
        for step in found:
            assert step.shape == (5, 20) and step.unique().numel() == 100
            assert step.min() >= 0 and step.max() < rows
    with pytest.raises(ValueError, match="need 100 transitions, got 99"):
        next(batches.epoch(99, 5, 0, generator()))


def test_disjoint_rows_are_uniform():
    batches = Disjoint(batch_size=10, steps_per_epoch=2000)
    drawn = torch.cat(list(batches.epoch(50, 1, 0, generator()))).flatten()
    counts = torch.bincount(drawn, minlength=50).double()
    # 2000 steps with a chance of 10 / 50 each: 400, deviation sqrt(400 * 0.8).
    assert (counts - 400).abs().max() < 4.5 * (400 * 0.8) ** 0.5


def test_a_bootstrap_is_one_resample_a_member_for_a_whole_round():
    batches, draws = Bootstrap(batch_size=30), generator()
    epochs = [torch.cat(list(batches.epoch(100, 3, 7, draws)), 1) for _ in range(2)]
    assert epochs[0].shape == (3, 100) and batches.steps(100) == 4
    assert not torch.equal(*epochs)
    assert torch.equal(epochs[0].sort().values, epochs[1].sort().values)
    other = torch.cat(list(batches.epoch(100, 3, 8, draws)), 1)
    assert not torch.equal(other.sort().values, epochs[0].sort().values)
    # A resample of 100 leaves out (1 - 1/100)^100 = 37 %.
    left_out = (
        1
        - torch.stack(
            [row.unique().numel() / 100 * torch.ones(()) for row in epochs[0]]
        ).mean()
    )
    assert 0.27 < left_out < 0.47


def test_each_member_ends_with_its_best_weights_and_the_best_have_the_word():
    dynamics = pendulum_dynamics(members=4)
    holdout = Holdout(share=0.25, elites=2, improvement=0.0)
    # A rate at which errors jump about, so that the last weights are not the best.
    fit = Fit(
        dynamics,
        pendulum_data(),
        batches=Bootstrap(50),
        holdout=holdout,
        learning_rate=0.05,
    )
    found = list(fit.iterate(60))
    history = [[m[f"model/holdout_error_{e}"] for e in range(4)] for m in found]
    best = torch.tensor(history).min(dim=0).values
    assert not torch.equal(best, torch.tensor(history[-1]))
    now = dynamics.errors(*fit._held_rows)
    torch.testing.assert_close(now, best)
    assert dynamics.elites.tolist() == sorted(best.argsort()[:2].tolist())
    assert found[-1]["model/steps"] == 60


@pytest.mark.parametrize("decay", [(), (0.25,)])
def test_a_step_follows_the_bounds_of_the_noise_and_the_weights_decay(decay):
    ensemble = GaussianEnsemble(2, 2, 1, hidden=(), generator=generator())
    dynamics = LearnedDynamics(ensemble, reward=pays_first)
    fit = Fit(dynamics, batches=Disjoint(16, 1), weight_decay=decay)
    data = line_data(100)
    one = Experience(
        *(data.states[:, :1], data.actions, data.rewards, data.next_states[:, :1]),
        terminated=torch.zeros(100),
    )
    before = {n: p.detach().clone() for n, p in ensemble.named_parameters()}
    fit.run(one, steps=1)
    # What is left after the loss's own gradient, on the very rows of the step.
    rest = {}
    own = _loss_gradients(fit, before)
    for (name, weights), gradient in zip(ensemble.named_parameters(), own, strict=True):
        assert weights.grad is not None
        rest[name] = weights.grad - gradient
    close = {"rtol": 0, "atol": 1e-5}
    torch.testing.assert_close(rest["max_logvar"], torch.full((2, 1, 1), 0.01), **close)
    torch.testing.assert_close(
        rest["min_logvar"], torch.full((2, 1, 1), -0.01), **close
    )
    pulled = sum(decay) * before["weights.0"]
    torch.testing.assert_close(rest["weights.0"], pulled, **close)


def _loss_gradients(fit: Fit, before: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Of the members' losses alone, for the weights before the only step."""
    ensemble = copy.deepcopy(fit.dynamics.ensemble)
    ensemble.load_state_dict(before)
    twin = copy.copy(fit.dynamics)
    twin._modules = {**fit.dynamics._modules, "ensemble": ensemble}
    draws = torch.Generator().manual_seed(0)
    torch.randint(2**62, (), generator=draws)  # the round's seed
    rows = next(iter(fit.batches.epoch(len(fit._x), 2, fit._round_seed, draws)))
    losses = twin.losses(fit._x[rows], fit._y[rows])
    return list(torch.autograd.grad(losses.sum(), list(ensemble.parameters())))


def test_a_holdout_takes_no_more_rows_than_its_largest():
    fit = Fit(pendulum_dynamics(), holdout=Holdout(0.5, largest=3))
    fit.begin(pendulum_data(80))
    assert (len(fit._held), len(fit._trained)) == (3, 77)


def test_as_many_members_have_the_word_before_a_fit_as_after_it():
    dynamics = pendulum_dynamics(members=4)
    fit = Fit(dynamics, batches=SMALL, holdout=Holdout(elites=2))
    assert len(dynamics.elites) == 2
    fit.run(pendulum_data(400), steps=5)
    assert len(dynamics.elites) == 2
    best = dynamics.is_elite.clone()
    Fit(dynamics, batches=SMALL, holdout=Holdout(elites=2))
    assert torch.equal(dynamics.is_elite, best)


def test_data_with_ends_that_the_model_does_not_know_of_are_told_once(caplog):
    data = line_data()
    knows = LearnedDynamics(Ensemble(2, 3, 2, hidden=()), reward=pays_first)
    fit = Fit(knows, batches=SMALL)
    for _ in range(2):
        fit.run(data, steps=1)
    assert caplog.text.count("the model knows no end") == 1
    caplog.clear()
    ends = LearnedDynamics(
        Ensemble(2, 3, 2, hidden=()), reward=pays_first, terminated=is_far
    )
    Fit(ends, batches=SMALL).run(data, steps=1)
    assert "no end" not in caplog.text


def test_patience_ends_a_round_and_a_new_one_begins_afresh():
    fit = Fit(
        pendulum_dynamics(),
        batches=Bootstrap(64),
        holdout=Holdout(patience=2, improvement=0.5),
    )
    fit.run(pendulum_data())
    assert fit.is_done and fit.epochs < 40
    epochs = fit.epochs
    fit.run(pendulum_data(120))
    assert fit.is_done and fit.epochs >= epochs + 3


@pytest.mark.parametrize(
    "kwargs",
    [
        {"batches": SMALL},
        {"batches": Bootstrap(50), "holdout": Holdout(elites=2, patience=3)},
        {"batches": Bootstrap(50), "weight_decay": (1e-4, 1e-4, 1e-4)},
    ],
    ids=["log", "mbpo", "pets"],
)
def test_a_fit_that_was_stopped_goes_on_as_if_it_had_not_been(kwargs, tmp_path):
    data = pendulum_data()
    whole = Fit(pendulum_dynamics(GaussianEnsemble), data, **kwargs)
    expected = list(whole.iterate(45))
    stopped = Fit(pendulum_dynamics(GaussianEnsemble), data, **kwargs)
    first = list(islice(stopped.iterate(45), 2))
    files = pack(stopped.state())
    resumed = Fit(pendulum_dynamics(GaussianEnsemble), data, seed=9, **kwargs)
    assert isinstance(resumed, Learner)
    resumed.load_state(unpack(files, tmp_path))
    assert first + list(resumed.iterate(45)) == expected
    assert_same(whole, resumed)
    assert list(resumed.iterate(45)) == []
    planned = whole.planned_updates(45)
    assert len(expected) == planned or whole.is_done


def test_an_agent_that_refits_goes_on_between_two_rounds():
    whole = Fit(pendulum_dynamics(), batches=SMALL)
    whole.run(pendulum_data(120), steps=10)
    resumed = Fit(pendulum_dynamics(), batches=SMALL, seed=5)
    resumed.load_state(copy.deepcopy(whole.state()))
    for fit in (whole, resumed):
        fit.run(pendulum_data(200), steps=10)
    assert_same(whole, resumed)


def test_a_checkpoint_of_something_else_is_refused():
    fit = Fit(pendulum_dynamics(), pendulum_data(80), batches=SMALL)
    tree = fit.state()
    with pytest.raises(IntegrityError, match="of 80 transitions, this one is of 120"):
        Fit(pendulum_dynamics(), pendulum_data(120)).load_state(tree)
    with pytest.raises(IntegrityError, match=r"fit.weights.* does not fit"):
        Fit(pendulum_dynamics(members=2), pendulum_data(80)).load_state(tree)


def test_a_loss_that_runs_away_is_named():
    dynamics = pendulum_dynamics()
    with torch.no_grad():
        dynamics.ensemble.biases[1][2] = torch.nan
    fit = Fit(dynamics, pendulum_data(200), batches=SMALL)
    with pytest.raises(FloatingPointError, match=r"became nan in step 0.*in member 2"):
        next(fit.iterate(5))


def test_bad_data_is_named():
    data = line_data(10)
    wrong = data.states.clone()
    wrong[4, 1] = torch.inf
    rest = (data.actions, data.rewards, data.next_states, data.terminated)
    with pytest.raises(ValueError, match="got inf in states, row 4, column 1"):
        Experience.of(wrong, *rest)
    with pytest.raises(ValueError, match=r"got states \(9, 2\), actions \(10, 1\)"):
        Experience.of(data.states[:9], *rest)
    with pytest.raises(ValueError, match="3 numbers of state and 1 of action, the da"):
        Fit(pendulum_dynamics(), data)
    swapped = (data.states, data.actions, data.terminated, data.next_states)
    with pytest.raises(ValueError, match=r"terminated must be 0 or 1, got -0\.5 in ro"):
        Experience.of(*swapped, torch.full((10,), -0.5))


def test_a_fit_that_cannot_begin_or_end_is_refused():
    fit = Fit(pendulum_dynamics())
    with pytest.raises(ValueError, match="needs data"):
        next(fit.iterate(5))
    with pytest.raises(
        ValueError,
        match=r"steps=None fits until .* Holdout with patience, or a number of ste",
    ):
        fit.run(pendulum_data(80))
    with pytest.raises(ValueError, match="3 members have no 5 elites"):
        Fit(pendulum_dynamics(), holdout=Holdout(elites=5))
    with pytest.raises(ValueError, match=r"share must be within \(0, 1\), got 1"):
        Holdout(share=1.0)
    for name in ("elites", "patience", "largest"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            Holdout(**{name: 0})
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        fit.run(pendulum_data(80), steps=0)
    for make in (Bootstrap, Disjoint):
        with pytest.raises(ValueError, match="batch_size must be at least 1, got -5"):
            make(-5)
    with pytest.raises(ValueError, match="steps_per_epoch must be at least 1, got 0"):
        Disjoint(8, 0)
    with pytest.raises(ValueError, match="weight_decay must be 0 or more, got -1"):
        Fit(pendulum_dynamics(), weight_decay=(0.0, 0.0, -1.0))
    with pytest.raises(ValueError, match=r"no share of 0\.2 to hold out"):
        Fit(pendulum_dynamics(), pendulum_data(80)[:4], holdout=Holdout())


def test_all_experience_is_kept_in_order():
    one, two = line_data(5), line_data(7, seed=1)
    both = Experience.concatenate([one, two])
    assert len(both) == 12
    assert torch.equal(both[5:].states, two.states)
    assert both[torch.tensor([[0, 1], [2, 3]])].states.shape == (2, 2, 2)
