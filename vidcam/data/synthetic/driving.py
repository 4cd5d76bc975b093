"""A drive through a procedural street of which all is known: poses, depth, what each pixel shows; and its files."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vidcam.data.drives.trajectory import Trajectory, write_kitti
from vidcam.data.synthetic.camera import GROUND, SKY, PinholeCamera, RayHits, Shader, cast
from vidcam.data.synthetic.road import EDGE, LANE, Road, survey, wind
from vidcam.data.synthetic.scenery import Solids, Traffic, furnish, joined, send
from vidcam.data.synthetic.tiles import paint_tiles
from vidcam.errors import MediaError, OptionError
from vidcam.media.files import replacing_folder
from vidcam.media.source import reason
from vidcam.types import Floats

CLASSES = ("sky", "road", "static", "moving")

_HEIGHT = 1.6  # of the camera above the ground, in metres
_REACH = 130.0  # how far ahead things are drawn
_TURNING = 0.3  # the yaw rate in radians per second that the driver slows down for


class DriveFrame(NamedTuple):
    """One frame of a `SyntheticDrive`, and the truth about it."""

    pixels: NDArray[np.uint8]
    depth: NDArray[np.float32]
    classes: NDArray[np.uint8]


@dataclass(frozen=True)
class SyntheticDrive:
    """A drive and the truth about it."""

    pixels: NDArray[np.uint8]  # (F, H, W, 3) RGB
    depth: NDArray[np.float32]  # (F, H, W) metres along the optical axis, infinite in the sky
    classes: NDArray[np.uint8]  # (F, H, W) indices into `CLASSES`
    intrinsics: Floats  # (3, 3); pixel (u, v) has its middle at whole numbers and looks along inv(K) (u, v, 1)
    poses: Floats  # (F, 4, 4) camera to world, the first the identity: x right, y down, z forward, metres
    seconds: Floats  # (F,) time of each frame

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, frame: int) -> DriveFrame:
        return DriveFrame(self.pixels[frame], self.depth[frame], self.classes[frame])


@dataclass(frozen=True)
class World:
    """A street with a camera on its way through it: frames are rendered as they are asked for, see `SyntheticDrive`."""

    size: tuple[int, int]
    fold: int  # rays per pixel and axis for the colors
    intrinsics: Floats
    cameras: Floats  # (F, 4, 4) camera to the world: x east, y down with the ground at 0, z north, metres
    along: Floats  # (F,) the camera's distance along the road
    seconds: Floats
    scenery: Solids
    traffic: Traffic
    shader: Shader

    @property
    def poses(self) -> Floats:
        """Give `(F, 4, 4)` camera to the first camera."""
        poses: Floats = np.linalg.inv(self.cameras[0]) @ self.cameras
        poses[0] = np.eye(4)
        return poses

    def __len__(self) -> int:
        return len(self.seconds)

    def __getitem__(self, frame: int) -> DriveFrame:
        """Render one frame."""
        if not 0 <= frame < len(self):
            raise IndexError(f"frame {frame} of {len(self)}")
        solids = self.solids(frame)
        camera = PinholeCamera(self.cameras[frame], self.intrinsics, self.size)
        many = PinholeCamera(camera.pose, self.intrinsics, self.size, self.fold)
        exact = cast(camera, solids)
        pixels = self.shader.shade(many, solids, exact if self.fold == 1 else cast(many, solids))
        return DriveFrame(pixels, exact.depth.astype(np.float32), self._classes(camera, solids, exact))

    def solids(self, frame: int) -> Solids:
        """Give all that stands or drives in the camera's reach in one frame."""
        pose = self.cameras[frame]
        offset = self.scenery.center - pose[:3, 3]
        size = np.linalg.norm(self.scenery.half, axis=1)
        ahead = offset @ pose[:3, 2]
        near = self.scenery.chosen((ahead > -size) & (np.linalg.norm(offset, axis=1) < _REACH + size))
        return joined([near, *self.traffic.at(frame, float(self.along[frame]), reach=_REACH)])

    def _classes(self, camera: PinholeCamera, solids: Solids, hits: RayHits) -> NDArray[np.uint8]:
        x, _, z = camera.rays()
        ground = hits.surface == GROUND
        depth = hits.depth[ground]
        places = (start + depth * ray[ground] for start, ray in zip(camera.pose[[0, 2], 3], (x, z), strict=True))
        classes = np.full(hits.surface.shape, CLASSES.index("static"), np.uint8)
        classes[hits.surface == SKY] = CLASSES.index("sky")
        across = np.abs(self.shader.ground.locate(*places)[:, 1])
        classes[ground] = np.where(across < EDGE, CLASSES.index("road"), CLASSES.index("static"))
        classes[np.append(solids.moving, (False, False))[hits.surface]] = CLASSES.index("moving")
        return classes


