from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from d3rlpy import algos
from d3rlpy.dataset import TransitionMiniBatch
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.optimizers import AdamFactory
from d3rlpy.preprocessing import (
    MinMaxActionScaler,
    ReturnBasedRewardScaler,
    StandardObservationScaler,
)
from stored import dataset, numbered
from toys import ToyVectorEnv, walks

from suite.agents import offline_learner
from suite.agents.attacks import GradientAttack
from suite.agents.hasten import FusedAdam
from suite.agents.minibatches import Minibatches
from suite.agents.offline import BC, CQL, IQL, TD3BC
from suite.agents.probe import Probe
from suite.agents.scaling import identity
from suite.checkpoints import Learner, pack
from suite.results.series import Recording
from suite.storage import IntegrityError
from suite.transitions import Dataset
from suite.wrappers import AdversarialDynamics

AGENTS = {"CQL": CQL, "IQL": IQL, "TD3BC": TD3BC, "BC": BC}
SMALL = {"net_arch": [16], "batch_size": 8, "updates_per_iteration": 5}
BOUNDS = MinMaxActionScaler(np.array([-1.0, -2.0]), np.array([1.0, 2.0]))
NETWORK = VectorEncoderFactory(hidden_units=[16])
BOTH = {"actor_encoder_factory": NETWORK, "critic_encoder_factory": NETWORK}
PLAIN: dict[str, Any] = {
    "CQL": lambda **scalers: algos.CQLConfig(**BOTH, **scalers),
    "IQL": lambda **scalers: algos.IQLConfig(
        **BOTH, value_encoder_factory=NETWORK, **scalers
    ),
    "TD3BC": lambda **scalers: algos.TD3PlusBCConfig(**BOTH, **scalers),
    "BC": lambda **scalers: algos.BCConfig(
        encoder_factory=NETWORK, **{k: v for k, v in scalers.items() if "rew" not in k}
    ),
}


