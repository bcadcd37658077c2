"""What each wrapper does, by hand; what it must not do; what it refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from kinds import KINDS, of_field
from walk_env import ROWS, WalkEnv, WalkVectorEnv

from suite.wrappers import (
    ActionDelay,
    ActionNoise,
    Corruption,
    CorruptionWrapper,
    DelayedAction,
    Moment,
    NoisyAction,
    NoisyObservation,
    NoisyReward,
    ObservationNoise,
    RewardDelay,
    RewardNoise,
    RewardScale,
    SparseReward,
    StickyAction,
    StoredCorruption,
)
from suite.wrappers.stored import corrupted

ZEROS = np.zeros((ROWS, 2), np.float32)


class Scripted(gym.Env):
    """Pays what it is told to, and ends with it; counts what it executes."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Box(-5, 5, (1,))

    def __init__(self, rewards: list[float], *, terminates: bool = True):
        self.rewards, self.terminates = rewards, terminates

    def reset(self, *, seed=None, options=None):
        self.t, self.executed = 0, []
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.executed.append(float(action[0]))
        self.t += 1
        ends = self.t == len(self.rewards)
        reward = self.rewards[self.t - 1]
        terminated = ends and self.terminates
        obs = np.full(1, self.t / 100, np.float32)
        return obs, reward, terminated, ends and not terminated, {}


def rewards_of(env: Any, steps: int) -> list[float]:
    env.reset(seed=0)
    return [env.step(np.zeros(1, np.float32))[1] for _ in range(steps)]


def executed(env: Any, commands: list[float]) -> list[float]:
    env.reset(seed=0)
    for command in commands:
        env.step(np.array([command], np.float32))
    return env.unwrapped.executed


# -------------------------------------------------------------------------- by hand
@pytest.mark.parametrize("terminates", [True, False])
@pytest.mark.parametrize(
    ("steps", "paid"),
    [
        (0, [1, 2, 3, 4, 5]),
        (1, [0, 1, 2, 3, 9]),
        (3, [0, 0, 0, 1, 14]),
        (5, [0, 0, 0, 0, 15]),
        (9, [0, 0, 0, 0, 15]),
    ],
)
def test_rewards_come_late_and_what_is_owed_comes_last(steps, paid, terminates):
    env = RewardDelay(Scripted([1, 2, 3, 4, 5], terminates=terminates), steps)
    assert rewards_of(env, 5) == paid
    assert rewards_of(env, 5) == paid  # nothing is owed from the episode before


def test_a_sparse_reward_is_the_return_at_the_end():
    env = SparseReward(Scripted([1, -2, 4], terminates=False))
    assert rewards_of(env, 3) == [0, 0, 3]
    assert rewards_of(env, 3) == [0, 0, 3]


def test_a_reward_is_scaled_then_shifted():
    assert rewards_of(RewardScale(Scripted([1, 2]), 10, -1), 2) == [9, 19]
    env = RewardScale(RewardScale(Scripted([1, 2]), 1, -1), 10)
    assert rewards_of(env, 2) == [0, 10]


@pytest.mark.parametrize(
    ("steps", "default", "expected"),
    [
        (0, 0, [1, 2, 3, 4]),
        (1, 0, [0, 1, 2, 3]),
        (2, -5, [-5, -5, 1, 2]),
        (7, [0.5], [0.5, 0.5, 0.5, 0.5]),
    ],
)
def test_actions_are_executed_late(steps, default, expected):
    env = ActionDelay(Scripted([0] * 9), steps, default)
    assert executed(env, [1, 2, 3, 4]) == expected
    assert executed(env, [1, 2, 3, 4]) == expected  # nothing is left under way


def test_two_delays_add_up():
    env = ActionDelay(ActionDelay(Scripted([0] * 9), 1), 2, 4)
    assert executed(env, [1, 2, 3, 5]) == [0, 4, 4, 1]


def test_a_sticky_action_repeats_what_was_executed():
    assert executed(StickyAction(Scripted([0] * 9), 1.0), [1, 2, 3]) == [1, 1, 1]
    assert executed(StickyAction(Scripted([0] * 9), 0.0), [1, 2, 3]) == [1, 2, 3]
    commands = [float(c) / 100 for c in range(400)]
    found = executed(StickyAction(Scripted([0] * 401), 0.5), commands)
    for now, before, told in zip(found[1:], found, commands[1:], strict=False):
        assert now in (before, pytest.approx(told))
    assert found[0] == 0


