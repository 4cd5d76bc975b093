"""The colors of what a camera's rays meet."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidcam.data.synthetic.casting import GROUND, SKY, PinholeCamera, RayHits
from vidcam.data.synthetic.road import PAVED, RoadMap
from vidcam.data.synthetic.scenery import Solids
from vidcam.data.synthetic.texture import Textures
from vidcam.data.synthetic.tiles import MATERIALS, METERS
from vidcam.types import Floats

_AMBIENT = 0.62


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
        wide = np.float32(1 / camera.intrinsics[0, 0] / camera.fold)
        colors[sky] = self._sky(rays[sky], wide)
        colors[ground] = self._ground(camera, rays[ground], depth[ground], wide)
        colors[solid] = self._solids(camera, solids, surface[solid], rays[solid], depth[solid], wide)
        height, width = camera.size
        picture: Floats = colors.reshape(height, camera.fold, width, camera.fold, 3).mean(axis=(1, 3))
        return np.asarray(np.clip(picture + 0.5, 0, 255), np.uint8)

    def _sky(self, rays: Floats, wide: np.float32) -> Floats:
        """Lay clouds on a dome; nearer to the horizon it is lighter."""
        x, y, z = rays.T
        up = np.maximum(-y / np.sqrt(x * x + y * y + z * z), 0)
        u, v = np.arctan2(x, z) / np.float32(math.pi), up
        tile = np.full(len(rays), MATERIALS["clouds"], np.int32)
        clouds = self.textures.sample(tile, u, v, np.full(len(rays), wide))
        return np.asarray(clouds + (1 - up)[:, None] * np.array((34, 24, 8), np.float32))

    def _ground(self, camera: PinholeCamera, rays: Floats, depth: Floats, wide: np.float32) -> Floats:
        """Read the street where there is one and grass elsewhere, with stains over both."""
        x = camera.pose[0, 3] + (depth * rays[:, 0]).astype(np.float64)
        z = camera.pose[2, 3] + (depth * rays[:, 2]).astype(np.float64)
        along, across = self.ground.locate(x, z).T
        street = np.abs(across) < PAVED
        tile = np.where(street, MATERIALS["street"], MATERIALS["grass"])
        slant = np.linalg.norm(rays, axis=1) / np.maximum(rays[:, 1], 1e-6)
        footprint = _footprint(depth * wide, slant)
        size = METERS[tile]
        u, v = np.where(street, across / size + 0.5, x / size), np.where(street, along / size, z / size)
        colors = self.textures.sample(tile, u.astype(np.float32), v.astype(np.float32), footprint / size)
        size = METERS[MATERIALS["stains"]]
        u, v = (x / size).astype(np.float32), (z / size).astype(np.float32)
        stains = self.textures.sample(np.full_like(tile, MATERIALS["stains"]), u, v, footprint / size)
        light = _AMBIENT + (1 - _AMBIENT) * -self.sun[1]
        return np.asarray(colors * stains * np.float32(light / 128))

    def _solids(
        self,
        camera: PinholeCamera,
        solids: Solids,
        surface: NDArray[np.int32],
        rays: Floats,
        depth: Floats,
        wide: np.float32,
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
        colors = self.textures.sample(solids.material[surface, axis], u, v, _footprint(depth * wide, slant) / size)
        sun = _turned(np.broadcast_to(self.sun, normal.shape), sine, cosine)
        light = _AMBIENT + (1 - _AMBIENT) * np.maximum((normal * sun).sum(axis=1), 0)
        return np.asarray(colors * solids.tint[surface] * light[:, None])


def _footprint(wide: Floats, slant: Floats) -> Floats:
    """Give how much of a surface a ray covers: between the short and the long axis, as a blur knows no direction."""
    return np.asarray(wide * np.power(slant, 0.7), np.float32)


def _turned(vectors: Floats, sine: Floats, cosine: Floats) -> Floats:
    x, y, z = vectors.T
    return np.stack([x * cosine - z * sine, y, x * sine + z * cosine], axis=1)


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