def drive(seed: int, **choices: Any) -> SyntheticDrive:
    """Drive along a winding street and film it, by the choices of `build_world`, which renders in constant memory."""
    world = build_world(seed, **choices)
    pixels, depth, classes = (np.stack(part) for part in zip(*map(world.__getitem__, range(len(world))), strict=True))
    return SyntheticDrive(pixels, depth, classes, world.intrinsics, world.poses, world.seconds)


def build_world(
    seed: int,
    *,
    frames: int = 100,
    size: tuple[int, int] = (128, 416),
    rate: float = 10,
    vehicles: int = 2,
    wobble: float = 1.0,
    fold: int = 2,
) -> World:
    """Build a street and a camera's way through it.

    Houses, trees, poles and parked cars stand beside the road; vehicles drive ahead of the camera and towards it. The
    class `road` is the ground between the kerbs with its marks; pavement and grass are `static`. Textures have no
    shadows or reflections: what is static looks the same from everywhere.

    Args:
        seed: Fixes everything; whatever the other choices, street and way are the same, and more frames go on.
        frames: Number of frames.
        size: Height and width in pixels.
        rate: Frames per second.
        vehicles: How many moving vehicles are near the camera at a time; the first half drives ahead of it.
        wobble: Factor of the camera's nodding, rolling, and bobbing; without them it is level and 1.6 m high.
        fold: Rays per pixel and axis for the colors; depth and classes are those of the pixel's middle.

    Raises:
        OptionError: a number is out of range.
    """
    _check(frames, size, rate, vehicles, fold)
    streets, ways, looks, cars = (np.random.default_rng((seed, part)) for part in range(4))
    seconds = np.arange(frames) / rate
    road = wind(streets, -60, 12 * seconds[-1] + 160)
    along = _travel(ways, road, seconds)
    scenery = furnish(streets, road, -25, along[-1] + _REACH)
    traffic = send(cars, road, along, seconds, vehicles)
    shader = Shader(paint_tiles(looks), survey(road), _sun(looks))
    cameras = _cameras(ways, road, along, seconds, wobble)
    return World(size, fold, _intrinsics(size), cameras, along, seconds, scenery, traffic, shader)


def _intrinsics(size: tuple[int, int]) -> Floats:
    """Give the view of KITTI's color cameras, about 82 degrees wide."""
    height, width = size
    focal = 0.577 * width
    return np.array([(focal, 0, (width - 1) / 2), (0, focal, (height - 1) / 2), (0, 0, 1)])


def _sun(rng: np.random.Generator) -> NDArray[np.float32]:
    east, up = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 1.0)
    flat = math.cos(up)
    return np.array((flat * math.cos(east), -math.sin(up), flat * math.sin(east)), np.float32)


def _travel(rng: np.random.Generator, road: Road, seconds: Floats) -> Floats:
    """Give the distance along the road at each time: 3 to 12 m/s, slower in bends."""
    step = 0.02
    count = math.ceil(seconds[-1] / step) + 2
    times = step * np.arange(count)
    swing, period = np.array([(2.8,), (1.2,)]), rng.uniform(((9,), (4,)), ((14,), (6,)))
    wished = 7.7 + (swing * np.sin(2 * math.pi * (times / period + rng.uniform(size=(2, 1))))).sum(axis=0)
    along = np.zeros(count)
    for k in range(count - 1):
        bend = float(road.curvature(along[k])) / _TURNING
        along[k + 1] = along[k] + step * max(3.0, (wished[k] ** -4 + bend**4) ** -0.25)
    return np.interp(seconds, times, along)


def _cameras(rng: np.random.Generator, road: Road, along: Floats, seconds: Floats, wobble: float) -> Floats:
    """Give `(F, 4, 4)` poses in the right lane, looking along the way, with some nodding, rolling and bobbing."""
    place = road.place(along, LANE)
    pitch, roll, lift = wobble * np.array((0.010, 0.008, 0.03))[:, None] * _swaying(rng, seconds)
    poses = np.tile(np.eye(4), (len(seconds), 1, 1))
    poses[:, :3, :3] = _about(1, road.heading(along)) @ _about(0, pitch) @ _about(2, roll)
    poses[:, :3, 3] = np.stack([place[:, 0], -_HEIGHT - lift, place[:, 1]], axis=1)
    return poses


def _swaying(rng: np.random.Generator, seconds: Floats) -> Floats:
    """Give `(3, F)` smooth swings between -1 and 1 of half a second to three seconds."""
    hertz, phase = rng.uniform((0.3, 0.9), (0.6, 1.6), (3, 2)), rng.uniform(0, 2 * math.pi, (3, 2))
    swings = np.sin(2 * math.pi * hertz[..., None] * seconds + phase[..., None])
    return np.asarray(0.7 * swings[:, 0] + 0.3 * swings[:, 1])


def _about(axis: int, angle: Floats) -> Floats:
    """Give `(F, 3, 3)` turns about x, y or z."""
    one, other = (axis + 1) % 3, (axis + 2) % 3
    turns = np.tile(np.eye(3), (len(angle), 1, 1))
    turns[:, one, one] = turns[:, other, other] = np.cos(angle)
    turns[:, other, one], turns[:, one, other] = np.sin(angle), -np.sin(angle)
    return turns


