"""What stands and drives along a road: houses, parked cars, poles, hedges, trees, vehicles."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from vidcam.data.synthetic.road import LANE, PAVED, Road
from vidcam.data.synthetic.tiles import MATERIALS
from vidcam.types import Floats

Triple = tuple[float, float, float]  # x, y, z
_CAR = (0.9, 2.15)  # half the width and half the length of a vehicle, in metres
_CLEAR = 5.9  # nothing but parked cars stands nearer to the middle line


@dataclass(frozen=True)
class Solids:
    """Upright boxes and ellipsoids: one entry of each array per solid, metres and radians."""

    center: Floats  # (N, 3) in the world: x east, y down with the ground at 0, z north
    heading: Floats  # (N,) of the solid's own z axis, from north to the right
    half: Floats  # (N, 3) half the extent along its own x, y, z
    round: NDArray[np.bool_]  # (N,) whether it is the ellipsoid in that box
    moving: NDArray[np.bool_]  # (N,) whether it moves on its own
    material: NDArray[np.int32]  # (N, 3) indices into `MATERIALS` of the faces across x, y and z
    tint: NDArray[np.float32]  # (N, 3) factors of red, green, blue
    shift: NDArray[np.float32]  # (N, 2) metres by which the texture is moved, so that no two solids look the same

    def __len__(self) -> int:
        return len(self.center)

    def chosen(self, which: NDArray[np.bool_]) -> "Solids":
        """Keep some."""
        return Solids(**{field.name: getattr(self, field.name)[which] for field in fields(self)})


def joined(parts: Sequence[Solids]) -> Solids:
    """Put several together."""
    return Solids(**{field.name: np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(Solids)})


def furnish(rng: np.random.Generator, road: Road, start: float, stop: float) -> Solids:
    """Line both sides of a road with what does not move; nothing of it reaches into the lanes."""
    kinds = [(row, side) for row in _ROWS for side in (-1, 1)]
    own = rng.spawn(len(kinds))  # so that a longer road only goes on
    solids = joined([s for (row, side), g in zip(kinds, own, strict=True) for s in row(g, road, side, start, stop)])
    return solids.chosen(_reach(road, solids) > np.where(np.isin(solids.material[:, 0], _CARS), 3.4, _CLEAR))


def vehicle(rng: np.random.Generator, *, moving: bool) -> Solids:
    """Build a car at the origin that heads north: a body and a cabin."""
    wide, long = _CAR
    tint = rng.uniform(0.3, 1.15) * rng.uniform(0.65, 1.15, 3)
    body = _solid((0, -0.4, 0), (wide, 0.4, long), ("body side", "stains", "body end"), tint, moving=moving)
    cabin = (0.86 * wide, 0.33, 0.48 * long)
    top = _solid((0, -1.13, -0.25), cabin, ("cabin side", "stains", "cabin end"), tint, moving=moving)
    return joined([body, top])


def put(solids: Solids, road: Road, along: float, across: float, *, turned: float = 0.0) -> Solids:
    """Move what was built at the origin to a place on the road, along its heading plus a turn."""
    x, z = road.place(np.array(along), across)
    heading = float(road.heading(np.array(along))) + turned
    sine, cosine = math.sin(heading), math.cos(heading)
    east, down, north = solids.center.T
    center = np.stack([x + east * cosine + north * sine, down, z - east * sine + north * cosine], axis=1)
    return replace(solids, center=center, heading=solids.heading + heading)


def _houses(rng: np.random.Generator, road: Road, side: int, start: float, stop: float) -> Iterator[Solids]:
    """Stand houses wall to wall, with a gap here and there, and higher ones behind."""
    along = start
    while along < stop:
        half = rng.uniform(3, 6.5)
        if rng.uniform() < 0.85:
            height, deep = rng.uniform(4, 11), rng.uniform(4, 6)
            yield _house(rng, road, (along + half, side * (PAVED + rng.uniform(0.3, 2.0) + deep)), (deep, height, half))
        if rng.uniform() < 0.7:
            size = (4.0, rng.uniform(9, 20), rng.uniform(6, 9))
            yield _house(rng, road, (along + half, side * rng.uniform(26, 30)), size)
        along += 2 * half + rng.choice([0.0, 0.3, 2.5])


def _house(rng: np.random.Generator, road: Road, place: tuple[float, float], size: Triple) -> Solids:
    wall = rng.choice(["bricks", "plaster"])
    tint = rng.uniform(0.75, 1.15) * rng.uniform(0.85, 1.15, 3)
    half = (size[0], size[1] / 2, size[2])
    house = _solid((0, -half[1], 0), half, (wall, "roof", wall), tint)
    shift = np.array([[3.2 * rng.integers(4) + rng.uniform(0, 0.3), 0]], np.float32)
    return put(replace(house, shift=shift), road, *place, turned=rng.normal(0, 0.02))


def _parked(rng: np.random.Generator, road: Road, side: int, start: float, stop: float) -> Iterator[Solids]:
    along = start + rng.uniform(0, 10)
    while along < stop:
        yield put(vehicle(rng, moving=False), road, along, side * 4.65, turned=math.pi * (side < 0))
        along += rng.uniform(5.2, 22)


def _upright(rng: np.random.Generator, road: Road, side: int, start: float, stop: float) -> Iterator[Solids]:
    """Line the kerb with poles, boxes and trees."""
    along = start + rng.uniform(0, 6)
    while along < stop:
        build = _UPRIGHT[rng.choice(len(_UPRIGHT), p=(0.4, 0.2, 0.4))]
        yield from build(rng, road, along, side * rng.uniform(6.3, 6.8))
        along += rng.uniform(4, 10)


def _pole(rng: np.random.Generator, road: Road, along: float, across: float) -> Iterator[Solids]:
    pole = _solid((0, -3, 0), (0.09, 3, 0.09), ("bark",) * 3, rng.uniform(0.6, 1.3, 1).repeat(3))
    yield put(_moved(rng, pole), road, along, across)
    sign = _solid((0, -2.6, 0), (0.45, 0.35, 0.04), ("roof",) * 3, rng.uniform(0.3, 1.2, 3))
    yield put(sign, road, along, across)


def _cabinet(rng: np.random.Generator, road: Road, along: float, across: float) -> Iterator[Solids]:
    half = (rng.uniform(0.2, 0.4), rng.uniform(0.5, 0.8), rng.uniform(0.3, 0.8))
    cabinet = _solid((0, -half[1], 0), half, ("bark", "roof", "bark"), rng.uniform(0.6, 1.5, 3))
    yield put(_moved(rng, cabinet), road, along, across)


def _tree(rng: np.random.Generator, road: Road, along: float, across: float) -> Iterator[Solids]:
    high, wide = rng.uniform(2.4, 3.4), rng.uniform(1.1, 1.8)
    trunk = _solid((0, -high / 2, 0), (0.14, high / 2, 0.14), ("bark",) * 3, rng.uniform(0.7, 1.1, 3))
    yield put(_moved(rng, trunk), road, along, across)
    tint = rng.uniform(0.7, 1.2) * np.array((rng.uniform(0.8, 1.4), 1.0, 0.9))
    crown = _solid((0, -high - wide / 2, 0), (wide, wide, wide), ("leaves",) * 3, tint, round=True)
    yield put(_moved(rng, crown), road, along, across * (1 + 0.25 * wide / 6))


def _hedge(rng: np.random.Generator, road: Road, side: int, start: float, stop: float) -> Iterator[Solids]:
    along = start + rng.uniform(0, 20)
    while along < stop:
        half = (0.3, rng.uniform(0.4, 0.8), rng.uniform(1.5, 3.0))
        hedge = _solid((0, -half[1], 0), half, ("leaves",) * 3, rng.uniform(0.8, 1.2, 3))
        yield put(_moved(rng, hedge), road, along, side * (PAVED - 0.2))
        along += 2 * half[2] + rng.uniform(0.5, 25)


def _moved(rng: np.random.Generator, solids: Solids) -> Solids:
    return replace(solids, shift=rng.uniform(0, 40, (len(solids), 2)).astype(np.float32))


def _solid(
    center: Triple, half: Triple, material: tuple[str, ...], tint: Floats, *, round: bool = False, moving: bool = False
) -> Solids:
    return Solids(
        center=np.array([center], float),
        heading=np.zeros(1),
        half=np.array([half], float),
        round=np.array([round]),
        moving=np.array([moving]),
        material=np.array([[MATERIALS[name] for name in material]], np.int32),
        tint=np.asarray(tint, np.float32)[None],
        shift=np.zeros((1, 2), np.float32),
    )


def _reach(road: Road, solids: Solids) -> Floats:
    """Give how near the road's middle line each solid's outline comes."""
    ring = np.array([(x, z) for x in (-1, 0, 1) for z in np.linspace(-1, 1, 9) if abs(x) == 1 or abs(z) == 1])
    own = ring[None] * solids.half[:, None, [0, 2]]
    sine, cosine = np.sin(solids.heading)[:, None], np.cos(solids.heading)[:, None]
    x = solids.center[:, :1] + own[..., 0] * cosine + own[..., 1] * sine
    z = solids.center[:, 2:] - own[..., 0] * sine + own[..., 1] * cosine
    nearest: Floats = np.abs(road.locate(x, z)[1]).min(axis=1)
    return np.where(solids.center[:, 1] + solids.half[:, 1] < -1.4, 99.0, nearest)


_CARS = (MATERIALS["body side"], MATERIALS["cabin side"])
_ROWS = (_houses, _parked, _upright, _hedge)
_UPRIGHT = (_pole, _cabinet, _tree)


@dataclass(frozen=True)
class Traffic:
    """Vehicles that drive on their own, at `(frames,)` distances along the road each."""

    road: Road
    cars: tuple[Solids, ...]
    along: Floats  # (vehicles, frames)
    oncoming: NDArray[np.bool_]  # (vehicles,)

    def at(self, frame: int, viewer: float, *, reach: float) -> Iterator[Solids]:
        """Give those within reach of a viewer at a distance along the road."""
        for car in np.flatnonzero(np.abs(self.along[:, frame] - viewer) < reach).tolist():
            turned, across = (math.pi, -LANE) if self.oncoming[car] else (0.0, LANE)
            yield put(self.cars[car], self.road, float(self.along[car, frame]), across, turned=turned)


def send(rng: np.random.Generator, road: Road, viewer: Floats, seconds: Floats, vehicles: int) -> Traffic:
    """Let half of the vehicles drive ahead of the viewer and the rest, ever new ones, come towards it.

    The viewer is told by its distance along the road, `(F,)`; `vehicles` are near it at a time.
    """
    rng, colors = rng.spawn(2)
    leading = (vehicles + 1) // 2
    ahead = [viewer + gap for gap in _gaps(rng, seconds, leading)]
    speed, spacing = rng.uniform(5, 9), 70 / max(vehicles - leading, 1)
    last = viewer[-1] + speed * seconds[-1] + 120 if vehicles > leading else 0
    firsts = np.arange(rng.uniform(10, 30), last, spacing)
    towards = [first + rng.uniform(0, spacing / 2) - speed * seconds for first in firsts]
    cars = tuple(vehicle(colors, moving=True) for _ in (*ahead, *towards))
    along = np.array([*ahead, *towards]).reshape(len(cars), len(seconds))
    return Traffic(road, cars, along, np.arange(len(cars)) >= leading)


def _gaps(rng: np.random.Generator, seconds: Floats, count: int) -> Iterator[Floats]:
    """Give how far ahead each leading vehicle is: it falls back and draws away within some metres."""
    for k in range(count):
        period, phase = rng.uniform(5, 9), rng.uniform(0, 2 * math.pi)
        yield 13 + 20 * k + rng.uniform(-1.5, 1.5) + 4 * np.sin(2 * math.pi * seconds / period + phase)
