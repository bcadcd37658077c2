"""Planners find known optima, and keep to their contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from suite.agents.action_sets import Bounds, Choices, action_set
from suite.agents.planners import CEM, ICEM, MPPI, RandomShooting, forgotten
from suite.agents.planning import best_of, scored
from suite.agents.proposals import Categorical, ClippedNormal, TruncatedNormal
from suite.checkpoints import pack, unpack

LOG_CEM = ClippedNormal(std=None)
CONTINUOUS = {
    "shooting": RandomShooting(3, 500),
    "cem": CEM(3, 200, elites=20, iterations=10),
    "cem of the course": CEM(
        3, 200, 5, 8, alpha=0.0, proposal=LOG_CEM, warm_start=False
    ),
    "icem": ICEM(3, 100, iterations=12, decay=1.05, proposal=ClippedNormal(colour=0.5)),
    "mppi": MPPI(3, 300, temperature=0.02, iterations=20, proposal=ClippedNormal(0.2)),
}
DISCRETE = {
    "shooting": RandomShooting(3, 500),
    "cem": CEM(3, 100, elites=10, proposal=Categorical()),
    "icem": ICEM(3, 40, proposal=Categorical()),
    "mppi": MPPI(3, 100, temperature=0.3, iterations=3, proposal=Categorical()),
}
BOX = Bounds(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 4.0]))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planned(
    planner: Any, score: Any, actions: Any, num_envs: int, seed: int = 0
) -> Any:
    memory = planner.start(actions, num_envs)
    return planner.plan(score, actions, memory, generator=generator(seed))


def distance_to(target: Tensor) -> Callable[[Tensor], Tensor]:
    """Minus the squared distance to sequences (B, H, A)."""
    return lambda actions: -(actions - target[:, None]).square().sum(dim=(2, 3))


# ------------------------------------------------------------------------ known optima
@pytest.mark.parametrize("name", CONTINUOUS)
def test_finds_the_optimum_of_a_quadratic_in_each_environment(name):
    rng = generator(1)
    target = BOX.low + (BOX.high - BOX.low) * torch.rand(4, 3, 2, generator=rng)
    plan = planned(CONTINUOUS[name], distance_to(target), BOX, 4)
    assert plan.actions.shape == (4, 3, 2)
    error = ((plan.actions - target) / (BOX.high - BOX.low)).abs().max()
    # One draw is coarse, and a mean of clipped noise keeps away from the bounds.
    assert error < {"shooting": 0.35, "mppi": 0.08}.get(name, 0.04)


@pytest.mark.parametrize("name", DISCRETE)
def test_finds_the_best_choices_in_each_environment(name):
    index = torch.tensor([[0, 1, 2], [3, 3, 0]])
    target = torch.nn.functional.one_hot(index, 4).float()
    plan = planned(DISCRETE[name], distance_to(target), Choices(4, first=1), 2)
    torch.testing.assert_close(plan.actions, target)
    np.testing.assert_array_equal(Choices(4, first=1).to_env(plan.actions), index + 1)


def test_first_action_is_that_of_the_riccati_recursion():
    dynamics = np.array([[1.0, 0.2], [0.0, 1.0]]), np.array([[0.02], [0.2]])
    state_cost, action_cost, horizon = np.diag([1.0, 0.1]), np.array([[0.1]]), 8
    states = np.array([[0.5, 0.0], [-0.3, 0.4], [0.2, -0.5]])
    a, b = dynamics
    value, gain = state_cost, np.zeros((1, 2))
    for _ in range(horizon):
        gain = np.linalg.solve(action_cost + b.T @ value @ b, b.T @ value @ a)
        value = state_cost + a.T @ value @ (a - b @ gain)
    expected = -states @ gain.T
    assert np.abs(expected).max() < 2  # no bound is in the way

    def score(actions: Tensor) -> Tensor:
        state = torch.tensor(states).float()[:, None].expand(-1, actions.shape[1], -1)
        total = torch.zeros(actions.shape[:2])
        for step in range(horizon):
            action = actions[:, :, step]
            state = (
                state @ torch.tensor(a.T).float() + action @ torch.tensor(b.T).float()
            )
            cost = (state.square() * torch.tensor(np.diag(state_cost)).float()).sum(-1)
            total -= cost + float(action_cost[0, 0]) * action[..., 0].square()
        return total

    bounds = action_set(spaces.Box(-2, 2, (1,)))
    planner = CEM(horizon, 500, elites=40, iterations=25)
    plan = planned(planner, score, bounds, 3)
    # Of a range of 4; the optimum is flat: an error e of the action costs 0.2 e^2.
    np.testing.assert_allclose(plan.actions[:, 0], expected, atol=0.01)


# --------------------------------------------------------------- many plans are as one
@pytest.mark.parametrize(
    ("planner", "actions"),
    [(each, BOX) for each in CONTINUOUS.values()]
    + [(each, Choices(3)) for each in DISCRETE.values()],
    ids=[*(f"{n}-box" for n in CONTINUOUS), *(f"{n}-choices" for n in DISCRETE)],
)
def test_plans_for_many_environments_are_those_for_each_alone(planner, actions):
    target = torch.rand(3, 3, actions.size, generator=generator(2))
    together = planner.start(actions, 3)
    own = [planner.start(actions, 1) for _ in range(3)]
    shared, alone = ([generator(i) for i in range(3)] for _ in range(2))
    for turn in range(3):  # the second and third are warm
        plan = planner.plan(distance_to(target), actions, together, generator=shared)
        together = forgotten(plan.memory, torch.tensor([False, turn == 0, False]))
        for i in range(3):
            score = distance_to(target[i : i + 1])
            single = planner.plan(score, actions, own[i], generator=[alone[i]])
            own[i] = forgotten(single.memory, torch.tensor([i == 1 and turn == 0]))
            torch.testing.assert_close(plan.actions[i : i + 1], single.actions)
            torch.testing.assert_close(plan.value[i : i + 1], single.value)


def test_a_plan_is_the_same_after_a_checkpoint(tmp_path):
    planner, target = CONTINUOUS["icem"], torch.rand(2, 3, 2)
    memory = planned(planner, distance_to(target), BOX, 2).memory
    again = unpack(pack(memory), tmp_path)
    plans = [
        planner.plan(distance_to(target), BOX, each, generator=generator(5)).actions
        for each in (memory, again)
    ]
    assert torch.equal(plans[0], plans[1])


# -------------------------------------------------------------------------- warm start
class Recorder:
    """A score that keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Tensor] = []

    def __call__(self, actions: Tensor) -> Tensor:
        self.asked.append(actions.clone())
        return -actions.square().sum(dim=(2, 3))


