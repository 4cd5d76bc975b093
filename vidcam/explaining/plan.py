"""Laying a layer's slots on a window's frames and its cells on the network's pixels."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vidcam.attribution.cam import POOLINGS, frame_contribution
from vidcam.attribution.capture import INPUT, Captured, Score, capture
from vidcam.attribution.features import FEATURES
from vidcam.attribution.geometry import PLACEMENTS, Axis, interpolation_matrix, place
from vidcam.attribution.layers import find_layer, grid_axes
from vidcam.attribution.methods import check_method, heat_of, no_influence, read
from vidcam.attribution.receptive_field import effective_centers
from vidcam.errors import LayerError, OptionError, unknown
from vidcam.models.model import Model
from vidcam.types import Floats

AUTO = "auto"
STILL = 1e-6  # of what a layer's cells add to the score: below that, frames differ by rounding alone
Spread = Literal["linear", "nearest"]


@dataclass
class Plan:
    """What to compute of each window, and how its slots and cells lie; the latter is known after a first window."""

    model: Model
    method: str
    layer: str
    pooling: str
    when: str | None
    placement: tuple[str, str]
    rows: Floats | None = None
    """(h,) where the rows of cells lie in the network's frame, in pixels."""
    columns: Floats | None = None
    spread: Spread = "linear"
    axes: dict[str, Axis] = field(default_factory=dict)
    """Geometry of the layer, by t, h, w."""
    notes: list[str] = field(default_factory=list)
    """What had to be done otherwise than asked."""
    silent: int = 0
    """Windows in which the earlier layer told no frame from another, so that the deep heat stands alone."""
    _layouts: dict[str, str] = field(default_factory=dict)
    _grids: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    _effective: dict[str, Floats] | None = None
    _probed: set[str] = field(default_factory=set)

    @property
    def has_time(self) -> bool:
        """Whether the layer tells one time from another; known once a window has gone through it."""
        return "t" in grid_axes(self._layouts[self.layer])

    @property
    def layers(self) -> list[str]:
        """The layers to capture."""
        return list(dict.fromkeys(layer for layer in (self.layer, self.when) if layer is not None))

    def lay(
        self, captured: Captured, x: Tensor, score: Score, *, which: int = 0, signed: bool = False
    ) -> tuple[Floats, bool]:
        """Compute heat per frame of each window, (B, T, h, w), and tell whether its gradient is zero everywhere.

        Args:
            captured: what `capture` gave for these windows.
            x: the windows.
            score: what is explained.
            which: its index among the captured scores.
            signed: whether to keep what lowers the score, below zero.
        """
        self.settle_layouts(captured, x)
        ways: dict[str, Any] = {"method": self.method, "pooling": self.pooling, "which": which, "signed": signed}
        heat, zero = heat_of(self.model.net, x, captured, self.layer, score, **ways, **self._reading(self.layer))
        cells = _with_all_axes(heat, self._layouts[self.layer]).cpu().float().numpy()
        laid = np.einsum("Tt,bthw->bThw", self._place_deep(cells.shape[1:], x), cells)
        if self.when is not None:
            laid = laid * self._moments(captured, x, score, which)[:, :, None, None]
        return laid, zero

    def forces(self, captured: Captured, x: Tensor, which: int) -> tuple[Tensor, Tensor]:
        """Return how strongly the layer acts on a score, after its layout is settled.

        Returns:
            (B,) the size of the gradient, the root of the sum of squares; (B,) how much the layer's cells move the
            score to first order, the sum of |gradient x activation|.
        """
        reading = self._reading(self.layer)
        a = read(captured, captured.activations[self.layer], self.layer, x, **reading)
        g = read(captured, captured.gradients[which][self.layer], self.layer, x, **reading)
        return g.flatten(1).norm(dim=1), (g * a).flatten(1).abs().sum(1)

    def refuse_blind_layer(self, layer: str, x: Tensor, score: Score) -> None:
        """Raise if a layer cannot influence the score: not on this window's account, but not for noise either."""
        if layer in self._probed:
            return
        self._probed.add(layer)
        reading = self._reading(layer)
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
        probe = capture(self.model.net, noise, layers=[layer], scores=[score])
        if not read(probe, probe.gradients[0][layer], layer, noise, **reading).any():
            raise LayerError(no_influence(self.model.net, noise, layer, score, **reading))

    def settle_layouts(self, captured: Captured, x: Tensor) -> None:
        """Settle how each layer's output reads, once."""
        for layer in self.layers:
            if layer not in self._layouts:
                shape = captured.activations[layer].shape
                self._grids[layer] = captured.grids.get(layer) or _told_grid(self.model, shape)
                self._layouts[layer] = self.model.layout_of(layer, shape, x, self._grids[layer])

    def _reading(self, layer: str) -> dict[str, Any]:
        return {"layout": self._layouts[layer], "grid": self.model.grid}

    def _place_deep(self, size: Sequence[int], x: Tensor) -> Floats:
        """(T, t) weights for the layer's slots on the frames; notes where its cells lie as well."""
        shape = _clip_shape(self.model, x)
        if self.rows is None:
            # what a slot can see is always told; height and width are measured only if cells are placed by them
            known = self.layer in self.model.axes or self.placement[1] == "centers"
            self.axes = self._axes(self.layer, shape, "thw" if known else "t")
            self.rows, self.spread = self._positions("h", 1, size[1], shape[2], x)
            self.columns, _ = self._positions("w", 1, size[2], shape[3], x)
        positions, spread = self._positions("t", 0, size[0], shape[1], x)
        return interpolation_matrix(positions, shape[1], mode=spread)

    def _positions(self, axis: str, kind: int, slots: int, length: int, x: Tensor) -> tuple[Floats, Spread]:
        placement = self.placement[kind]
        effective = self._centroids(x).get(axis) if placement == "effective" else None
        if effective is not None and slots > 1 and not (np.diff(effective) > 0).all():  # NaN is not greater either
            note = f"the effective centers along {axis} are not in order for this clip: 'linear' places them instead"
            self.notes += [] if note in self.notes else [note]
            placement = "linear"
        return _place(placement, slots, length, self.axes.get(axis), effective)

    def _moments(self, captured: Captured, x: Tensor, score: Score, which: int) -> Floats:
        """(B, T): how much each frame adds to the score at the earlier layer, with mean 1 over the window."""
        layer = str(self.when)
        reading, shape = self._reading(layer), _clip_shape(self.model, x)
        a = read(captured, captured.activations[layer], layer, x, **reading)
        g = read(captured, captured.gradients[which][layer], layer, x, **reading)
        g = -g if self.method == "counterfactual" else g  # its heat is that of minus the score, and so is its when
        if not grid_axes(self._layouts[layer]).startswith("t") or a.shape[2] < 2:
            raise LayerError(f"layer {layer!r} cannot tell when: it has no two slots in time; choose an earlier one")
        if not g.any():
            self.refuse_blind_layer(layer, x, score)
        share = _with_mean_one(frame_contribution(a, g), noise=STILL * (a * g).abs().flatten(1).sum(1, keepdim=True))
        self.silent += int((share == 1).all(dim=1).sum())
        # centroids are measured for the deep layer alone
        kind = "linear" if self.placement[0] == "effective" else self.placement[0]
        axis = self._axes(layer, shape, "t").get("t") if kind == "centers" else None
        positions, spread = _place(kind, a.shape[2], shape[1], axis, None)
        moments: Floats = np.einsum("Tt,bt->bT", interpolation_matrix(positions, shape[1], mode=spread), share.cpu())
        return moments

    def _axes(self, layer: str, shape: Sequence[int], wanted: str) -> dict[str, Axis]:
        """Return the geometry of a layer by the names of its axes."""
        if layer == INPUT:
            return {axis: Axis(1, 0, 1) for axis in "thw"}
        layout = self._layouts[layer]
        axes = self.model.axes_of(layer, shape, layout, self._grids[layer], axes=wanted)
        return dict(zip([axis for axis in grid_axes(layout).split() if axis in wanted], axes, strict=True))

    def _centroids(self, x: Tensor) -> dict[str, Floats]:
        """Return where gradient energy is centered, per axis, for the first window."""
        if self._effective is None:
            net, layer = self.model.channels_first(self.layer)
            clip = x[:1].transpose(1, 2) if self.model.input_layout == "b t c h w" else x[:1]
            clip = clip.unsqueeze(2) if clip.ndim == 4 else clip
            layout, grid = self._layouts[self.layer], self._grids[self.layer]
            found = effective_centers(net, clip, layer, layout=layout, grid=grid)
            self._effective = dict(zip(grid_axes(layout).split(), found, strict=True))
        return self._effective


