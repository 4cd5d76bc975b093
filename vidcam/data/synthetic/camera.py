"""A camera: which surface each of its rays meets first, how far away, and in which color."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidcam.data.synthetic.road import PAVED, RoadMap
from vidcam.data.synthetic.scenery import Solids
from vidcam.data.synthetic.tiles import MATERIALS, METERS, Textures
from vidcam.types import Floats

SKY, GROUND = -2, -1
_NEAR = 0.05  # nothing is seen nearer than this, in metres
_AMBIENT = 0.62
_EDGES = [(i, i ^ bit) for i in range(8) for bit in (1, 2, 4) if not i & bit]


@dataclass(frozen=True)
class PinholeCamera:
    """A pinhole camera: pixel (u, v) has its middle at whole numbers and looks along `inv(K) (u, v, 1)`."""

    pose: Floats  # (4, 4) camera to world: x right, y down, z forward; the ground is at y = 0
    intrinsics: Floats
    size: tuple[int, int]
    fold: int = 1  # rays per pixel and axis

    @property
    def apart(self) -> np.float32:
        """How far apart rays are, one metre deep."""
        return np.float32(1 / self.intrinsics[0, 0] / self.fold)

    def rays(self) -> tuple[Floats, Floats, Floats]:
        """Give x, y, z in the world of every ray, `(H fold, W fold)` each, one metre deep along the optical axis."""
        across, down = ((np.arange(count * self.fold) + 0.5) / self.fold - 0.5 for count in self.size[::-1])
        inverse = self.pose[:3, :3] @ np.linalg.inv(self.intrinsics)
        kind = np.float64 if self.fold == 1 else np.float32
        x, y, z = (((a * across)[None, :] + (b * down)[:, None] + c).astype(kind, copy=False) for a, b, c in inverse)
        return x, y, z


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
    for index, window in _framed(camera, solids):
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


def _framed(camera: PinholeCamera, solids: Solids) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Give the solids in view with the rows and columns of rays that may meet them."""
    limits = np.array(camera.size[::-1]) * camera.fold
    for index, box in enumerate(_corners(camera, solids)):
        points = _in_front(box)
        if len(points):
            places = (points[:, :2] / points[:, 2:] + 0.5) * camera.fold - 0.5
            low = np.clip(np.ceil(places.min(axis=0) - 1e-6), 0, limits).astype(int)
            high = np.clip(np.floor(places.max(axis=0) + 1e-6) + 1, 0, limits).astype(int)
            if (low < high).all():
                yield index, (slice(low[1], high[1]), slice(low[0], high[0]))


def _corners(camera: PinholeCamera, solids: Solids) -> Floats:
    """Give `(N, 8, 3)` corners projected by the intrinsics, not yet divided by their depth."""
    signs = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    own = signs * solids.half[:, None]
    turned = _turned(own, -np.sin(solids.heading)[:, None], np.cos(solids.heading)[:, None])
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


