"""A dataset, a replay of it, and the same in another process: the same bits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from exported import Outwards
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st
from kinds import KINDS, STORED
from stored import dataset, numbered
from walk_env import WalkEnv, WalkVectorEnv

import suite.wrappers as w
from suite.data.recording import recorded
from suite.envs.replay import ReplayEnv
from suite.transitions import BY_TRANSITION, Dataset

ALL = {**{name: (k.wrapper, k.kwargs) for name, k in KINDS.items()}, **STORED}
ALL["observation noise"] = (w.ObservationNoise, {"std": [0.1, 0.4, 0.2], "seed": 3})
DATA = dataset()
MANY = dataset([30, 9, 20, 70] * 10, seed=1)


def wrapped(names: Any, what: Any) -> Any:
    for wrapper, kwargs in (ALL[name] for name in names):
        what = wrapper(what, **kwargs)
    return what


def covering_pairs() -> list[tuple[str, str]]:
    """Two seeded rounds in which every kind is once inside and once outside."""
    names, rng = list(ALL), np.random.default_rng(1)
    pairs = set()
    for _ in range(2):
        order = rng.permutation(len(names))
        shifted = np.roll(order, rng.integers(1, len(names)))
        pairs |= {(names[a], names[b]) for a, b in zip(order, shifted, strict=True)}
    return sorted(pairs)


def assert_same(one: Dataset, other: Dataset) -> None:
    for name in (*BY_TRANSITION, "lengths", "episode_ids"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    assert one.sha256 == other.sha256


# ------------------------------------------------------------------- stream and bulk
@pytest.mark.parametrize("kind", ALL)
def test_a_replay_recorded_through_a_wrapper_is_the_dataset_wrapped(kind: str):
    replay = wrapped([kind], ReplayEnv(DATA))
    whole = wrapped([kind], DATA)
    streamed = recorded(replay)
    assert_same(streamed, whole)
    assert_same(replay.dataset, whole)
    assert streamed.card["corruptions"] == whole.card["corruptions"]
    assert whole.sha256 != DATA.sha256


@pytest.mark.parametrize("pair", covering_pairs(), ids=" in ".join)
def test_two_wrappers_agree_too(pair: tuple[str, str]):
    assert_same(recorded(wrapped(pair, ReplayEnv(DATA))), wrapped(pair, DATA))


def test_a_stack_of_every_wrapper_agrees():
    gone = ("drop best", "drop worst", "drop random", "drop size-matched", "truncate")
    names = [name for name in ALL if name not in gone]
    names = [*names, "drop transitions", "drop best", "reward noise", *KINDS]
    assert_same(recorded(wrapped(names, ReplayEnv(DATA))), wrapped(names, DATA))


@pytest.mark.parametrize("kind", ALL)
def test_wrapping_in_two_sessions_is_wrapping_twice(kind: str):
    # The second wrapper of a kind must not repeat the noise of the first.
    once = wrapped(["drop transitions", kind], MANY)
    twice = wrapped(["drop transitions", kind, kind], MANY)
    assert_same(recorded(wrapped([kind], ReplayEnv(once))), twice)


def hashes() -> dict[str, str]:
    stacks = [(name,) for name in ALL] + covering_pairs()
    return {" in ".join(stack): wrapped(stack, DATA).sha256 for stack in stacks}


def test_another_process_makes_the_same_hashes():
    code = "import json, test_stored_data as t; print(json.dumps(t.hashes()))"
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=here,
        env={"PYTHONPATH": ":".join(map(str, (here, here.parent, *here.parents[1:2])))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == hashes()


def test_noise_goes_by_the_episodes_ids_whoever_else_is_there():
    kept = np.array([False, True, False, True, True, False, True, True])
    some = DATA.select(kept)
    # Those that need to know all the data know other data, so that they may differ.
    local = [*KINDS, "truncate", "drop transitions", "duplicate transitions"]
    for kind in [*local, "dynamics noise", "random rewards", "adversarial rewards"]:
        whole, part = wrapped([kind], DATA), wrapped([kind], some)
        left = np.isin(whole.episode_ids, part.episode_ids)
        assert_same(whole.select(left), part)


@pytest.mark.parametrize("kind", ALL)
def test_the_data_that_are_wrapped_stay_as_they_were(kind: str):
    before = {name: getattr(DATA, name).copy() for name in BY_TRANSITION}
    wrapped([kind, "duplicate transitions"], DATA)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(DATA, name), array)


# ------------------------------------------------------------------------ the replay
@pytest.mark.filterwarnings("ignore:.*infinity. This is probably too")
@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
@pytest.mark.filterwarnings("ignore:.*we recommend using a symmetric and normalized")
@pytest.mark.parametrize(
    "kind", [None, "drop best", "drop transitions", "reward noise"]
)
def test_gymnasiums_checker_accepts_a_replay(kind):
    check_env(wrapped([kind] if kind else [], ReplayEnv(DATA)), skip_render_check=True)


def test_a_replay_streams_the_stored_transitions_and_tells_them():
    data = numbered((3, 2))
    env: Any = ReplayEnv(data)
    for episode, length in enumerate((3, 2)):
        obs, info = env.reset()
        assert obs.tolist() == [episode, 0]
        assert info == {"episode_id": episode, "episode_length": length}
        for step in range(length):
            obs, reward, terminated, truncated, info = env.step(env.action_space.low)
            assert obs.tolist() == [episode, step + 1]
            assert reward == 1000 * episode + step
            is_last = step == length - 1
            assert (terminated, truncated) == (
                is_last and episode == 0,
                is_last and episode == 1,
            )
            assert (info["episode_id"], info["step"]) == (episode, step)
            logged = np.array([episode, step]) / 1000
            np.testing.assert_allclose(info["action"], logged, rtol=1e-6)
            transition = info["transition"]
            assert transition["obs"].tolist() == [episode, step]
            assert transition["next_obs"].tolist() == [episode, step + 1]
            assert transition["action"].tolist() == info["action"].tolist()
            assert transition["reward"] == reward
            assert (transition["terminated"], transition["truncated"]) == (
                terminated,
                truncated,
            )
    assert env.reset()[1]["episode_id"] == 0  # round and round


def test_a_replay_goes_where_it_is_told_and_on_from_there():
    env = w.DropBestEpisodes(ReplayEnv(dataset((2, 2, 2, 2), ids=[7, 3, 9, 4])), 25)
    (gone,) = {7, 3, 9, 4} - set(env.episode_ids)
    left = [each for each in (7, 3, 9, 4) if each != gone]
    order = [env.reset()[1]["episode_id"] for _ in range(4)]
    assert order == [*left, left[0]]
    assert env.reset(options={"episode_id": left[1]})[1]["episode_id"] == left[1]
    assert env.reset()[1]["episode_id"] == left[2]
    assert env.reset(seed=5)[1]["episode_id"] == left[0]
    with pytest.raises(ValueError, match=rf"no episode {gone} among the 3"):
        env.reset(options={"episode_id": gone})


def test_a_replay_asks_for_a_reset_before_the_first_and_after_each_episode():
    env = ReplayEnv(dataset((2,)))
    with pytest.raises(gym.error.ResetNeeded, match=r"call env\.reset\(\) first"):
        env.step(None)
    env.reset()
    for _ in range(2):
        env.step(None)
    with pytest.raises(gym.error.ResetNeeded, match="ended after 2 steps"):
        env.step(None)


def test_what_a_replay_shows_cannot_be_spoilt():
    env = ReplayEnv(DATA)
    obs, _ = env.reset()
    obs += 1  # a copy
    *_, info = env.step(None)
    with pytest.raises(ValueError, match="read-only"):
        info["transition"]["obs"] += 1
    np.testing.assert_array_equal(env.reset(seed=0)[0], DATA.obs[0])


@pytest.mark.parametrize("kind", [None, *ALL])
def test_a_replay_goes_back_exactly(kind):
    env = wrapped(["reward noise", kind] if kind else [], ReplayEnv(DATA))
    env.reset()
    env.reset()
    for reset in (False, True):
        if reset:
            env.reset()
            env.step(None)
        moment = env.snapshot()
        first = after(env)
        assert_equal(first, [env.restore(moment), *after(env)][1:])
        fresh = wrapped(["reward noise", kind] if kind else [], ReplayEnv(DATA))
        fresh.restore(moment)
        assert_equal(first, after(fresh))


def after(env: Any) -> list[Any]:
    """The rest of an episode, and the beginning of the next."""
    seen, done = [], False
    while not done:
        try:
            obs, reward, terminated, truncated, info = env.step(None)
        except gym.error.ResetNeeded:  # the snapshot was of an episode's end
            break
        seen.append((obs, reward, terminated, truncated, info["transition"]["obs"]))
        done = terminated or truncated
    return [*seen, (env.reset()[0],)]


def assert_equal(one: list[Any], other: list[Any]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_a_halted_replay_stands_still():
    env = ReplayEnv(DATA)
    obs, _ = env.reset()
    env.halt(np.arange(1))
    again, reward, _, truncated, _ = env.step(None)
    assert reward == 0 and truncated
    np.testing.assert_array_equal(obs, again)


def test_a_snapshot_of_another_environment_is_refused():
    env, walk = ReplayEnv(DATA), WalkEnv()
    env.reset()
    walk.reset()
    with pytest.raises(ValueError, match="a replay's episode, step and next of one"):
        env.restore(walk.snapshot())
    with pytest.raises(ValueError, match="the same stack of wrappers"):
        w.RewardNoise(ReplayEnv(DATA), 1.0).restore(env.snapshot())


def test_wrappers_of_gymnasium_are_believed_outside_and_named_inside():
    double = gym.wrappers.TransformReward(
        ReplayEnv(DATA), lambda reward: 2 * float(reward)
    )
    np.testing.assert_array_equal(recorded(double).rewards, 2 * DATA.rewards)
    shifted = gym.wrappers.TransformObservation(
        ReplayEnv(DATA), lambda obs: obs + 1, DATA.observation_space
    )
    np.testing.assert_array_equal(recorded(shifted).obs, DATA.obs + 1)
    np.testing.assert_array_equal(recorded(shifted).next_obs, DATA.next_obs + 1)
    np.testing.assert_array_equal(recorded(shifted).actions, DATA.actions)
    with pytest.raises(ValueError, match="TransformReward lies between a replay and"):
        w.RewardNoise(double, 0.1)
    limited = gym.wrappers.TimeLimit(ReplayEnv(DATA), 5)
    assert recorded(limited).lengths.max() == 5
    with pytest.raises(ValueError, match="there is no ReplayEnv to record"):
        recorded(WalkEnv())


AROUND = {
    "reward": lambda env: gym.wrappers.TransformReward(env, float),
    "observation": lambda env: gym.wrappers.TransformObservation(
        env, np.array, env.observation_space
    ),
    "order": gym.wrappers.OrderEnforcing,
}


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("kind", ["drop transitions", "random observations"])
def test_wrappers_that_leave_observations_alone_leave_the_stored_obs(around, kind):
    # No next_obs becomes the obs of another transition than the one it leads to.
    replay = AROUND[around](wrapped([kind], ReplayEnv(DATA)))
    assert not wrapped([kind], DATA).is_consistent
    assert_same(recorded(replay), wrapped([kind], DATA))


@pytest.mark.parametrize("kind", ["drop transitions", "random observations"])
def test_wrappers_that_change_observations_that_do_not_follow_are_refused(kind: str):
    shifted = gym.wrappers.TransformObservation(
        wrapped([kind], ReplayEnv(DATA)), lambda obs: obs + 1, DATA.observation_space
    )
    with pytest.raises(ValueError, match="in episode 2 an obs is not the next_obs"):
        recorded(shifted)


# ------------------------------------------------------------------------- who may be
@pytest.mark.parametrize("kind", STORED)
def test_what_needs_stored_data_says_so(kind: str):
    for env in (WalkEnv(), WalkVectorEnv()):
        with pytest.raises(TypeError, match="changes stored data: give it a"):
            wrapped([kind], env)
    with pytest.raises(TypeError, match=r"or a suite\.datasets\.Dataset, got 3"):
        wrapped([kind], 3)


def test_only_datasets_are_replayed():
    with pytest.raises(TypeError, match=r"ReplayEnv replays a .*Dataset, got \[\]"):
        ReplayEnv([])  # pyright: ignore[reportArgumentType]


def test_what_has_no_dataset_yet_waits_for_one():
    later = w.RewardNoise(w.LATER, std=0.3, seed=4)
    assert_same(later(DATA), w.RewardNoise(DATA, std=0.3, seed=4))


# -------------------------------------------------------------------------- the card
def test_the_card_tells_what_was_done_and_what_it_did():
    data = dataset(id="mine", made="by hand", returns={"mean": 1.0})
    noisy = w.RewardNoise(data, std=0.5, seed=2)
    done = w.DropBestEpisodes(noisy, percent=30)
    card = json.loads(json.dumps(done.card))
    assert card["parent"] == {"id": "mine", "sha256": data.sha256}
    assert not {"id", "returns"} & set(card) and card["made"] == "by hand"
    again = recorded(w.RewardNoise(ReplayEnv(data), std=0.5)).card
    assert "returns" not in again and again["parent"] == card["parent"]
    noise, drop = card["corruptions"]
    assert (noise["kind"], noise["seed"], noise["layer"]) == ("RewardNoise", 2, 0)
    assert noise["params"] == {"std": 0.5, "relative_std": 0.0}
    assert noise["affected"] == {"rewards": len(data)}
    assert noise["removed_episodes"] == [] and noise["removed_transitions"] == 0
    best = np.argsort(-noisy.returns)[:2]
    assert drop["params"] == {"percent": 30.0} and drop["seed"] is None
    assert drop["removed_episodes"] == sorted(data.episode_ids[best].tolist())
    assert drop["removed_transitions"] == data.lengths[best].sum()
    assert drop["found"] == {"rank_on": "corrupted rewards"} and drop["affected"] == {}
    quantiles = np.quantile(noisy.returns, [0, 0.25, 0.5, 0.75, 1]).tolist()
    assert drop["return_quantiles"]["before"] == quantiles
    assert drop["return_quantiles"]["after"][-1] < quantiles[-1]
    clean = w.DropBestEpisodes(data, percent=30).card["corruptions"][0]
    assert clean["found"] == {"rank_on": "clean rewards"}


@pytest.mark.parametrize("cut", ["truncate", "drop transitions"])
def test_a_card_tells_that_episodes_are_ranked_after_some_were_cut(cut: str):
    shorter = wrapped([cut], DATA)
    (told,) = shorter.card["corruptions"]
    kept = np.isin(DATA.episode_ids, shorter.episode_ids)
    others = int((DATA.returns[kept] != shorter.returns).sum())
    assert told["other_returns"] == others > 0
    drop = w.DropBestEpisodes(shorter, percent=30).card["corruptions"][1]
    assert drop["found"] == {"rank_on": "rewards of other transitions"}
    assert drop["other_returns"] == 0


@pytest.mark.parametrize("kind", ALL)
def test_a_card_is_json_and_rebuilds_what_it_tells(kind: str):
    done = wrapped([kind], DATA)
    (entry,) = json.loads(json.dumps(done.card))["corruptions"]
    module, _, name = entry["call"].partition(":")
    wrapper = getattr(sys.modules[module], name)
    kwargs = {**entry["params"]}
    if entry["seed"] is not None:
        kwargs["seed"] = entry["seed"]
    if "attack" in kwargs:
        kwargs["attack"] = Outwards()
    assert wrapper(DATA, **kwargs).sha256 == done.sha256


# --------------------------------------------------------------------- what they do
FIELD = {"reward": {"rewards"}, "obs": {"obs", "next_obs"}, "action": {"actions"}}
TOUCHED = {
    **{name: FIELD[kind.corruption.field] for name, kind in KINDS.items()},
    "relative reward noise": {"rewards"},
    "dynamics noise": {"next_obs"},
    "random observations": {"obs"},
    "random actions": {"actions"},
    "random dynamics": {"next_obs"},
    "random rewards": {"rewards"},
    "adversarial rewards": {"rewards"},
    "adversarial observations": {"obs"},
    "adversarial actions": {"actions"},
    "adversarial dynamics": {"next_obs"},
}


@pytest.mark.parametrize("kind", TOUCHED)
def test_a_wrapper_touches_its_arrays_and_no_other(kind: str):
    done = wrapped([kind], DATA)
    changed = {
        name
        for name in BY_TRANSITION
        if not np.array_equal(getattr(done, name), getattr(DATA, name))
    }
    assert changed == TOUCHED[kind]
    assert set(done.card["corruptions"][0]["affected"]) == TOUCHED[kind]


lengths_of_some = st.lists(st.integers(1, 9), min_size=2, max_size=12)


@given(lengths_of_some, st.floats(0, 99), st.integers(0, 9))
def test_dropping_episodes_keeps_the_others_whole(lengths, percent, seed):
    data = dataset(lengths, seed=seed)
    count = int(percent * len(lengths) // 100)
    if percent and not count:
        with pytest.raises(ValueError, match="less than one: nothing would be left"):
            w.DropBestEpisodes(data, percent)
        return
    by_return = np.argsort(data.returns, kind="stable")
    best, worst = by_return[::-1][:count], by_return[:count]
    for wrapper, gone in ((w.DropBestEpisodes, best), (w.DropWorstEpisodes, worst)):
        kept = np.isin(np.arange(len(lengths)), gone, invert=True)
        assert_same(wrapper(data, percent), data.select(kept))
    some = w.DropRandomEpisodes(data, percent, seed)
    assert some.num_episodes == len(lengths) - count
    assert_same(some, data.select(np.isin(data.episode_ids, some.episode_ids)))


@pytest.mark.parametrize(
    ("percent", "episodes", "gone"), [(32.3, 1000, 323), (64.6, 500, 323), (30, 9, 2)]
)
def test_as_many_episodes_go_as_the_written_percentage_says(percent, episodes, gone):
    # 32.3 * 1000 / 100 is 322.99... in floats.
    data = dataset([1] * episodes)
    left = w.DropBestEpisodes(data, percent=percent)
    assert data.num_episodes - left.num_episodes == gone


def test_of_equal_returns_the_lowest_ids_go_first():
    flat = numbered((2, 2, 2, 2)).with_arrays(rewards=np.ones(8))
    assert w.DropBestEpisodes(flat, 50).episode_ids.tolist() == [2, 3]
    assert w.DropWorstEpisodes(flat, 25).episode_ids.tolist() == [1, 2, 3]


def test_a_larger_percentage_at_random_removes_the_same_and_more():
    data = dataset([2] * 50)
    few = set(w.DropRandomEpisodes(data, 30, seed=5).episode_ids.tolist())
    many = set(w.DropRandomEpisodes(data, 60, seed=5).episode_ids.tolist())
    assert many < few
    assert few != set(w.DropRandomEpisodes(data, 30, seed=6).episode_ids.tolist())


@given(lengths_of_some, st.integers(1, 60), st.integers(0, 9))
def test_the_size_matched_control_removes_as_much_as_the_best(lengths, percent, seed):
    data = dataset(lengths, seed=seed)
    if int(percent * len(lengths) // 100) == 0:
        return
    target = len(data) - len(w.DropBestEpisodes(data, percent))
    try:
        matched = w.DropSizeMatchedEpisodes(data, percent, seed)
    except ValueError as reason:  # the best were longer than all others together
        assert "leave at least one" in str(reason)
        return
    told = matched.card["corruptions"][-1]
    assert told["found"]["target_transitions"] == target
    assert told["removed_transitions"] == len(data) - len(matched) >= target
    assert len(data) - len(matched) < target + max(lengths)


@given(st.floats(0, 1), st.integers(0, 5))
def test_missing_and_doubled_transitions_stay_what_they_were(rate, seed):
    data = numbered()
    try:
        fewer = w.DropTransitions(data, rate, seed)
    except ValueError as reason:
        assert rate > 0.5 and "leaves nothing of" in str(reason)
    else:
        assert_rows_of(fewer, data)
        assert len(np.unique(fewer.obs, axis=0)) == len(fewer)
    more = w.DuplicateTransitions(data, rate, seed)
    assert_rows_of(more, data)
    assert len(np.unique(more.obs, axis=0)) == len(data)
    np.testing.assert_array_equal(more.terminated.sum(), data.terminated.sum())


def assert_rows_of(some: Dataset, data: Dataset) -> None:
    """Every row is one of the original, in order, with its own next_obs."""
    episode, step = some.obs.T.astype(int)
    rows = data.offsets[episode] + step
    assert (np.diff(rows) >= 0).all()
    for name in ("actions", "rewards", "next_obs", "terminated"):
        np.testing.assert_array_equal(getattr(some, name), getattr(data, name)[rows])
    np.testing.assert_array_equal(some.episode_ids, np.unique(episode))


def test_an_episode_cut_short_is_truncated_and_keeps_its_true_next_obs():
    cut = w.TruncateEpisodes(numbered((5, 2, 4)), 3)
    assert cut.lengths.tolist() == [3, 2, 3]
    assert cut.truncated.tolist() == [0, 0, 1, 0, 1, 0, 0, 1]
    assert not cut.terminated.any()
    assert cut.next_obs[[2, 4, 7]].tolist() == [[0, 3], [1, 2], [2, 3]]


def test_the_share_of_rows_that_an_attack_chooses_is_its_rate():
    data = dataset([1000] * 40)
    chosen = w.RandomRewards(data, rate=0.3, epsilon=1.0).rewards != data.rewards
    off = abs(chosen.mean() - 0.3) / np.sqrt(0.21 / len(data))
    assert off < 4.5  # a false alarm in 150,000 runs
    again = w.RandomActions(data, rate=0.3).actions[:, 0] != data.actions[:, 0]
    both = (chosen & again).mean()
    assert abs(both - 0.09) / np.sqrt(0.09 * 0.91 / len(data)) < 4.5


def test_random_attacks_are_uniform_within_epsilon_standard_deviations():
    data = dataset([1000] * 40)
    for kind, name in (
        (w.RandomObservations, "obs"),
        (w.RandomActions, "actions"),
        (w.RandomDynamics, "next_obs"),
    ):
        old, new = getattr(data, name), getattr(kind(data, 1.0, 0.5), name)
        u = (new.astype(float) - old) / (0.5 * old.astype(float).std(axis=0))
        assert_uniform(u)
    assert_uniform(w.RandomRewards(data, 1.0, 2.0).rewards / 60.0)


def assert_uniform(u: np.ndarray) -> None:
    # Mean 0 and mean square 1/3, whose standard errors follow from u^2 and u^4.
    assert np.abs(u).max() <= 1 + 1e-4
    assert abs(u.mean()) * np.sqrt(3 * u.size) < 4.5
    assert abs((u**2).mean() - 1 / 3) * np.sqrt(u.size / (1 / 5 - 1 / 9)) < 4.5


def test_an_adversarial_reward_is_turned_round_and_scaled():
    done = w.AdversarialRewards(DATA, rate=0.5, epsilon=2.0)
    changed = done.rewards != DATA.rewards
    np.testing.assert_array_equal(done.rewards[changed], -2 * DATA.rewards[changed])
    assert 0.3 < changed.mean() < 0.7
    whole = w.AdversarialRewards(DATA, rate=1.0, epsilon=1.0)
    np.testing.assert_array_equal(whole.rewards, w.RewardScale(DATA, -1.0).rewards)


class TooFar:
    """An attack that goes twice as far as it may."""

    def __call__(self, *_: Any) -> np.ndarray:
        return np.full((297, 2), 2.0)

    def to_json(self) -> Any:
        return "too far"


def nowhere(array: str, data: Dataset, rows: np.ndarray, box: np.ndarray) -> Any:
    return np.zeros((len(rows), len(box)))


def test_a_plain_function_may_attack_and_the_card_names_it():
    attack: Any = nowhere
    done = w.AdversarialActions(DATA, attack, rate=0.5)
    assert done.sha256 == DATA.sha256
    (entry,) = json.loads(json.dumps(done.card))["corruptions"]
    assert entry["params"]["attack"] == f"{__name__}:nowhere"


def test_an_attack_may_not_leave_its_box():
    with pytest.raises(ValueError, match=r"numbers from -1 to 1 of shape \(297, 2\)"):
        w.AdversarialActions(DATA, attack=TooFar(), rate=1.0)  # pyright: ignore[reportArgumentType]


def test_relative_noise_is_as_large_as_the_rewards_spread():
    data = dataset([1000] * 40)
    added = w.RelativeRewardNoise(data, 0.5).rewards - data.rewards
    z = added / (0.5 * data.rewards.std())
    assert abs(z.mean()) * np.sqrt(z.size) < 4.5
    assert abs(z.std() - 1) * np.sqrt(2 * z.size) < 4.5


@given(st.integers(0, 12))
def test_what_remembers_gives_stored_data_what_it_gives_a_stream(steps):
    # Step by step over an environment that acts; whole episodes of stored data at once.
    for wrapper in (w.RewardDelay, w.ActionDelay):
        done = wrapper(numbered((1, 5, 12)), steps)
        for index, length in enumerate((1, 5, 12)):
            episode = done.episode(index)
            if wrapper is w.RewardDelay:
                clean = [1000 * index + t for t in range(length)]
                late = [0] * min(steps, length) + clean[: max(length - steps, 0)]
                late[-1] += sum(clean[max(length - steps, 0) :])
                assert episode.rewards.tolist() == late
            else:
                late = [0] * min(steps, length) + list(range(max(length - steps, 0)))
                np.testing.assert_allclose(episode.actions[:, 1] * 1000, late, 1e-6)


def test_observation_noise_is_one_reading_of_obs_and_next_obs():
    noisy = w.ObservationNoise(DATA, 0.5)
    assert noisy.is_consistent and not w.DynamicsNoise(DATA, 0.5).is_consistent
    # Where next_obs are others already, each reading still has its own noise alone.
    odd = w.ObservationNoise(w.DynamicsNoise(DATA, 0.5), 0.5)
    np.testing.assert_array_equal(odd.obs, noisy.obs)
    assert (odd.next_obs != noisy.next_obs).any()


def test_bounds_of_the_card_clip_what_is_clipped_elsewhere():
    noisy = w.ActionNoise(DATA, 5.0)
    assert np.abs(noisy.actions[:, 0]).max() == 1 and np.abs(noisy.actions).max() == 2
    assert np.abs(w.ObservationNoise(DATA, 9.0).obs[:, 0]).max() == 6
    boundless = DATA.with_card({})
    assert np.abs(w.ActionNoise(boundless, 5.0).actions).max() > 2


BAD = [
    (lambda d: w.DropBestEpisodes(d, 100), "DropBestEpisodes of 100 percent would rem"),
    (lambda d: w.TruncateEpisodes(d, "3"), "steps must be a number, got '3'"),
    (lambda d: w.DropBestEpisodes(d, 101), "percent must be at most 100, got 101"),
    (lambda d: w.DropBestEpisodes(d, -1), "percent must be .* 0 or more, got -1"),
    (lambda d: w.DropBestEpisodes(d, "a third"), "percent must be a number, got 'a th"),
    (lambda d: w.TruncateEpisodes(d, None), "steps must be a number, got None"),
    (lambda d: w.DropWorstEpisodes(d, 3), "DropWorstEpisodes: 3 percent of 8 epis"),
    (lambda d: w.DropRandomEpisodes(d, np.nan), "percent must be .* got nan"),
    (lambda d: w.DropRandomEpisodes(d, 50, seed=-1), "seed must be a whole number"),
    (lambda d: w.DropTransitions(d, 1.0), "leaves nothing of 8 episodes"),
    (lambda d: w.DropTransitions(d, 1.5), "rate must be at most 1, got 1.5"),
    (lambda d: w.TruncateEpisodes(d, 0), "steps must be 1 or more, got 0"),
    (lambda d: w.TruncateEpisodes(d, 2.5), "steps must be a whole number"),
    (lambda d: w.DynamicsNoise(d, [1, 2]), "got 2 standard deviations .*one for"),
    (lambda d: w.ObservationNoise(d, [1, 2]), "got 2 standard deviations .*one for"),
    (lambda d: w.RelativeRewardNoise(d, -1), "ratio must be .* got -1"),
    (lambda d: w.RandomActions(d, 2.0), "rate must be at most 1, got 2.0"),
    (lambda d: w.AdversarialActions(d, "x"), "attack must be a function, .*got 'x'"),
    (lambda d: w.RandomActions(d, 0.5, -1.0), "epsilon must be .* got -1.0"),
]


@pytest.mark.parametrize(("make", "words"), BAD)
def test_bad_arguments_are_one_clear_sentence(make, words):
    for what in (DATA, ReplayEnv(DATA)):
        with pytest.raises(ValueError, match=words) as caught:
            make(what)
        assert "\n" not in str(caught.value)