def test_executed_actions_stay_within_the_box():
    found = executed(ActionNoise(Scripted([0] * 500), 4.0), [0.0] * 400)
    assert max(found) == 5 and min(found) == -5


def test_observations_stay_within_the_box():
    env = ObservationNoise(Scripted([0] * 500), 2.0)
    env.reset(seed=0)
    found = [env.step(np.zeros(1))[0] for _ in range(400)]
    assert max(found) == 1 and min(found) == -1
    assert all(env.observation_space.contains(obs) for obs in found)


def test_relative_noise_touches_only_rewards_other_than_zero():
    rewards = rewards_of(RewardNoise(Scripted([0, 5, 0, -5]), 0.0, relative_std=0.1), 4)
    assert rewards[0] == rewards[2] == 0
    assert rewards[1] != 5 and rewards[3] != -5


def test_a_std_for_each_entry_leaves_the_entries_with_zero_alone():
    env = ObservationNoise(WalkVectorEnv(), [0.0, 0.3])
    obs, info = env.reset(seed=0)
    np.testing.assert_array_equal(obs[:, 0], info["clean_obs"][:, 0])
    assert (obs[:, 1] != info["clean_obs"][:, 1]).all()


# ------------------------------------------------------------------- what stays as is
# A seed of the environment, a seed of the actions, and how many of them.
CASES = st.tuples(st.integers(0, 2**63), st.integers(0, 2**32), st.integers(1, 20))


def untouched(kind: str, case: tuple[int, int, int], mode: str) -> None:
    """All that the corruption is not about equals the bare environment's."""
    seed, script_seed, steps = case
    script = np.random.default_rng(script_seed).uniform(-1, 1, (steps, ROWS, 2))
    field = KINDS[kind].corruption.field
    env = KINDS[kind](WalkVectorEnv(autoreset_mode=mode))
    bare = WalkVectorEnv(autoreset_mode=mode)
    obs, info = env.reset(seed=seed)
    clean_obs, clean_info = bare.reset(seed=seed)
    compare(field, obs, clean_obs, info, clean_info)
    for action in script.astype(np.float32):
        given = action.copy()
        obs, reward, *ends, info = env.step(action)
        np.testing.assert_array_equal(action, given)  # not written to
        told = info["executed_action"] if field == "action" else action
        clean_obs, clean_reward, *clean_ends, clean_info = bare.step(told)
        np.testing.assert_array_equal(ends, clean_ends)
        if field != "reward":
            np.testing.assert_array_equal(reward, clean_reward)
        else:
            np.testing.assert_array_equal(info["clean_reward"], clean_reward)
        compare(field, obs, clean_obs, info, clean_info)


def compare(field: str, obs: Any, clean_obs: Any, info: Any, clean_info: Any) -> None:
    if field == "obs":
        np.testing.assert_array_equal(info["clean_obs"], clean_obs)
        clean_info.pop("final_obs", None)
    else:
        np.testing.assert_array_equal(obs, clean_obs)
    for name, value in clean_info.items():
        np.testing.assert_equal(info[name], value, err_msg=name)


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_its_field_is_touched(kind: str, mode: str):
    @settings(max_examples=20)
    @given(CASES)
    def check(case: tuple[int, int, int]) -> None:
        untouched(kind, case, mode)

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_a_corruption_writes_to_nothing_it_is_given(kind: str):
    corruption = KINDS[kind].corruption
    space = {"obs": WalkEnv().observation_space, "action": WalkEnv().action_space}.get(
        corruption.field
    )
    shape = () if space is None else (2,)
    noise = corruption.noise_shape(space)
    value = np.linspace(-1, 1, 4 * int(np.prod(shape))).reshape(4, *shape)
    memory = corruption.start(4, space)
    moment = Moment(
        np.arange(4),
        np.array([True, False] * 2),
        np.ones((4, *(noise if noise is not None else (0,)))),
        memory,
        space,
    )
    for array in (value, moment.step, moment.last, moment.noise, *memory.values()):
        array.flags.writeable = False
    changed, after = corruption.apply(value, moment)
    assert changed is not value
    assert set(after) == set(memory)
    again, _ = corruption.apply(value, moment)
    np.testing.assert_array_equal(changed, again)


