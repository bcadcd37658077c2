"""A model as an environment: Gymnasium's contract, exactness, and what runs inside."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from worlds import (
    Pendulum,
    linear_model,
    pendulum_data,
    pendulum_dynamics,
    swing_reward,
)

from suite.agents.ppo import PPO
from suite.agents.rerollout import ReRollout
from suite.arrays import Snapshot
from suite.parts import Part
from suite.worldmodels.ensemble import GaussianEnsemble
from suite.worldmodels.imagine import imagine
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.model_env import ModelEnv, ModelVectorEnv
from suite.worldmodels.propagation import TS1, Mean, TSInf
from suite.worldmodels.stored import load_dynamics, save_dynamics
from suite.wrappers import RewardNoise, restorable

EXACT = {"call": "worlds:Pendulum"}
DYNAMICS = pendulum_dynamics(GaussianEnsemble)
DYNAMICS.refresh(pendulum_data(200))


def pendulum() -> gym.Env:
    return gym.make("Pendulum-v1")


def rows(num_envs: int, model=None, mode: str = "disabled", **kwargs) -> ModelVectorEnv:
    model = TS1(DYNAMICS) if model is None else model
    return ModelVectorEnv(pendulum(), model, num_envs, autoreset_mode=mode, **kwargs)


def remade(env: Any) -> Any:
    return gym.make(EnvSpec.from_json(env.spec.to_json()))


def actions(steps: int, num_envs: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(-2, 2, (steps, num_envs, 1)).astype(np.float32)


def test_exact_dynamics_track_the_environment():
    real, model = pendulum(), ModelEnv(pendulum(), Pendulum())
    for seed in range(3):
        np.testing.assert_array_equal(
            real.reset(seed=seed)[0], model.reset(seed=seed)[0]
        )
        for step, action in enumerate(actions(200, 1)[:, 0]):
            one, other = real.step(action), model.step(action)
            np.testing.assert_allclose(one[0], other[0], rtol=0, atol=1e-4)
            assert one[1] == pytest.approx(other[1], abs=1e-4)
            assert one[2] == other[2] is False
            assert one[3] == other[3] == (step == 199)


@pytest.mark.parametrize("model", [Pendulum(), TS1(DYNAMICS)], ids=["exact", "TS1"])
def test_the_contract_of_gymnasium_holds(model):
    env = ModelEnv(pendulum(), model)
    with pytest.warns(UserWarning) as said:
        check_env(env, skip_close_check=True)
    # It is a wrapper, Pendulum's action space is not within -1 and 1, and what was made
    # of a live model cannot be made again from its spec.
    known = ("different from the unwrapped", "symmetric and normalized")
    assert all(any(k in str(w.message) for k in known) for w in said)


def test_the_time_limit_is_the_environments_or_an_own_one():
    def length(env: gym.Env) -> int:
        env.reset(seed=0)
        steps, truncated = 0, False
        while not truncated:
            *_, truncated, _ = env.step(np.zeros(1, np.float32))
            steps += 1
        return steps

    exact = Pendulum()
    assert length(ModelEnv(pendulum(), exact)) == 200
    assert length(ModelEnv(pendulum(), exact, max_episode_steps=7)) == 7
    assert length(gym.wrappers.TimeLimit(ModelEnv(pendulum(), exact), 5)) == 5
    assert (
        length(ModelEnv(ModelEnv(pendulum(), exact, max_episode_steps=6), exact)) == 6
    )
    endless = ModelEnv(pendulum().unwrapped, exact)
    assert endless.row.batch.task.max_episode_steps > 10**12


def test_its_spec_survives_json():
    env = ModelEnv(pendulum(), EXACT, max_episode_steps=9)
    again = remade(env)
    assert isinstance(again, ModelEnv) and again.spec == env.spec
    one, _ = env.reset(seed=3)
    other, _ = again.reset(seed=3)
    np.testing.assert_array_equal(one, other)
    for step, action in enumerate(actions(9, 1)[:, 0]):
        left, right = env.step(action), again.step(action)
        np.testing.assert_array_equal(left[0], right[0])
        assert left[1:4] == right[1:4]
        assert left[3] == (step == 8)


def test_the_spec_of_a_live_model_says_what_it_cannot():
    env = ModelEnv(pendulum(), Pendulum())
    with pytest.raises(ValueError, match="a live model: Pendulum, which JSON does not"):
        remade(env)


def test_a_registered_model_is_an_environment_like_any_other():
    gym.register(
        "Pendulum-Exact-v0",
        entry_point="suite.worldmodels.model_env:learned",
        vector_entry_point="suite.worldmodels.model_env:learned_vec",
        kwargs={"env": "Pendulum-v1", "model": EXACT},
    )
    try:
        env: Any = gym.make("Pendulum-Exact-v0")
        again = remade(env)
        assert env.spec.id == "Pendulum-Exact-v0" and again.spec == env.spec
        assert type(again) is type(env)
        many = gym.make_vec(
            "Pendulum-Exact-v0",
            num_envs=3,
            vectorization_mode="vector_entry_point",
            autoreset_mode="same_step",
        )
        first, _ = env.reset(seed=5)
        np.testing.assert_array_equal(first, many.reset(seed=5)[0][0])
        for step, action in enumerate(actions(200, 3)):
            one, all_of_them = env.step(action[0]), many.step(action)
            assert one[3] == all_of_them[3][0] == (step == 199)
            shown = all_of_them[4].get("final_obs", all_of_them[0])
            np.testing.assert_array_equal(one[0], shown[0])
        assert restorable(env).snapshot() is not None
    finally:
        gym.registry.pop("Pendulum-Exact-v0")


@pytest.mark.parametrize("num_envs", [1, 5, 40])
@pytest.mark.parametrize("wrapper", [Mean, TS1, TSInf])
def test_a_row_is_bit_for_bit_the_single_environment(wrapper, num_envs):
    many, row = rows(num_envs, wrapper(DYNAMICS)), num_envs // 2
    single = ModelEnv(pendulum(), wrapper(DYNAMICS))
    one, all_of_them = single.reset(seed=7 + row)[0], many.reset(seed=7)[0]
    np.testing.assert_array_equal(one, all_of_them[row])
    for action in actions(12, num_envs):
        left, right = single.step(action[row]), many.step(action)
        for a, b in zip(left[:4], right[:4], strict=True):
            np.testing.assert_array_equal(a, np.asarray(b)[row])


def assert_goes_back_exactly(env: ModelVectorEnv) -> None:
    env.reset(seed=1)
    todo = actions(12, env.num_envs)
    for action in todo[:4]:
        env.step(action)
    moment = Snapshot.from_tree(copy.deepcopy(env.snapshot().to_tree()))
    first = [env.step(action)[:4] for action in todo]
    env.restore(moment)
    second = [env.step(action)[:4] for action in todo]
    for left, right in zip(first, second, strict=True):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
@pytest.mark.parametrize("wrapper", [TS1, TSInf])
def test_it_goes_back_exactly_whatever_was_drawn(wrapper, mode):
    # Episodes of 7 steps: after going back, ends and new starts are the same too.
    assert_goes_back_exactly(rows(3, wrapper(DYNAMICS), mode, max_episode_steps=7))


def test_copies_share_their_noise_until_they_are_reseeded():
    env, action = rows(6), np.zeros((6, 1), np.float32)
    env.reset(seed=0)
    moment = env.snapshot()
    env.restore(moment[np.zeros(6, int)])
    assert len(np.unique(env.step(action)[0], axis=0)) == 1
    env.restore(moment[np.zeros(6, int)], reseed=4)
    fanned = env.step(action)[0]
    assert len(np.unique(fanned, axis=0)) == 6
    env.restore(moment[np.zeros(6, int)], reseed=4)
    np.testing.assert_array_equal(env.step(action)[0], fanned)


def test_a_row_does_not_depend_on_who_still_runs():
    together, alone = rows(4), rows(4)
    together.reset(seed=0)
    alone.reset(seed=0)
    alone.halt(np.array([0, 3]))
    for action in actions(6, 4):
        one, other = together.step(action)[0], alone.step(action)[0]
        np.testing.assert_array_equal(one[1:3], other[1:3])


def test_a_seed_is_of_the_rows_that_are_reset_alone():
    def second_row(seed: int | None) -> np.ndarray:
        env = rows(2)
        env.reset(seed=0)
        if seed is not None:
            mask = np.array([True, False])
            env.reset(seed=seed, options={"reset_mask": mask})
        return env.reset(options={"reset_mask": np.array([False, True])})[0][1]

    np.testing.assert_array_equal(second_row(None), second_row(5))


def test_every_step_of_a_row_draws_noise_of_its_own():
    # A state-independent Gaussian model: x' = x + noise, so increments are the noise.
    dynamics = linear_model([1.0], [0.0], [0.0])
    env = ModelVectorEnv(
        _LineEnv(), TS1(dynamics), 64, max_episode_steps=50, autoreset_mode="disabled"
    )
    obs, _ = env.reset(seed=0)
    path = [obs[:, 0]]
    for _ in range(40):
        obs, *_ = env.step(np.zeros((64, 1), np.float32))
        path.append(obs[:, 0])
    noise = np.diff(np.array(path), axis=0)
    # 64 * 39 pairs: a correlation of independent draws has a deviation of 0.02.
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.1
    assert noise.std() == pytest.approx(np.exp(0.5 * _soft(0.0)), rel=0.1)


class _LineEnv(gym.Env):
    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}


def _soft(logvar: float) -> float:
    """What the ensemble's soft bounds make of a log variance."""
    found = linear_model([1.0], [0.0], [logvar]).predict(
        torch.zeros(1, 1), torch.zeros(1, 1)
    )
    assert found.std is not None
    return 2 * float(found.std.detach().log())


