"""Where the truth is known: how much of the heat lies in the right boxes and frames, or on road, vehicles, sky."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vidcam.errors import OptionError, unknown
from vidcam.explaining.explanation import Explanation
from vidcam.metrics.bootstrap import ENDS, draw
from vidcam.types import Floats

Integers = npt.NDArray[np.integer[Any]]

WIDTH_OF_CENTER = 0.25
"""Standard deviation of the center prior, a Gaussian, as a share of the picture's sides."""


@dataclass(frozen=True)
class Hits:
    """Shares of the heat, each beside the share that heat spread evenly would have; NaN for a flat map."""

    share_in_boxes: float
    area_share: float
    share_in_active_frames: float
    active_frame_share: float

    def as_dict(self) -> dict[str, float]:
        """Return the shares by name."""
        return asdict(self)


def hits(explanation: Explanation, boxes: npt.NDArray[np.floating], active: npt.NDArray[np.bool_]) -> Hits:
    """Measure how well heat hits a known object.

    Args:
        explanation: of a clip whose truth is known.
        boxes: (F, 4) left, top, right, bottom edges of the object, where pixel x spans x to x + 1; NaN where absent.
        active: (F,) whether the object is there.

    Raises:
        OptionError: boxes and frames are not as many.
    """
    frames = len(explanation.heat)
    if boxes.shape != (frames, 4) or active.shape != (frames,):
        given = f"boxes {boxes.shape} and active {active.shape}"
        raise OptionError(f"{frames} frames need boxes ({frames}, 4) and active ({frames},); given {given}")
    down, across = explanation.spreading()
    heat = explanation.heat.clip(min=0)
    total = np.einsum("yh,fhw,wx->f", down, heat, across)
    inside, area = np.zeros(frames), np.zeros(frames)
    for f in np.flatnonzero(active):
        left, top, right, bottom = boxes[f]
        rows = _covered(top, bottom, explanation.height)
        columns = _covered(left, right, explanation.width)
        inside[f] = (rows @ down) @ heat[f] @ (across @ columns)
        area[f] = rows.sum() * columns.sum()
    whole = float(total.sum())
    return Hits(
        share_in_boxes=float(inside.sum()) / whole if whole > 0 else float("nan"),
        area_share=float(area.sum()) / (frames * explanation.width * explanation.height),
        share_in_active_frames=float(total[active].sum()) / whole if whole > 0 else float("nan"),
        active_frame_share=float(active.mean()),
    )


def _covered(start: float, end: float, length: int) -> npt.NDArray[np.float64]:
    """(length,) the share of every pixel, which spans x to x + 1, that lies between two edges."""
    pixels = np.arange(length)
    return (np.minimum(end, pixels + 1) - np.maximum(start, pixels)).clip(0, 1)


@dataclass(frozen=True)
class Region:
    """One region's shares, means over the frames that have both the region and heat; None where there are none.

    Every frame counts alike, however strong its heat. Density is the share of the heat over the share of the area: 1
    for a uniform map, above 1 where heat is denser than elsewhere.
    """

    name: str
    frames: int
    """Frames that have the region, and heat: those that are counted."""
    absent: int
    """Frames without the region."""
    heat_share: float | None = None
    heat_share_interval: tuple[float, float] | None = None
    area_share: float | None = None
    density: float | None = None
    density_interval: tuple[float, float] | None = None
    center_density: float | None = None
    """Of a Gaussian in the middle of the picture, on the same frames."""
    fixed_density: float | None = None
    """Of the mean of all frames' maps, the same on every frame: what position alone gives."""


@dataclass(frozen=True)
class RegionReport:
    """Shares of heat per region, with 95 % intervals, beside those of a uniform map (density 1) and other controls."""

    regions: tuple[Region, ...]
    frames: int
    without_heat: int
    """Frames whose heat is zero everywhere; they are not counted in any share."""
    unnamed_area: float
    """Mean share of the area that belongs to no region."""

    def __getitem__(self, name: str) -> Region:
        known = {region.name: region for region in self.regions}
        if name not in known:
            raise OptionError(unknown("region", name, known))
        return known[name]

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return asdict(self)

    def table(self) -> str:
        """Return a table for people, a line per region."""
        lines = [
            f"{'region':12} {'heat':>6} {'area':>6} {'density':>8} {'95 %':>13} {'center':>7} {'fixed':>6}  frames"
        ]
        for r in self.regions:
            if r.density is None or r.density_interval is None:
                lines.append(f"{r.name:12} in none of the {self.frames} frames together with heat")
                continue
            interval = f"{r.density_interval[0]:.2f} to {r.density_interval[1]:.2f}"
            lines.append(
                f"{r.name:12} {r.heat_share:6.3f} {r.area_share:6.3f} {r.density:8.2f} {interval:>13} "
                f"{r.center_density:7.2f} {r.fixed_density:6.2f}  {r.frames} ({r.absent} without)"
            )
        return "\n".join([*lines, f"{self.without_heat} of {self.frames} frames have no heat"])