@dataclass(frozen=True)
class Shader:
    """What gives surfaces their color: textures, the ground's coordinates, and `(3,)` where the sun is."""

    textures: Textures
    ground: RoadMap
    sun: Floats

    def shade(self, camera: PinholeCamera, solids: Solids, hits: RayHits) -> NDArray[np.uint8]:
        """Color a picture `(H, W, 3)`; the camera's several rays per pixel are averaged."""
        rays = np.stack([ray.ravel() for ray in camera.rays()], axis=1).astype(np.float32)
        surface, depth = hits.surface.ravel(), hits.depth.ravel().astype(np.float32)
        colors = np.empty_like(rays)
        sky, ground, solid = (np.flatnonzero(m) for m in (surface == SKY, surface == GROUND, surface >= 0))
        colors[sky] = self._sky(rays[sky], camera.apart)
        colors[ground] = self._ground(camera, rays[ground], depth[ground])
        colors[solid] = self._solids(camera, solids, surface[solid], rays[solid], depth[solid])
        height, width = camera.size
        picture: Floats = colors.reshape(height, camera.fold, width, camera.fold, 3).mean(axis=(1, 3))
        return np.asarray(np.clip(picture + 0.5, 0, 255), np.uint8)

    def _sky(self, rays: Floats, apart: np.float32) -> Floats:
        """Lay clouds on a dome; nearer to the horizon it is lighter."""
        x, y, z = rays.T
        up = np.maximum(-y / np.sqrt(x * x + y * y + z * z), 0)
        u, v = np.arctan2(x, z) / np.float32(math.pi), up
        tile = np.full(len(rays), MATERIALS["clouds"], np.int32)
        clouds = self.textures.sample(tile, u, v, np.full(len(rays), apart))
        return np.asarray(clouds + (1 - up)[:, None] * np.array((34, 24, 8), np.float32))

    def _ground(self, camera: PinholeCamera, rays: Floats, depth: Floats) -> Floats:
        """Read the street where there is one and grass elsewhere, with stains over both."""
        x = camera.pose[0, 3] + (depth * rays[:, 0]).astype(np.float64)
        z = camera.pose[2, 3] + (depth * rays[:, 2]).astype(np.float64)
        along, across = self.ground.locate(x, z).T
        street = np.abs(across) < PAVED
        tile = np.where(street, MATERIALS["street"], MATERIALS["grass"])
        slant = np.linalg.norm(rays, axis=1) / np.maximum(rays[:, 1], 1e-6)
        footprint = _footprint(depth * camera.apart, slant)
        size = METERS[tile]
        u, v = np.where(street, across / size + 0.5, x / size), np.where(street, along / size, z / size)
        colors = self.textures.sample(tile, u.astype(np.float32), v.astype(np.float32), footprint / size)
        size = METERS[MATERIALS["stains"]]
        u, v = (x / size).astype(np.float32), (z / size).astype(np.float32)
        stains = self.textures.sample(np.full_like(tile, MATERIALS["stains"]), u, v, footprint / size)
        light = _AMBIENT + (1 - _AMBIENT) * -self.sun[1]
        return np.asarray(colors * stains * np.float32(light / 128))

    def _solids(
        self, camera: PinholeCamera, solids: Solids, surface: NDArray[np.int32], rays: Floats, depth: Floats
    ) -> Floats:
        """Read the material of the face that each ray meets, lit by the sun."""
        center = (solids.center - camera.pose[:3, 3]).astype(np.float32)[surface]
        sine, cosine = (f(solids.heading).astype(np.float32)[surface] for f in (np.sin, np.cos))
        own, ray = (_turned(vectors, sine, cosine) for vectors in (depth[:, None] * rays - center, rays))
        half = solids.half.astype(np.float32)[surface]
        axis = np.abs(own / half).argmax(axis=1)
        normal = _normals(own, half, axis, solids.round[surface])
        slant = np.linalg.norm(ray, axis=1) / np.maximum(np.abs((ray * normal).sum(axis=1)), 1e-3)
        u, v, size = _face(solids, surface, own, half, axis)
        footprint = _footprint(depth * camera.apart, slant)
        colors = self.textures.sample(solids.material[surface, axis], u, v, footprint / size)
        sun = _turned(np.broadcast_to(self.sun, normal.shape), sine, cosine)
        light = _AMBIENT + (1 - _AMBIENT) * np.maximum((normal * sun).sum(axis=1), 0)
        return np.asarray(colors * solids.tint[surface] * light[:, None])


def _footprint(wide: Floats, slant: Floats) -> Floats:
    """Give how much of a surface a ray covers: between the short and the long axis, as a blur knows no direction."""
    return np.asarray(wide * np.power(slant, 0.7), np.float32)


def _turned(vectors: Floats, sine: Floats, cosine: Floats) -> Floats:
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.stack([x * cosine - z * sine, y, x * sine + z * cosine], axis=-1)


def _face(
    solids: Solids, surface: NDArray[np.int32], own: Floats, half: Floats, axis: NDArray[np.integer]
) -> tuple[Floats, Floats, Floats]:
    """Give where on its tile each point of a face is, along and up, and the tile's side in metres."""
    x, y, z = own.T
    along, up = np.where(axis == 0, z, x), np.where(axis == 1, z, half[:, 1] - y)
    wide, high = 2 * np.where(axis == 0, half[:, 2], half[:, 0]), 2 * half[:, 1]
    size = METERS[solids.material[surface, axis]]
    stretched, shift = size == 1, solids.shift[surface]
    u = np.where(stretched, along / wide + np.float32(0.5), (along + shift[:, 0]) / size)
    v = np.where(stretched, up / high, (up + shift[:, 1]) / size)
    return u, v, np.where(stretched, np.sqrt(wide * high), size)


def _normals(own: Floats, half: Floats, axis: NDArray[np.integer], round: NDArray[np.bool_]) -> Floats:
    flat = np.where(np.arange(3) == axis[:, None], np.sign(own), 0)
    bulging = own / half**2
    bulging /= np.linalg.norm(bulging, axis=1, keepdims=True)
    return np.asarray(np.where(round[:, None], bulging, flat).astype(np.float32))
