"""The driving video and its panels."""

from fractions import Fraction

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from vidcam.errors import VidcamError
from vidcam.media import Frame, open_video
from vidcam.rendering.coloring import colors
from vidcam.rendering.drive import COLORMAP, columns_of, depth_panel, drive_scene, render_drive
from vidcam.rendering.path import PREDICTED, Way, stroke, way, way_panel
from vidcam.rendering.video import scene

WIDTH, HEIGHT, RATE = 320, 120, 30000 / 1001


def poses(*positions):
    """(F, 4, 4) that look ahead."""
    found = np.tile(np.eye(4), (len(positions), 1, 1))
    found[:, :3, 3] = positions
    return found


@pytest.fixture
def driven(make_regression):
    """Drive 11 m ahead, as the truth says; the network's unit is 2 m, and it drifts to the right in the end."""
    ahead = np.arange(12.0)
    true = poses(*[(0, 0, z) for z in ahead])
    predicted = poses(*[(0.5 * (i == 11), 0, z / 2) for i, z in enumerate(ahead)])
    depth = np.full((12, 6, 16), 10.0, np.float32)
    depth[:, 3:], depth[5] = 2.0, 4.0
    return lambda **changes: make_regression(
        (WIDTH, HEIGHT), **{"poses": predicted, "true_poses": true, "depth": depth} | changes
    )


def still(index):
    pixels = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    return Frame(index, index / RATE, pixels)


def test_every_panel_has_its_place_and_the_sources_size(driven):
    explanation, frame = driven(), still(7)
    parts = drive_scene(explanation)
    drawn = parts.draw(frame)
    assert drawn.shape == (2 * HEIGHT + len(parts.bar.pixels), 2 * WIDTH, 3)
    np.testing.assert_array_equal(drawn[:HEIGHT, :WIDTH], frame.pixels)
    heat, tag = drawn[:HEIGHT, WIDTH:].copy(), parts.panels[1].title
    np.testing.assert_array_equal(heat[: tag.shape[0], : tag.shape[1]], tag)
    plain = scene(explanation).draw(frame)
    heat[: tag.shape[0], : tag.shape[1]] = plain[: tag.shape[0], : tag.shape[1]]
    np.testing.assert_array_equal(heat, plain)


def test_a_frame_that_vanishes_is_the_source_but_for_its_tag(driven):
    frame, parts = still(4), drive_scene(driven())
    heat, mark = parts.draw(frame)[:HEIGHT, WIDTH:].copy(), parts.panels[1].mark
    np.testing.assert_array_equal(heat[: mark.shape[0], : mark.shape[1]], mark)
    heat[: mark.shape[0], : mark.shape[1]] = frame.pixels[: mark.shape[0], : mark.shape[1]]
    np.testing.assert_array_equal(heat, frame.pixels)


def test_only_the_cursor_moves_in_the_strip(driven):
    parts = drive_scene(driven())
    early, late = (parts.draw(still(i))[2 * HEIGHT :] for i in (0, 6))
    columns = np.flatnonzero((early != late).any(axis=(0, 2)))
    assert columns.tolist() == [parts.bar.column(0.0), parts.bar.column(6 / RATE)]


@pytest.mark.parametrize(
    ("missing", "shape"),
    [
        ({}, (2 * HEIGHT, 2 * WIDTH)),
        ({"depth": None}, (3 * HEIGHT, WIDTH)),
        ({"poses": None}, (3 * HEIGHT, WIDTH)),
        ({"depth": None, "poses": None}, (2 * HEIGHT, WIDTH)),
    ],
)
def test_the_grid_shrinks_by_what_is_not_known(driven, missing, shape):
    parts = drive_scene(driven(**missing))
    assert (parts.blank.shape[0] - len(parts.bar.pixels), parts.blank.shape[1]) == shape
    assert len(parts.panels) == 4 - len(missing)


