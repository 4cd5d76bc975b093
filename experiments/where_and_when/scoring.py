"""Lay a layer's heat on frames and pixels by any placement, and measure it against a known truth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidcam.attribution import formulas
from vidcam.attribution.capturing import capture
from vidcam.attribution.formulas import frame_contribution, pooled
from vidcam.attribution.geometry import PLACEMENTS, Along, Axis, interpolation_matrix
from vidcam.attribution.layers import INPUT
from vidcam.attribution.receptive_field import effective_centers, measure_axes
from vidcam.data.preprocessing import View

Floats = NDArray[np.floating[Any]]
LAYERS = ("stem", "layer1", "layer2", "layer3", "layer4")
DEEP = LAYERS[-1]
GRAD_CAM = "grad_cam"
MOMENTS = (INPUT, *LAYERS[:-1])
"""What can tell when, from the finest on."""
SPACE = ("linear", "centers", "effective", "nearest", "ends")
assert set(SPACE) == set(PLACEMENTS)


@dataclass(frozen=True)
class Geometry:
    """Where a layer's slots and cells lie: nominally, and by the energy of its gradient."""

    axes: tuple[Axis, Axis, Axis]
    effective: tuple[Floats, ...]
    """Per axis; empty where it was not measured."""
    unusable: float = 0.0
    """Share of the clips whose own effective centers would not do, on any axis."""

    def positions(self, kind: str, axis: int, slots: int, length: int) -> tuple[Floats, str]:
        """Place slots on axis 0 (time), 1 (down) or 2 (across) of the network's input."""
        if kind == "effective" and not self.usable(axis):
            kind = "linear"
        along = Along(slots, length, lambda: self.axes[axis], lambda: self.effective[axis])
        return PLACEMENTS[kind].lay(along), PLACEMENTS[kind].mode

    def usable(self, axis: int) -> bool:
        """Whether effective centers are known and increase, as they must to be interpolated between."""
        return bool(self.effective) and bool((np.diff(self.effective[axis]) > 0).all())


@dataclass(frozen=True)
class Truth:
    """Where and when the evidence is, per sampled frame and source pixel."""

    mask: NDArray[np.bool_]
    """(T, H, W) whether a pixel belongs to it."""
    active: NDArray[np.bool_]
    """(T,)"""
    heading: tuple[float, float] = (0.0, 0.0)
    """Down and across; unit vector of its motion, zero where there is none."""

    @property
    def centers(self) -> Floats:
        """(T, 2) centroid of the mask, down and across; NaN where it is empty."""
        return centroids(self.mask)


@dataclass(frozen=True)
class Profile:
    """What heat does in every frame, before an earlier layer says how much the frame matters."""

    total: Floats
    """(T,) heat in all."""
    inside: Floats
    """(T,) heat on the evidence."""
    centroid: Floats
    """(T, 2) in source pixels, down and across; NaN outside the active frames."""
    peak: Floats
    """(T, 2) the hottest pixel, or the middle of those equally hot."""


@dataclass(frozen=True)
class Evidence:
    """What one forward and one backward gave for one clip and one class."""

    heat: dict[tuple[str, str], Floats]
    """Per layer and CAM (t, h, w)."""
    moments: dict[tuple[str, bool], Floats]
    """Per layer, with and without the mean subtraction: (t,) contribution to the score."""
    output: Floats
    """(K,)"""


def explain(
    net: nn.Module, x: Tensor, score: Callable[[Any], Tensor], *, cams: Sequence[str] = (GRAD_CAM,)
) -> Evidence:
    """Capture every layer of one clip (1, C, T, H, W) at once; all of them read `b c t h w`."""
    captured = capture(net, x, layers=[INPUT, *LAYERS], scores=[score])
    a, g = captured.activations, captured.gradients[0]
    return Evidence(
        heat={
            (layer, name): pooled(getattr(formulas, name), "slot", 3)(a[layer], g[layer])[0].numpy()
            for layer in LAYERS[1:]
            for name in cams
        },
        moments={
            (layer, subtract): frame_contribution(a[layer], g[layer], subtract_mean=subtract)[0].numpy()
            for layer in MOMENTS
            for subtract in (True, False)
        },
        output=captured.output[0].numpy(),
    )


def geometry(net: nn.Module, clips: Sequence[Tensor], layers: Sequence[str]) -> dict[str, Geometry]:
    """Measure every layer's axes, and the effective centers of some, as means over clips (1, C, T, H, W)."""
    found = {INPUT: Geometry((Axis(1, 0, 1),) * 3, ())}
    for layer in LAYERS:
        axes = measure_axes(net, tuple(clips[0].shape[1:]), layer)
        each = [effective_centers(net, x, layer) for x in clips] if layer in layers else []
        effective = tuple(np.mean(axis, axis=0) for axis in zip(*each, strict=True))
        unfit = [any(not (np.diff(centers) > 0).all() for centers in one) for one in each]
        found[layer] = Geometry((axes[0], axes[1], axes[2]), effective, float(np.mean(unfit)) if unfit else 0.0)
    return found