def make_plan(
    model: Model, *, method: str, layer: str | None, pooling: str, when: str | None, placement: tuple[str, str]
) -> Plan:
    """Check every choice before any network runs. The model's own `when` goes with the model's own layer only."""
    if layer is not None:
        find_layer(model.net, layer)
    if when == AUTO:  # methods without a class have no moments of a class either
        when = model.when if layer in (None, model.layer) and method not in FEATURES else None
    elif when is not None and when != INPUT:
        find_layer(model.net, when)
    if pooling not in POOLINGS:
        raise OptionError(unknown("pooling", pooling, POOLINGS))
    if not isinstance(placement, tuple | list) or len(placement) != 2:
        raise OptionError(f"placement needs two names, for time and for space; given {placement!r}")
    for kind in placement:
        if kind not in PLACEMENTS:
            raise OptionError(unknown("placement", kind, PLACEMENTS))
    return Plan(model, check_method(method), layer or model.layer, pooling, when, (placement[0], placement[1]))


def _told_grid(model: Model, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Return the model's own grid of a layer that returns tokens (B, N, C)."""
    if len(shape) != 3:
        return None
    return model.grid(shape[1]) if callable(model.grid) else model.grid


def _with_mean_one(share: Tensor, *, noise: Tensor) -> Tensor:
    """(B, t) -> (B, t) with mean 1; all ones where nothing but rounding tells the frames apart."""
    mean = share.mean(dim=1, keepdim=True)
    return torch.where(mean > noise, share / mean, torch.ones_like(share)).float()


def _place(kind: str, slots: int, length: int, axis: Axis | None, effective: Floats | None) -> tuple[Floats, Spread]:
    if slots == 1:  # one slot is the whole axis, wherever it is put
        return np.array([(length - 1) / 2]), "linear"
    return place(kind, slots=slots, length=length, axis=axis, effective=effective)


def _with_all_axes(heat: Tensor, layout: str) -> Tensor:
    """(B, *S) -> (B, t, h, w), where an axis that the layer does not have has one slot."""
    axes = grid_axes(layout).split()
    for position, axis in enumerate("thw", 1):
        heat = heat if axis in axes else heat.unsqueeze(position)
    return heat


def _clip_shape(model: Model, x: Tensor) -> tuple[int, ...]:
    """Return (C, T, H, W) of what the network is fed with."""
    if model.input_layout == "b c h w":
        x = x.unsqueeze(2)
    return tuple((x.transpose(1, 2) if model.input_layout == "b t c h w" else x).shape[1:])
