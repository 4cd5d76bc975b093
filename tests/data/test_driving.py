"""The truth that comes with a synthetic drive is true: depth, poses and classes explain the pictures."""

import os

import numpy as np
import pytest

from vidcam.data.synthetic import CLASSES, SyntheticDrive, World, build_world, drive, read_truth, write_drives
from vidcam.data.synthetic.driving import DriveFrame
from vidcam.data.synthetic.road import LANE
from vidcam.errors import MediaError, OptionError
from vidcam.media import open_video

SKY, ROAD, STATIC, MOVING = range(4)
SMALL = {"size": (64, 208), "fold": 3}


@pytest.fixture(scope="module", params=[0, 5])
def world(request) -> World:
    return build_world(request.param, frames=60, size=(128, 416))


@pytest.fixture(scope="module")
def short() -> SyntheticDrive:
    return drive(4, frames=3, size=(64, 208))


def sample(picture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Interpolate `(H, W, C)` bilinearly; pixels have their middles at whole numbers."""
    j, i = np.minimum(u.astype(int), picture.shape[1] - 2), np.minimum(v.astype(int), picture.shape[0] - 2)
    a, b = (u - j)[:, None], (v - i)[:, None]
    top = picture[i, j] * (1 - a) + picture[i, j + 1] * a
    return top * (1 - b) + (picture[i + 1, j] * (1 - a) + picture[i + 1, j + 1] * a) * b


def warp(one: DriveFrame, other: DriveFrame, intrinsics: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, ...]:
    """Move the points of one frame into the other's camera; `(H, W)` mean difference of color, and whether seen there.

    Outside the other picture the difference is NaN.
    """
    v, u = np.indices(one.depth.shape)
    depth = np.where(np.isfinite(one.depth), one.depth, 1e6).astype(float)
    points = np.linalg.inv(intrinsics) @ (np.stack([u, v, np.ones_like(u)]) * depth).reshape(3, -1)
    x, y, z = intrinsics @ (motion[:3, :3] @ points + motion[:3, 3:])
    inside = (z > 0.1) & (x >= 0) & (y >= 0) & (x <= u.max() * z) & (y <= v.max() * z)
    x, y, z = x[inside] / z[inside], y[inside] / z[inside], z[inside]
    nearest = sample(np.minimum(other.depth, 1e6)[..., None].astype(float), x, y)[:, 0]
    errors, seen = np.full(u.size, np.nan), np.zeros(u.size, bool)
    errors[inside] = np.abs(sample(other.pixels.astype(float), x, y) - one.pixels.reshape(-1, 3)[inside]).mean(axis=1)
    seen[inside] = np.abs(nearest - z) < 0.02 * z
    return errors.reshape(u.shape), seen.reshape(u.shape)


def still(frame: DriveFrame) -> np.ndarray:
    return np.isin(frame.classes, (ROAD, STATIC))


def motion_between(world: World, one: int, other: int) -> np.ndarray:
    return np.linalg.inv(world.poses[other]) @ world.poses[one]


@pytest.mark.parametrize("step", [1, -1, 2])
def test_depth_and_pose_explain_what_is_static(world, step):
    one, other = world[20], world[20 + step]
    errors, seen = warp(one, other, world.intrinsics, motion_between(world, 20, 20 + step))
    compared = still(one) & seen
    assert compared.sum() > 0.6 * still(one).sum()
    assert errors[compared].mean() < 4  # interpolation alone costs 2 to 3 gray levels on such rich textures
    assert np.nanmean(warp(one, other, world.intrinsics, np.eye(4))[0][compared]) > 3 * errors[compared].mean()


@pytest.mark.parametrize("component", range(6))
def test_a_wrong_pose_explains_less(world, component):
    """Each of tx, ty, tz (0.1 m) and rx, ry, rz (0.01 rad) alone makes it worse, in both directions."""
    one, other, true = world[20], world[21], motion_between(world, 20, 21)
    right, seen = warp(one, other, world.intrinsics, true)
    for amount in (-1, 1):
        wrong, _ = warp(
            one, other, world.intrinsics, nudge(component, amount * (0.1 if component < 3 else 0.01)) @ true
        )
        compared = still(one) & seen & ~np.isnan(wrong)
        assert wrong[compared].mean() > 1.15 * right[compared].mean()


def nudge(component: int, amount: float) -> np.ndarray:
    matrix = np.eye(4)
    if component < 3:
        matrix[component, 3] = amount
        return matrix
    i, j = [(1, 2), (2, 0), (0, 1)][component - 3]
    matrix[[i, j], [i, j]] = np.cos(amount)
    matrix[i, j], matrix[j, i] = -np.sin(amount), np.sin(amount)
    return matrix


def test_moving_vehicles_do_not_follow_the_static_warp(world):
    errors, moving = [], []
    for frame in range(0, 50, 8):
        one, other = world[frame], world[frame + 2]
        difference, _ = warp(one, other, world.intrinsics, motion_between(world, frame, frame + 2))
        inside = ~np.isnan(difference)
        errors.append(difference[still(one) & inside].mean())
        moving.append(difference[(one.classes == MOVING) & inside])
    assert np.concatenate(moving).mean() > 2 * np.mean(errors)  # what is occluded counts on both sides


def test_moving_vehicles_have_a_motion_of_their_own(world):
    for car in world.traffic.along:
        assert np.abs(np.diff(car - world.along)).max() > 0.05  # no vehicle stays at one distance ahead


def test_ground_depth_by_hand():
    """A level camera 1.6 m above the ground sees it at Z = 1.6 fy / (v - cy)."""
    level = build_world(2, frames=2, wobble=0, **SMALL)
    frame, k = level[1], level.intrinsics
    for row in (45, 63):
        road = frame.classes[row] == ROAD
        assert road.sum() > 20
        assert frame.depth[row, road] == pytest.approx(1.6 * k[1, 1] / (row - k[1, 2]), rel=1e-6)
    assert np.all(np.isinf(frame.depth) == (frame.classes == SKY))


def test_box_depth_by_hand():
    """Along the ray of each pixel of a solid, the point at its depth lies on the box's or ellipsoid's surface."""
    world = build_world(1, frames=1, **SMALL)
    frame, solids = world[0], world.solids(0)
    v, u = np.indices(frame.depth.shape)
    rays = np.linalg.inv(world.intrinsics) @ np.stack([u.ravel(), v.ravel(), np.ones(u.size)])
    pose = world.cameras[0]
    points = (pose[:3, :3] @ (rays * np.minimum(frame.depth, 1e4).ravel()) + pose[:3, 3:]).T
    off = np.full(u.size, np.inf)
    for center, heading, half, is_round in zip(solids.center, solids.heading, solids.half, solids.round, strict=True):
        x, y, z = (points - center).T
        own = np.stack([x * np.cos(heading) - z * np.sin(heading), y, x * np.sin(heading) + z * np.cos(heading)], 1)
        size = np.linalg.norm(own / half, axis=1) if is_round else np.abs(own / half).max(axis=1)
        off = np.minimum(off, np.abs(size - 1) * half.min())
    above = (points[:, 1] < -0.01) & np.isfinite(frame.depth).ravel()
    assert above.sum() > 0.3 * u.size
    assert off[above].max() < 1e-3


def test_classes_part_the_picture(world):
    frame = world[30]
    shares = np.bincount(frame.classes.ravel(), minlength=len(CLASSES)) / frame.classes.size
    assert len(shares) == len(CLASSES) and shares.sum() == pytest.approx(1)
    assert 0.005 < shares[SKY] < 0.3 and 0.08 < shares[ROAD] < 0.4 and shares[STATIC] > 0.4 and 0.002 < shares[MOVING]
    assert not (build_world(0, frames=1, vehicles=0, **SMALL)[0].classes == MOVING).any()


def test_vehicles_change_nothing_behind_them():
    with_, without = (build_world(6, frames=4, vehicles=n, **SMALL)[3] for n in (3, 0))
    moving = with_.classes == MOVING
    assert moving.any() and np.array_equal(with_.depth[~moving], without.depth[~moving])
    assert np.all(with_.depth[moving] < without.depth[moving])
    near = moving.copy()  # rays of a pixel may meet a vehicle that its middle misses
    near[1:] |= moving[:-1]
    near[:-1] |= moving[1:]
    near[:, 1:] |= near[:, :-1].copy()
    near[:, :-1] |= near[:, 1:].copy()
    assert np.array_equal(with_.pixels[~near], without.pixels[~near])


def test_textures_are_rich_everywhere(world):
    """Hardly any 16 x 16 block without sky is flat."""
    frame = world[10]
    blocks = frame.pixels.mean(axis=-1).reshape(8, 16, 26, 16).std(axis=(1, 3))
    sky = (frame.classes == SKY).reshape(8, 16, 26, 16).any(axis=(1, 3))
    assert np.quantile(blocks[~sky], 0.02) > 4


def test_the_way_really_turns():
    for seed in range(3):
        world = build_world(seed, frames=400, size=(2, 2))
        heading = np.unwrap(np.arctan2(world.cameras[:, 0, 2], world.cameras[:, 2, 2]))
        rate = np.degrees(np.diff(heading)) * 10
        assert rate.max() > 8 and rate.min() < -8 and np.abs(rate).max() < 22
        assert np.mean(np.abs(rate) > 5) > 0.4
        speed = np.linalg.norm(np.diff(world.cameras[:, :3, 3], axis=0), axis=1) * 10
        assert 2.5 < speed.min() < 6 and 8 < speed.max() < 13
        assert np.degrees(np.abs(heading)).max() < 60


def test_camera_looks_where_it_goes():
    """Between two frames the camera moves forward, hardly sideways: the pose's z axis is the way's direction."""
    world = build_world(3, frames=100, size=(2, 2), wobble=0)
    steps = np.linalg.inv(world.poses[:-1]) @ world.poses[1:]
    assert np.all(steps[:, 2, 3] > 0.25)
    assert np.abs(steps[:, 0, 3] / steps[:, 2, 3]).max() < 0.05
    assert np.abs(steps[:, 1, 3]).max() < 1e-12
    assert np.array_equal(world.poses[0], np.eye(4))


def test_nothing_stands_in_the_way():
    for seed in range(3):
        world = build_world(seed, frames=100, size=(2, 2), vehicles=4)
        for frame in range(0, 100, 7):
            solids, camera = world.solids(frame), world.cameras[frame, :3, 3]
            assert clearance(solids, camera[None, [0, 2]]).min() > 0.8
            static = solids.chosen(~solids.moving & (solids.center[:, 1] + solids.half[:, 1] > -1.4))
            for car in np.flatnonzero(solids.moving):
                assert clearance(static, outline(solids, car)).min() > 0.2


def outline(solids, index: int) -> np.ndarray:
    """`(N, 2)` x and z of points along a box's outline."""
    edge = np.linspace(-1, 1, 9)
    ring = np.concatenate([np.stack(p, 1) for s in (-1, 1) for p in ((edge, s + 0 * edge), (s + 0 * edge, edge))])
    x, z = (ring * solids.half[index, [0, 2]]).T
    sine, cosine = np.sin(solids.heading[index]), np.cos(solids.heading[index])
    return np.stack([x * cosine + z * sine, z * cosine - x * sine], 1) + solids.center[index, [0, 2]]


def clearance(solids, places: np.ndarray) -> np.ndarray:
    """`(N,)` least horizontal distance of each solid from the places, 0 inside."""
    x, z = (places[:, None] - solids.center[None][..., [0, 2]]).transpose(2, 0, 1)
    sine, cosine = np.sin(solids.heading), np.cos(solids.heading)
    own = np.stack([x * cosine - z * sine, x * sine + z * cosine], axis=-1)
    return np.linalg.norm(np.maximum(np.abs(own) - solids.half[:, [0, 2]], 0), axis=-1).min(axis=0)


def test_seed_fixes_everything(short):
    again, other = drive(4, frames=3, size=(64, 208)), drive(5, frames=3, size=(64, 208))
    for name in ("pixels", "depth", "classes", "intrinsics", "poses", "seconds"):
        assert np.array_equal(getattr(short, name), getattr(again, name))
    assert not np.array_equal(short.pixels, other.pixels)
    assert np.abs(short.poses[1:] - other.poses[1:]).max() > 1e-3


def test_more_frames_go_on(short):
    longer = build_world(4, frames=40, size=(64, 208))
    assert np.array_equal(longer.poses[:3], short.poses)
    assert all(np.array_equal(a, b) for a, b in zip(longer[2], short[2], strict=True))


def test_size_and_rate_do_not_change_the_way():
    slow = build_world(4, frames=5, size=(64, 208), rate=5)
    fast = build_world(4, frames=9, size=(128, 416), rate=10)
    assert slow.poses == pytest.approx(fast.poses[::2], abs=1e-12)
    assert slow.seconds == pytest.approx(fast.seconds[::2])
    assert fast.intrinsics[0, 0] == pytest.approx(2 * slow.intrinsics[0, 0])


def test_written_in_the_layout_of_kitti(tmp_path, short):
    (folder,) = write_drives(tmp_path, {"00": short})
    assert folder == tmp_path / "sequences" / "00"
    for index in range(3):
        depth, classes = read_truth(folder, index)
        assert np.array_equal(depth, short.depth[index]) and np.array_equal(classes, short.classes[index])
    with open_video(folder / "image_2") as video:
        assert np.array_equal(np.stack([frame.pixels for frame in video]), short.pixels)
    rows = np.loadtxt(tmp_path / "poses" / "00.txt")
    assert rows.shape == (3, 12) and np.array_equal(rows.reshape(3, 3, 4), short.poses[:, :3])
    assert np.array_equal(rows[0], np.eye(4)[:3].ravel())
    assert np.loadtxt(folder / "times.txt") == pytest.approx(short.seconds)
    lines = [line.split() for line in (folder / "calib.txt").read_text().splitlines()]
    assert [line[0] for line in lines] == ["P0:", "P1:", "P2:", "P3:", "Tr:"]
    assert all(len(line) == 13 for line in lines)
    projection = np.array(lines[2][1:], float).reshape(3, 4)
    assert np.array_equal(projection[:, :3], short.intrinsics) and not projection[:, 3].any()


def test_a_world_is_written_like_its_drive(tmp_path, short):
    for name, drawn in (("a", short), ("b", build_world(4, frames=3, size=(64, 208)))):
        write_drives(tmp_path, {name: drawn})
    one, other = (sorted((tmp_path / "sequences" / name).rglob("*.*")) for name in "ab")
    assert len(one) == 3 * 3 + 2
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_an_existing_drive_needs_force(tmp_path, short):
    (folder,) = write_drives(tmp_path, {"00": short})
    before = sorted(tmp_path.rglob("*"))
    (folder / "times.txt").write_text("mine")
    with pytest.raises(MediaError, match="exists already"):
        write_drives(tmp_path, {"01": short, "00": short})
    assert sorted(tmp_path.rglob("*")) == before and (folder / "times.txt").read_text() == "mine"
    write_drives(tmp_path, {"00": short}, force=True)
    assert sorted(tmp_path.rglob("*")) == before and (folder / "times.txt").read_text() != "mine"


def test_a_failed_drive_leaves_nothing(tmp_path, short):
    class Broken(SyntheticDrive):
        def __getitem__(self, frame: int) -> DriveFrame:
            if frame == 1:
                raise RuntimeError("broken")
            return super().__getitem__(frame)

    with pytest.raises(RuntimeError, match="broken"):
        write_drives(tmp_path, {"00": Broken(**vars(short))})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not list((tmp_path / "sequences").iterdir())


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/x", "a/", "a\\b", " 00", "00 ", "0\0"])
def test_a_name_that_is_none_touches_nothing(tmp_path, short, name):
    root = tmp_path / "root"
    write_drives(root, {"00": short})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(MediaError, match="cannot be the name of a drive"):
        write_drives(root, {"00": short, name: short}, force=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_an_old_drive_is_back_where_the_new_one_cannot_take_its_place(tmp_path, short, monkeypatch):
    (folder,) = write_drives(tmp_path, {"00": short})
    (folder / "times.txt").write_text("mine")
    before, replace = sorted(tmp_path.rglob("*")), os.replace

    def full(source, target):
        if str(source).endswith(".part") and target == folder:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(MediaError, match=r"cannot write the drive '00' to .*: No space left"):
        write_drives(tmp_path, {"00": short}, force=True)
    assert sorted(tmp_path.rglob("*")) == before and (folder / "times.txt").read_text() == "mine"


def test_a_linked_drive_is_replaced_and_what_it_links_to_is_kept(tmp_path, short):
    (linked,) = write_drives(tmp_path / "other", {"00": short})
    (tmp_path / "sequences").mkdir()
    (tmp_path / "sequences" / "00").symlink_to(linked)
    (folder,) = write_drives(tmp_path, {"00": short}, force=True)
    assert not folder.is_symlink() and list(folder.parent.iterdir()) == [folder]
    assert (linked / "times.txt").is_file() and (folder / "times.txt").is_file()


def test_mistakes_are_told_in_one_line(tmp_path, short):
    for name, value in (("frames", 0), ("size", (1, 5)), ("rate", 0), ("vehicles", -1), ("fold", 0)):
        with pytest.raises(OptionError, match=f"^{name} of a synthetic drive is .*; possible: "):
            build_world(0, **{name: value})
    with pytest.raises(MediaError, match="cannot read the truth of frame 7"):
        read_truth(tmp_path, 7)
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot write the drive '00'"):
        write_drives(tmp_path / "file", {"00": short})


def test_camera_drives_on_the_right(world):
    along, across = world.shader.ground.locate(world.cameras[:, 0, 3], world.cameras[:, 2, 3]).T
    assert across == pytest.approx(LANE, abs=0.02)
    assert along == pytest.approx(world.along, abs=0.1)
