"""Odometry metrics against hand-computed numbers, slow loops and what must not change them."""

import csv
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from vidcam.data.drives.trajectory import Trajectory, chained, read_trajectory
from vidcam.errors import MediaError, OptionError
from vidcam.odometry.alignment import align, best_scale, similarity, umeyama
from vidcam.odometry.baselines import snippets
from vidcam.odometry.errors import drift, evaluate, position_error, snippet_errors, step_errors
from vidcam.types import Floats


def about_y(angle: float) -> Floats:
    pose = np.eye(4)
    pose[0, 0] = pose[2, 2] = math.cos(angle)
    pose[0, 2], pose[2, 0] = math.sin(angle), -math.sin(angle)
    return pose


def at(*positions: tuple[float, float, float]) -> Trajectory:
    poses = np.tile(np.eye(4), (len(positions), 1, 1))
    poses[:, :3, 3] = positions
    return Trajectory(poses)


def winding(frames: int, seed: int = 0, ahead: float = 1.3) -> Trajectory:
    """A drive with bends, hills and jitter."""
    rng = np.random.default_rng(seed)
    steps = np.stack([about_y(0.04 * math.sin(i / 17) + 0.003 * rng.normal()) for i in range(frames - 1)])
    steps[:, :3, 3] = rng.normal(size=(frames - 1, 3)) * 0.05 + [0.02, -0.03, ahead]
    return chained(steps)


def rigid(seed: int = 5) -> Floats:
    """A global motion about all axes."""
    x, z = about_y(0.7), about_y(-1.1)
    tilt = np.eye(4)[[1, 2, 0, 3]]  # an even permutation is a rotation
    moved = x @ tilt @ z @ tilt
    moved[:3, 3] = 30, -4, 11
    return moved


def test_snippet_errors_by_hand() -> None:
    true = at((0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3), (0, 0, 4)).poses[None]
    predicted = at((0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3), (3, 0, 4)).poses[None].copy()
    predicted[0, 3, :3, :3] = about_y(0.2)[:3, :3]
    predicted[0, 4, :3, :3] = about_y(-0.5)[:3, :3]
    # s = (1 + 4 + 9 + 16) / (1 + 4 + 9 + 16 + 9) = 30 / 39; sum of squares = 30 - 30^2 / 39
    errors = snippet_errors(predicted, true)
    assert errors.ate[0] == pytest.approx(math.sqrt(30 - 900 / 39) / 5)
    assert errors.re[0] == pytest.approx((0.2 + 0.5) / 5)


def test_snippet_errors_frame_by_frame() -> None:
    true, predicted = snippets(winding(40)), snippets(winding(40, seed=1, ahead=0.4))
    errors = snippet_errors(predicted, true)
    for s in range(len(true)):
        products = squares = 0.0
        for k in range(5):
            for axis in range(3):
                products += true[s, k, axis, 3] * predicted[s, k, axis, 3]
                squares += predicted[s, k, axis, 3] ** 2
        scale, total, angle = products / squares, 0.0, 0.0
        for k in range(5):
            total += sum((true[s, k, axis, 3] - scale * predicted[s, k, axis, 3]) ** 2 for axis in range(3))
            turn = true[s, k, :3, :3] @ np.linalg.inv(predicted[s, k, :3, :3])
            angle += math.acos(min(1.0, (np.trace(turn) - 1) / 2))
        assert errors.ate[s] == pytest.approx(math.sqrt(total) / 5, rel=1e-9)
        assert errors.re[s] == pytest.approx(angle / 5, abs=1e-6)


def test_snippets_know_no_scale_and_no_place() -> None:
    true, predicted = winding(60), winding(60, seed=1)
    plain = snippet_errors(snippets(predicted), snippets(true))
    elsewhere = rigid() @ predicted.poses
    elsewhere[:, :3, 3] *= 17.0
    moved = snippet_errors(snippets(Trajectory(elsewhere)), snippets(true))
    np.testing.assert_allclose(moved, plain, atol=1e-9)