def test_it_pickles_and_wraps_like_any_environment():
    env = RewardNoise(ModelEnv(pendulum(), TS1(DYNAMICS)), std=0.1, seed=2)
    env.reset(seed=0)
    moment = env.snapshot()
    first = [env.step(action)[:3] for action in actions(3, 1)[:, 0]]
    env.restore(moment)
    twin = copy.deepcopy(env)
    for each in (env, twin):
        again = [each.step(action)[:3] for action in actions(3, 1)[:, 0]]
        for left, right in zip(first, again, strict=True):
            np.testing.assert_array_equal(left[0], right[0])
            assert left[1:] == right[1:]


class Recorded(ReRollout):
    """Keeps what it was asked and what it answered."""

    def __call__(self, rollout, policy):
        found = super().__call__(rollout, policy)
        self.last = rollout, found, copy.deepcopy(policy)
        return found


def test_rerollouts_inside_a_model_measure_what_imagination_computes():
    # Deterministic model and nearly deterministic policy: V is the return of one
    # imagined rollout, whoever measures it.
    estimator = Recorded(
        lambda n: rows(n, Pendulum(), max_episode_steps=12),
        samples=1,
        gamma=0.9,
        tolerance=0.0,
    )
    agent: Any = PPO(
        "MlpPolicy",
        rows(2, Pendulum(), "same_step", max_episode_steps=12),
        advantage=estimator,
        n_steps=6,
        batch_size=12,
        n_epochs=1,
        gamma=0.9,
        seed=0,
        device="cpu",
        policy_kwargs={"log_std_init": -20.0, "net_arch": [4]},
    )
    agent.env.seed(0)
    (metrics,) = agent.iterate(12)
    assert metrics["advantage/sim_steps"] > 0
    rollout, found, policy = estimator.last

    def act(obs: torch.Tensor) -> torch.Tensor:
        mean = policy._predict(obs.float(), deterministic=True)
        return mean.clamp(-2, 2)

    for t in (0, 3):
        obs = torch.as_tensor(np.asarray(rollout.obs[t]))
        model = Pendulum()
        with torch.no_grad():
            imagined = imagine(model, model.start(obs), act, 12 - t)
        np.testing.assert_allclose(
            found.returns[t], imagined.returns(0.9), rtol=1e-4, atol=1e-3
        )