@pytest.mark.parametrize("name", ["cem", "mppi"])
def test_next_plan_begins_a_step_on_and_a_new_episode_in_the_middle(name):
    planner, recorder = CONTINUOUS[name], Recorder()
    memory = planner.start(BOX, 2)
    centre = torch.tensor([[0.5, 3.0], [0.1, 1.0], [-0.5, 2.5]])
    memory = {
        "centre": centre.repeat(2, 1, 1),
        "planned": torch.tensor([True, True]),
    }
    memory = forgotten(memory, np.array([False, True]))
    planner.plan(recorder, BOX, memory, generator=generator())
    means = recorder.asked[0].mean(dim=1)
    expected = torch.stack(
        [torch.vstack([centre[1:], BOX.middle]), BOX.middle.repeat(3, 1)]
    )
    torch.testing.assert_close(means, expected, atol=0.25, rtol=0)


def test_cold_cem_forgets_and_random_shooting_remembers_nothing():
    planner = CONTINUOUS["cem of the course"]
    first = planned(planner, Recorder(), BOX, 1, seed=3)
    second = planner.plan(Recorder(), BOX, first.memory, generator=generator(3))
    assert torch.equal(first.actions, second.actions)
    assert set(RandomShooting(3).start(BOX, 2)) == {"planned"}


# ------------------------------------------------------------------------ iCEM by hand
def test_icems_draws_shrink_and_its_elites_live_on():
    planner, recorder = ICEM(4, 50, elites=10, iterations=3, keep=0.3), Recorder()
    assert planner.draws() == [50, 40, 32]
    assert ICEM(4, 20, elites=10, iterations=3).draws() == [20, 20, 20]
    memory = planner.start(BOX, 2)
    plan = planner.plan(recorder, BOX, memory, generator=generator())
    first, second, third = recorder.asked
    assert [x.shape[1] for x in recorder.asked] == [53, 43, 36]
    order = first.square().sum(dim=(2, 3)).argsort(dim=1)[:, :3]
    for row in range(2):
        torch.testing.assert_close(second[row, 40:], first[row, order[row]])
    # The mean of the second fit is the last of the third draw, which had three elites.
    best = torch.cat(recorder.asked, dim=1)
    scores = -best.square().sum(dim=(2, 3))
    assert torch.equal(plan.value, scores.max(dim=1).values)
    chosen = best[torch.arange(2), scores.argmax(dim=1)]
    assert torch.equal(plan.actions, chosen)
    elites = second[0, (-second[0].square().sum(dim=(1, 2))).topk(10).indices]
    refit_of_first = first[0, (-first[0].square().sum(dim=(1, 2))).topk(10).indices]
    mean = 0.9 * refit_of_first.mean(0) + 0.1 * BOX.middle
    mean = 0.9 * elites.mean(0) + 0.1 * mean
    torch.testing.assert_close(third[0, -1], mean)