@dataclass(frozen=True)
class FlippedAtTheEnd(Corruption):
    """Actions that change sign where an episode is known to end: nowhere."""

    field = "action"
    remembers: bool = False

    def start(self, num_rows, space):
        return {"nothing": np.zeros(num_rows)} if self.remembers else {}

    def apply(self, value, moment):
        return np.where(moment.last[:, None], -value, value), dict(moment.memory)


@pytest.mark.parametrize("remembers", [False, True], ids=["at once", "in turn"])
def test_nobody_knows_before_a_step_that_it_is_the_last_in_stored_data_either(
    remembers: bool,
):
    actions, space = np.ones((4, 1)), spaces.Box(-1, 1, (1,), np.float64)
    corruption = FlippedAtTheEnd(remembers)
    changed = corrupted(corruption, actions, [2, 2], space=space)
    np.testing.assert_array_equal(changed, actions)


def test_a_policy_may_reuse_its_action_buffer():
    for wrapper in (ActionDelay, StickyAction):
        env: Any = wrapper(Scripted([0] * 9), 1)
        env.reset(seed=0)
        buffer = np.zeros(1, np.float32)
        for command in (1, 2, 3):
            buffer[:] = command
            env.step(buffer)
        expected = [0, 1, 2] if wrapper is ActionDelay else [1, 1, 1]
        assert env.unwrapped.executed == expected


def test_the_environments_own_generator_is_not_drawn_from():
    env = gym.make("CartPole-v1")
    env = StickyAction(ObservationNoise(RewardNoise(env, 0.3), 0.1), 0.4)
    env.reset(seed=3)
    before = env.np_random.bit_generator.state
    for _ in range(5):
        env.step(0)
    assert env.np_random.bit_generator.state == before


def test_info_tells_the_clean_reward_of_the_environment_itself():
    env = RewardScale(RewardNoise(Scripted([3, 4]), 1.0), 2)
    env.reset(seed=0)
    assert [env.step(np.zeros(1))[4]["clean_reward"] for _ in range(2)] == [3, 4]


def test_info_tells_the_action_that_the_environment_itself_executed():
    env = ActionDelay(ActionNoise(Scripted([0] * 9), 0.3), 1)
    env.reset(seed=0)
    for command in (1.0, 2.0, 3.0):
        info = env.step(np.array([command], np.float32))[4]
        assert info["executed_action"] == np.float32(env.unwrapped.executed[-1])


# ---------------------------------------------------------------------------- refusals
BAD = [
    (lambda e: RewardNoise(e, -1), r"std must be .* 0 or more, got -1"),
    (lambda e: RewardNoise(e, float("nan")), "std must be a finite number .*nan"),
    (lambda e: RewardNoise(e, 1, relative_std=-0.1), "relative_std must be .*-0.1"),
    (lambda e: RewardNoise(e, 1, seed=-3), "seed must be a whole number .* got -3"),
    (lambda e: RewardNoise(e, 1, seed=0.5), "seed must be a whole number .* got 0.5"),
    (lambda e: RewardScale(e, float("inf")), "scale must be finite, got inf"),
    (lambda e: RewardDelay(e, -1), "steps must be a whole number of 0 or more, got -1"),
    (lambda e: RewardDelay(e, 1.5), "steps must be a whole number .* got 1.5"),
    (lambda e: ActionDelay(e, 2, default=9), r"default action 9 .* not in .*default="),
    (lambda e: ActionDelay(e, 2, default=[0, 0, 0]), "pass default="),
    (lambda e: StickyAction(e, 1.5), "probability must be at most 1, got 1.5"),
    (lambda e: StickyAction(e, -0.5), "probability must be .* got -0.5"),
    (lambda e: ObservationNoise(e, [1, 2, 3]), "got 3 standard deviations .*one for"),
    (lambda e: ActionNoise(e, [1, -2]), "std must be .* got -2"),
]


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize(("make", "words"), BAD)
def test_bad_arguments_are_refused_at_once(make, words, vector):
    with pytest.raises(ValueError, match=words):
        make(WalkVectorEnv() if vector else WalkEnv())