def test_a_quarter_and_a_half_turn() -> None:
    true = np.tile(np.eye(4), (1, 3, 1, 1))
    predicted = true.copy()
    predicted[0, 1] = about_y(math.pi / 2)
    predicted[0, 2] = about_y(math.pi)
    assert snippet_errors(predicted, true).re[0] == pytest.approx(1.5 * math.pi / 3)


def test_nothing_moves_and_nothing_is_divided_by_zero() -> None:
    still, drive = at(*[(1.0, 2.0, 3.0)] * 12), winding(12)
    for predicted, true in ((still, drive), (drive, still), (still, still)):
        for alignment in ("none", "scale", "6dof", "7dof"):
            facts = evaluate(predicted, true, alignment=alignment).as_dict()
            assert np.isfinite([facts[key] for key in ("ate_5_mean", "re_5_mean", "ate_m", "rpe_m", "scale")]).all()
    report = evaluate(still, still)
    assert (report.ate_m, report.rpe_m, report.scale, report.errors.ate.max()) == (0, 0, 1, 0)
    assert any("stands still" in note for note in report.notes)


def test_umeyama_finds_a_similarity() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3)) * [4, 1, 9]
    moved = rigid()
    onto = 2.5 * points @ moved[:3, :3].T + moved[:3, 3]
    found = umeyama(points, onto)
    assert found.scale == pytest.approx(2.5)
    np.testing.assert_allclose(found.rotation, moved[:3, :3], atol=1e-12)
    np.testing.assert_allclose(found.translation, moved[:3, 3], atol=1e-10)
    assert umeyama(points, onto, scaled=False).scale == 1


def test_umeyama_does_not_mirror() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3)) * [4, 1, 9]
    found = umeyama(points, points * [1, -1, 1])
    assert np.linalg.det(found.rotation) == pytest.approx(1)


def test_umeyama_is_the_best_there_is() -> None:
    rng = np.random.default_rng(1)
    points, onto = rng.normal(size=(2, 40, 3))

    def squares(scale: float, rotation: Floats, shift: Floats) -> float:
        return float(((scale * points @ rotation.T + shift - onto) ** 2).sum())

    best = umeyama(points, onto)
    least = squares(best.scale, best.rotation, best.translation)
    for _ in range(200):
        turn = about_y(rng.normal() * 0.05)[:3, :3][:, rng.permutation(3)]
        turn = turn if np.linalg.det(turn) > 0 else -turn
        assert squares(best.scale * (1 + 0.05 * rng.normal()), best.rotation, best.translation) >= least
        assert squares(best.scale, best.rotation, best.translation + 0.05 * rng.normal(size=3)) >= least
        assert squares(best.scale, turn @ best.rotation, best.translation) >= least


def test_scale_is_fitted_about_the_first_camera() -> None:
    true = at((5, 5, 5), (5, 5, 6), (5, 5, 9))
    predicted = at((0, 0, 0), (0, 0, 2), (0, 0, 4))
    # s = (1 * 2 + 4 * 4) / (4 + 16) = 0.9
    assert similarity(predicted, true, "scale").scale == pytest.approx(0.9)
    np.testing.assert_allclose(align(predicted, true, "scale").positions[:, 2], [0, 1.8, 3.6])
    assert best_scale(np.zeros((4, 3)), np.ones((4, 3))) == 1


@pytest.mark.parametrize(
    ("alignment", "ate", "known"), [("none", 0, ""), ("scale", 0, "s"), ("6dof", 0, "m"), ("7dof", 0, "sm")]
)
def test_each_alignment_takes_away_what_it_says(alignment: str, ate: float, known: str) -> None:
    true = winding(80)
    poses = true.poses.copy()
    if "s" in known:
        poses[:, :3, 3] *= 0.3
    predicted = Trajectory(rigid() @ poses)  # the place never counts: both are re-based
    report = evaluate(predicted, true, alignment=alignment)
    assert report.ate_m == pytest.approx(ate, abs=1e-9)
    assert report.rpe_m == pytest.approx(0, abs=1e-9)
    assert report.scale == pytest.approx(1 / 0.3 if "s" in known else 1)