def test_nan_weights_are_named_and_rows_that_run_away_are_cut(caplog):
    dynamics: Any = pendulum_dynamics()
    env = rows(2, Mean(dynamics))
    env.reset(seed=0)
    with torch.no_grad():
        dynamics.ensemble.biases[1][0] = torch.nan
    with pytest.raises(FloatingPointError, match="NaN, since its dynamics"):
        env.step(np.zeros((2, 1), np.float32))
    with torch.no_grad():
        dynamics.ensemble.biases[1].zero_()
        dynamics.output_scale.std.fill_(3e38)
        dynamics.ensemble.weights[-1].mul_(1e5)
    _, rewards, _, truncated, info = env.step(np.zeros((2, 1), np.float32))
    assert truncated.all() and info["sim_unstable"].all() and not rewards.any()
    assert "left the finite numbers" in caplog.text


def test_a_model_that_has_seen_no_data_is_told_once(caplog):
    env = rows(2, TSInf(pendulum_dynamics()))
    for _ in range(2):
        env.reset(seed=0)
    assert caplog.text.count("the model has seen no data") == 1
    caplog.clear()
    for known in (Pendulum(), TSInf(DYNAMICS)):
        rows(2, known).reset(seed=0)
    assert not caplog.text


def test_spaces_and_models_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"starts from states \(B, 3\), got .*, 4\)"):
        ModelEnv(gym.make("MountainCarContinuous-v0"), _Wider(DYNAMICS))
    with pytest.raises(ValueError, match="4 numbers, the environment gives"):
        ModelEnv(pendulum(), _Shorter()).reset(seed=0)
    with pytest.raises(ValueError, match="flat Box as action space, got Discrete"):
        ModelEnv(gym.make("CartPole-v1"), Pendulum())
    with pytest.raises(TypeError, match="wrap it in Mean, TS1 or TSInf"):
        ModelEnv(pendulum(), DYNAMICS)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="no start and no step and no observe"):
        ModelEnv(pendulum(), object())  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="the model shows 2 numbers, the observation"):
        ModelEnv(pendulum(), _Blind())
    with pytest.raises(ValueError, match=r"torch tensors, reward \(16,\) and term"):
        ModelEnv(pendulum(), _Free())
    with pytest.raises(ValueError, match="which the environment does not"):
        ModelEnv(pendulum(), _OfStates()).reset(seed=0)
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        rows(0)
    env = ModelEnv(pendulum(), Pendulum())
    env.reset(seed=0)
    with pytest.raises(ValueError, match="finite"):
        env.step(np.full(1, np.nan))