@pytest.mark.parametrize("wrapper", [ObservationNoise, ActionNoise])
def test_spaces_without_floats_are_refused(wrapper):
    env = gym.make("FrozenLake-v1")
    with pytest.raises(ValueError, match=r"needs a Box of floats, got Discrete"):
        wrapper(env, 0.1)


def test_actions_in_a_dictionary_are_refused():
    env = WalkEnv()
    env.action_space = spaces.Dict({"a": spaces.Discrete(2)})  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="one array or number"):
        StickyAction(env, 0.1)


@pytest.mark.parametrize("what", [None, 3, "CartPole-v1"])
def test_only_environments_can_be_wrapped(what):
    with pytest.raises(TypeError, match="RewardNoise wraps a gymnasium Env or Vector"):
        RewardNoise(what, 0.1)


@pytest.mark.parametrize("kind", of_field("action"))
def test_a_bad_action_is_refused_before_it_is_remembered(kind: str):
    env, twin = KINDS[kind](WalkVectorEnv()), KINDS[kind](WalkVectorEnv())
    for each in (env, twin):
        each.reset(seed=0)
    for bad, words in (
        (ZEROS * np.nan, "must be finite, got nan"),
        (ZEROS[:, :1], r"must have shape \(2,\), got \(1,\)"),
    ):
        try:
            env.step(bad)
            told = "was taken"
        except ValueError as reason:
            told = str(reason)
        assert re.search(words, told), (
            f"a bad action {told} by {kind}; let its apply begin with "
            "`value = _checked(...)` of suite/wrappers/action.py"
        )
    for _ in range(4):
        ours, theirs = env.step(ZEROS + 0.5), twin.step(ZEROS + 0.5)
        np.testing.assert_array_equal(ours[0], theirs[0])


# --------------------------------------------------------- refusals of what is written
@dataclass(frozen=True)
class Halved(Corruption):
    """r / 2, or whatever else is said here."""

    share: float = 0.5
    found: Any = None
    field = "reward"

    def apply(self, value: np.ndarray, moment: Moment) -> Any:
        return (value * self.share, {}) if self.found is None else self.found


def halving(init: Any) -> Any:
    """A wrapper with that constructor."""
    return type("Halving", (CorruptionWrapper,), {"__init__": init})


def install(self: Any, env: Any, corruption: Any, seed: int | None = None) -> None:
    CorruptionWrapper.__init__(self, env, corruption, seed)


def test_a_corruption_that_is_no_frozen_dataclass_is_refused():
    class Plain(Corruption):
        limit: float
        field = "reward"

        def apply(self, value: np.ndarray, moment: Moment) -> Any:
            return value, {}

    class PlainStored(StoredCorruption):
        share: float

        def apply(self, data: Any, plan: Any, noise: Any) -> Any:
            return data

    class Missed(Halved):
        more: float = 1.0

    for each in (Plain, dataclass(Plain), PlainStored, Missed):
        with pytest.raises(TypeError, match=r"write @dataclass\(frozen=True\) above"):
            each(1.0)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("named", ["rewards", None])
def test_a_corruption_of_an_unknown_field_is_refused(named):
    made = dataclass(frozen=True)(type("Made", (Halved,), {"field": named}))
    with pytest.raises(TypeError, match=f"of obs, action, reward, .* got {named!r}"):
        made()


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (np.zeros(3), r"return the values \(3,\) and a dict .* got ndarray \(3,\)"),
        ((np.zeros(3), None), r"got \(ndarray \(3,\), NoneType\)"),
        ((0.0, {}), r"got \(float, dict\)"),
        ((np.zeros(3), {"owed": np.zeros(3)}), "remembers owed, which its start does"),
    ],
)
def test_what_apply_must_return_is_said(found, words):
    def init(self, env, share=0.5, found=found):
        install(self, env, Halved(share, found))

    env = halving(init)(WalkVectorEnv())
    env.reset(seed=0)
    with pytest.raises(ValueError, match=words):
        env.step(ZEROS)


def takes_nothing(self, env):
    install(self, env, Halved())


def takes_another_name(self, env, part=0.5, found=None):
    install(self, env, Halved(part, found))