# -------------------------------------------------------------- the losses are right
def test_the_fused_optimizer_is_d3rlpys_with_all_that_it_was_given():
    given: Any = {"betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}
    found = []
    for factory in (FusedAdam, AdamFactory):
        made = factory(**given, amsgrad=True)
        optimizer = made.create_optimizer([("a", torch.nn.Linear(2, 2))], 0.01)
        (group,) = optimizer.param_groups
        found.append({k: v for k, v in group.items() if k not in ("params", "fused")})
    assert found[0] == found[1] and found[0]["weight_decay"] == 0.1


@pytest.mark.parametrize("name", AGENTS)
def test_the_same_minibatch_twice_gives_the_losses_of_equal_ones(name):
    # The targets move in between: what was computed with the old ones does not count.
    rows, told = torch.arange(8), []
    for is_same in (True, False):
        learner = AGENTS[name](dataset(), **SMALL)
        batch = learner.minibatches.batch(rows)
        torch.manual_seed(0)
        for _ in range(3):
            told.append(learner.update(batch))
            batch = batch if is_same else learner.minibatches.batch(rows)
    assert told[:3] == told[3:]


def theirs(name: str, learner: Any, **scalers: Any) -> Any:
    """d3rlpy's algorithm as it comes, with the initial weights of a learner."""
    plain = PLAIN[name](**scalers).create(device="cpu:0")
    plain.create_impl((3,), 2)
    ours = learner.algorithm.impl.modules.get_torch_modules()
    for key, network in plain.impl.modules.get_torch_modules().items():
        network.load_state_dict(ours[key].state_dict())
    return plain


def their_batch(data: Dataset, rows: np.ndarray) -> TransitionMiniBatch:
    return TransitionMiniBatch(
        observations=data.obs[rows],
        actions=data.actions[rows],
        rewards=data.rewards[rows, None],
        next_observations=data.next_obs[rows],
        next_actions=data.actions[rows],
        terminals=data.terminated[rows, None].astype(np.float32),
        intervals=np.ones((len(rows), 1), np.float32),
        transitions=[],
    )


def compared(learner: Any, plain: Any, data: Dataset) -> np.ndarray:
    """Losses (2, updates, kinds) of a learner and of d3rlpy on equal batches."""
    draws, losses = np.random.default_rng(0), ([], [])
    for step in range(60):
        rows = draws.integers(len(data), size=8)
        torch.manual_seed(step)
        ours = learner.update(learner.minibatches.batch(torch.from_numpy(rows)))
        torch.manual_seed(step)
        told = plain.update(their_batch(data, rows))
        told = learner._named(told)
        assert list(ours) == list(told)
        if step % 2 == 0:  # TD3 updates its actor every other time
            losses[0].append(list(ours.values()))
            losses[1].append(list(told.values()))
    return np.array(losses)


@pytest.mark.parametrize("name", AGENTS)
def test_equal_batches_give_the_losses_of_d3rlpy(name):
    data = dataset()
    learner = AGENTS[name](data, **SMALL)
    plain = theirs(name, learner, action_scaler=BOUNDS)
    ours, other = compared(learner, plain, data)
    # Equal but for the last bit: products round by where in memory their factors lie.
    np.testing.assert_allclose(ours[0], other[0], rtol=3e-7)
    # Adam in one kernel rounds in another order; 60 updates on, that is all there is.
    np.testing.assert_allclose(ours, other, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", AGENTS)
def test_scalings_are_those_of_d3rlpy(name):
    data = dataset()
    learner = AGENTS[name](data, **SMALL, normalize_obs=True, return_span=10.0)
    returns = data.returns
    obs = data.obs.astype(float)
    scalers = {
        "observation_scaler": StandardObservationScaler(
            mean=obs.mean(axis=0), std=obs.std(axis=0)
        ),
        "reward_scaler": ReturnBasedRewardScaler(returns.max(), returns.min(), 10.0),
        "action_scaler": BOUNDS,
    }
    plain = theirs(name, learner, **scalers)
    ours, other = compared(learner, plain, data)
    np.testing.assert_allclose(ours, other, rtol=1e-4, atol=1e-5)
    actions = learner.policy.predict(data.obs[:4])[0]
    np.testing.assert_allclose(actions, plain.predict(data.obs[:4]), rtol=1e-4)


def bandit(seed: int = 0) -> Dataset:
    """Two steps: the first pays nothing, the second 1 for a positive action, else 0."""
    episodes = 400
    signs = np.random.default_rng(seed).choice([-0.5, 0.5], (episodes, 2))
    obs = np.tile([[1.0, 0.0], [0.0, 1.0]], (episodes, 1))
    rewards = np.zeros((episodes, 2))
    rewards[:, 1] = signs[:, 1] > 0
    ends = np.tile([False, True], episodes)
    return Dataset(
        obs=obs,
        actions=signs.reshape(-1, 1),
        rewards=rewards.ravel(),
        next_obs=np.roll(obs, -1, axis=0),
        terminated=ends,
        truncated=np.zeros(2 * episodes, bool),
        lengths=np.full(episodes, 2),
        episode_ids=np.arange(episodes),
        card={"spaces": {"action": {"low": [-1.0], "high": [1.0]}}},
    )


@pytest.mark.slow
def test_iql_finds_the_expectile_of_a_bandit_and_passes_it_back():
    # V(s1) is the 0.8-expectile of {0, 1}: 0.8 (1 - v) = 0.2 v, so v = 0.8.
    data = bandit()
    learner = IQL(
        data,
        net_arch=[32],
        batch_size=64,
        gamma=0.9,
        expectile=0.8,
        tau=0.05,
        critic_learning_rate=3e-3,
        actor_learning_rate=3e-3,
    )
    list(learner.iterate(2000))
    states = np.eye(2, dtype=np.float32)
    with torch.no_grad():
        value = learner.algorithm.impl.modules.value_func(torch.from_numpy(states))
    np.testing.assert_allclose(value.numpy().ravel(), [0.72, 0.8], atol=0.05)
    good, bad = np.full((2, 2, 1), 0.5, np.float32) * [[[1]], [[-1]]]
    values = learner.algorithm.values
    np.testing.assert_allclose(
        values(states, good.astype(np.float32)).mean(0), [0.72, 1], atol=0.05
    )
    np.testing.assert_allclose(
        values(states, bad.astype(np.float32)).mean(0), [0.72, 0], atol=0.05
    )
    # exp(3 (1 - 0.8)) against exp(3 (0 - 0.8)): the paying action outweighs the other.
    weights = np.exp(3 * np.array([0.2, -0.8]))
    expected = 0.5 * (weights[0] - weights[1]) / weights.sum()
    found = learner.policy.predict(states)[0]
    np.testing.assert_allclose(found[1], expected, atol=0.08)
    np.testing.assert_allclose(found[0], 0.0, atol=0.08)


def flattened(learner: Any, constant: float) -> None:
    """Make every critic say a constant and the policy draw tanh of a normal number."""
    modules = learner.algorithm.impl.modules
    with torch.no_grad():
        for critic in (*modules.q_funcs, *modules.targ_q_funcs):
            critic._fc.weight.zero_()
            critic._fc.bias.fill_(constant)
        for head in (modules.policy._mu, modules.policy._logstd):
            head.weight.zero_()
            head.bias.zero_()


def test_cqls_penalty_and_its_temporal_difference_equal_hand_computed_ones():
    data, constant, samples, weight = dataset(), 3.0, 4, 2.0
    learner = CQL(
        data,
        **SMALL,
        n_action_samples=samples,
        conservative_weight=weight,
        alpha_learning_rate=0.0,
    )
    flattened(learner, constant)
    rows = np.arange(8)
    torch.manual_seed(0)
    told = learner.update(learner.minibatches.batch(torch.from_numpy(rows)))
    # What it drew: normal numbers for pi(s), for pi(s'), and uniform actions.
    torch.manual_seed(0)
    shape = (samples, 8, 2)
    drawn = [torch.normal(torch.zeros(shape), torch.ones(shape)) for _ in range(2)]
    raw = torch.cat(drawn).double().numpy()
    normal = -(raw**2) / 2 - math.log(2 * math.pi) / 2
    log_probs = (normal - np.log(1 - np.tanh(raw) ** 2)).sum(axis=-1)
    uniform = np.full((samples, 8), 2 * math.log(0.5))
    ratios = np.exp(constant - np.concatenate([log_probs, uniform])).sum(axis=0)
    gap = (np.log(ratios) - constant).mean()
    target = data.rewards[:8] + 0.99 * constant * ~data.terminated[:8]
    expected = {
        "conservative_loss": 2 * weight * (gap - 10.0),
        "td_loss": 2 * ((constant - target) ** 2).mean(),
    }
    for name, value in expected.items():
        assert told[name] == pytest.approx(value, rel=1e-5), name
    assert told["critic_loss"] == pytest.approx(sum(expected.values()), rel=1e-5)
    assert told["alpha"] == 1


@pytest.mark.slow
def test_bc_regresses_on_the_actions_within_their_bounds():
    data = dataset((500,))
    taught = np.tanh(data.obs[:, :2] / 4 + data.obs[:, 1:] / 5) * [1.0, 2.0]
    learner = BC(
        data.with_arrays(actions=taught.astype(np.float32)),
        net_arch=[64],
        batch_size=64,
        learning_rate=3e-3,
        normalize_obs=True,
    )
    list(learner.iterate(2000))
    errors = learner.policy.predict(data.obs)[0] - taught
    assert np.sqrt((errors**2).mean(axis=0)).max() < 0.05


# ---------------------------------------------------------------------- what it is fed
def batches(data: Dataset, size: int, seed: int = 0) -> Minibatches:
    return Minibatches(
        data,
        identity(data.obs.shape[1]),
        identity(data.actions.shape[1]),
        batch_size=size,
        generator=np.random.default_rng(seed),
        device="cpu",
    )


def test_rows_of_a_minibatch_belong_together_and_all_of_them_are_drawn():
    data = numbered()
    seen = set()
    drawn: Any = batches(data, 64).draw(60)
    for batch in drawn:
        episode, step = batch.observations.numpy().T
        np.testing.assert_array_equal(batch.rewards[:, 0], 1000 * episode + step)
        np.testing.assert_array_equal(batch.actions[:, 1], np.float32(step / 1000))
        np.testing.assert_array_equal(batch.next_observations[:, 0], episode)
        np.testing.assert_array_equal(batch.next_observations[:, 1], step + 1)
        last = step == data.lengths[episode.astype(int)] - 1
        np.testing.assert_array_equal(batch.terminals[:, 0], last & (episode % 2 == 0))
        seen |= set(zip(episode.tolist(), step.tolist(), strict=True))
    assert len(seen) == len(data)  # the last steps of cut episodes included


def test_minibatches_repeat_from_their_state_alone():
    one, two = batches(numbered(), 4), batches(numbered(), 4, seed=1)
    next(one.draw(3))
    two.load_state(one.state())
    for a, b in zip(one.draw(2), two.draw(2), strict=True):
        assert torch.equal(a.rewards, b.rewards)


# ------------------------------------------------------------ nothing else plays a part
def disturbed() -> None:
    torch.manual_seed(99)
    np.random.seed(99)


@pytest.mark.parametrize("name", AGENTS)
def test_a_training_neither_reads_nor_moves_the_global_generators(name):
    disturbed()
    one = AGENTS[name](dataset(), **SMALL, seed=3)
    many, first = one.iterate(20), []
    for metrics in many:
        first.append({k: v for k, v in metrics.items() if "seconds" not in k})
        torch.rand(5)
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state(legacy=False)
    two = AGENTS[name](dataset(), **SMALL, seed=3)
    second = [
        {k: v for k, v in metrics.items() if "seconds" not in k}
        for metrics in two.iterate(20)
    ]
    np.testing.assert_equal(first, second)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_equal(before[1], np.random.get_state(legacy=False))


@pytest.mark.parametrize("name", AGENTS)
def test_a_state_is_taken_over_exactly(name):
    settings = {**SMALL, "normalize_obs": True, "return_span": 5.0}
    settings |= {"actor_decay": 20} if name == "IQL" else {}
    one, two = (AGENTS[name](dataset(), **settings, seed=s) for s in (0, 1))
    assert isinstance(one, Learner) and isinstance(one, Recording)
    rest = one.iterate(17)
    next(rest)
    two.load_state(copy.deepcopy(one.state()))
    disturbed()
    assert len(list(rest)) == len(list(two.iterate(17))) == 3
    assert pack(one.state()) == pack(two.state())
    assert (two.num_timesteps, two.sim_steps, two.planned_updates(17)) == (17, 0, 4)
    assert {len(values) for values in two.series().values()} == {17}


def test_a_state_of_another_learner_is_refused():
    learner = IQL(dataset(), **SMALL)
    with pytest.raises(IntegrityError, match="trained on data of sha256"):
        learner.load_state(IQL(dataset(seed=1), **SMALL).state())
    with pytest.raises(IntegrityError, match="does not fit"):
        learner.load_state(CQL(dataset(), **SMALL).state())
    with pytest.raises(IntegrityError, match="does not fit"):
        learner.load_state(IQL(dataset(), **{**SMALL, "net_arch": [8]}).state())
    with pytest.raises(IntegrityError, match="schedule does not fit"):
        learner.load_state(IQL(dataset(), **SMALL, actor_decay=9).state())
    short = learner.state()
    short["series"] = {name: np.zeros(3, np.float32) for name in short["series"]}
    with pytest.raises(IntegrityError, match="series do not fit"):
        learner.load_state(short)


def test_the_actors_learning_rate_falls_along_a_cosine():
    learner = IQL(dataset(), **SMALL, actor_learning_rate=1e-3, actor_decay=20)
    list(learner.iterate(10))
    rates = learner.state()["algorithm"]["optimizers"]
    assert rates["actor_optim"]["learning_rates"] == pytest.approx([5e-4])
    assert rates["critic_optim"]["learning_rates"] == [3e-4]
    with pytest.raises(ValueError, match="actor_decay = 20 updates, of 21; make them"):
        learner.iterate(21)


# ------------------------------------------------------------------------ what is told
def test_an_iteration_tells_means_and_the_variance_of_a_window(monkeypatch):
    monkeypatch.setattr(offline_learner, "WINDOW", 10)
    learner = IQL(dataset(), **{**SMALL, "updates_per_iteration": 6})
    early, late = learner.iterate(12)
    traced = {name: values.astype(float) for name, values in learner.series().items()}
    assert set(traced) == {"critic_loss", "td_loss"}
    for name, values in traced.items():
        assert np.isnan(early[f"train/{name}_variance"])
        variance = late[f"train/{name}_variance"]
        assert variance == pytest.approx(values[-10:].var(), rel=1e-6)
        assert late[f"train/{name}"] == pytest.approx(values[6:].mean(), rel=1e-6)
    parts = late["train/td_loss"] + late["train/value_loss"]
    assert late["train/critic_loss"] == pytest.approx(parts, rel=1e-6)


def test_critics_are_probed_in_units_of_the_environments_reward():
    data = dataset()
    learner = CQL(data, **SMALL, return_span=50.0, probe=Probe(data, pairs=20))
    assert learner.reward_factor != 1
    next(learner.iterate(5))
    flattened(learner, 7.0 * learner.reward_factor)
    told = learner._told({name: np.ones(1) for name in learner.traced})
    assert told["q/mean"] == pytest.approx(7.0)
    assert told["q/std"] == told["q/policy_advantage"] == told["q/not_finite"] == 0


@pytest.mark.parametrize("name", sorted(set(AGENTS) - {"BC"}))
def test_losses_of_critics_are_in_units_of_the_environments_reward(name):
    data = dataset()
    doubled = data.with_arrays(rewards=2 * data.rewards)
    settings = {**SMALL, "return_span": 50.0}  # so that both train alike
    one, two = (AGENTS[name](each, **settings) for each in (data, doubled))
    assert one.reward_factor == 2 * two.reward_factor != 2
    first, second = (next(each.iterate(5)) for each in (one, two))
    powers = {"td_loss": 2, "value_loss": 2, "conservative_loss": 1, "actor_loss": 0}
    for loss, power in powers.items():
        if f"train/{loss}" in first:
            expected = first[f"train/{loss}"] * 2**power
            assert second[f"train/{loss}"] == pytest.approx(expected, rel=1e-6), loss
    others = {"CQL": "conservative_loss", "IQL": "value_loss"}.get(name)
    for told in (first, second):
        rest = told[f"train/{others}"] if others else 0
        whole = told["train/td_loss"] + rest
        assert told["train/critic_loss"] == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("name", ["CQL", "IQL", "TD3BC"])
def test_critics_and_policy_are_functions_in_units_of_the_environment(name):
    scaled: Any = {"normalize_obs": True, "return_span": 10.0}
    learner = AGENTS[name](dataset(), **SMALL, **scaled)
    list(learner.iterate(5))
    obs, actions = dataset().obs[:7], dataset().actions[:7]
    pair = [torch.tensor(each, requires_grad=True) for each in (obs, actions)]
    values, chosen = learner.critic(*pair), learner.actor(pair[0])
    np.testing.assert_allclose(
        values.detach(), learner._values(obs, actions), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(chosen.detach(), learner._act(obs), rtol=1e-4)
    for result in (values, chosen):
        (gradient,) = torch.autograd.grad(result.sum(), pair[0])
        assert gradient.abs().max() > 0
    attack = GradientAttack.of(learner, steps=5, name="a")
    worse = AdversarialDynamics(dataset(), attack, rate=0.5)
    assert (worse.next_obs != dataset().next_obs).any()
    with pytest.raises(ValueError, match="BC has no critics; train CQL or IQL"):
        GradientAttack.of(BC(dataset(), **SMALL))


def test_an_agent_is_given_the_spaces_of_its_environment():
    env = ToyVectorEnv(1)
    learner = BC(walks(100).with_card({}), env, **SMALL)
    assert learner.policy.action_space == env.single_action_space
    (action,), _ = learner.policy.predict(np.zeros((1, 1)))
    assert -1 <= action <= 1
    assert learner.policy.predict(np.zeros(1))[0].shape == (1,)


MISUSE = {
    "other shapes": (
        lambda: IQL(dataset(), ToyVectorEnv(1)),
        r"of another environment: .* shapes \(3,\) and \(2,\), .* \(1,\) and \(1,\)",
    ),
    "no bounds": (
        lambda: IQL(dataset().with_card({})),
        "need a bounded box of actions",
    ),
    "no batch": (lambda: CQL(dataset(), batch_size=0), "batch_size .* 1 or more"),
    "no layer": (lambda: CQL(dataset(), net_arch=[]), "layers, .* 1 or more"),
    "gamma": (lambda: IQL(dataset(), gamma=1.5), "gamma must be between 0 and 1"),
    "one return": (
        lambda: IQL(dataset((5,)), return_span=1000.0),
        "all 1 episodes return .* set return_span to null",
    ),
    "probed cloning": (
        lambda: BC(dataset(), probe=Probe(dataset())),
        "BC has no critics",
    ),
}


@pytest.mark.parametrize("kind", MISUSE)
def test_misuse_is_refused_in_one_sentence(kind):
    make, message = MISUSE[kind]
    with pytest.raises(ValueError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_a_training_that_explodes_says_so():
    learner = IQL(dataset(), **SMALL, critic_learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"has diverged: .* lower the"):
        list(learner.iterate(50))