def test_icems_next_plan_scores_the_last_elites_a_step_on():
    planner, recorder = ICEM(4, 50, elites=10, keep=0.2), Recorder()
    memory = planned(planner, Recorder(), BOX, 2).memory
    memory = forgotten(memory, torch.tensor([False, True]))
    planner.plan(recorder, BOX, memory, generator=generator(1))
    reused = recorder.asked[0][:, -2:]
    torch.testing.assert_close(reused[0, :, :-1], memory["elites"][0, :, 1:])
    assert not torch.isclose(reused[1, :, :-1], memory["elites"][1, :, 1:]).any()


# ------------------------------------------------------------------------ MPPI by hand
def test_mppi_weighs_candidates_by_their_score():
    recorder, temperature = Recorder(), 0.7
    plan = planned(MPPI(2, 50, temperature=temperature), recorder, BOX, 1)
    (candidates,) = recorder.asked
    scores = -candidates[0].square().sum(dim=(1, 2)).double()
    weights = (scores / temperature).exp() / (scores / temperature).exp().sum()
    expected = (weights[:, None, None] * candidates[0].double()).sum(0)
    torch.testing.assert_close(plan.actions[0].double(), expected, rtol=1e-5, atol=1e-6)


def test_mppis_sigma_sets_how_wide_it_draws():
    for std in (0.05, 0.2):
        recorder = Recorder()
        planned(MPPI(2, 4000, proposal=ClippedNormal(std)), recorder, BOX, 1)
        spread = recorder.asked[0][0].std(dim=(0, 1))
        torch.testing.assert_close(
            spread, std * torch.tensor([1.0, 2.0]), rtol=0.05, atol=0
        )


def test_no_score_is_too_large_for_mppi():
    for scale in (1e30, -1e30):
        plan = planned(
            MPPI(2, 20, temperature=1e-6),
            lambda actions, s=scale: s * actions.sum(dim=(2, 3)),
            BOX,
            2,
        )
        assert torch.isfinite(plan.actions).all() and torch.isfinite(plan.value).all()


# ---------------------------------------------------------------------- broken scores
@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_what_has_no_finite_score_is_never_followed(name, broken):
    def score(actions: Tensor) -> Tensor:
        total = distance_to(torch.full((2, 3, 2), 0.5))(actions)
        return torch.where(actions[:, :, 0, 0] > 0, broken, total)

    plan = planned(CONTINUOUS[name], score, BOX, 2)
    assert (plan.actions[:, 0, 0] <= 0).all()
    assert torch.isfinite(plan.value).all()


@pytest.mark.parametrize("planner", [CEM(5), ICEM(5), MPPI(5), RandomShooting(5)])
def test_scores_may_be_of_double_precision(planner):
    bounds = Bounds(torch.full((1,), -1.0), torch.ones(1))

    def score(actions: Tensor) -> Tensor:
        return -(actions.double() ** 2).sum(dim=(2, 3))

    memory = planner.start(bounds, 2)
    plan = planner.plan(score, bounds, memory, generator=generator())
    assert plan.actions.dtype == torch.float32


@pytest.mark.parametrize("planner", [CEM(5), ICEM(5), MPPI(5)])
def test_the_memory_of_another_planner_is_refused(planner):
    bounds = Bounds(torch.full((1,), -1.0), torch.ones(1))
    score = distance_to(torch.zeros(2, 5, 1))
    for other, message in ((CEM(7), "7 steps|elites"), (RandomShooting(5), "centre")):
        memory = other.start(bounds, 2)
        with pytest.raises(ValueError, match=f"memory is of another.*({message})"):
            planner.plan(score, bounds, memory, generator=generator())