def test_grids_fill_a_screen():
    assert [columns_of(4, shape) for shape in (3.3, 16 / 9, 1, 9 / 16)] == [2, 2, 2, 4]
    assert [columns_of(2, shape) for shape in (3.3, 9 / 16)] == [1, 2]
    assert columns_of(3, 9 / 16) == 3


def test_near_is_bright_on_one_scale_for_all_frames():
    depth = np.full((3, 2, 2), 10.0)
    depth[0, 0, 0], depth[1], depth[2, 1, 1] = 5, 20, np.inf
    panel = depth_panel(depth, width=8, height=80, size=9)
    out = np.zeros((80, 8, 3), np.uint8)

    def shown(index, row, column):
        panel.draw(Frame(index, 0.0, out), out)
        return out[row, column]

    def expected(share):
        return np.rint(colors(COLORMAP, np.array([share]))[0] * 255)

    # The nearest of all is at 5, so 10 is half as bright, 20 a quarter, infinity nothing.
    assert panel.nearest == pytest.approx(5, rel=0.05)
    for index, row, column, share in ((0, -1, -1, 0.5), (1, -1, -1, 0.25), (2, -1, -1, 0.0), (2, -1, 0, 0.5)):
        np.testing.assert_allclose(shown(index, row, column), expected(share * panel.nearest / 5), atol=5)


def test_depth_that_is_no_depth_is_far_away():
    panel = depth_panel(np.array([[[np.nan, 0.0], [-1.0, np.inf]]]), width=4, height=40, size=9)
    out = np.ones((40, 4, 3), np.uint8)
    panel.draw(Frame(0, 0.0, out), out)
    assert (out[-1] == np.rint(colors(COLORMAP, np.zeros(1))[0] * 255)).all()


def test_the_predicted_course_is_laid_on_the_true_one_by_one_scale():
    turned = poses((0, 0, 0), (1, 0, 2), (3, 1, 4))
    turned[:, :3, :3] = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # a quarter to the right, in a world of its own
    away = turned.copy()
    away[:, :3, 3] += 100
    laid = way(away, poses((5, 5, 5), (3, 5, 6), (1, 6, 8.5)))
    # Seen from the first camera, right is -z of that world and ahead is x.
    predicted = np.array([(0, 0, 0), (-2, 0, 1), (-4, 1, 3)], float)
    true = np.array([(0, 0, 0), (-2, 0, 1), (-4, 1, 3.5)], float)
    scale = (4 + 1 + 16 + 1 + 10.5) / (4 + 1 + 16 + 1 + 9)
    assert laid.scale == pytest.approx(scale)
    np.testing.assert_allclose(laid.predicted, scale * predicted[:, [0, 2]], atol=1e-9)
    np.testing.assert_allclose(laid.true, true[:, [0, 2]], atol=1e-9)
    assert way(away, None).scale == 1


def dots(picture):
    """Column and row of the middles of the two white rims, the left one first."""
    white = np.argwhere((picture > 250).all(axis=-1))[:, ::-1]
    white = white[np.argsort(white[:, 0], kind="stable")]
    parts = np.split(white, [np.diff(white[:, 0]).argmax() + 1])
    return np.array([part.mean(axis=0) for part in parts])


def test_the_dots_are_where_the_camera_is():
    # A square of 10 by 10, and the true one 20 further to the right, so that no dot hides another.
    corners = np.array([(0, 0), (0, 10), (10, 10), (10, 0)], float)
    panel = way_panel(Way(corners, corners + np.array([20, 0]), 1.0), width=900, height=400, size=20)
    out = np.zeros((400, 900, 3), np.uint8)
    panel.draw(Frame(0, 0.0, out), out)
    first = dots(out)
    per_unit = (first[1] - first[0])[0] / 20
    assert per_unit > 18 and first[0, 1] == pytest.approx(first[1, 1], abs=1)
    for index in range(4):
        panel.draw(Frame(index, 0.0, out), out)
        np.testing.assert_allclose(dots(out), first + corners[index] * per_unit * np.array([1, -1]), atol=1)
        for line, place in zip(panel.lines, dots(out)[::-1], strict=True):
            column, row = np.rint(place).astype(int)
            np.testing.assert_allclose(out[row, column], line.color, atol=1)


