"""Where a Panda's hand is, from its joint angles.

MuJoCo's own body poses lag one substep behind a step, and recomputing them there costs
ten times what this does. Each formula is written once and takes either Python floats,
the fastest numbers there are for one row, or arrays with a last axis of rows; both give
the same bits, because every operation is IEEE's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import mujoco
import numpy as np

_AXES = np.eye(3)[:, :, None]  # x, y and z of the world, each (3, 1)


class ArmKinematics:
    """Tool pose from joint angles, for all rows at once.

    The constants are read from the compiled model.

    Args:
        model: A model with bodies ``link0`` to ``link7`` and ``hand`` and a site
            ``tcp``, laid out as Franka's: each link turned a quarter, or not, about the
            x axis of the one before, the hand turned about z.

    Raises:
        ValueError: If the links are laid out otherwise.
    """

    def __init__(self, model: mujoco.MjModel):
        links = [model.body(f"link{i}").id for i in range(1, 8)]
        hand = model.body("hand").id
        offsets = [model.body_pos[body].copy() for body in (*links, hand)]
        offsets[0] += model.body("link0").pos
        offsets.append(model.site("tcp").pos)
        self._offsets = [_terms(offset) for offset in offsets]
        self._turns = [_turn_about_x(model.body_quat[link]) for link in links]
        (cosine, _, _), (sine, _, _), _ = _matrix(model.body_quat[hand])
        self._hand_sine, self._hand_cosine = float(sine), float(cosine)

    def __call__(self, sines: Any, cosines: Any) -> tuple[Any, Any, Any, Any]:
        """Forward kinematics.

        Args:
            sines: Of the 7 joint angles: 7 floats, or (7, N).
            cosines: Likewise.

        Returns:
            The tool centre point in m and the hand's x, y and z axis, in world
            coordinates: four tuples of 3 floats, or four (3, N).
        """
        if isinstance(sines, np.ndarray):
            return self._along(_AXES, sines, cosines)
        # No formula mixes world coordinates, so floats go one coordinate at a time.
        coordinates = (
            self._along(axes, sines, cosines) for axes in _AXES[..., 0].T.tolist()
        )
        position, x, y, z = zip(*coordinates, strict=True)
        return position, x, y, z

    def _along(
        self, axes: Iterable[Any], sines: Any, cosines: Any
    ) -> tuple[Any, Any, Any, Any]:
        """Walk from base to tool; position and axes, or one coordinate of them."""
        x, y, z = axes
        position: Any = 0.0
        for offset, turn, sine, cosine in zip(
            self._offsets, self._turns, sines, cosines, strict=False
        ):
            position = position + _weighted(offset, (x, y, z))
            if turn is not None:
                x, y, z = turn[0] * x, turn[1] * z, turn[2] * y
            x, y = x * cosine + y * sine, y * cosine - x * sine
        position = position + _weighted(self._offsets[7], (x, y, z))
        sine, cosine = self._hand_sine, self._hand_cosine
        x, y = x * cosine + y * sine, y * cosine - x * sine
        return position + _weighted(self._offsets[8], (x, y, z)), x, y, z


def _terms(offset: np.ndarray) -> list[tuple[int, float]]:
    return [(axis, weight) for axis, weight in enumerate(offset.tolist()) if weight]


def _weighted(terms: list[tuple[int, float]], axes: tuple[Any, Any, Any]) -> Any:
    total: Any = 0.0
    for axis, weight in terms:
        total = total + weight * axes[axis]
    return total


def _matrix(quat: np.ndarray) -> np.ndarray:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quat / np.linalg.norm(quat))
    matrix[np.abs(matrix) < 1e-12] = 0.0
    return matrix.reshape(3, 3)


def _turn_about_x(quat: np.ndarray) -> tuple[float, float, float] | None:
    """Factors that make a link's x, y, z of x, z, y before; None where they stay."""
    matrix = _matrix(quat)
    if (matrix == np.eye(3)).all():
        return None
    factors = matrix[0, 0], matrix[2, 1], matrix[1, 2]
    if np.count_nonzero(matrix) != 3 or 0.0 in factors:
        raise ValueError(
            f"links must be turned by 0 or a quarter about x, got quaternion {quat}"
        )
    return float(factors[0]), float(factors[1]), float(factors[2])


def quaternion(axes: Sequence[Any]) -> tuple[Any, Any, Any, Any]:
    """The unit quaternion wxyz, with x >= 0, of a rotation given by its columns.

    The gripper mostly points down, where w is about 0 and its sign would flip at
    random; the sign is fixed by x instead.

    Args:
        axes: x, y and z axis, each 3 floats or (3, N).

    Returns:
        Four floats, or four (N,).
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = axes
    # Four times the products of q's components; row k is 4 q_k (w, x, y, z).
    squares = 1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz
    wx, wy, wz = yz - zy, zx - xz, xy - yx
    xy4, xz4, yz4 = xy + yx, xz + zx, yz + zy
    w, x, y, z = _largest(
        squares,
        (
            (squares[0], wx, wy, wz),
            (wx, squares[1], xy4, xz4),
            (wy, xy4, squares[2], yz4),
            (wz, xz4, yz4, squares[3]),
        ),
    )
    length = sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w / length, x / length, y / length, z / length
    if isinstance(x, np.ndarray):
        sign: Any = np.where(x < 0, -1.0, 1.0)
    else:
        sign = -1.0 if x < 0 else 1.0
    return w * sign, x * sign, y * sign, z * sign


def _largest(squares: tuple[Any, ...], rows: tuple[tuple[Any, ...], ...]) -> Any:
    """The row whose square is largest: it divides by the least rounded number."""
    if not isinstance(squares[0], np.ndarray):
        return rows[squares.index(max(squares))]
    best = np.argmax(np.stack(squares), axis=0)
    if not np.count_nonzero(best != best[0]):  # as a rule: the gripper points down
        return rows[best[0]]
    return np.take_along_axis(np.array(rows), best[None, None], axis=0)[0]


def sqrt(value: Any) -> Any:
    """The square root of a float or an array; IEEE rounds both alike."""
    return np.sqrt(value) if isinstance(value, np.ndarray) else math.sqrt(value)
