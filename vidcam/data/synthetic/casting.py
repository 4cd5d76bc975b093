"""Which surface each ray of a camera meets first, and how far away."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidcam.data.synthetic.scenery import Solids
from vidcam.types import Floats

SKY, GROUND = -2, -1
_NEAR = 0.05  # nothing is seen nearer than this, in metres
_EDGES = [(i, i ^ bit) for i in range(8) for bit in (1, 2, 4) if not i & bit]


@dataclass(frozen=True)
class PinholeCamera:
    """A pinhole camera: pixel (u, v) has its middle at whole numbers and looks along `inv(K) (u, v, 1)`."""

    pose: Floats  # (4, 4) camera to world: x right, y down, z forward; the ground is at y = 0
    intrinsics: Floats
    size: tuple[int, int]
    fold: int = 1  # rays per pixel and axis

    def rays(self) -> tuple[Floats, Floats, Floats]:
        """Give x, y, z in the world of every ray, `(H fold, W fold)` each, one metre deep along the optical axis."""
        across, down = (self.places(count) for count in self.size[::-1])
        inverse = self.pose[:3, :3] @ np.linalg.inv(self.intrinsics)
        kind = np.float64 if self.fold == 1 else np.float32
        x, y, z = (((a * across)[None, :] + (b * down)[:, None] + c).astype(kind, copy=False) for a, b, c in inverse)
        return x, y, z

    def places(self, count: int) -> Floats:
        """Give the coordinates of the rays along an axis of so many pixels."""
        return (np.arange(count * self.fold) + 0.5) / self.fold - 0.5


@dataclass(frozen=True)
class RayHits:
    """The first surface on each ray of a camera, `(H, W)` each."""

    depth: Floats  # metres along the optical axis, infinite in the sky
    surface: NDArray[np.int32]  # index of the solid, `GROUND` or `SKY`


def cast(camera: PinholeCamera, solids: Solids) -> RayHits:
    """Find what each ray of the camera meets first."""
    x, y, z = camera.rays()
    with np.errstate(divide="ignore"):
        depth = np.where(y > 0, -camera.pose[1, 3] / y, np.inf).astype(x.dtype)
    surface = np.where(np.isfinite(depth), GROUND, SKY).astype(np.int32)
    for index, (top, bottom, left, right) in _frame(camera, solids):
        window = slice(top, bottom), slice(left, right)
        near = _meet(camera, solids, index, (x[window], y[window], z[window]))
        nearer = near < depth[window]
        depth[window][nearer] = near[nearer]
        surface[window][nearer] = index
    return RayHits(depth, surface)


def _meet(camera: PinholeCamera, solids: Solids, index: int, rays: tuple[Floats, ...]) -> Floats:
    """Give the depth at which rays enter one solid, infinite where they pass by."""
    sine, cosine = float(np.sin(solids.heading[index])), float(np.cos(solids.heading[index]))
    place = camera.pose[:3, 3] - solids.center[index]
    origin, own = ((x * cosine - z * sine, y, x * sine + z * cosine) for x, y, z in (place, rays))  # in its own axes
    meet = _meet_ellipsoid if solids.round[index] else _meet_box
    return meet(np.array(origin), own, solids.half[index])


def _meet_box(origin: Floats, rays: tuple[Floats, ...], half: Floats) -> Floats:
    """Intersect the three pairs of planes."""
    enter, leave = np.full_like(rays[0], _NEAR), np.full_like(rays[0], np.inf)
    for start, ray, extent in zip(origin.tolist(), rays, half.tolist(), strict=True):
        inverse = 1 / np.where(np.abs(ray) < 1e-9, ray.dtype.type(1e-9), ray)
        one, other = (-extent - start) * inverse, (extent - start) * inverse
        np.maximum(enter, np.minimum(one, other), out=enter)
        np.minimum(leave, np.maximum(one, other), out=leave)
    return np.where(enter < leave, enter, np.inf)


def _meet_ellipsoid(origin: Floats, rays: tuple[Floats, ...], half: Floats) -> Floats:
    """Solve the quadratic equation of the unit sphere in stretched axes."""
    starts = (origin / half).tolist()
    scaled = [ray * (1 / extent) for ray, extent in zip(rays, half.tolist(), strict=True)]
    square = sum(ray * ray for ray in scaled)
    mixed = sum(ray * start for ray, start in zip(scaled, starts, strict=True))
    under = mixed * mixed - square * (sum(start * start for start in starts) - 1)
    near = (-mixed - np.sqrt(np.maximum(under, 0))) / square
    return np.where((under > 0) & (near > _NEAR), near, np.inf)


def _frame(camera: PinholeCamera, solids: Solids) -> list[tuple[int, tuple[int, int, int, int]]]:
    """Give the solids in view with the rows and columns of rays that may meet them."""
    limits = [count * camera.fold for count in camera.size]
    framed = []
    for index, box in enumerate(_corners(camera, solids)):
        points = _in_front(box)
        if len(points):
            window = _window(camera, points[:, :2] / points[:, 2:], limits)
            if window[0] < window[1] and window[2] < window[3]:
                framed.append((index, window))
    return framed


def _corners(camera: PinholeCamera, solids: Solids) -> Floats:
    """Give `(N, 8, 3)` corners projected by the intrinsics, not yet divided by their depth."""
    signs = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    own = signs * solids.half[:, None]
    sine, cosine = np.sin(solids.heading)[:, None], np.cos(solids.heading)[:, None]
    turned = np.stack(
        [own[..., 0] * cosine + own[..., 2] * sine, own[..., 1], own[..., 2] * cosine - own[..., 0] * sine], axis=-1
    )
    seen = (turned + solids.center[:, None] - camera.pose[:3, 3]) @ camera.pose[:3, :3]
    return np.asarray(seen @ camera.intrinsics.T)


def _in_front(box: Floats) -> Floats:
    """Cut a box `(8, 3)` at the plane just before the camera: the corners in front and where edges pass through."""
    front = box[:, 2] > _NEAR
    if front.all() or not front.any():
        return box[front]
    cut = [(i, j) for i, j in _EDGES if front[i] != front[j]]
    one, other = box[[i for i, _ in cut]], box[[j for _, j in cut]]
    share = (_NEAR - one[:, 2:]) / (other[:, 2:] - one[:, 2:])
    return np.concatenate([box[front], one + share * (other - one)])


def _window(camera: PinholeCamera, points: Floats, limits: list[int]) -> tuple[int, int, int, int]:
    low = np.ceil((points.min(axis=0) + 0.5) * camera.fold - 0.5 - 1e-6)
    high = np.floor((points.max(axis=0) + 0.5) * camera.fold - 0.5 + 1e-6) + 1
    (left, top), (right, bottom) = (np.clip(edge, 0, limits[::-1]).astype(int).tolist() for edge in (low, high))
    return top, bottom, left, right