def keeps_its_seed(self, env, share=0.5, found=None, seed=0):
    install(self, env, Halved(share, found))


def takes_no_seed(self, env, share=0.5, found=None):
    install(self, env, Halved(share, found), seed=3)


@pytest.mark.parametrize(
    ("init", "words"),
    [
        (takes_nothing, "Halving takes nothing, but a spec would record found, share;"),
        (takes_another_name, "takes found, part, but .* as the fields of Halved"),
        (keeps_its_seed, "hand on a seed if it takes one"),
        (takes_no_seed, "would record found, seed, share"),
    ],
)
def test_a_wrapper_that_a_spec_would_not_rebuild_is_refused(init, words):
    for env in (WalkEnv(), WalkVectorEnv()):
        with pytest.raises(TypeError, match=words):
            halving(init)(env)


# -------------------------------------------------------------------------- the noise
# With n draws the mean has the standard error std / sqrt(n), the standard deviation
# std / sqrt(2 n). At n = 40,000 and 4.5 errors (a false alarm in 150,000 runs), an
# offset of 0.03 std or a std that is 3 % off is found in 93 % or more of cases: 6.0
# and 8.5 errors against 4.5.
DRAWS, ALARM = 40_000, 4.5


def looks_normal(draws: np.ndarray, std: float) -> bool:
    z = draws.ravel() / std
    mean_off = abs(z.mean()) * np.sqrt(z.size)
    std_off = abs(z.std() - 1) * np.sqrt(2 * z.size)
    # A normal variable is within one std in 68.27 % of cases.
    inside = (np.abs(z) < 1).mean() - 0.682689
    inside_off = abs(inside) / np.sqrt(0.682689 * 0.317311 / z.size)
    return bool(max(mean_off, std_off, inside_off) < ALARM)


def reward_noise(kwargs: dict[str, Any], rows: int = 100, steps: int = 400) -> Any:
    env = RewardNoise(WalkVectorEnv(rows, limit=steps, goal=np.inf), **kwargs)
    env.reset(seed=0)
    results = [env.step(np.zeros((rows, 2), np.float32)) for _ in range(steps)]
    clean = np.stack([each[4]["clean_reward"] for each in results])
    return np.stack([each[1] for each in results]) - clean, clean


def test_the_alarm_tells_wrong_noise_from_right():
    draws = np.random.default_rng(0).standard_normal(DRAWS)
    assert looks_normal(draws, 1.0)
    for wrong in (draws + 0.04, draws * 1.04, draws / 1.04, np.sign(draws)):
        assert not looks_normal(wrong, 1.0)
    uniform = np.random.default_rng(0).uniform(-(3**0.5), 3**0.5, DRAWS)
    assert not looks_normal(uniform, 1.0)


def test_reward_noise_is_normal_with_its_std():
    noise, _ = reward_noise({"std": 0.7})
    assert noise.size == DRAWS and looks_normal(noise, 0.7)


def test_relative_noise_grows_with_the_reward():
    noise, clean = reward_noise({"std": 0.2, "relative_std": 0.5})
    assert looks_normal(noise / (0.2 + 0.5 * np.abs(clean)), 1.0)
    assert not looks_normal(noise, 0.2 + 0.5 * np.abs(clean).mean())


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """In standard errors."""
    return abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) * np.sqrt(a.size)


