import numpy as np
import pytest

from vidcam.data.drives.intrinsics import cropped, mirrored, parse_intrinsics, read_calibration, resized, stretched
from vidcam.errors import MediaError, OptionError

K = np.array([[707.0912, 0, 601.8873], [0, 707.0912, 183.1104], [0, 0, 1]])


def project(intrinsics, points):
    """Points (N, 3) in front of the camera -> pixels (N, 2)."""
    pixels = points @ intrinsics.T
    return pixels[:, :2] / pixels[:, 2:]


@pytest.fixture
def points():
    return np.random.default_rng(0).uniform((-5, -2, 4), (5, 2, 30), (50, 3))


def test_resizing_is_plain_multiplication():
    found = resized(K, 416 / 1226, 128 / 370)
    assert found[[0, 1, 0, 1], [0, 1, 2, 2]] == pytest.approx([239.927, 244.615, 204.229, 63.346], abs=5e-4)


def test_stretching_follows_the_middles_of_pixels(points):
    """By hand: the half-pixel-exact principal point of KITTI's 04 to 12 at 416x128 is 203.899, 63.019."""
    found = stretched(K, 416 / 1226, 128 / 370)
    assert found[[0, 1], 2] == pytest.approx([203.899, 63.019], abs=5e-4)
    wanted = (project(K, points) + 0.5) * (416 / 1226, 128 / 370) - 0.5
    assert np.allclose(project(found, points), wanted)


def test_crops_and_mirror_images_move_pixels_as_they_should(points):
    skewed = K + np.array([[0, 3.0, 0], [0, 0, 0], [0, 0, 0]])
    before = project(skewed, points)
    assert np.allclose(project(cropped(skewed, left=7, top=2), points), before - (7, 2))
    # A camera that sees the mirrored world takes the mirrored picture: pixel u goes to W - 1 - u.
    seen = project(mirrored(skewed, 1226), points * (-1, 1, 1))
    assert np.allclose(seen, np.stack([1225 - before[:, 0], before[:, 1]], axis=1))


def test_nothing_is_changed_in_place():
    kept = K.copy()
    for change in (resized(K, 2, 2), stretched(K, 2, 2), cropped(K, left=1, top=1), mirrored(K, 9)):
        assert not np.array_equal(change, kept)
    assert np.array_equal(K, kept)


@pytest.mark.parametrize("text", ["707.0912,707.0912,601.8873,183.1104", "707.0912 707.0912 601.8873 183.1104"])
def test_four_numbers(text):
    assert np.array_equal(parse_intrinsics(text), K)


@pytest.mark.parametrize("separator", [" ", ","])
def test_a_file_of_nine_numbers(tmp_path, separator):
    (tmp_path / "cam.txt").write_text("\n".join(separator.join(map(repr, row)) for row in K.tolist()))
    assert np.array_equal(parse_intrinsics(tmp_path / "cam.txt"), K)
    assert np.array_equal(parse_intrinsics(str(tmp_path / "cam.txt")), K)


@pytest.mark.parametrize(
    ("given", "about"),
    [
        (np.eye(2), "3 by 3 finite numbers"),
        (np.diag([np.nan, 1, 1]), "3 by 3 finite numbers"),
        (np.diag([0.0, 1, 1]), "positive focal lengths"),
        (np.ones((3, 3)), "0 fy cy, 0 0 1"),
        ("1,2,3", "fx,fy,cx,cy"),
        ("1,2,inf,4", "fx,fy,cx,cy"),
        ("0,2,3,4", "positive focal lengths"),
    ],
)
def test_what_are_no_intrinsics(given, about):
    with pytest.raises(OptionError, match=about) as caught:
        parse_intrinsics(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "1 2 3", "1 0 0 0 1 0 0 0 nan", "a b c d e f g h i", "0 0 0 0 0 0 0 0 1"])
def test_malformed_files(tmp_path, text):
    (tmp_path / "cam.txt").write_text(text)
    with pytest.raises(MediaError, match=r"cam\.txt") as caught:
        parse_intrinsics(tmp_path / "cam.txt")
    assert "\n" not in str(caught.value)


def test_an_absent_file(tmp_path):
    with pytest.raises(MediaError, match=r"cannot read .*nowhere\.txt"):
        parse_intrinsics(tmp_path / "nowhere.txt")


def test_calibration(tmp_path):
    path = tmp_path / "calib.txt"
    path.write_text("P0: " + " ".join(map(str, range(12))) + "\n\nTr: " + "1 " * 12 + "\ncalib_time: 09-Jan-2012\n")
    found = read_calibration(path)
    assert list(found) == ["P0", "Tr"] and np.array_equal(found["P0"], np.arange(12.0).reshape(3, 4))


@pytest.mark.parametrize("line", ["P1: 1 2 3", "P1 " + "1 " * 12, "P1: " + "x " * 12, "P1: " + "nan " * 12])
def test_a_malformed_line_is_named(tmp_path, line):
    path = tmp_path / "calib.txt"
    path.write_text("P0: " + "1 " * 12 + "\n" + line + "\n")
    with pytest.raises(MediaError, match=r"calib\.txt, line 2: ") as caught:
        read_calibration(path)
    assert "\n" not in str(caught.value)
