"""Procedural clips whose class, place and moment are known: they show whether an explanation is right."""

import colorsys
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vidcam.types import Floats

MOTIONS = ("left", "right", "up", "down")

_DIRECTIONS = ((-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
# Points and the valleys' radius over the points' radius: at cos(pi / points) the star is a regular polygon.
_SHAPES = ((3, math.cos(math.pi / 3)), (4, math.cos(math.pi / 4)), (5, 0.48), (32, math.cos(math.pi / 32)))
_NOISE = 3.0  # standard deviation of the camera's noise, in gray levels


@dataclass(frozen=True)
class SyntheticClip:
    """A clip and the truth about it."""

    pixels: NDArray[np.uint8]
    """(F, H, W, 3) RGB."""
    seconds: Floats
    """(F,) time of each frame."""
    rate: Fraction
    """Frames per second."""
    label: int
    """Index into `MOTIONS`."""
    boxes: Floats
    """(F, 4) left, top, right, bottom of the moving object in pixel edges: whole pixels that hold it, cut at the
    picture's border. NaN where it is absent."""
    active: NDArray[np.bool_]
    """(F,) true while the moving object is in the scene, one run of frames."""


@dataclass(frozen=True)
class _Look:
    """What the three objects of a scene look like: they are the same, so that only motion tells them apart."""

    points: int
    valley: float
    radius: float  # in picture heights
    turn: float  # radians
    color: Floats


@dataclass(frozen=True)
class _Scene:
    """Where the middles of the three objects are, `(frames, 2)` x and y in picture heights, `(2,)` for the static."""

    look: _Look
    moving: Floats
    jittering: Floats
    static: Floats
    active: NDArray[np.bool_]


def motion_clip(
    seed: int,
    *,
    label: int | None = None,
    frames: int = 64,
    width: int = 160,
    height: int = 120,
    rate: Fraction = Fraction(30),
    moving: bool = True,
) -> SyntheticClip:
    """Draw a clip in which one object crosses the scene in the direction that is the clip's class.

    The object is there for a quarter to a half of the clip. A static and a jittering object that look the same are
    there all the time. The moving object starts anywhere and, when its middle reaches a border, goes on from the
    opposite one: in every single frame its position is uniform, whatever the class. The scene is made in picture
    heights and seconds: the same seed gives the same scene at any size and frame rate of the same shape and duration.

    Args:
        seed: Fixes everything, the class too unless `label` is given, which changes nothing but the direction.
        label: Index into `MOTIONS`.
        frames: Number of frames.
        width: Pixels.
        height: Pixels.
        rate: Frames per second.
        moving: Whether the moving object is drawn; without it no frame is active and all else is the same.
    """
    rng = np.random.default_rng(seed)
    drawn = int(rng.integers(len(MOTIONS)))
    label = drawn if label is None else label
    seconds = np.arange(frames) / float(rate)
    scene = _scene(rng, label, seconds, frames / float(rate), width / height)
    backdrop = _backdrop(rng, width, height)
    active = scene.active & moving
    pixels = _film(rng, scene, backdrop, active)
    boxes = np.where(active[:, None], _boxes(scene, width, height), np.nan)
    return SyntheticClip(pixels, seconds, rate, label, boxes, active)


def _scene(rng: np.random.Generator, label: int, seconds: Floats, duration: float, aspect: float) -> _Scene:
    look = _look(rng)
    static, center = _apart(rng, look.radius, aspect)
    length = duration * rng.uniform(0.25, 0.5)
    start = rng.uniform(0, duration - length)
    active = (seconds >= start) & (seconds < start + length)
    moving = _crossing(rng, label, seconds - start, aspect)
    return _Scene(look, moving, center + _jitter(rng, seconds), static, active)


def _look(rng: np.random.Generator) -> _Look:
    points, valley = _SHAPES[rng.integers(len(_SHAPES))]
    color = colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.8, 1), rng.uniform(0.9, 1))
    radius, turn = rng.uniform(0.1, 0.14), rng.uniform(0, 2 * math.pi)
    return _Look(points, valley, radius, turn, np.asarray(color, np.float32) * 255)


def _apart(rng: np.random.Generator, radius: float, aspect: float) -> Floats:
    """Place two objects, x and y each, well inside the picture: the farthest of four random pairs."""
    pairs = rng.uniform(1.4 * radius, np.array([aspect, 1.0]) - 1.4 * radius, (4, 2, 2))
    farthest: Floats = pairs[np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=1).argmax()]
    return farthest


def _crossing(rng: np.random.Generator, label: int, since: Floats, aspect: float) -> Floats:
    """Move at constant speed on the picture's torus: its border is crossed by the middle, so half is always seen."""
    first, speed = rng.uniform(0, (aspect, 1.0)), rng.uniform(0.5, 0.9)
    path: Floats = np.mod(first + speed * since[:, None] * np.array(_DIRECTIONS[label]), (aspect, 1.0))
    return path


