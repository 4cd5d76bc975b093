"""The path from above."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from vidcam.data.drives.trajectory import Trajectory
from vidcam.errors import MediaError, OptionError
from vidcam.odometry.plots import figure, trajectory_plot
from vidcam.rendering.drawing import round_step


def corner() -> Trajectory:
    """50 m ahead, then 30 m to the right, and from the first frame on 7 m above the ground."""
    poses = np.tile(np.eye(4), (81, 1, 1))
    poses[:, 2, 3] = np.minimum(np.arange(81), 50)
    poses[:, 0, 3] = np.maximum(np.arange(81) - 50, 0)
    poses[:, 1, 3] = -7
    return Trajectory(poses)


def test_right_is_right_and_ahead_is_up() -> None:
    axes = figure(corner(), {"predicted": corner(), "straight_line": corner()}).axes[0]
    paths = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert list(paths) == ["true", "predicted", "straight line"]
    across, ahead = paths["true"].get_data()
    assert (across[-1], ahead[-1]) == (30, 50)
    assert axes.get_aspect() == 1  # a meter is a meter in both directions
    assert np.diff(axes.get_xlim()) == pytest.approx(np.diff(axes.get_ylim()))


def test_names_are_no_mathematics(tmp_path: Path) -> None:
    drawn = figure(corner(), {"$\\frac{$_x": corner(), "a\nb": corner()}, title="$x^$ $y$", unit="$")
    texts = drawn.findobj(Text)
    assert {"$\\frac{$ x", r"a\nb", "$x^$ $y$", "x, to the right ($)", "10 $"} <= {text.get_text() for text in texts}
    assert not any(text.get_parse_math() for text in texts)
    drawn.savefig(tmp_path / "plot.png")


def test_distances_are_marked_along_the_path() -> None:
    axes = figure(corner(), {}).axes[0]
    marks = {text.get_text(): text.xy for text in axes.texts}
    assert list(marks) == ["10 m", "20 m", "30 m", "40 m", "50 m", "60 m", "70 m"]
    assert marks["40 m"] == (0, 40)
    assert marks["70 m"] == (20, 50)


def test_a_baseline_may_leave_the_picture() -> None:
    far = corner().poses.copy()
    far[:, :3, 3] *= 100
    axes = figure(corner(), {"predicted": corner(), "straight_line": Trajectory(far)}).axes[0]
    assert axes.get_ylim()[1] < 100
    assert figure(corner(), {"predicted": Trajectory(far)}).axes[0].get_ylim()[1] > 5000


def test_round_steps() -> None:
    assert [round_step(x) for x in (0.03, 0.9, 1, 1.1, 2.2, 7, 372)] == pytest.approx([0.05, 1, 1, 2, 5, 10, 500])


def test_a_camera_that_stands_still(tmp_path: Path) -> None:
    still = Trajectory(np.tile(np.eye(4), (5, 1, 1)))
    trajectory_plot(None, {"predicted": still}, tmp_path / "a.png", unit="network units")
    with Image.open(tmp_path / "a.png") as picture:
        assert min(picture.size) > 800


def test_files_are_not_replaced(tmp_path: Path) -> None:
    trajectory_plot(corner(), {}, tmp_path / "a.png", title="$5 and no math$")
    with pytest.raises(MediaError, match="force=True"):
        trajectory_plot(corner(), {}, tmp_path / "a.png")
    trajectory_plot(corner(), {}, tmp_path / "a.png", force=True)
    with pytest.raises(OptionError, match="possible: png"):
        trajectory_plot(corner(), {}, tmp_path / "a.xyz")
    with pytest.raises(OptionError, match="nothing to draw"):
        trajectory_plot(None, {}, tmp_path / "b.png")