def test_noise_of_neighbouring_steps_rows_and_entries_is_independent():
    noise, _ = reward_noise({"std": 1.0})
    assert correlation(noise[1:], noise[:-1]) < ALARM
    assert correlation(noise[256:], noise[:-256]) < ALARM  # one chunk later
    assert correlation(noise[:, 1:], noise[:, :-1]) < ALARM
    env = ObservationNoise(WalkVectorEnv(DRAWS // 2), 1.0)
    obs, info = env.reset(seed=0)
    entries = (obs - info["clean_obs"]).T
    assert looks_normal(entries, 1.0)
    assert correlation(entries[0], entries[1]) < ALARM


def first_noise(env: Any, seed: int | None, steps: int = 3) -> list[float]:
    env.reset(seed=seed)
    results = [env.step(np.zeros(2, np.float32)) for _ in range(steps)]
    return [each[1] - each[4]["clean_reward"] for each in results]


def test_noise_goes_by_seed_episode_and_row_seed():
    env = RewardNoise(WalkEnv(), 1.0, seed=1)
    first, second, third = first_noise(env, 0), first_noise(env, None), None
    again = first_noise(RewardNoise(WalkEnv(), 1.0, seed=1), 0)
    assert again == first
    assert first_noise(env, 0) == first and first_noise(env, None) == second
    third = first_noise(env, 1)
    other = first_noise(RewardNoise(WalkEnv(), 1.0, seed=2), 0)
    values = {x for each in (first, second, third, other) for x in each}
    assert len(values) == 12


def test_two_wrappers_of_a_kind_draw_differently():
    once = np.array(first_noise(RewardNoise(WalkEnv(), 1.0), 0))
    twice = np.array(first_noise(RewardNoise(RewardNoise(WalkEnv(), 1.0), 1.0), 0))
    assert (np.abs(twice - 2 * once) > 1e-6).all()


def test_the_layer_counts_only_wrappers_of_the_same_kind():
    once = first_noise(RewardNoise(WalkEnv(), 1.0), 0)
    inside: Any = RewardScale(ObservationNoise(gym.make("Walk-v0"), 0.1), 1.0)
    assert first_noise(RewardNoise(inside, 1.0), 0) == once


def test_a_wrapper_around_wrapped_rows_draws_differently_from_them():
    # The same noise twice would be noise of twice the size.
    row = lambda: RewardNoise(WalkEnv(), 1.0)  # noqa: E731
    env = RewardNoise(gym.vector.SyncVectorEnv([row]), 1.0)
    env.reset(seed=0)
    _, reward, *_, info = env.step(np.zeros((1, 2), np.float32))
    inner = first_noise(row(), 0, 1)[0]
    assert abs(reward[0] - info["clean_reward"][0] - 2 * inner) > 1e-6


def test_the_stream_is_philox_at_the_episodes_address():
    # Row seed 7, second episode since: words 3 and 2 of the counter; 256 steps a chunk.
    # 0x9C053E4A is the CRC-32 of "NoisyReward".
    env = RewardNoise(WalkEnv(limit=400, goal=np.inf), 1.0, seed=9)
    first_noise(env, 7)
    noise = first_noise(env, None, 400)
    key = np.random.SeedSequence([9, 0x9C053E4A, 0]).generate_state(2, np.uint64)
    chunks = [
        np.random.Generator(
            np.random.Philox(counter=np.array([0, chunk, 1, 7], np.uint64), key=key)
        ).standard_normal(256)
        for chunk in range(2)
    ]
    np.testing.assert_allclose(noise, np.concatenate(chunks)[:400], atol=1e-12)


def test_an_environment_never_seeded_gets_noise_of_its_own():
    draws = [first_noise(RewardNoise(WalkEnv(), 1.0), None) for _ in range(2)]
    assert draws[0] != draws[1]
    env = RewardNoise(WalkVectorEnv(), 1.0)
    env.reset()
    _, reward, *_, info = env.step(ZEROS)
    assert len(set(reward - info["clean_reward"])) == ROWS


def test_a_repeat_happens_with_its_probability():
    rows, steps = 400, 100
    env = StickyAction(WalkVectorEnv(rows, limit=steps + 1, goal=np.inf), 0.3)
    env.reset(seed=0)
    commands = np.random.default_rng(0).uniform(-1, 1, (steps, rows, 2))
    done = np.stack([env.step(each)[4]["executed_action"] for each in commands])
    repeated = (done != commands).any(axis=2)
    assert not repeated[0].any()
    share = repeated[1:].mean()
    assert abs(share - 0.3) / np.sqrt(0.21 / repeated[1:].size) < ALARM
    np.testing.assert_array_equal(done[1:][repeated[1:]], done[:-1][repeated[1:]])


@pytest.mark.parametrize(
    "corruption",
    [NoisyReward(0.1), NoisyAction((0.1, 0.2)), NoisyObservation([1, 2])],
)
def test_a_corruption_is_a_value(corruption):
    assert corruption == replace(corruption) and hash(corruption) == hash(
        replace(corruption)
    )


def test_a_default_action_may_be_an_array():
    assert DelayedAction(1, np.ones(2)) == DelayedAction(1, (1.0, 1.0))
