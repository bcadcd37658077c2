"""Both text formats of mushr_mujoco_sysid, and what is wrong with a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from suite.data.mushr_text import read_mushr_text
from suite.worldmodels.car import Car
from suite.worldmodels.car_history import car_recordings

CARS = np.arange(18).reshape(3, 6) / 10


def write_first(folder: Path, number: int, times: list[float]) -> None:
    rows = np.column_stack([times, CARS + number])
    np.savetxt(folder / f"traj_vels_{number}.txt", rows, header="dt x y theta ...")
    (folder / f"plan_{number}.txt").write_text("# steering velocity\n0.19 0.5 0.1\n")


def test_the_first_format_has_one_command_for_all_rows(tmp_path):
    write_first(tmp_path, 12, [0.1, 0.1, 0.11])
    write_first(tmp_path, 3, [0.0, 0.2, 0.4])
    (tmp_path / "circle_3.txt").write_text("1.0 0 0 0.1\n")
    data = read_mushr_text(tmp_path, steer_scale=0.38, speed_scale=2.0)
    assert data.lengths.tolist() == [2, 2] and data.truncated.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(data.obs[:2], CARS[:2] + 3, rtol=1e-6)
    np.testing.assert_allclose(data.next_obs[2:], CARS[1:] + 12, rtol=1e-6)
    np.testing.assert_allclose(data.actions, np.tile([0.5, 0.25], (4, 1)), rtol=1e-6)
    # In one of the files the column holds the time itself.
    assert data.card["trajectories"] == {"id": [3, 12], "dt": [0.2, 0.1]}


def test_the_third_format_has_a_command_in_each_row(tmp_path):
    commands = np.array([[0.1, 1.0], [0.2, 1.1], [0.3, 1.2]])
    for name in ("mj_traj_e0007.txt", "traj_2.txt"):
        np.savetxt(tmp_path / name, np.column_stack([CARS, commands]))
    data = read_mushr_text(tmp_path, speed_scale=2.0, dt=0.1)
    assert data.card["trajectories"] == {"id": [2, 7], "dt": [0.1, 0.1]}
    np.testing.assert_allclose(data.obs[:2], CARS[:2], rtol=1e-6)
    np.testing.assert_allclose(data.actions[2:], commands[:2] / (1, 2), rtol=1e-6)
    assert data.is_consistent


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("0 0 0 0 0 0 0\n" * 3, "line 1 of .*traj_1.txt lacks the column velocity"),
        ("0 0 0 0 0 0 0 0\n0 0 0 nan 0 0 0 0\n", "line 2 of .* has xdot nan"),
        ("0 0 0 0 0 0 0 0\n0 0 x 0 0 0 0 0\n", "line 2 of .* is no row of numbers"),
        ("# nothing\n0 0 0 0 0 0 0 0\n", "has 1 rows; it needs at least 2"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, content, words):
    (tmp_path / "traj_1.txt").write_text(content)
    with pytest.raises(ValueError, match=words):
        read_mushr_text(tmp_path)


def test_a_missing_plan_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"has neither plan_<id>\.txt"):
        read_mushr_text(tmp_path)
    write_first(tmp_path, 1, [0.1, 0.1, 0.1])
    write_first(tmp_path, 2, [0.1, 0.1, 0.1])
    (tmp_path / "plan_2.txt").unlink()
    with pytest.raises(ValueError, match=r"traj_vels_2\.txt has no plan_2\.txt"):
        read_mushr_text(tmp_path)


def write_third(path: Path, steering: str = "0.1") -> None:
    path.write_text(f"0 0 0 1 0 0 {steering} 0.5\n" * 3)


def test_files_that_would_hide_one_another_are_refused(tmp_path):
    write_third(tmp_path / "train_traj_1.txt")
    write_third(tmp_path / "val_traj_1.txt")
    with pytest.raises(ValueError, match="have the same number"):
        read_mushr_text(tmp_path)


def test_a_folder_of_both_formats_is_refused(tmp_path):
    write_first(tmp_path, 1, [0.1] * 3)
    write_third(tmp_path / "traj_7.txt")
    with pytest.raises(ValueError, match=r"two formats, such as traj_7\.txt beside"):
        read_mushr_text(tmp_path)


def test_a_plan_without_its_trajectory_is_named(tmp_path):
    write_first(tmp_path, 1, [0.1] * 3)
    (tmp_path / "plan_2.txt").write_text("0.1 0.5\n")
    with pytest.raises(ValueError, match=r"plan_2\.txt has no traj_vels_2\.txt"):
        read_mushr_text(tmp_path)


def test_commands_in_radians_are_refused_until_their_scale_is_given(tmp_path):
    write_third(tmp_path / "traj_1.txt", steering="-1.9")
    with pytest.raises(ValueError, match=r"steering up to 1\.9"):
        read_mushr_text(tmp_path)
    assert read_mushr_text(tmp_path, steer_scale=3.8).actions[0, 0] == -0.5
    with pytest.raises(ValueError, match="scales must be positive"):
        read_mushr_text(tmp_path, steer_scale=0.0)


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "traj_1.txt").write_bytes(b"\xff\x00\xfe")
    with pytest.raises(ValueError, match=r"traj_1\.txt is no text"):
        read_mushr_text(tmp_path)


def test_a_car_is_not_fitted_to_another_time_step(tmp_path):
    write_third(tmp_path / "traj_1.txt")
    with pytest.raises(ValueError, match=r"steps of 0\.1 s and the car's are 0\.05 s"):
        car_recordings(read_mushr_text(tmp_path, dt=0.1), Car())
    assert len(car_recordings(read_mushr_text(tmp_path, dt=0.05), Car()).lengths) == 1
