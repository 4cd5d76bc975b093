"""Explanation: heat laid on the source's frames, and everything needed to draw, rank, check and repeat it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vidcam.attribution.features import FEATURES
from vidcam.attribution.geometry import interpolation_matrix
from vidcam.errors import MediaError, OptionError, TargetError, unknown
from vidcam.media import replacing
from vidcam.types import Floats

LOSS = "loss"
"""The score whose value is shown with its sign turned: it is minus the loss that is explained."""


@dataclass(frozen=True)
class Explanation:
    """Heat per source frame, at the layer's resolution.

    Pixels count from 0 at the middle of the top left pixel, so that the left edge of the picture is -0.5.
    """

    heat: Floats
    """(F, h, w) float32, raw: not normalized, not up-sampled. F is the number of the source's frames."""
    seconds: Floats
    """(F,) when each source frame is shown."""
    rows: Floats
    """(h,) where each row of cells lies in the source, in pixels from the top; increasing."""
    columns: Floats
    """(w,) where each column of cells lies in the source, in pixels from the left; increasing."""
    spread: Literal["linear", "nearest"]
    """How heat fills the pixels between the cells' positions."""
    region: tuple[float, float, float, float]
    """Left, top, right, bottom edge of what the network saw of the source, in pixels; outside, heat is unknown."""
    width: int
    height: int
    """The source's size in pixels, after rotation."""
    rate: Fraction
    """The source's frame rate, frames per second."""
    windows: Floats
    """(N, 2) start and end in seconds of every window that went through the network."""
    probabilities: Floats
    """(N, K) probability of every class in every window."""
    target: int
    """Index of the class, or output component, that is explained."""
    labels: tuple[str, ...] = ()
    """(K,) names of the classes."""
    attention: Floats | None = None
    """(F,) the network's own attention weight of every source frame, if it has any."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Source, digests, model, layer, method, options, versions: what is needed to repeat this."""
    notes: tuple[str, ...] = ()
    """What a reader must know: padding, cropping, flat maps."""

    @property
    def target_name(self) -> str:
        """The explained class by its name, or by its index where the classes have no names."""
        return self.labels[self.target] if self.target < len(self.labels) else str(self.target)

    @property
    def probability(self) -> float:
        """Mean probability of the target over all windows."""
        return float(self.probabilities[:, self.target].mean())

    @property
    def duration_seconds(self) -> float:
        """From the first frame's start to the last frame's end."""
        return float(self.seconds[-1] - self.seconds[0]) + float(1 / self.rate)

    @property
    def is_flat(self) -> bool:
        """Whether no frame has any positive heat, so that there is nothing to show."""
        return not bool(self.frame_scores.any())

    @property
    def frame_scores(self) -> Floats:
        """(F,) heat of each frame: the mean of its positive heat over the cells."""
        scores: Floats = self.heat.clip(min=0).mean(axis=(1, 2))
        return scores

    def top_frames(self, k: int = 5) -> list[int]:
        """Indices of the k frames with the most heat, hottest first."""
        if k < 1:
            raise OptionError(f"top_frames needs k of at least 1; given {k}")
        return [int(i) for i in np.argsort(-self.frame_scores, kind="stable")[:k]]

    def normalize(self, scale: Literal["video", "frame"] = "video") -> Floats:
        """Return heat in 0 to 1, (F, h, w): negative heat is 0, the hottest cell is 1.

        With `scale="video"` one factor serves all frames, so that a frame's heat says how much it matters;
        `scale="frame"` hides that. Flat maps stay zero.
        """
        positive = self.heat.clip(min=0)
        if scale not in ("video", "frame"):
            raise OptionError(f"unknown scale {scale!r}; possible: video, frame")
        peak = positive.max(axis=(1, 2) if scale == "frame" else None, keepdims=True)
        normalized: Floats = np.divide(positive, peak, out=np.zeros_like(positive), where=peak > 0)
        return normalized

    def spreading(self) -> tuple[Floats, Floats]:
        """Return the matrices (H, h) and (w, W) with which `down @ heat @ across` is heat per source pixel."""
        left, top, right, bottom = self.region
        down = interpolation_matrix(self.rows, self.height, mode=self.spread)
        across = interpolation_matrix(self.columns, self.width, mode=self.spread)
        y, x = np.arange(self.height), np.arange(self.width)
        down[(y < top) | (y > bottom)] = 0
        across[(x < left) | (x > right)] = 0
        return down, across.T

    def dense(self, frame: int) -> Floats:
        """Return one frame's raw heat per source pixel, (H, W) float32; zero where the network did not look."""
        down, across = self.spreading()
        dense: Floats = down @ self.heat[frame] @ across
        return dense

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write everything to one `.npz` without pickled objects; an existing file needs `force`."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        arrays: dict[str, Any] = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        facts = {name: value for name, value in values.items() if name not in arrays}
        facts["rate"] = [self.rate.numerator, self.rate.denominator]
        with replacing(path, force=force) as part:
            with part.open("wb") as file:
                np.savez_compressed(file, facts=np.array(json.dumps(facts)), **arrays)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> "Explanation":
        """Read what `save` wrote."""
        try:
            with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            facts = json.loads(str(arrays.pop("facts")))
            facts["rate"] = Fraction(*facts["rate"])
            for name in ("region", "labels", "notes", "units"):
                facts |= {name: tuple(facts[name])} if name in facts else {}
            kind = RegressionExplanation if "maps" in arrays else cls
            return kind(**facts | arrays)
        except OSError:
            raise
        except Exception as error:  # zipfile and numpy raise whatever they stumble upon in a damaged file
            raise MediaError(f"{path} is no explanation saved by vidcam ({type(error).__name__})") from None

    def summary(self) -> dict[str, Any]:
        """The facts without the arrays, for `run.json` and for people."""
        return {k: v for k, v in asdict(self).items() if not isinstance(v, np.ndarray)} | {"rate": str(self.rate)}

    @property
    def _said(self) -> str:
        """What the network says of the target."""
        return f"with probability {self.probability:.3f}"

    def _repr_html_(self) -> str:
        """Show a notebook the target, the importance of the frames over time, and the notes."""
        scores = self.frame_scores / (self.frame_scores.max() or 1)
        step = max(1, len(scores) // 400)
        across = np.linspace(0, 600, len(scores))[::step]
        points = " ".join(f"{x:.1f},{60 - 56 * score:.1f}" for x, score in zip(across, scores[::step], strict=True))
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return (
            f"<b>{escape(self.target_name)}</b> {escape(self._said)}: {len(scores)} frames of "
            f"{self.width}&times;{self.height}, {self.duration_seconds:.2f} s; hottest: {self.top_frames(5)}<br>"
            f'<svg width="600" height="62" style="background:#f6f7f9"><polyline points="{points}" fill="none" '
            f'stroke="#2080bf" stroke-width="1.5"/></svg><br>frame importance over time<ul>{notes}</ul>'
        )

    def __repr__(self) -> str:
        f, h, w = self.heat.shape
        return (
            f"Explanation({self.target_name!r}, probability {self.probability:.3f}, {f} frames of "
            f"{self.width}x{self.height}, heat {h}x{w})"
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class RegressionExplanation(Explanation):
    """Heat of a regressor, per source frame, for every score at once; `heat` is that of the target.

    `labels` are the names of the scores ("loss", "tx", ...), `probabilities` their values per window, in their own
    units. The value of "loss" is the loss itself, and its map is that of minus the loss: what keeps the loss low.
    """

    maps: Floats
    """(K, F, h, w) float32, the raw signed map of every score: above zero where a cell raises the score."""
    gradients: Floats
    """(K, F) size of the score's gradient at the layer, the root of the sum of squares."""
    vanishing: npt.NDArray[np.bool_]
    """(K, F) whether the gradient is too small for its map to mean anything; `heat` is zero there."""
    outputs: Floats
    """(F, K) value of every score at every source frame."""
    units: tuple[str, ...] = ()
    """(K,) the scores' units, empty where they have none."""
    signed: bool = False
    """Whether `heat` keeps its negative values."""
    poses: Floats | None = None
    """(F, 4, 4) camera to world, in the network's own unit of length, from networks that tell motion."""
    true_poses: Floats | None = None
    """(F, 4, 4) camera to world in metres, where it is known."""
    depth: Floats | None = None
    """(F, h', w') depth over the whole frame, in the network's own unit, from networks that tell it."""

    @property
    def frame_scores(self) -> Floats:
        """(F,) heat of each frame: the mean size of its heat over the cells."""
        scores: Floats = np.abs(self.heat).mean(axis=(1, 2))
        return scores

    @property
    def values(self) -> Floats:
        """(F,) the explained score at every source frame."""
        return self.outputs[:, self.target]

    @property
    def is_vanishing(self) -> npt.NDArray[np.bool_]:
        """(F,) whether the target's gradient vanishes at a frame."""
        found: npt.NDArray[np.bool_] = self.vanishing[self.target].astype(bool)
        return found

    @property
    def _said(self) -> str:
        unit = self.units[self.target] if self.units else ""
        return f"with mean {self.values.mean():.4g} {unit}".rstrip()

    def __repr__(self) -> str:
        f, h, w = self.heat.shape
        return (
            f"RegressionExplanation({self.target_name!r}, mean {self.values.mean():.4g}, {f} frames of "
            f"{self.width}x{self.height}, heat {h}x{w}, {len(self.labels)} scores)"
        )

    def of(self, target: str | int, *, signed: bool | None = None) -> "RegressionExplanation":
        """Return the explanation of another score, or of the same one signed or not; the network does not run."""
        index = score_index(target, self.labels)
        signed = self.signed if signed is None else signed
        heat = shown(self.maps[index], self.vanishing[index], signed=signed)
        found = replace(self, target=index, signed=signed, heat=heat)
        general = [note for note in self.notes if note not in self.score_notes]
        return replace(found, notes=(*general, *found.score_notes))

    @property
    def score_notes(self) -> tuple[str, ...]:
        """What a reader must know of the target's map."""
        name, frames, notes = self.target_name, len(self.heat), []
        if self.provenance.get("method") in FEATURES:
            return (f"method {self.provenance['method']!r} looks at no score: all scores have the same map",)
        if name == LOSS:
            kept = "raises it" if self.provenance.get("method") == "counterfactual" else "keeps it low"
            notes.append(f"the map of the loss shows what {kept}; it vanishes as the fit gets better")
        if gone := int(self.is_vanishing.sum()):
            notes.append(f"the gradient of {name!r} vanishes in {gone} of {frames} frames: no map is drawn there")
        elif not self.maps[self.target].any():
            notes.append(f"the map is flat: nothing in the layer moves {name!r}, so there is nothing to draw")
        return tuple(notes)


def score_index(target: str | int, labels: Sequence[str]) -> int:
    """Find a score by its name or its index; a TargetError names near matches."""
    if isinstance(target, int) and 0 <= target < len(labels):
        return target
    if target not in labels:
        raise TargetError(unknown("score", target, labels))
    return list(labels).index(str(target))


def shown(maps: Floats, vanishing: npt.NDArray[np.bool_], *, signed: bool) -> Floats:
    """(F, h, w), (F,) -> (F, h, w): a map as heat, zero where its gradient vanishes and, unless signed, below zero."""
    heat = np.where(vanishing[:, None, None], 0, maps).astype(np.float32)
    return heat if signed else heat.clip(min=0)
