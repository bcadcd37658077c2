"""MBPO's parts by hand, and the whole on dynamics that are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium import spaces
from point_env import STEP, PointSimulation, PointTask, point_env

from suite.agents.believed import Fitted, Given
from suite.agents.branching import Branched, Fixed, Growing
from suite.agents.mbpo import MBPO
from suite.agents.pace import Pace
from suite.agents.replay import Mixture, Replay
from suite.agents.ring_buffer import RingBuffer
from suite.agents.sac import SAC
from suite.agents.soft_update import Soft
from suite.arrays import namespace
from suite.envs.batch import BatchEnv
from suite.storage import IntegrityError
from suite.worldmodels.batches import Bootstrap, Holdout
from suite.worldmodels.branches import branches
from suite.worldmodels.dynamics import Transition
from suite.worldmodels.ensemble import Ensemble
from suite.worldmodels.experience import Experience
from suite.worldmodels.fit import Fit
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.propagation import Mean


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(numbers: Any) -> Experience:
    """Transitions that tell which they are: x -> x + 0.5, reward x."""
    x = torch.as_tensor(numbers).float()[:, None]
    return Experience(x, -x, x[:, 0], x + 0.5, torch.zeros(len(x)))


def numbers(found: Experience) -> list[float]:
    assert torch.equal(found.next_states, found.states + 0.5)
    assert torch.equal(found.actions, -found.states)
    assert torch.equal(found.rewards, found.states[:, 0])
    return found.rewards.tolist()


# ----------------------------------------------------------------------- the buffers
def test_a_ring_keeps_the_newest_in_order():
    ring = RingBuffer(5)
    for start in (0, 3, 6):
        ring.add(rows(range(start, start + 3)))
    assert numbers(ring.all()) == [4, 5, 6, 7, 8]
    ring.add(rows(range(100, 120)))
    assert numbers(ring.all()) == [115, 116, 117, 118, 119]


def test_a_ring_larger_than_its_first_table_forgets_nothing_too_early():
    ring = RingBuffer(5000)
    for start in range(0, 6000, 700):
        ring.add(rows(range(start, start + 700)))
    assert numbers(ring.all()) == list(range(1300, 6300))


@pytest.mark.parametrize(
    ("capacity", "kept"),
    [(3, [6, 7, 8]), (5, [4, 5, 6, 7, 8]), (9, [4, 5, 6, 7, 8])],
)
def test_a_resized_ring_keeps_the_newest_and_goes_on(capacity, kept):
    ring = RingBuffer(5)
    ring.add(rows(range(9)[-7:]))
    ring.resize(capacity)
    assert numbers(ring.all()) == kept
    ring.add(rows([9]))
    assert numbers(ring.all()) == [*kept, 9][-capacity:]


def test_a_ring_draws_all_of_them_alike_and_repeats():
    ring = RingBuffer(4)
    ring.add(rows(range(6)))
    drawn = numbers(ring.sample(4000, generator()))
    counts = np.bincount(np.array(drawn, int), minlength=6)
    assert not counts[:2].any()
    # Four standard deviations of a binomial of 4000 and 1/4.
    assert (abs(counts[2:] - 1000) < 4 * 27.4).all()
    assert drawn == numbers(ring.sample(4000, generator()))


def test_a_ring_taken_over_goes_on_alike_and_shares_nothing():
    one, two = RingBuffer(5), RingBuffer(7)
    one.add(rows(range(7)))
    two.load_state(one.state())
    one.add(rows([7]))
    assert numbers(two.all()) == [2, 3, 4, 5, 6]
    two.add(rows([7]))
    assert numbers(one.sample(9, generator())) == numbers(two.sample(9, generator()))


def test_a_ring_refuses_what_is_of_other_sizes():
    ring = RingBuffer(5)
    with pytest.raises(ValueError, match="no transition to draw"):
        ring.sample(1, generator())
    ring.add(rows([1]))
    one, two = torch.zeros(1), torch.zeros(1, 2)
    with pytest.raises(ValueError, match="1 numbers of observation and 1 of action"):
        ring.add(Experience(two, two, one, two, one))
    with pytest.raises(ValueError, match="capacity must be at least 1"):
        RingBuffer(0)
    tree = {**ring.state(), "next": 3}
    with pytest.raises(IntegrityError, match="no buffer"):
        RingBuffer(5).load_state(tree)


@pytest.mark.parametrize(
    ("share", "real"), [(0.05, 12), (0.0, 0), (0.5, 128), (1, 256)]
)
def test_a_mixture_has_exactly_its_share_of_real_ones(share, real):
    memory = Mixture(real_share=share)
    memory.expect(100)
    memory.add(rows(range(1, 50)))
    memory.imagine(rows(range(-49, 0)))
    for _ in range(3):
        drawn = np.array(numbers(memory.sample(256, generator())))
        assert (drawn > 0).sum() == real and len(drawn) == 256


def test_a_mixture_is_real_before_anything_is_imagined():
    memory = Mixture(real_share=0.05)
    memory.add(rows(range(1, 9)))
    assert min(numbers(memory.sample(50, generator()))) > 0


def test_a_mixture_retains_epochs_and_follows_the_rollouts_length():
    memory = Mixture(retained=2)
    memory.expect(10)
    memory.imagine(rows(range(50)))
    assert memory.sizes() == {"real": 0, "imagined": 20}
    memory.expect(30)
    memory.imagine(rows(range(50, 100)))
    assert memory.sizes()["imagined"] == 60
    memory.expect(1)
    ring = memory._imagined
    assert numbers(ring.all()) == [98, 99]


def test_a_replay_lets_imagined_ones_push_real_ones_out():
    memory = Replay(6)
    memory.add(rows(range(1, 5)))
    memory.imagine(rows(range(-5, 0)))
    assert set(numbers(memory.sample(200, generator()))) == {-5, -4, -3, -2, -1, 4}


@pytest.mark.parametrize("wrong", [{"real_share": 1.5}, {"retained": 0}])
def test_a_mixture_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        Mixture(**wrong)


def test_a_memory_of_another_kind_is_refused():
    with pytest.raises(IntegrityError, match="another kind of memory"):
        Mixture().load_state(Replay().state())


# --------------------------------------------------------------------- the schedules
@pytest.mark.parametrize(
    ("epoch", "steps"),
    [(0, 1), (20, 1), (29, 1), (30, 2), (84, 7), (85, 8), (150, 15), (999, 15)],
)
def test_the_length_grows_as_published_for_hopper(epoch, steps):
    # 1 + (epoch - 20) / 130 * 14: 1.97 at 29, 2.08 at 30, 7.89 at 84, 8.0 at 85
    assert Growing(20, 150, 1, 15)(epoch) == steps


def test_rollouts_are_due_after_a_fit_or_every_so_many_updates():
    once, often = Branched(5), Branched(5, every=3)
    assert [n for n in range(7) if once.is_due(n)] == [0]
    assert [n for n in range(7) if often.is_due(n)] == [0, 3, 6]


def test_an_epoch_brings_the_published_number_of_transitions():
    # retained epochs * length * 100k * epoch length / model train freq: 400k at 1
    assert (
        Branched(100_000).rows_per_epoch(1, fits=1000 / 250, updates=20_000) == 400_000
    )
    assert Branched(100_000).rows_per_epoch(25, fits=4, updates=0) == 10_000_000
    assert Branched(1, every=1).rows_per_epoch(10, fits=1, updates=5000) == 50_000
    # Fits that are rarer than epochs: all that is imagined at once is kept.
    assert Branched(500).rows_per_epoch(5, fits=0.2, updates=100) == 2500
    assert Branched(10, every=300).rows_per_epoch(1, fits=1, updates=100) == 10


@pytest.mark.parametrize(
    "make",
    [
        lambda: Fixed(0),
        lambda: Growing(0, 1, 0, 3),
        lambda: branches(Line(), torch.zeros(1, 1), no_action, 0),
    ],
)
def test_rollouts_of_no_step_are_refused(make):
    with pytest.raises(ValueError, match=r"1 step or more, got 0; .* take SAC"):
        make()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Growing(3, 3, 1, 2), "epochs must rise"),
        (lambda: Growing(0, 3, 2, 1), "lengths not fall"),
        (lambda: Branched(0), "starts must be at least 1"),
        (lambda: Branched(1, every=0), "every must be at least 1"),
        (lambda: Pace(updates=0), "updates must be at least 1"),
        (lambda: Pace(collect=3, epoch=10), "multiple of collect, 3"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


# ------------------------------------------------------------------------- branches
class Spot(NamedTuple):
    x: torch.Tensor  # (B, 1)
    is_lost: torch.Tensor  # (B,) bool


class Line:
    """x' = x + a, paid x'; ends beyond 2; gives up below -2."""

    def start(self, state: torch.Tensor) -> Spot:
        return Spot(state, torch.zeros(len(state), dtype=torch.bool))

    def step(
        self, z: Spot, action: torch.Tensor, *, generator: Any = None
    ) -> Transition:
        x = z.x + action
        return Transition(Spot(x, x[:, 0] < -2), x[:, 0], x[:, 0] > 2)

    def observe(self, z: Spot) -> torch.Tensor:
        return z.x

    def truncated(self, z: Spot) -> torch.Tensor:
        return z.is_lost


def no_action(obs: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(obs)


def onwards(obs: torch.Tensor) -> torch.Tensor:
    """One further from zero."""
    return torch.where(obs < 0, -1.0, 1.0)


def test_branches_start_where_they_are_told_and_stop_where_episodes_end():
    found = branches(Line(), torch.tensor([[0.5], [-1.5], [-0.5], [1.9]]), onwards, 3)
    told = torch.cat(
        [found.states, found.actions, found.next_states, found.terminated[:, None]], 1
    )
    assert [[round(n, 4) for n in row] for row in told.tolist()] == [
        [0.5, 1, 1.5, 0],
        # -1.5 would come to -2.5, where the model gives up: not told at all
        [-0.5, -1, -1.5, 0],
        [1.9, 1, 2.9, 1],  # and no further
        [1.5, 1, 2.5, 1],
        # -1.5 again
    ]
    assert torch.equal(found.rewards, found.next_states[:, 0])


def test_branches_of_more_rows_than_a_block_are_those_of_each_row():
    states = torch.linspace(-0.4, 0.4, 25_001)[:, None]
    found = branches(Line(), states, no_action, 2)
    assert len(found) == 2 * 25_001
    assert torch.equal(found.states.unique(), states.unique())


class Broken(Line):
    def __init__(self, what: str):
        self.what = what

    def step(
        self, z: Spot, action: torch.Tensor, *, generator: Any = None
    ) -> Transition:
        found = super().step(z, action)
        nan = torch.where(found.reward > 1, torch.nan, 1.0)
        if self.what == "reward":
            return found._replace(reward=found.reward * nan)
        return found._replace(
            next_z=found.next_z._replace(x=found.next_z.x * nan[:, None])
        )


@pytest.mark.parametrize("what", ["reward", "observation"])
def test_a_model_that_says_nan_is_named_with_what_and_when(what):
    with pytest.raises(
        FloatingPointError, match=f"model's {what} became NaN .* step 1 "
    ):
        branches(Broken(what), torch.tensor([[-0.5], [-0.1 + 0.5]]), onwards_up, 3)


def onwards_up(obs: torch.Tensor) -> torch.Tensor:
    return torch.full_like(obs, 0.4)


# -------------------------------------------------------------------------- the agent
def slide_reward(state: Any, action: Any, next_state: Any) -> Any:
    return -(next_state[..., 0] ** 2)


def nowhere(state: Any) -> Any:
    return namespace(state).zeros_like(state[..., 0]) > 0


SLIDE = PointTask(reward=slide_reward, terminated=nowhere, success=nowhere)


def slide(num_envs: int, mode: str = "same_step") -> BatchEnv:
    """x' = clip(x + 0.3 a), paid -x'^2, for 20 steps."""
    return point_env(num_envs, mode, SLIDE)


class ExactSlide(Line):
    def step(
        self, z: Spot, action: torch.Tensor, *, generator: Any = None
    ) -> Transition:
        x = (z.x + STEP * action).clamp(-1, 1)
        lost = torch.zeros(len(x), dtype=torch.bool)
        return Transition(Spot(x, lost), -(x[:, 0] ** 2), lost)


def played(act: Callable[[np.ndarray], np.ndarray], env: Any) -> np.ndarray:
    """Returns (N,) of a whole episode of each row."""
    obs, _ = env.reset(seed=1000)
    total = np.zeros(env.num_envs)
    for _ in range(20):
        obs, rewards, *_ = env.step(act(obs))
        total += rewards
    return total


def excess(act: Callable[[np.ndarray], np.ndarray]) -> float:
    """How much worse than optimal, as a share of what random actions are."""
    rng = np.random.default_rng(0)
    policies = (
        lambda obs: np.clip(-obs / STEP, -1, 1),  # at once to the middle: the optimum
        lambda obs: rng.uniform(-1, 1, obs.shape),
        act,
    )
    best, random, ours = (played(p, slide(200, "disabled")).mean() for p in policies)
    return (best - ours) / (best - random)


SOFT = Soft(net_arch=(32, 32), batch_size=64, learning_rate=3e-3, gamma=0.9)
PACE = Pace(exploration=100, collect=4, updates=8, epoch=100)


def made(**changed: Any) -> MBPO:
    settings = {
        "believed": Given(ExactSlide()),
        "branched": Branched(200),
        "fit_every": 20,
        "soft": SOFT,
        "pace": PACE,
        **changed,
    }
    agent = MBPO(slide(4), **settings)
    agent.env.seed(7)
    return agent


def test_with_the_true_model_it_comes_close_to_the_optimum_in_300_steps():
    agent = made()
    list(agent.iterate(300))
    assert agent.num_timesteps == agent.sim_steps == 300
    assert excess(lambda obs: agent.policy.predict(obs)[0]) < 0.05


def test_sac_alone_learns_the_same_task_in_more_steps():
    env = slide(4)
    agent = SAC(env, soft=SOFT, pace=replace(PACE, updates=4))
    agent.env.seed(7)
    list(agent.iterate(600))
    assert excess(lambda obs: agent.policy.predict(obs)[0]) < 0.1


def test_rollouts_start_from_states_that_were_met():
    agent = made(branched=Branched(50, Fixed(2)), memory=Mixture(real_share=0.0))
    list(agent.iterate(104))
    real = set(agent.data.all().states.flatten().tolist())
    imagined = agent.memory._imagined.all()  # pyright: ignore
    assert len(imagined) == 2 * 50
    assert set(imagined.states[:50].flatten().tolist()) <= real
    # The second step goes on where the first one came to.
    assert torch.equal(imagined.states[50:], imagined.next_states[:50])
    # The true model says what the true environment does.
    moved = (imagined.states + STEP * imagined.actions).clamp(-1, 1)
    torch.testing.assert_close(imagined.next_states, moved)


def test_before_the_exploration_ends_nothing_is_learned():
    agent = made()
    first = next(agent.iterate(300))
    assert agent.num_timesteps == 100
    assert (first["train/updates"], first["imagined/rows"]) == (0, 0)
    assert np.isnan(first["train/critic_loss"])


def test_it_fits_imagines_and_updates_as_often_as_told():
    calls: list[int] = []

    class Counting(Given):
        def refit(self, data: Experience) -> dict[str, float]:
            calls.append(len(data))
            return {}

    agent = made(believed=Counting(ExactSlide()), branched=Branched(10, every=16))
    told = list(agent.iterate(200))
    assert calls == [104, 124, 144, 164, 184]
    assert [each["train/updates"] for each in told] == [0, 25 * 8]
    # 40 updates after each of the five fits: at the 0th, 16th and 32nd
    assert told[1]["imagined/rows"] == 5 * 3 * 10


@pytest.mark.parametrize(("collect", "fit_every"), [(4, 20), (20, 30), (40, 10)])
def test_what_is_imagined_stays_as_many_epochs_as_told(collect, fit_every):
    agent = made(
        branched=Branched(10),
        fit_every=fit_every,
        memory=Mixture(retained=2),
        pace=Pace(exploration=120, collect=collect, updates=1, epoch=120),
    )
    told = list(agent.iterate(120 * 5))
    rows = [each["imagined/rows"] for each in told]
    # The first epoch is exploration, the next one starts with a fit of its own.
    assert rows[2] == rows[3] == rows[4] > 0
    inside = [each["buffer/imagined"] for each in told]
    assert inside[2] == inside[3] == inside[4] == 2 * rows[4]


def test_time_limits_are_no_ends_and_ends_are():
    agent = SAC(slide(4), pace=PACE)
    agent.env.seed(0)
    list(agent.iterate(100))
    assert not agent.memory.sample(500, generator()).terminated.any()
    agent = SAC(point_env(4, "same_step"), pace=PACE)
    agent.env.seed(0)
    list(agent.iterate(100))
    ends = agent.memory.sample(2000, generator())
    at_goal = ends.next_states[:, 0].abs() < 0.15
    assert torch.equal(ends.terminated > 0, at_goal) and at_goal.any()


def fitted(**settings: Any) -> Fitted:
    ensemble = Ensemble(3, 2, 1, hidden=(16,), generator=generator())
    fit = Fit(
        LearnedDynamics(ensemble, reward=slide_reward),
        batches=Bootstrap(32),
        holdout=Holdout(patience=3),
    )
    return Fitted(fit, propagation=Mean, **settings)


def test_noise_is_the_models_data_alone():
    agent = made(believed=fitted(steps=1, data_noise=0.5), memory=Replay())
    list(agent.iterate(100))
    clean, noisy = agent.memory._ring.all(), agent.data.all()  # pyright: ignore
    moved = (clean.states + STEP * clean.actions).clamp(-1, 1)
    torch.testing.assert_close(clean.next_states, moved)
    assert (clean.states != noisy.states).all()
    assert torch.equal(clean.rewards, noisy.rewards)


def test_a_model_is_judged_by_what_came_since_its_last_fit_alone():
    told: list[int] = []

    class Telling(Given):
        def judged(self, unseen: Experience) -> dict[str, float]:
            told.append(len(unseen))
            return {}

    list(made(believed=Telling(ExactSlide())).iterate(200))
    assert told == [20, 20, 20, 20]  # fits at 104, 124, 144, 164 and 184


def test_rollouts_lengthen_by_the_epochs_since_the_exploration():
    # Epochs of 100 begin after 100 random steps: lengths 1, 2 and 3.
    agent = made(branched=Branched(10, Growing(0, 2, 1, 3)))
    told = list(agent.iterate(400))
    assert [each["imagined/length"] for each in told] == [0, 1, 2, 3]


def test_rollouts_start_anywhere_in_what_was_met():
    agent = made(branched=Branched(60), memory=Mixture(real_share=0.0))
    list(agent.iterate(104))
    begun = agent.memory._imagined.all().states.flatten()  # pyright: ignore
    met = agent.data.all().states.flatten()
    assert len(begun) == 60
    late = met[60:][~torch.isin(met[60:], met[:60])]  # the walls are met at all times
    assert len(late) > 15  # so that 60 draws of 104 miss all of them once in 10,000
    assert torch.isin(begun, late).any()


def test_a_learned_model_does_too():
    agent = made(believed=fitted(steps=200), fit_every=100, branched=Branched(2000))
    told = list(agent.iterate(300))
    # The walls at -1 and 1 are what so small a network misses.
    assert told[-1]["model/holdout_error"] < 0.2
    # What it was not fitted to is said almost as well; before the first fit nothing.
    assert 0 < told[-1]["model/error_1"] < 0.5 and "model/error_1" not in told[0]
    assert excess(lambda obs: agent.policy.predict(obs)[0]) < 0.1


# --------------------------------------------------------------------------- refused
def _task(**changed: Any) -> BatchEnv:
    return BatchEnv(
        PointSimulation(4), replace(SLIDE, **changed), autoreset_mode="same_step"
    )


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: made(pace=Pace(collect=2, epoch=2)), "multiple of the 4 rows"),
        (lambda: made(fit_every=0), "fit_every must be at least 1"),
        (lambda: fitted(data_noise=-1.0, steps=1), "data_noise must be 0 or more"),
        (lambda: MBPO(slide(4, "disabled"), believed=Given(Line())), "same_step"),
        (
            lambda: SAC(_task(observation_space=spaces.Box(-1, 1, (1, 1))), pace=PACE),
            "flat Box of observations",
        ),
        (
            lambda: made(believed=Fitted(Fit(_two()), steps=1)),
            "model is of 2 numbers of state, the environment has 1",
        ),
        (lambda: Fitted(Fit(_two())), "Holdout with patience, or a number of steps"),
        (lambda: Fitted(Fit(_two()), steps=0), "steps must be at least 1, got 0"),
        (
            lambda: made(believed=Fitted(Fit(_one()), steps=1)),
            "3 members with 512 distinct rows each need 1536 transitions, got 104",
        ),
        (lambda: Fitted(Fit(_two(True)), steps=1), "functions of the observation"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_step(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"branched": Fixed(2)}, "branched must be of type Branched, got Fixed; Branc"),
        (
            {"memory": Mixture},
            "memory must have imagine and expect, such as Mix",
        ),
        ({"soft": {"gamma": 1}}, "soft must be of type Soft, got dict"),
        ({"pace": 3}, "pace must be of type Pace, got int"),
    ],
)
def test_what_is_of_another_kind_is_refused_before_the_first_step(wrong, complaint):
    with pytest.raises(TypeError, match=complaint):
        made(**wrong)


def _one() -> LearnedDynamics:
    return LearnedDynamics(Ensemble(3, 2, 1, hidden=(4,)), reward=slide_reward)


def _two(needs_state: bool = False) -> LearnedDynamics:
    ensemble = Ensemble(2, 3, 2, hidden=(4,), generator=generator())
    return LearnedDynamics(ensemble, reward=slide_reward, needs_state=needs_state)


@pytest.mark.parametrize("model", [_one(), object()])
def test_what_is_no_model_is_not_believed(model):
    with pytest.raises(TypeError, match=r"wrap it in Mean|a model needs start, step"):
        Given(model)  # pyright: ignore[reportArgumentType]


def test_a_reward_of_the_environment_that_is_nan_is_named():
    def broken(state: Any, action: Any, next_state: Any) -> Any:
        return np.full(len(state), np.nan)

    agent = SAC(_task(reward=broken), pace=PACE)
    with pytest.raises(ValueError, match="got nan in rewards, row 0"):
        list(agent.iterate(100))


def test_a_state_of_another_model_is_refused():
    one, other = made(), made(believed=fitted(steps=2))
    list(other.iterate(104))
    with pytest.raises(IntegrityError, match="a given model has no state"):
        one.load_state(other.state())


class Watched(Given):
    """Keeps how many transitions it was asked about, and was first fitted to."""

    def require(self, rows: int) -> None:
        self.asked = rows

    def refit(self, data: Experience) -> dict[str, float]:
        self.first = getattr(self, "first", len(data))
        return {}


@pytest.mark.parametrize(("exploration", "collect"), [(100, 4), (100, 8), (10, 20)])
def test_the_first_fit_is_asked_about_as_many_transitions_as_it_gets(
    exploration, collect
):
    pace = Pace(exploration=exploration, collect=collect, updates=1, epoch=2 * collect)
    believed = Watched(ExactSlide())
    agent = made(believed=believed, pace=pace)
    list(agent.iterate(exploration + 2 * collect))
    assert believed.first == believed.asked
