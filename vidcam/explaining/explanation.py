"""Explanation: heat laid on the source's frames, and everything needed to draw, rank, check and repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vidcam.attribution.geometry import Mode
from vidcam.attribution.methods import METHODS
from vidcam.attribution.scores import target_index
from vidcam.errors import OptionError, TargetError, unknown
from vidcam.explaining import saved
from vidcam.explaining.choices import SCALES
from vidcam.explaining.mapping import spreading
from vidcam.media import Video
from vidcam.types import Floats

FLAT = "the map is flat: nothing in the layer {}, so there is nothing to draw"
LOSS = "loss"
"""The score whose value is shown with its sign turned: it is minus the loss that is explained."""


@dataclass(frozen=True, repr=False)
class Explanation:
    """What a network says of a video, and the heat of every score that was explained, on the source's frames.

    `heat` is that of the `target`; `of` switches to another explained score without running the network. A classifier's
    columns are its classes (and scores of one's own behind them); a regressor's are its scores, "loss" among them. The
    value of "loss" is the loss itself, and its map is that of minus the loss: what keeps the loss low.

    Pixels count from 0 at the middle of the top left pixel, so that the left edge of the picture is -0.5. S is the
    number of explained scores, K of columns, F of the source's frames, N of windows.

        explanation = vidcam.explain(model, "clip.mp4", target=["wave", "clap"])
        explanation.top_frames(3), explanation.heat.shape, explanation.of("clap").heat.shape

    Args:
        maps: (S, F, h, w) float32, the raw map of every explained score: not normalized, not up-sampled. A regressor's
            have a sign: above zero where a cell raises the score.
        explained: (S,) the column that each map explains.
        target: the column whose heat is shown.
        probabilities: (N, K) probability of every class, and value of every other score, in every window.
        outputs: (F, S) what the network says of every explained score at every frame of the source.
        seconds: (F,) when each source frame is shown.
        rows: (h,) where each row of cells lies in the source, in pixels from the top; increasing.
        columns: (w,) where each column of cells lies in the source, in pixels from the left; increasing.
        spread: how heat fills the pixels between the cells' positions.
        region: left, top, right, bottom edge of what the network saw of the source, in pixels; outside, heat is
            unknown.
        width, height: the source's size in pixels, after rotation.
        rate: the source's frame rate, frames per second.
        windows: (N, 2) start and end in seconds of every window that went through the network.
        gradients: (S, F) size of the score's gradient at the layer, the root of the sum of squares; NaN where it is not
            known.
        vanishing: (S, F) where a regressor's gradient is too small for its map to mean anything; `heat` is zero there.
        labels: (K,) names of the columns; empty where classes have none.
        classes: how many of the columns are classes; a regressor has none.
        units: (K,) the scores' units, empty where they have none.
        signed: whether `heat` keeps what lowers the score, below zero.
        extras: what the network tells beside its answer, and what is known beside the source, (F, ...) by name:
            "attention", "poses", "true_poses", "depth".
        provenance: source, digests, model, layer, method, options, versions: what is needed to repeat this.
        notes: what a reader must know: padding, cropping, flat maps.
        seen: (F,) which frames the network told of; what is said of the others is interpolated. None: not known.
        video: the frames that were explained where these lie in no file; neither saved nor copied.
    """

    maps: Floats
    explained: tuple[int, ...]
    target: int
    probabilities: Floats
    outputs: Floats
    seconds: Floats
    rows: Floats
    columns: Floats
    spread: Mode
    region: tuple[float, float, float, float]
    width: int
    height: int
    rate: Fraction
    windows: Floats
    gradients: Floats
    vanishing: npt.NDArray[np.bool_]
    labels: tuple[str, ...] = ()
    classes: int = 0
    units: tuple[str, ...] = ()
    signed: bool = False
    extras: Mapping[str, Floats] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seen: npt.NDArray[np.bool_] | None = None
    video: Video | None = field(default=None, compare=False)

    @classmethod
    def from_heat(cls, heat: Floats, **fields: Any) -> Explanation:
        """Make an explanation of one class of a classifier from heat that is known already.

        Args:
            heat: (F, h, w) of the class `target`.
            fields: the others, and `attention`; those that tell of other scores are worked out.
        """
        return cls(**saved.fields_of_heat({"heat": heat, **fields}))

    @cached_property
    def heat(self) -> Floats:
        """(F, h, w) float32 heat of the target, raw."""
        raw: Floats = self.maps[self._which]
        if self.classes:
            return raw
        known: Floats = np.where(self.is_vanishing[:, None, None], 0, raw).astype(np.float32)
        return known if self.signed else known.clip(min=0)

    @property
    def target_name(self) -> str:
        """The explained score by its name, or a class by its index where the classes have no names."""
        return self.name(self.target)

    @property
    def is_class(self) -> bool:
        """Whether the target is a class."""
        return self.target < self.classes

    @property
    def probability(self) -> float:
        """Mean probability of the target over all windows."""
        return float(self.probabilities[:, self.target].mean())

    @property
    def values(self) -> Floats:
        """(F,) the explained score at every source frame."""
        return self.outputs[:, self._which]

    @property
    def unit(self) -> str:
        """The unit of the target, or nothing where it has none."""
        return self.units[self.target] if self.target < len(self.units) else ""

    @property
    def gradient(self) -> Floats | None:
        """(F,) the size of the target's gradient; None for a class, and where it is not known."""
        size = self.gradients[self._which]
        return None if self.is_class or np.isnan(size).any() else size

    @property
    def loss(self) -> Floats | None:
        """(F,) the loss where it was explained, and is not the target itself."""
        names = [self.name(column) for column in self.explained]
        if self.classes or LOSS not in names or self.target_name == LOSS:
            return None
        beside: Floats = self.outputs[:, names.index(LOSS)]
        return beside

    @property
    def is_vanishing(self) -> npt.NDArray[np.bool_]:
        """(F,) whether the target's gradient vanishes at a frame, so that nothing is known of where."""
        vanishing: npt.NDArray[np.bool_] = self.vanishing[self._which].astype(bool)
        return vanishing

    @property
    def attention(self) -> Floats | None:
        """(F,) the network's own attention weight of every source frame, if it has any."""
        return self.extras.get("attention")

    @property
    def poses(self) -> Floats | None:
        """(F, 4, 4) camera to world, in the network's own unit of length, from networks that tell motion."""
        return self.extras.get("poses")

    @property
    def true_poses(self) -> Floats | None:
        """(F, 4, 4) camera to world in metres, where it is known."""
        return self.extras.get("true_poses")

    @property
    def depth(self) -> Floats | None:
        """(F, h', w') depth over the whole frame, in the network's own unit, from networks that tell it."""
        return self.extras.get("depth")

    @property
    def duration_seconds(self) -> float:
        """From the first frame's start to the last frame's end."""
        return float(self.seconds[-1] - self.seconds[0]) + float(1 / self.rate)

    @property
    def is_flat(self) -> bool:
        """Whether no frame has any heat, so that there is nothing to show."""
        return not bool(self.frame_scores.any())

    @property
    def frame_scores(self) -> Floats:
        """(F,) heat of each frame: the mean over the cells of its positive heat or, if signed, of its size."""
        scores: Floats = (np.abs(self.heat) if self.signed else self.heat.clip(min=0)).mean(axis=(1, 2))
        return scores

    def name(self, column: int) -> str:
        """Return a column by its name, or a class by its index where it has none."""
        return self.labels[column] if column < len(self.labels) else str(column)

    def of(self, target: str | int, *, signed: bool | None = None) -> Explanation:
        """Return the explanation of another explained score, or of the same one signed or not.

        The network does not run.

        Raises:
            TargetError: there is no such score, or it was not explained.
            OptionError: signed heat of a classifier, whose maps have no sign.
        """
        column = self._column(target)
        signed = self.signed if signed is None else signed
        if signed and self.classes:
            raise OptionError("signed heat is for regressors: the maps of classes have no sign")
        general = [note for note in self.notes if note not in self.score_notes]
        other = replace(self, target=column, signed=signed)
        return replace(other, notes=(*general, *other.score_notes))

    def with_heat(self, heat: Floats) -> Explanation:
        """Return an explanation of the target alone with other heat (F, h, w) on the same frames and cells."""
        which = slice(self._which, self._which + 1)
        nowhere = np.zeros((1, len(heat)), bool)
        parts: dict[str, Any] = {"maps": heat[None], "explained": (self.target,), "vanishing": nowhere}
        return replace(self, outputs=self.outputs[:, which], gradients=self.gradients[which], **parts)

    def top_frames(self, k: int = 5) -> list[int]:
        """Indices of the k frames with the most heat, hottest first, of those that the network saw."""
        if k < 1:
            raise OptionError(f"top_frames needs k of at least 1; given {k}")
        order = np.argsort(-self.frame_scores, kind="stable")
        return [int(i) for i in order if self.seen is None or self.seen[i]][:k]

    def normalize(self, scale: Literal["video", "frame"] = "video") -> Floats:
        """Return heat in 0 to 1, (F, h, w): negative heat is 0, the hottest cell is 1.

        With `scale="video"` one factor serves all frames, so that a frame's heat says how much it matters;
        `scale="frame"` hides that. Flat maps stay zero.
        """
        positive = self.heat.clip(min=0)
        if scale not in SCALES:
            raise OptionError(unknown("scale", scale, SCALES))
        peak = positive.max(axis=(1, 2) if scale == "frame" else None, keepdims=True)
        normalized: Floats = np.divide(positive, peak, out=np.zeros_like(positive), where=peak > 0)
        return normalized

    def spreading(self) -> tuple[Floats, Floats]:
        """Return the matrices (H, h) and (w, W) with which `down @ heat @ across` is heat per source pixel."""
        size = (self.height, self.width)
        return spreading(self.rows, self.columns, size=size, region=self.region, mode=self.spread)

    def dense(self, frame: int) -> Floats:
        """Return one frame's raw heat per source pixel, (H, W) float32; zero where the network did not look."""
        down, across = self.spreading()
        return np.asarray(down @ self.heat[frame] @ across)

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write everything to one `.npz` without pickled objects; an existing file needs `force`."""
        return saved.write(self.__getstate__(), path, force=force)

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read what `save` wrote, with this or an earlier version of vidcam.

        Raises:
            MediaError: it is no such file.
        """
        return saved.read(path, cls)

    def summary(self) -> dict[str, Any]:
        """The facts without the arrays, for `run.json` and for people."""
        facts = {k: v for k, v in self.__getstate__().items() if k != "extras" and not isinstance(v, np.ndarray)}
        return facts | {"rate": str(self.rate)}

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "video"}

    @property
    def score_notes(self) -> tuple[str, ...]:
        """What a reader must know of the target's map."""
        method = METHODS.get(self.provenance.get("method", ""))
        notes: list[str] = []
        if method is not None and not method.uses_score and (not self.classes or len(self.explained) > 1):
            notes.append(f"method {method.name!r} looks at no score: all scores have the same map")
        if self.classes and not (self.heat > 0).any():
            what = "speaks for this class" if self.is_class else f"raises {self.target_name!r}"
            notes.append(FLAT.format(what))
        elif not notes and not self.classes:
            notes += self._notes_of_value(against=method is not None and method.against)
        return tuple(notes)

    def _notes_of_value(self, *, against: bool) -> Sequence[str]:
        name, notes = self.target_name, []
        if name == LOSS:
            kept = "raises it" if against else "keeps it low"
            notes.append(f"the map of the loss shows what {kept}; it vanishes as the fit gets better")
        if gone := int(self.is_vanishing.sum()):
            frames = len(self.seconds)
            notes.append(f"the gradient of {name!r} vanishes in {gone} of {frames} frames: no map is drawn there")
        elif not self.maps[self._which].any():
            notes.append(FLAT.format(f"moves {name!r}"))
        return notes

    @property
    def _which(self) -> int:
        """The place of the target among the explained scores."""
        return self.explained.index(self.target)

    def _column(self, target: str | int) -> int:
        names = [self.name(column) for column in self.explained]
        if self.classes == 0 and target not in names and target not in self.explained:
            raise TargetError(unknown("score", target, names))
        column = target_index(target, self.labels, self.probabilities.shape[1])
        if column not in self.explained:
            raise TargetError(f"{self.name(column)!r} was not explained; there are {', '.join(names)}")
        return column

    @property
    def said(self) -> str:
        """What the network says of the target, in words."""
        if self.is_class:
            return f"with probability {self.probability:.3f}"
        return f"with mean {self.values.mean():.4g} {self.unit}".rstrip()

    def _repr_html_(self) -> str:
        """Show a notebook the target, the importance of the frames over time, and the notes."""
        scores = self.frame_scores / (self.frame_scores.max() or 1)
        step = max(1, len(scores) // 400)
        across = np.linspace(0, 600, len(scores))[::step]
        points = " ".join(f"{x:.1f},{60 - 56 * score:.1f}" for x, score in zip(across, scores[::step], strict=True))
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return (
            f"<b>{escape(self.target_name)}</b> {escape(self.said)}: {len(scores)} frames of "
            f"{self.width}&times;{self.height}, {self.duration_seconds:.2f} s; hottest: {self.top_frames(5)}<br>"
            f'<svg width="600" height="62" style="background:#f6f7f9"><polyline points="{points}" fill="none" '
            f'stroke="#2080bf" stroke-width="1.5"/></svg><br>frame importance over time<ul>{notes}</ul>'
        )

    def __repr__(self) -> str:
        f, h, w = self.heat.shape
        others = f", {len(self.explained)} scores" if len(self.explained) > 1 else ""
        said = self.said.removeprefix("with ")
        return (
            f"Explanation({self.target_name!r}, {said}, {f} frames of {self.width}x{self.height}, heat {h}x{w}{others})"
        )