class _Wider(TS1):
    def __init__(self, dynamics: LearnedDynamics):
        super().__init__(dynamics)
        self.state_size = 4

    def _checked(self, state: torch.Tensor) -> torch.Tensor:
        self.state_size = 3
        return super()._checked(state)


class _Shorter(Pendulum):
    state_size = 4


class _Blind(Pendulum):
    def observe(self, z):
        return super().observe(z)[:, :2]


class _Free(Pendulum):
    def step(self, z, action, *, generator=None):
        found = super().step(z, action)
        return found._replace(reward=found.reward[:, None])


class _OfStates(Pendulum):
    needs_state = True


def test_a_model_of_latents_shows_them():
    class Latent(_Blind):
        observation_space = gym.spaces.Box(-2, 2, (2,), np.float32)

    env = ModelEnv(pendulum(), Latent())
    assert env.observation_space == Latent.observation_space
    assert env.reset(seed=0)[0].shape == (2,)


@pytest.mark.parametrize("kind", ["given", "learned"])
def test_saved_dynamics_make_the_same_environment(kind, tmp_path):
    reward = swing_reward if kind == "given" else None
    outputs = 3 if kind == "given" else 4
    ensemble = GaussianEnsemble(2, 4, outputs, hidden=(8,), activation="silu")
    dynamics = LearnedDynamics(ensemble, reward=reward)
    dynamics.refresh(pendulum_data(80))
    dynamics.is_elite[0] = False
    save_dynamics(dynamics, tmp_path / "model")
    functions = {"reward": {"ref": "worlds:swing_reward"}} if reward else {}
    loading = {
        "call": "suite.worldmodels.stored:load_dynamics",
        "kwargs": {"folder": str(tmp_path / "model"), **functions},
    }
    part = Part("suite.worldmodels.propagation:TSInf", {"dynamics": Part(**loading)})
    one = ModelEnv(pendulum(), TSInf(dynamics))
    other = remade(ModelEnv(pendulum(), part))
    np.testing.assert_array_equal(one.reset(seed=1)[0], other.reset(seed=1)[0])
    for action in actions(5, 1)[:, 0]:
        left, right = one.step(action), other.step(action)
        np.testing.assert_array_equal(left[0], right[0])
        assert left[1] == right[1]
    wrong: Any = {"reward": None} if reward else {"reward": swing_reward}
    with pytest.raises(ValueError, match="name the functions that it had"):
        load_dynamics(tmp_path / "model", **wrong)


def test_given_rewards_are_the_tasks_in_numpy_and_in_torch():
    model, data = TS1(DYNAMICS), pendulum_data(80)
    found = model.step(
        model.start(data.states), data.actions, generator=torch.Generator()
    )
    numbers = (data.states, data.actions, found.next_z.state)
    expected = swing_reward(*(number.detach().double().numpy() for number in numbers))
    np.testing.assert_allclose(found.reward.detach(), expected, rtol=1e-5, atol=1e-5)
    # And it is the environment's own.
    np.testing.assert_allclose(
        swing_reward(*(n.numpy() for n in (data.states, data.actions, data.states))),
        data.rewards,
        rtol=1e-4,
        atol=1e-4,
    )


def test_seeds_of_a_reset_that_was_refused_are_forgotten():
    envs = [ModelVectorEnv(gym.make("Pendulum-v1"), Pendulum(), 2) for _ in range(2)]
    for env in envs:
        env.reset(seed=5)
    with pytest.raises(ValueError):
        envs[0].reset(seed=[1, 2, 3])
    first, second = (env.reset()[0] for env in envs)
    assert np.array_equal(first, second)