def test_a_better_alignment_has_a_smaller_ate() -> None:
    true, predicted = winding(200), winding(200, seed=3, ahead=0.9)
    ate = {kind: evaluate(predicted, true, alignment=kind).ate_m for kind in ("none", "scale", "6dof", "7dof")}
    assert ate["7dof"] < ate["scale"] < ate["none"]
    assert ate["7dof"] < ate["6dof"] < ate["none"]


def test_a_first_frame_turned_wrong_is_forgiven_by_rotation_only() -> None:
    true = winding(80)
    poses = true.poses.copy()
    poses[0] = about_y(0.3)  # re-based by it, the whole path is turned
    predicted = Trajectory(poses)
    assert evaluate(predicted, true, alignment="none").ate_m > 5
    assert evaluate(predicted, true, alignment="6dof").ate_m < 1e-9


def test_drift_of_a_path_a_tenth_too_long() -> None:
    true = at(*[(0.0, 0.0, float(i)) for i in range(1001)])
    predicted = at(*[(0.0, 0.0, 1.1 * i) for i in range(1001)])
    found = drift(predicted, true)
    # a segment of 100 m ends at the first frame farther than that: 101 m, of which a tenth is 10.1 m
    each = [(length + 1) * 0.1 / length for length in range(100, 801, 100)]
    # from frame f to f + length + 1: starts 0, 10 ... up to 999 - length
    starts = [(999 - length) // 10 + 1 for length in range(100, 801, 100)]
    assert found.segments == sum(starts)
    assert found.t_rel_percent == pytest.approx(100 * np.average(each, weights=starts))
    assert found.r_rel_deg_per_100m == pytest.approx(0, abs=1e-6)


def test_drift_of_a_steady_turn() -> None:
    steps = np.tile(np.eye(4), (250, 1, 1))
    steps[:, 2, 3] = 1
    true = chained(steps)
    bent = chained(np.stack([s @ about_y(math.radians(0.01)) for s in steps]))
    found = drift(bent, true)
    # 101 frames of 0.01 degrees over 100 m from 15 starts (0 ... 140), 201 over 200 m from 5 (0 ... 40)
    assert found.segments == 15 + 5
    assert found.r_rel_deg_per_100m == pytest.approx((15 * 1.01 + 5 * 2.01 / 2) / 20, rel=1e-4)


def slow_drift(predicted: Trajectory, true: Trajectory) -> tuple[float, float]:
    """The development kit's loops."""
    driven = [0.0]
    for a, b in zip(true.positions, true.positions[1:], strict=False):
        driven.append(driven[-1] + math.dist(a, b))
    moved, turned = [], []
    for first in range(0, len(true), 10):
        for length in (100, 200, 300, 400, 500, 600, 700, 800):
            last = next((i for i in range(first, len(true)) if driven[i] > driven[first] + length), -1)
            if last < 0:
                continue
            true_motion = np.linalg.inv(true.poses[first]) @ true.poses[last]
            motion = np.linalg.inv(predicted.poses[first]) @ predicted.poses[last]
            error = np.linalg.inv(motion) @ true_motion
            moved.append(math.hypot(*error[:3, 3]) / length)
            turned.append(math.acos(max(-1.0, min(1.0, (np.trace(error[:3, :3]) - 1) / 2))) / length)
    return 100 * float(np.mean(moved)), 100 * math.degrees(float(np.mean(turned)))


def test_drift_frame_by_frame() -> None:
    true, predicted = winding(900), winding(900, seed=4)
    found = drift(predicted, true)
    assert (found.t_rel_percent, found.r_rel_deg_per_100m) == pytest.approx(slow_drift(predicted, true), rel=1e-9)
    assert drift(Trajectory(rigid() @ predicted.poses), true)[:2] == pytest.approx(found[:2], rel=1e-6)


def test_a_short_path_has_no_drift() -> None:
    report = evaluate(winding(30), winding(30))
    facts = report.as_dict()
    assert (facts["t_rel_percent"], facts["r_rel_deg_per_100m"], facts["segments"]) == (None, None, 0)
    assert any("100 m" in note for note in report.notes)
    assert "null" in json.dumps(facts, allow_nan=False)


def test_errors_of_positions_and_steps_by_hand() -> None:
    true = at((0, 0, 0), (0, 0, 1), (0, 0, 2))
    predicted = at((0, 0, 0), (3, 0, 1), (3, 4, 2))
    assert position_error(predicted, true) == pytest.approx(math.sqrt((0 + 9 + 25) / 3))
    assert step_errors(predicted, true) == pytest.approx(((3 + 4) / 2, 0))
    turned = predicted.poses.copy()
    turned[2] = turned[2] @ about_y(math.radians(10))
    assert step_errors(Trajectory(turned), true)[1] == pytest.approx(5)


def test_a_perfect_prediction() -> None:
    drive = winding(400)
    facts = evaluate(drive, drive, training=[winding(50, seed=9)]).as_dict()
    zero = ("ate_5_mean", "ate_5_std", "re_5_mean", "re_5_std", "t_rel_percent", "r_rel_deg_per_100m", "ate_m")
    assert [facts[key] for key in (*zero, "rpe_m", "rpe_deg")] == pytest.approx([0] * 9, abs=1e-5)
    assert list(facts["baselines"]) == ["constant_velocity", "straight_line", "mean_motion"]
    assert [b["snippets"] for b in facts["baselines"].values()] == [395, 396, 396]
    assert all(b["ate_5_mean"] > 0.01 for b in facts["baselines"].values())


def test_a_network_s_own_snippets_count() -> None:
    drive, other = winding(40), winding(40, seed=2)
    report = evaluate(drive, drive, predicted_snippets=snippets(other))
    assert report.ate_m == pytest.approx(0, abs=1e-9)
    np.testing.assert_array_equal(report.errors.ate, snippet_errors(snippets(other), snippets(drive)).ate)
    with pytest.raises(OptionError, match=r"truth's shape \(36, 5, 4, 4\); given \(38, 3, 4, 4\)"):
        evaluate(drive, drive, predicted_snippets=snippets(other, 3))


def test_snippets_of_three() -> None:
    facts = evaluate(winding(20), winding(20, seed=1), snippet=3).as_dict()
    assert {"ate_3_mean", "re_3_std"} <= set(facts)
    assert facts["snippets"] == 18


def test_what_does_not_fit() -> None:
    with pytest.raises(OptionError, match="has 9 poses and the true one 10"):
        evaluate(winding(9), winding(10))
    with pytest.raises(OptionError, match="given 4"):
        evaluate(winding(4), winding(4))
    with pytest.raises(OptionError, match="did you mean '7dof'"):
        evaluate(winding(9), winding(9), alignment="7dofs")


def test_csv_has_a_row_per_snippet(tmp_path: Path) -> None:
    report = evaluate(winding(20), winding(20, seed=1))
    report.write_csv(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["first_frame"]) for row in rows] == list(range(16))
    np.testing.assert_array_equal([float(row["ate"]) for row in rows], report.errors.ate)
    assert rows[0]["constant_velocity_ate"] == rows[0]["constant_velocity_re"] == ""
    assert float(rows[1]["constant_velocity_re"]) == report.baselines["constant_velocity"].re[1]
    with pytest.raises(MediaError, match="force=True"):
        report.write_csv(tmp_path / "a.csv")


@pytest.mark.shared
def test_a_long_real_drive(data: Path) -> None:
    """Drift as the loops have it, in well under a second or two."""
    true = read_trajectory(data / "kitti_odometry/dataset/poses/00.txt")
    steps = true.steps
    steps[:, :3, 3] *= 1.05
    predicted = chained(steps @ about_y(2e-5))
    start = time.process_time()
    report = evaluate(predicted, true, alignment="none")
    assert time.process_time() - start < 2
    assert report.length_m == pytest.approx(3724, abs=0.5)
    assert report.drift.segments > 3000
    few = slice(0, 1200)
    found = drift(Trajectory(predicted.poses[few]), Trajectory(true.poses[few]))
    again = slow_drift(Trajectory(predicted.poses[few]), Trajectory(true.poses[few]))
    assert found[:2] == pytest.approx(again, rel=1e-6)
    assert 2 < found[0] < 5.1  # of the straight distance, which is shorter than the path