def in_time(where: Geometry, kind: str, slots: int, frames: int) -> Floats:
    """(T, t) weights of slots on frames; linear for effective where those centers are not known."""
    positions, mode = where.positions(kind, 0, slots, frames)
    return interpolation_matrix(positions, frames, mode=mode)


def in_space(where: Geometry, kind: str, cells: tuple[int, int], view: View) -> tuple[Floats, Floats]:
    """(H, h) and (W, w) weights of cells on the source's pixels."""
    matrices = []
    for axis in (0, 1):
        positions, mode = where.positions(kind, axis + 1, cells[axis], view.size[axis])
        matrices.append(interpolation_matrix(view.to_source(positions, axis), view.source[axis], mode=mode))
    return matrices[0], matrices[1]


def profile(laid: Floats, space: tuple[Floats, Floats], truth: Truth) -> Profile:
    """Measure heat on frames (T, h, w), spread over pixels."""
    down, across = space
    total = np.einsum("h,thw,w->t", down.sum(0), laid, across.sum(0))
    inside = np.zeros(len(laid))
    centroid, peak = np.full((len(laid), 2), np.nan), np.full((len(laid), 2), np.nan)
    hot = np.flatnonzero(truth.active & (total > 0))
    if len(hot):
        dense = down @ laid[hot] @ across.T
        inside[hot] = (dense * truth.mask[hot]).sum(axis=(1, 2))
        centroid[hot] = centroids(dense)
        highest = dense.max(axis=(1, 2), keepdims=True)
        peak[hot] = centroids((dense >= highest * (1 - 1e-5)).astype(float))
    return Profile(total, inside, centroid, peak)


def centroids(dense: Floats) -> Floats:
    """(T, H, W) -> (T, 2), NaN where there is nothing."""
    total = dense.sum(axis=(1, 2))
    sums = [(dense.sum(axis=2 - axis) * np.arange(dense.shape[1 + axis])).sum(axis=1) for axis in (0, 1)]
    with np.errstate(invalid="ignore"):
        return np.stack(sums, axis=1) / total[:, None]


def measure(found: Profile, moments: Floats | float, truth: Truth, view: View) -> dict[str, float]:
    """Compare with the truth: shares, frames, and pixels of the network's input; NaN where there is no heat."""
    weights, active = found.total * moments, truth.active
    names = ("share_active", "share_boxes", "share_boxes_when_active", "peak_active", "time_error", "time_bias")
    if not weights.sum() > 0:
        return dict.fromkeys(names, np.nan) | {"heat": 0.0}
    within = float((found.inside * moments).sum())
    frames = np.arange(len(weights))
    lag = float((weights * frames).sum() / weights.sum() - frames[active].mean())
    seen = weights[active].sum()
    shares = seen / weights.sum(), within / weights.sum(), within / seen if seen > 0 else np.nan
    peaks = active[weights >= weights.max() * (1 - 1e-5)].mean()
    values = dict(zip(names, map(float, (*shares, peaks, abs(lag), lag)), strict=True))
    return values | {"heat": 1.0} | _distances(found, weights, truth, view)


def _distances(found: Profile, weights: Floats, truth: Truth, view: View) -> dict[str, float]:
    """Average over the active frames, each weighed by its heat, in pixels of the network's input."""
    values: dict[str, float] = {}
    for name, points in (("centroid", found.centroid), ("peak", found.peak)):
        offsets = (points - truth.centers) / view.scale
        known = truth.active & np.isfinite(offsets).all(axis=1) & (weights > 0)
        share = weights[known] / weights[known].sum() if known.any() else np.array([])
        off = offsets[known]
        values[f"{name}_error"] = float(share @ np.hypot(*off.T)) if known.any() else np.nan
        values[f"{name}_x"], values[f"{name}_y"] = (float(share @ off[:, i]) if known.any() else np.nan for i in (1, 0))
        values[f"{name}_ahead"] = float(share @ (off @ np.array(truth.heading))) if known.any() else np.nan
    return values


def summary(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Give mean and 95 % interval of every measure."""
    return {name: interval([row.get(name, np.nan) for row in rows]) for name in max(rows, key=len)}


def interval(values: Sequence[float], groups: Sequence[int] | None = None) -> list[float]:
    """Mean, low and high end of the 95 % interval by 2000 bootstrap draws of clips, or of groups of values."""
    array, key = np.asarray(values, float), np.asarray(groups if groups is not None else range(len(values)))
    known = np.isfinite(array)
    if not known.any():
        return [float("nan")] * 3
    names, index = np.unique(key[known], return_inverse=True)
    sums, counts = np.bincount(index, array[known]), np.bincount(index)
    draws = np.random.default_rng(0).integers(len(names), size=(2000, len(names)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return [round(float(v), 4) for v in (array[known].mean(), *np.percentile(means, [2.5, 97.5]))]


def one_thread() -> None:
    """Keep to one core, and to the same result."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