@pytest.mark.parametrize("strange", [None, 0, np.random.default_rng(0)])
def test_a_generator_that_is_none_of_torch_is_refused(strange):
    bounds = Bounds(torch.full((1,), -1.0), torch.ones(1))
    planner = RandomShooting(5)
    with pytest.raises(TypeError, match="generator must be a torch"):
        planner.plan(
            distance_to(torch.zeros(2, 5, 1)),
            bounds,
            planner.start(bounds, 2),
            generator=strange,
        )


def test_few_finite_scores_are_enough():
    candidates = torch.arange(6.0).reshape(1, 6, 1, 1)
    scores = torch.tensor([[torch.nan, 1.0, torch.nan, 3.0, torch.inf, torch.nan]])
    values, best = best_of(candidates, scored(lambda _: scores, candidates), 4)
    assert values.tolist() == [[3.0, 1.0, 3.0, 3.0]]
    assert best.flatten().tolist() == [3.0, 1.0, 3.0, 3.0]


def test_a_row_without_any_finite_score_is_named():
    scores = torch.tensor([[0.0, 1.0], [torch.nan, torch.inf]])
    with pytest.raises(FloatingPointError, match="row 1 has a finite score: the model"):
        scored(lambda _: scores, torch.zeros(2, 2, 1, 1))


# ------------------------------------------------------------------------------ errors
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomShooting(0), "horizon must be at least 1, got 0"),
        (lambda: CEM(0), "horizon must be at least 1, got 0"),
        (lambda: ICEM(0), "horizon must be at least 1, got 0"),
        (lambda: MPPI(0), "horizon must be at least 1, got 0"),
        (lambda: CEM(5, 10, elites=11), "more than the 10 candidates, got 11"),
        (lambda: ICEM(5, 10, elites=11), "more than the 10 candidates, got 11"),
        (lambda: CEM(5, alpha=1.0), r"old statistics, must be in \[0, 1\), got 1.0"),
        (lambda: CEM(5, proposal=LOG_CEM), "CEM with warm_start=True .* give the prop"),
        (lambda: ICEM(5, proposal=LOG_CEM), "ICEM begins about its last plan"),
        (lambda: MPPI(5, proposal=LOG_CEM), "MPPI draws about its last plan"),
        (lambda: MPPI(5, temperature=0), "temperature must be above 0, got 0"),
        (lambda: ICEM(5, keep=2), r"keep must be in \[0, 1\], got 2"),
        (lambda: ICEM(5, decay=0.5), "decay must be at least 1, got 0.5"),
        (lambda: MPPI(5, temperature=float("nan")), "temperature must .* got nan"),
        (lambda: ClippedNormal(float("nan")), "std must be above 0, got nan"),
        (lambda: ClippedNormal(0.0), "std must be above 0, got 0.0"),
        (lambda: TruncatedNormal(-1.0), "std must be above 0, got -1.0"),
        (lambda: ClippedNormal(colour=-1), "colour must be 0 or more, got -1"),
        (lambda: Categorical(0), r"fresh must be in \(0, 1\], got 0"),
        (lambda: CEM(5).start(BOX, 0), "num_envs must be at least 1, got 0"),
        (lambda: CEM(5).start(Choices(3), 1), "continuous actions, got 3 discrete"),
        (lambda: ICEM(5).start(Choices(3), 1), "continuous actions, got 3 discrete"),
        (lambda: MPPI(5).start(Choices(3), 1), "ClippedNormal proposes continuous"),
        (lambda: DISCRETE["cem"].start(BOX, 1), "Categorical proposes discrete"),
        (
            lambda: action_set(spaces.MultiBinary(3)),
            "Discrete action space or a bounded",
        ),
        (
            lambda: action_set(spaces.Box(-np.inf, np.inf, (2,))),
            "Discrete action space or a bounded",
        ),
        (
            lambda: planned(CEM(3), lambda a: a.sum(dim=(1, 2, 3)), BOX, 2),
            r"must return \(2, 400\) numbers, .* got \(2,\)",
        ),
        (
            lambda: CEM(3).plan(
                Recorder(), BOX, CEM(3).start(BOX, 2), generator=[generator()] * 3
            ),
            "3 generators for 2 environments",
        ),
    ],
)
def test_misuse_is_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("planner", [CEM, ICEM, MPPI])
@pytest.mark.parametrize("proposal", ["normal", ClippedNormal])
def test_a_proposal_that_is_none_is_refused_when_a_planner_is_made(planner, proposal):
    with pytest.raises(TypeError, match=r"proposal must have .* ClippedNormal"):
        planner(5, proposal=proposal)