def _jitter(rng: np.random.Generator, seconds: Floats) -> Floats:
    """Swing about a point, at the moving object's speed but with no direction that lasts."""
    hertz, phase = rng.uniform(2, 5, (3, 1, 2)), rng.uniform(0, 2 * math.pi, (3, 1, 2))
    swing: Floats = (0.05 / hertz * np.sin(2 * math.pi * hertz * seconds[:, None] + phase)).sum(axis=0)
    return swing


def _backdrop(rng: np.random.Generator, width: int, height: int) -> Floats:
    """Shade from one muted color to another, with waves of many lengths over it."""
    y, x = (np.mgrid[:height, :width].astype(np.float32) + 0.5) / height
    angle = rng.uniform(0, 2 * math.pi)
    ramp = 0.5 + 0.5 * np.sin(1.5 * (math.cos(angle) * (x - width / height / 2) + math.sin(angle) * (y - 0.5)))
    hues, values = rng.uniform(size=2), rng.permutation([0.35, 0.65])
    one, other = (np.array(colorsys.hsv_to_rgb(h, 0.35, v)) for h, v in zip(hues, values, strict=True))
    shade = one + (other - one) * ramp[..., None] + 0.05 * _waves(rng, x, y)[..., None]
    return np.asarray(255 * shade, np.float32)


def _waves(rng: np.random.Generator, x: Floats, y: Floats, *, count: int = 16) -> Floats:
    """Sum plane waves of 1 to 12 cycles per picture height, the short ones weaker."""
    cycles, angles, phases = 12 ** rng.uniform(size=count), *rng.uniform(0, 2 * math.pi, (2, count))
    total = np.zeros_like(x)
    for k, angle, phase in zip(2 * math.pi * cycles, angles, phases, strict=True):
        total += np.sin(k * (math.cos(angle) * x + math.sin(angle) * y) + phase) / math.sqrt(k / 2)
    return total


def _film(rng: np.random.Generator, scene: _Scene, backdrop: Floats, active: NDArray[np.bool_]) -> NDArray[np.uint8]:
    _paint(backdrop, scene.look, scene.static)
    film = np.empty((len(active), *backdrop.shape), np.uint8)
    for i, frame in enumerate(film):
        picture = backdrop.copy()
        _paint(picture, scene.look, scene.jittering[i])
        if active[i]:
            _paint(picture, scene.look, scene.moving[i])
        picture += _NOISE * rng.standard_normal(picture.shape, np.float32)
        frame[:] = np.clip(picture + 0.5, 0, 255)
    return film


def _paint(picture: Floats, look: _Look, center: Floats) -> None:
    """Lay the object, lit from above and with a dark rim, over the picture in place."""
    height, width = picture.shape[:2]
    left, top = np.clip((center - look.radius) * height - 1, 0, (width, height)).astype(int)
    right, bottom = np.clip((center + look.radius) * height + 2, 0, (width, height)).astype(int)
    y, x = np.mgrid[top:bottom, left:right]
    x, y = (x + 0.5) / height - center[0], (y + 0.5) / height - center[1]
    inside = -_distance(look, x, y)
    light = np.clip(0.55 + 5 * inside / look.radius, 0, 1) * (0.9 - 0.2 * y / look.radius)
    cover = np.clip(inside * height + 0.5, 0, 1)[..., None]
    patch = picture[top:bottom, left:right]
    patch += cover * (look.color * light[..., None] - patch)


def _distance(look: _Look, x: Floats, y: Floats) -> Floats:
    """Give the signed distance from the outline, negative inside, by folding the star onto half of one point."""
    half = math.pi / look.points
    angle = np.abs(np.mod(np.arctan2(y, x) - look.turn + half, 2 * half) - half)
    reach = np.hypot(x, y)
    # From the tip on: the edge to the valley beside it, and where the pixel is.
    edge_x, edge_y = look.radius * (look.valley * math.cos(half) - 1), look.radius * look.valley * math.sin(half)
    along, across = reach * np.cos(angle) - look.radius, reach * np.sin(angle)
    part = np.clip((along * edge_x + across * edge_y) / (edge_x**2 + edge_y**2), 0, 1)
    distance: Floats = np.hypot(along - part * edge_x, across - part * edge_y)
    return np.copysign(distance, along * edge_y - across * edge_x)


def _boxes(scene: _Scene, width: int, height: int) -> Floats:
    """Frame the tips; whole pixels are enough, as a pixel is touched if its middle is under half a pixel outside."""
    tips = scene.look.turn + 2 * math.pi * np.arange(scene.look.points) / scene.look.points
    reach = scene.look.radius * np.stack([np.cos(tips), np.sin(tips)])
    low = np.floor((scene.moving + reach.min(axis=1)) * height)
    high = np.ceil((scene.moving + reach.max(axis=1)) * height)
    boxes: Floats = np.clip(np.concatenate([low, high], axis=1), 0, (width, height, width, height))
    return boxes