def test_the_course_grows_and_nothing_else_moves(driven):
    explanation = driven()
    panel = way_panel(way(explanation.poses, explanation.true_poses), width=WIDTH, height=HEIGHT, size=9)
    outs = [np.zeros((HEIGHT, WIDTH, 3), np.uint8) for _ in range(12)]
    for index, out in enumerate(outs):
        panel.draw(Frame(index, 0.0, out), out)
    line = panel.lines[-1]
    for index in (3, 11):
        column, row = np.rint(line.points[index]).astype(int)
        np.testing.assert_allclose(outs[index][row, column], np.array(to_rgb(PREDICTED)) * 255, atol=1)
        rest = np.delete(np.arange(HEIGHT), np.arange(row - 6, HEIGHT))
        np.testing.assert_array_equal(outs[index][rest], panel.paper[rest])
    again = np.zeros_like(out)
    panel.draw(Frame(3, 0.0, again), again)  # back in time
    np.testing.assert_array_equal(again, outs[3])


def test_a_stroke_covers_as_much_as_it_is_wide():
    cover = np.zeros((40, 60), np.float32)
    box = stroke(cover, np.array([10.0, 20.0]), np.array([50.0, 20.0]), 1.5)
    np.testing.assert_allclose(cover[:, 30].sum(), 3, atol=1e-6)
    assert cover[20, 10:51].min() == 1 and cover[20, 5] == 0 and np.count_nonzero(cover[box]) == np.count_nonzero(cover)
    stroke(cover, np.array([-30.0, -30.0]), np.array([-20.0, -20.0]), 2)  # outside
    assert np.isfinite(cover).all()


@pytest.mark.parametrize("positions", [[(0, 0, 0)] * 3, [(0, 0, 0), (1e-9, 0, 0), (0, 0, 0)]])
def test_a_camera_that_stands_still_can_be_drawn(positions):
    for true in (None, poses((0, 0, 0), (0, 0, 1), (0, 0, 2)), poses(*positions)):
        panel = way_panel(way(poses(*positions), true), width=64, height=48, size=9)
        out = np.zeros((48, 64, 3), np.uint8)
        panel.draw(Frame(2, 0.0, out), out)


def test_poses_that_are_no_numbers_are_an_error():
    with pytest.raises(VidcamError, match="poses are NaN"):
        way(poses((0, 0, 0), (0, 0, np.nan)), None)


def test_the_video_has_all_frames_at_the_sources_rate(make_source, make_regression, tmp_path):
    explanation = make_regression(make_source(), depth=np.ones((12, 4, 4)))
    seen = []
    notes = render_drive(explanation, tmp_path / "out.mp4", progress=lambda *done: seen.append(done))
    assert notes == ("the network tells no course: its panel is left out",)
    assert seen == [(i, 12) for i in range(1, 13)]
    with open_video(tmp_path / "out.mp4") as video:
        frames = list(video)
        assert video.info.rate == Fraction(30000, 1001)
    np.testing.assert_allclose([frame.seconds for frame in frames], explanation.seconds, atol=1e-3)
    parts = drive_scene(explanation)
    assert frames[0].pixels.shape == parts.blank.shape
    for frame, original in zip(frames, open_video(tmp_path / "source.mp4"), strict=True):
        assert np.abs(frame.pixels.astype(int) - parts.draw(original)).mean() < 6  # lossy coding only


def test_broken_heat_leaves_nothing(make_source, make_regression, tmp_path):
    explanation = make_regression(make_source())
    explanation.heat[0, 0, 0] = np.nan
    before = sorted(tmp_path.iterdir())
    with pytest.raises(VidcamError, match="NaN"):
        render_drive(explanation, tmp_path / "out.mp4")
    assert sorted(tmp_path.iterdir()) == before