def heat_shares(
    heat: Floats | Explanation,
    classes: Integers,
    names: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
    block: int = 1,
) -> RegionReport:
    """Measure each region's share of the heat against its share of the area.

    Negative heat counts as none. Pixels that the network did not see, and so have no heat, are left out of heat and
    area. All frames weigh alike: a frame's shares are of its own heat.

    Args:
        heat: (F, H, W) per pixel, or an explanation, whose heat is spread over its source's pixels.
        classes: (F, H, W) the region of every pixel, an index into `names`; others, as 255, belong to none.
        names: of the regions.
        resamples: like `seed` and `block` as in `draw`, for the intervals.

    Raises:
        OptionError: heat and classes are not of one shape, no names or one twice, or heat that is not finite.
    """
    _check(heat, classes, names)
    counted = np.array([_shares(c, maps, len(names)) for c, maps in zip(classes, _maps(heat, classes), strict=True)])
    shares, controls, area = counted[:, 0], counted[:, 1:3], counted[:, 3]  # (F, K), (F, 2, K), (F, K)
    hot = shares.sum(axis=1) > 0
    drawn = draw(len(classes), resamples=resamples, seed=seed, block=block)
    regions = [
        _region(name, shares[:, k], controls[:, :, k], area[:, k], hot, drawn) for k, name in enumerate((*names, ""))
    ]
    return RegionReport(
        regions=tuple(regions[:-1]),
        frames=len(classes),
        without_heat=int((~hot).sum()),
        unnamed_area=float(area[:, -1].mean()),
    )


def _region(
    name: str, heat: Floats, controls: Floats, area: Floats, hot: npt.NDArray[np.bool_], drawn: Integers
) -> Region:
    """Average one region's shares (F,), and those of the controls (F, 2), over the frames that count."""
    present = area > 0
    counts = present & hot
    absent = int((~present).sum())
    if not counts.any():
        return Region(name, 0, absent)
    heat, area = np.where(counts, heat, 0.0), np.where(counts, area, 0.0)
    heats, areas = heat[drawn].sum(axis=1), area[drawn].sum(axis=1)
    times = counts[drawn].sum(axis=1)
    known = times > 0  # draws that hold the region at all
    return Region(
        name=name,
        frames=int(counts.sum()),
        absent=absent,
        heat_share=float(heat.sum() / counts.sum()),
        heat_share_interval=_ends(heats[known] / times[known]),
        area_share=float(area.sum() / counts.sum()),
        density=float(heat.sum() / area.sum()),
        density_interval=_ends(heats[known] / areas[known]),
        center_density=float(controls[counts, 0].sum() / area.sum()),
        fixed_density=float(controls[counts, 1].sum() / area.sum()),
    )


def _ends(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, ENDS)
    return float(low), float(high)


def _shares(classes: Integers, maps: Sequence[Floats], regions: int) -> Floats:
    """Share of each map (H, W) in every region and, last, in none: (len(maps), regions + 1); zero for a flat map."""
    index = np.where((classes >= 0) & (classes < regions), classes, regions).ravel()
    sums = np.array([np.bincount(index, map_.ravel(), minlength=regions + 1) for map_ in maps])
    total = sums.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)
    return shares


def _maps(heat: Floats | Explanation, classes: Integers) -> Iterator[tuple[Floats, Floats, Floats, Floats]]:
    """Yield for every frame its heat, the two controls, and what is seen: four maps (H, W)."""
    height, width = classes.shape[1:]
    cells = (heat.heat if isinstance(heat, Explanation) else heat).clip(min=0).astype(np.float64)
    down, across = heat.spreading() if isinstance(heat, Explanation) else (np.eye(height), np.eye(width))
    seen = np.outer(down.any(axis=1), across.any(axis=0)).astype(float)
    center = seen * np.outer(_bell(height), _bell(width))
    sums = np.einsum("h,fhw,w->f", down.sum(axis=0), cells, across.sum(axis=1))
    hot = sums > 0
    fixed = down @ (cells[hot] / sums[hot, None, None]).sum(axis=0) @ across
    for frame in cells:
        yield down @ frame @ across, center, fixed, seen


def _bell(length: int) -> Floats:
    """(length,) a Gaussian around the middle."""
    places = (np.arange(length) + 0.5) / length - 0.5
    return np.exp(-0.5 * (places / WIDTH_OF_CENTER) ** 2)


def _check(heat: Floats | Explanation, classes: Integers, names: Sequence[str]) -> None:
    if isinstance(heat, Explanation):
        shape, cells = (len(heat.heat), heat.height, heat.width), heat.heat
    else:
        shape, cells = heat.shape, heat
    if classes.shape != shape or not np.issubdtype(classes.dtype, np.integer):
        raise OptionError(
            f"heat of {shape} needs whole numbers of the same shape; given {classes.dtype} {classes.shape}"
        )
    if isinstance(names, str) or not names or len(set(names)) != len(names):
        raise OptionError(f"names must be a list of different names; given {names!r}")
    if not np.isfinite(cells).all():
        raise OptionError("heat must be finite; given NaN or infinite values")
