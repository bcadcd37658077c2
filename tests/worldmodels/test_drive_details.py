"""Details of drives agree with the summary, and with each other."""

from __future__ import annotations

import numpy as np
import pytest
from cars import drives

from suite.worldmodels.car import Adapter, Car, Residual
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_ensemble import CarMean
from suite.worldmodels.open_loop import OpenLoop

CAR = Car(adapter=Adapter((4,)), residual=Residual((4,)), history=1)


@pytest.mark.parametrize("members", [1, 3])
def test_details_are_those_of_the_summary(members):
    model = CarDynamics(CAR, range(members))
    judge = OpenLoop(drives(6, 40), drives(5, 40, seed=1))
    details, told = judge.details(model), judge(model, 0)
    for kind, count in (("", 6), ("ood_", 5)):
        for name in ("ade", "error_1s", "state_mse", "fde"):
            values = details[kind + name]
            assert values.shape == (members, count)
            assert values.mean() == pytest.approx(told[kind + name], rel=1e-5)
        assert details[f"{kind}growth"].shape == (members, 2, 20)
        # Forty steps, twenty moments: the last one is the end of all.
        median = np.median(details[f"{kind}fde"], axis=-1)
        assert details[f"{kind}growth"][:, 0, -1] == pytest.approx(median)
        assert details[f"{kind}time"][-1] == pytest.approx(2.0)


def test_paths_are_the_true_ones_and_the_first_members():
    data, model = drives(6, 40), CarDynamics(CAR, (0, 1))
    paths = OpenLoop(data).details(model)["paths"]
    assert paths.shape == (4, 2, 40, 2)
    truth = data.next_obs.reshape(6, 40, -1)[:4, :, :2]
    np.testing.assert_allclose(paths[:, 0], truth, atol=1e-6)
    last = np.linalg.norm(paths[:, 1, -1] - paths[:, 0, -1], axis=-1)
    fde = OpenLoop(data).errors(model).by_name["fde"][0, :4]
    np.testing.assert_allclose(last, fde, rtol=1e-5)


def test_an_ensemble_of_equal_members_is_each_of_them():
    data, model = drives(4, 30), CarDynamics(CAR, (0, 1))
    judge = OpenLoop(data)  # unfitted members are all their plant
    ours, each = (judge.errors(m).by_name["ade"] for m in (CarMean(model), model))
    np.testing.assert_allclose(np.stack([ours, ours]), each, rtol=1e-5)