def _check(frames: int, size: tuple[int, int], rate: float, vehicles: int, fold: int) -> None:
    possible = {
        "frames": (frames, frames >= 1, "1 or more"),
        "size": (size, min(size) >= 2, "a height and a width of 2 or more"),
        "rate": (rate, rate > 0, "more than 0"),
        "vehicles": (vehicles, vehicles >= 0, "0 or more"),
        "fold": (fold, 1 <= fold <= 8, "1 to 8"),
    }
    for name, (given, right, range_) in possible.items():
        if not right:
            raise OptionError(f"{name} of a synthetic drive is {given}; possible: {range_}")


Drawn = SyntheticDrive | World | int
SEPARATORS = "/\\\0"  # of paths, on any system, and what ends a path


def write_drives(root: str | Path, drives: Mapping[str, Drawn], *, force: bool = False) -> list[Path]:
    """Write drives as KITTI odometry sequences and give their folders.

    Worlds are rendered as they are written, in constant memory; a number is the seed of a world of 100 frames.

    Below `root`, `sequences/NAME` holds `image_2/000000.png` and so on, `calib.txt`, `times.txt`, and of each frame
    `depth/000000.npy` (`(H, W)` float32, metres along the optical axis, infinite in the sky) and `masks/000000.png`
    (gray levels are indices into `CLASSES`); `poses/NAME.txt` holds the poses. All four cameras of `calib.txt` are the
    same one.

    Raises:
        MediaError: a drive of that name exists and `force` is not set, it cannot be written, or a name is no plain one.
    """
    root = Path(root)
    for name in drives:
        _check_name(root, name, force=force)
    return [_write(root, name, drive) for name, drive in drives.items()]


def read_truth(folder: str | Path, frame: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Read depth `(H, W)` in metres and indices into `CLASSES` `(H, W)` of a frame of a written drive.

    Raises:
        MediaError: there is no truth of that frame, or it is none.
    """
    depth, mask = Path(folder) / "depth" / f"{frame:06d}.npy", Path(folder) / "masks" / f"{frame:06d}.png"
    try:
        meters = np.load(depth, allow_pickle=False)
        with Image.open(mask) as picture:
            classes = np.asarray(picture.convert("L"))
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise MediaError(f"cannot read the truth of frame {frame} in {folder}: {reason(error)}") from None
    if meters.shape != classes.shape or meters.dtype != np.float32 or classes.max() >= len(CLASSES):
        raise MediaError(f"{depth} and {mask} are not depth (float32) and classes (below {len(CLASSES)}) of one frame")
    return meters, classes


def _check_name(root: Path, name: str, *, force: bool) -> None:
    """Refuse before any work is done."""
    if name in ("", ".", "..") or name != name.strip() or any(character in name for character in SEPARATORS):
        raise MediaError(f"{name!r} cannot be the name of a drive; possible: a plain file name such as '00'")
    for path in (root / "sequences" / name, root / "poses" / f"{name}.txt"):
        if os.path.lexists(path) and not force:
            raise MediaError(f"{path} exists already; use force=True to replace it")


def _write(root: Path, name: str, drawn: Drawn) -> Path:
    drive = build_world(drawn) if isinstance(drawn, int) else drawn
    folder, poses = root / "sequences" / name, root / "poses" / f"{name}.txt"
    try:
        poses.parent.mkdir(parents=True, exist_ok=True)
        with replacing_folder(folder) as part:
            _write_frames(part, drive)
            (part / "calib.txt").write_text(_calibration(drive.intrinsics))
            (part / "times.txt").write_text("".join(f"{second:.6e}\n" for second in drive.seconds))
            write_kitti(poses, Trajectory(drive.poses), force=True)
    except OSError as error:
        raise MediaError(f"cannot write the drive {name!r} to {root}: {reason(error)}") from None
    return folder


def _write_frames(folder: Path, drive: SyntheticDrive | World) -> None:
    for kind in ("image_2", "depth", "masks"):
        (folder / kind).mkdir()
    for index in range(len(drive)):
        frame = drive[index]
        Image.fromarray(frame.pixels).save(folder / "image_2" / f"{index:06d}.png")
        np.save(folder / "depth" / f"{index:06d}.npy", frame.depth)
        Image.fromarray(frame.classes).save(folder / "masks" / f"{index:06d}.png")


def _calibration(intrinsics: Floats) -> str:
    projection = _row(np.column_stack([intrinsics, np.zeros(3)]))
    laser = _row(np.array([(0.0, -1, 0, 0), (0, 0, -1, 0), (1, 0, 0, 0)]))  # x forward, y left, z up
    return "".join(f"P{camera}: {projection}\n" for camera in range(4)) + f"Tr: {laser}\n"


def _row(matrix: Floats) -> str:
    """Write `(3, 4)` in a row, with all digits: what is read is what was computed."""
    return " ".join(f"{value:.16e}" for value in np.ravel(matrix).tolist())
