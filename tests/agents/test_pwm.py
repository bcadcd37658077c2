"""PWM: what it does when, and a task that it must solve in its own model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from point_env import PointSimulation, PointTask, point_env

from suite.agents.actor_loop import ActorLoop
from suite.agents.encoded_policy import EncodedPolicy
from suite.agents.first_order import FirstOrder
from suite.agents.learned_units import LearnedUnits
from suite.agents.pace import Pace
from suite.agents.policies import load_policy, save_policy
from suite.agents.pwm import PWM, Fitting, Pretraining
from suite.agents.vec import SnapshotVecEnv
from suite.arrays import namespace
from suite.checkpoints import pack, unpack
from suite.envs.batch import BatchEnv
from suite.storage import IntegrityError
from suite.transitions import Dataset
from suite.worldmodels.flow import Flow
from suite.worldmodels.latent import Latent, LatentModel
from suite.worldmodels.latent_fit import LatentFit
from suite.worldmodels.latent_sizes import LatentSizes
from suite.worldmodels.subsequences import Subsequences


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# A point that slides without a goal: x' = clip(x + 0.3 a), paid -x'^2, for 20 steps.
def slide_reward(state: Any, action: Any, next_state: Any) -> Any:
    return -(next_state[..., 0] ** 2)


def nowhere(state: Any) -> Any:
    return namespace(state).zeros_like(state[..., 0]) > 0


SLIDE = PointTask(reward=slide_reward, terminated=nowhere, success=nowhere)


def slide(num_envs: int, mode: str = "same_step") -> BatchEnv:
    return point_env(num_envs, mode, SLIDE)


SIZES = LatentSizes(16, (32,), (32, 32))
FIRST_ORDER = FirstOrder(
    horizon=4, batch_size=64, actor_arch=(32,), critic_arch=(32,), gamma=0.9,
    actor_learning_rate=3e-3, critic_learning_rate=3e-3, critic_iterations=1,
)  # fmt: skip
PACE = Pace(exploration=320, collect=32, updates=2, epoch=160)
FITTING = Fitting(first=200, updates=4, batch_size=64, final_learning_rate=3e-3)


def fit(seed: int = 0, *, obs_size: int = 1, **model: Any) -> LatentFit:
    model = {"size": SIZES, "seed": seed, **model}
    return LatentFit(LatentModel(obs_size, 1, **model), learning_rate=3e-3)


def made(env: Any = None, **changed: Any) -> PWM:
    settings = {
        "fit": changed.pop("fit", None) or fit(),
        "first_order": FIRST_ORDER,
        "pace": PACE,
        "fitting": FITTING,
        **changed,
    }
    agent = PWM(env or slide(8), **settings)
    agent.env.seed(7)
    return agent


SHORT = Fitting(first=5, updates=2, batch_size=8)


def played(policy: Any) -> float:
    """Mean return of 200 episodes."""
    env = slide(200, "disabled")
    obs, _ = env.reset(seed=1000)
    total = np.zeros(200)
    for _ in range(20):
        obs, rewards, *_ = env.step(policy(obs))
        total += rewards
    return float(total.mean())


def test_it_learns_a_model_and_in_it_to_come_to_the_middle():
    rng = np.random.default_rng(0)
    best = played(lambda obs: np.clip(-obs / 0.3, -1, 1))
    random = played(lambda obs: rng.uniform(-1, 1, obs.shape))
    agent = made()
    list(agent.iterate(1600))
    ours = played(lambda obs: agent.policy.predict(obs)[0])
    assert (best - ours) / (best - random) < 0.1


def test_it_learns_as_often_as_told():
    agent = made(fitting=SHORT)
    told = list(agent.iterate(640))
    assert len(told) == agent.planned_updates(640) == 4
    # The last block that explores is the first behind which it learns.
    blocks = [0, 1, 6, 11]
    assert [each["train/updates"] for each in told] == [2 * n for n in blocks]
    assert [each["model/updates"] for each in told] == [0, 7, 17, 27]
    assert [each["buffer/steps"] for each in told] == [160, 320, 480, 640]
    assert np.isnan(told[0]["train/actor_loss"]) and np.isnan(told[0]["model/loss"])
    assert agent.sim_steps == agent.num_timesteps == 640


def test_learning_rates_end_where_they_shall():
    agent = made(fitting=replace(SHORT, final_learning_rate=1e-4))
    told = list(agent.iterate(640))
    assert [each["train/annealed"] for each in told] == [0, 0, 0.5, 1]
    rates = [each.learning_rate for each in agent.first_order._optimizers.values()]
    assert [agent.fit.learning_rate, *rates] == pytest.approx([1e-4] * 4)


def test_it_acts_on_what_it_sees_encoded_anew():
    agent = made()
    obs = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]
    latents = agent.fit.model.encode(torch.tensor(obs))
    wanted = agent.policy.stretched(agent.first_order.actor(latents)).detach()
    np.testing.assert_array_equal(agent.policy.predict(obs)[0], wanted)
    with torch.no_grad():
        for part in agent.fit.model.encoder.parameters():
            part.add_(0.3)
    assert not np.array_equal(agent.policy.predict(obs)[0], wanted)


# -------------------------------------------------------------------------- the steps
def test_a_walk_tells_ends_and_cuts_apart():
    policy = made().policy
    for env, ends in ((slide(4), 0), (point_env(4, "same_step"), 1)):
        loop = ActorLoop(SnapshotVecEnv(env), policy, 0)
        walk = loop.walk(60, is_uniform=True)
        assert walk.done.shape == (60, 4) and walk.done.any()
        terminated = walk.real.terminated.view(60, 4) > 0
        assert not (terminated & ~walk.done).any()
        assert bool(terminated.any()) == bool(ends)


def test_the_episodes_that_ended_are_told_once():
    loop = ActorLoop(SnapshotVecEnv(point_env(4, "same_step")), made().policy, 0)
    begun, paid, lengths, returns = [0] * 4, [0.0] * 4, [], []
    walk = loop.walk(60, is_uniform=True)
    for step, (rewards, done) in enumerate(
        zip(walk.real.rewards.view(60, 4).tolist(), walk.done.tolist(), strict=True)
    ):
        for row in range(4):
            paid[row] += rewards[row]
            if done[row]:
                lengths.append(step + 1 - begun[row])
                returns.append(paid[row])
                begun[row], paid[row] = step + 1, 0.0
    told = loop.told()
    assert told["rollout/episodes"] == len(lengths) > 4
    assert told["rollout/length_mean"] == pytest.approx(np.mean(lengths))
    assert told["rollout/return_mean"] == pytest.approx(np.mean(returns))
    assert loop.told()["rollout/episodes"] == 0


def test_pieces_of_what_it_met_are_the_environments():
    agent = made(env=point_env(8, "same_step"), fitting=SHORT)
    list(agent.iterate(640))
    pieces = agent.memory.pieces(500, 4, generator())
    obs, actions = pieces.obs[..., 0], pieces.actions[..., 0]
    for h in range(4):
        alive = pieces.mask[h]
        moved = (obs[h] + 0.3 * actions[h]).clamp(-1, 1)
        torch.testing.assert_close(obs[h + 1, alive], moved[alive])
        at_goal = obs[h + 1].abs() < 0.15
        assert torch.equal(pieces.terminated[h, alive], at_goal[alive])
    assert pieces.terminated.any()


# --------------------------------------------------------------------- learned units
def test_rewards_are_seen_as_they_are_learned():
    model = fit().model
    model.reward_scale.refresh(torch.tensor([-3.0, 1.0]))
    with torch.no_grad():
        for part in model.reward.parameters():
            part.normal_(generator=generator())
    z, action = model.start(torch.randn(5, 1)), torch.randn(5, 1)
    found = LearnedUnits(model).step(z, action)
    wanted = model.step(z, action)
    assert torch.equal(found.next_z.z, wanted.next_z.z)
    wanted = ((wanted.reward + 1) / 2).float()
    torch.testing.assert_close(found.reward, wanted, rtol=1e-4, atol=1e-4)
    assert (LearnedUnits(model).going_on(z) == 1).all()


def test_where_episodes_end_nothing_is_worth_nothing():
    model = fit(has_end=True).model
    model.reward_scale.refresh(torch.tensor([-3.0, 1.0]))
    z, action = model.start(torch.randn(5, 1)), torch.randn(5, 1)
    units = LearnedUnits(model)
    wanted = model.step(z, action).reward / 2
    torch.testing.assert_close(units.step(z, action).reward, wanted.float())
    torch.testing.assert_close(units.going_on(z), torch.full((5,), 0.5))


def test_pieces_are_what_a_fit_takes():
    agent = made(fitting=SHORT)
    list(agent.iterate(320))
    pieces = agent.memory.pieces(3, 4, generator())
    assert isinstance(pieces, Subsequences)
    assert isinstance(agent.fit.model.start(pieces.obs[0]), Latent)
    pieces.require(1, 1)


# --------------------------------------------------------------------- checkpoints
def weights(agent: PWM) -> list[torch.Tensor]:
    parts = (agent.fit.model, agent.first_order.actor, agent.first_order.critics)
    return [each for part in parts for each in part.state_dict().values()]


def packed(agent: PWM) -> dict[str, Any]:
    """Its state as it comes back from a disk."""
    from pathlib import Path

    return unpack(pack(agent.state()), Path("here"))


@pytest.mark.parametrize("yields", [1, 3])
def test_taken_over_it_goes_on_to_the_same_bits(yields):
    settings: dict[str, Any] = {"fitting": SHORT}
    whole, one = made(**settings), made(**settings)
    told = list(whole.iterate(800))
    steps = one.iterate(800)
    for _ in range(yields):
        next(steps)
    other = made(fit=fit(seed=5), **settings, seed=9)
    other.load_state(packed(one))
    rest = list(other.iterate(800))
    wanted = told[yields:]
    assert len(rest) == len(wanted)
    for found, known in zip(rest, wanted, strict=True):
        names = [name for name in known if not name.startswith("time/")]
        assert [found[n] for n in names] == pytest.approx(
            [known[n] for n in names], rel=0, abs=0, nan_ok=True
        )
    assert all(map(torch.equal, weights(other), weights(whole)))


def test_what_is_of_another_agent_is_refused():
    agent = made(fitting=SHORT)
    tree = packed(made(fit=fit(size=LatentSizes(8, (8,), (8,))), fitting=SHORT))
    with pytest.raises(IntegrityError, match="latent fit"):
        agent.load_state(tree)


def test_its_policy_is_kept_and_loaded(tmp_path):
    agent = made(fitting=SHORT)
    list(agent.iterate(480))
    save_policy(agent.policy, tmp_path / "policy", {})
    loaded = load_policy(tmp_path / "policy")
    assert isinstance(loaded, EncodedPolicy)
    obs = np.linspace(-1, 1, 9, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(loaded.predict(obs)[0], agent.policy.predict(obs)[0])
    assert loaded.predict(obs[0])[0].shape == (1,)


# --------------------------------------------------------------------- pretraining
def stored(episodes: int = 100) -> Dataset:
    """Random walks on the line, each cut after four steps."""
    rng, walks = np.random.default_rng(0), []
    obs = rng.uniform(-1, 1, (episodes, 1))
    for _ in range(4):
        actions = rng.uniform(-1, 1, (episodes, 1))
        after = np.clip(obs + 0.3 * actions, -1, 1)
        walks.append((obs, actions, -(after[:, 0] ** 2), after))
        obs = after
    columns = (np.stack(column, axis=1) for column in zip(*walks, strict=True))
    obs, actions, rewards, after = (c.reshape(-1, *c.shape[2:]) for c in columns)
    last, none = np.arange(len(obs)) % 4 == 3, np.zeros(len(obs), bool)
    lengths, ids = np.full(episodes, 4), np.arange(episodes)
    return Dataset(obs, actions, rewards, after, none, last, lengths, ids)


def test_a_model_is_pretrained_before_anything_else_and_resumes_within():
    before = Pretraining(stored(), updates=90, every=40)
    agent = made(pretraining=before, fitting=SHORT)
    steps = agent.iterate(320)
    told = [next(steps) for _ in range(3)]
    assert [each["model/updates"] for each in told] == [40, 80, 90]
    assert agent.num_timesteps == 0 and agent.planned_updates(320) == 5
    assert told[-1]["model/loss"] < told[0]["model/loss"]
    one = made(pretraining=before, fitting=SHORT)
    next(one.iterate(320))
    other = made(fit=fit(seed=5), pretraining=before, fitting=SHORT)
    other.load_state(packed(one))
    rest = other.iterate(320)
    for _ in range(2):
        next(rest)
    assert all(map(torch.equal, weights(other), weights(agent)))
    list(agent.iterate(320))  # 320 steps are the exploration's: one block learns
    assert agent.fit.updates == 90 + SHORT.updates  # none of SHORT's first
    less = made(pretraining=Pretraining(stored(10), updates=90), fitting=SHORT)
    with pytest.raises(IntegrityError, match="pretrained on data"):
        less.load_state(packed(one))


def test_what_it_was_pretrained_on_stays_in_its_memory():
    data = stored()
    agent = made(pretraining=Pretraining(data, updates=1), fitting=SHORT)
    list(agent.iterate(320))
    assert len(agent._known) == len(data) + 320
    drawn = agent._known.states(4000, generator())[:, 0].numpy()
    share = np.isin(drawn, data.obs).mean()
    expected = len(data) / (len(data) + 320)
    assert share == pytest.approx(expected, abs=5 * (expected / 4000) ** 0.5)


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(
                not torch.cuda.is_available(), reason="needs a CUDA device"
            ),
        ),
    ],
)
def test_in_a_flow_from_noise_it_goes_on_exactly_on_any_device(device):
    noisy = Flow(source="noise", sees_start=True, rollout=0.0)
    one, other = (
        made(
            fit=LatentFit(
                LatentModel(1, 1, size=SIZES, seed=0, dynamics=noisy), device=device
            ),
            fitting=SHORT,
            device=device,
        )
        for _ in range(2)
    )
    steps = one.iterate(640)
    for _ in range(3):
        next(steps)
    other.load_state(packed(one))
    told = [next(each) for each in (steps, other.iterate(640))]
    assert told[0]["train/updates"] > 0
    assert all(map(torch.equal, weights(one), weights(other)))
    assert told[0]["train/return_mean"] == told[1]["train/return_mean"]


# --------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: made(pace=Pace(collect=2, epoch=2)), "multiple of the 8 rows"),
        (lambda: made(env=slide(8, "disabled")), "same_step"),
        (lambda: made(fit=fit(obs_size=2)), "model is of 2 numbers of observation"),
        (lambda: made(device="meta"), "model is on cpu, .* compute on meta; give both"),
        (lambda: Fitting(batch_size=0), "batch_size and a capacity"),
        (lambda: Fitting(final_learning_rate=-1.0), "final_learning_rate"),
        (lambda: Pretraining(stored(), 0), "numbers of 1 or more"),
        (
            lambda: made(
                env=BatchEnv(
                    PointSimulation(8),
                    replace(SLIDE, action_space=spaces.Box(-np.inf, np.inf, (1,))),
                    autoreset_mode="same_step",
                )
            ),
            "bounded Box of actions",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_step(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


def test_a_run_in_which_nothing_would_be_learned_is_refused():
    with pytest.raises(ValueError, match="end of the exploration, 320 steps"):
        next(made().iterate(319))


def test_a_horizon_longer_than_every_episode_is_named():
    agent = made(first_order=replace(FIRST_ORDER, horizon=21), fitting=SHORT)
    with pytest.raises(ValueError, match="no 21 steps in a row"):
        list(agent.iterate(640))
