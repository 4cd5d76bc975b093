"""How good odometry is: snippets (Zhou et al. 2017), KITTI's drift over 100 to 800 m, errors of the whole path."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vidcam.data.drives.trajectory import Trajectory
from vidcam.errors import OptionError
from vidcam.media import replacing
from vidcam.odometry.alignment import best_scale, similarity
from vidcam.odometry.baselines import baselines, snippets
from vidcam.types import Floats, Ints

SNIPPET = 5  # frames
LENGTHS = tuple(range(100, 801, 100))  # meters
START_STEP = 10  # frames from one start of a segment to the next


class SnippetErrors(NamedTuple):
    """Errors of every snippet, NaN where nothing was predicted."""

    ate: Floats
    """(S,) in meters, after the scale was aligned."""
    re: Floats
    """(S,) in radians."""

    def summary(self, length: int) -> dict[str, Any]:
        """Return mean and standard deviation over the snippets, as `ate_5_mean`; None if there are none."""
        facts: dict[str, Any] = {}
        for name, values in (("ate", self.ate), ("re", self.re)):
            known = values[np.isfinite(values)]
            facts[f"{name}_{length}_mean"] = float(known.mean()) if known.size else None
            facts[f"{name}_{length}_std"] = float(known.std()) if known.size else None
        return facts | {"snippets": int(np.isfinite(self.ate).sum())}


class Drift(NamedTuple):
    """Mean errors over the segments of the path; None where the path is shorter than the shortest segment."""

    t_rel_percent: float | None
    r_rel_deg_per_100m: float | None
    segments: int


@dataclass(frozen=True)
class OdometryReport:
    """All that can be said of a predicted trajectory."""

    frames: int
    length_m: float
    """Of the true path."""
    snippet: int
    """Frames of a snippet."""
    errors: SnippetErrors
    drift: Drift
    alignment: str
    """Before the numbers below and the drift; snippets have their own."""
    scale: float
    """What the alignment multiplied the predicted positions by."""
    ate_m: float
    """Root mean square of the distances between the positions."""
    rpe_m: float
    """Mean length of the errors of the steps from frame to frame."""
    rpe_deg: float
    baselines: dict[str, SnippetErrors]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the single snippets, ready for JSON."""
        return {
            "frames": self.frames,
            "length_m": self.length_m,
            "alignment": self.alignment,
            "scale": self.scale,
            **self.errors.summary(self.snippet),
            **self.drift._asdict(),
            "ate_m": self.ate_m,
            "rpe_m": self.rpe_m,
            "rpe_deg": self.rpe_deg,
            "baselines": {name: errors.summary(self.snippet) for name, errors in self.baselines.items()},
            "notes": list(self.notes),
        }

    def write_csv(self, path: str | Path, *, force: bool = False) -> None:
        """Write the errors of every snippet, the baselines' beside; a cell without a prediction is empty.

        Raises:
            MediaError: the file exists and `force` is not set, or it cannot be written.
        """
        columns: dict[str, Sequence[Any]] = {"first_frame": range(len(self.errors.ate))}
        for name, errors in {"": self.errors, **self.baselines}.items():
            before = f"{name}_" if name else ""
            for kind, values in errors._asdict().items():
                columns[f"{before}{kind}"] = ["" if np.isnan(value) else value for value in values.tolist()]
        with replacing(path, force=force) as part, part.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(columns)
            rows.writerows(zip(*columns.values(), strict=True))


def evaluate(
    predicted: Trajectory,
    true: Trajectory,
    *,
    alignment: str = "7dof",
    snippet: int = SNIPPET,
    predicted_snippets: Floats | None = None,
    training: Sequence[Trajectory] = (),
) -> OdometryReport:
    """Compare a predicted trajectory with the true one, and the baselines beside.

    Args:
        predicted: F poses.
        true: the same frames'.
        alignment: none, scale, 6dof or 7dof; see `alignment.similarity`.
        snippet: frames of a snippet.
        predicted_snippets: (F - snippet + 1, snippet, 4, 4) as a network gave them; else they are cut from `predicted`.
        training: what the mean motion is the mean of.

    Raises:
        OptionError: different lengths, fewer frames than a snippet, or snippets of another shape.
    """
    moved = similarity(predicted, true, alignment)
    truth = snippets(true, snippet)
    said = snippets(predicted, snippet) if predicted_snippets is None else predicted_snippets
    aligned, rebased = moved.apply(predicted.rebased()), true.rebased()
    rpe_m, rpe_deg = step_errors(aligned, rebased)
    drifted = drift(aligned, rebased)
    compared = baselines(true, length=snippet, training=training)
    return OdometryReport(
        frames=len(true),
        length_m=float(true.distances[-1]),
        snippet=snippet,
        errors=snippet_errors(said, truth),
        drift=drifted,
        alignment=alignment,
        scale=moved.scale,
        ate_m=position_error(aligned, rebased),
        rpe_m=rpe_m,
        rpe_deg=rpe_deg,
        baselines={name: snippet_errors(poses, truth) for name, poses in compared.items()},
        notes=tuple(_notes(predicted, true, drifted, compared)),
    )


def snippet_errors(predicted: Floats, true: Floats) -> SnippetErrors:
    """Compare snippets (S, n, 4, 4) of camera poses, each seen from its first frame (Zhou et al. 2017, sec. 4.3).

    ATE = sqrt(sum over frames and axes of (true - s predicted)^2) / n with the best scale s of the snippet, so that
    a root mean square would be sqrt(n) times it; RE = the sum of the angles of R_true inv(R_predicted), over n.

    Raises:
        OptionError: the shapes differ.
    """
    if predicted.shape != true.shape:
        raise OptionError(f"snippets must be of the truth's shape {true.shape}; given {predicted.shape}")
    count = true.shape[1]
    here, there = predicted[..., :3, 3], true[..., :3, 3]
    off = there - best_scale(here, there)[:, None, None] * here
    ate = np.sqrt((off**2).sum(axis=(1, 2))) / count
    turned = true[..., :3, :3] @ _inverses(predicted[..., :3, :3])
    return SnippetErrors(np.where(np.isnan(here).any(axis=(1, 2)), np.nan, ate), _angles(turned).sum(axis=1) / count)


def drift(predicted: Trajectory, true: Trajectory) -> Drift:
    """Measure KITTI's t_rel and r_rel (Geiger et al. 2012): mean errors of segments of 100, 200 ... 800 m.

    Segments start at every tenth frame and end at the first frame whose driven distance is more than the length. With
    E = inv(predicted motion) true motion over a segment: |t(E)| / length in percent, and the angle of R(E) / length.
    """
    driven = true.distances
    starts = np.arange(0, len(true), START_STEP)
    first, length = (grid.ravel() for grid in np.meshgrid(starts, np.array(LENGTHS, dtype=float), indexing="ij"))
    last = np.searchsorted(driven, driven[first] + length, side="right")
    inside = last < len(true)
    first, last, length = first[inside], last[inside], length[inside]
    if not len(first):
        return Drift(None, None, 0)
    error = np.linalg.inv(_between(predicted.poses, first, last)) @ _between(true.poses, first, last)
    moved, turned = (sizes / length for sizes in _sizes(error))
    return Drift(100 * float(moved.mean()), 100 * float(np.degrees(turned.mean())), len(first))


def position_error(predicted: Trajectory, true: Trajectory) -> float:
    """Return the root mean square of the distances between positions in meters: the absolute trajectory error."""
    return float(np.sqrt(((predicted.positions - true.positions) ** 2).sum(axis=1).mean()))


def step_errors(predicted: Trajectory, true: Trajectory) -> tuple[float, float]:
    """Return the mean errors of the steps between neighboring frames, meters and degrees: relative pose error.

    The angle is KITTI's arc cosine, which makes something of the seventh digit of a pose file: near 0.02 degrees.
    """
    moved, turned = _sizes(np.linalg.inv(true.steps) @ predicted.steps)
    return float(moved.mean()), float(np.degrees(turned.mean()))


def _between(poses: Floats, first: Ints, last: Ints) -> Floats:
    return np.linalg.inv(poses[first]) @ poses[last]


def _inverses(rotations: Floats) -> Floats:
    """Invert (..., 3, 3); a matrix of NaN stays one."""
    known = np.isfinite(rotations).all(axis=(-2, -1), keepdims=True)
    return np.where(known, np.linalg.inv(np.where(known, rotations, np.eye(3))), np.nan)


def _angles(rotations: Floats) -> Floats:
    """(..., 3, 3) -> (...) angles in radians, exact also for small ones."""
    skew = rotations - np.swapaxes(rotations, -1, -2)
    sine = np.sqrt(skew[..., 0, 1] ** 2 + skew[..., 1, 2] ** 2 + skew[..., 0, 2] ** 2)
    angles: Floats = np.arctan2(sine, np.trace(rotations, axis1=-2, axis2=-1) - 1)
    return angles


def _sizes(motions: Floats) -> tuple[Floats, Floats]:
    """(N, 4, 4) -> (N,) meters and (N,) radians, these as KITTI's development kit computes them."""
    cosines = (np.trace(motions[:, :3, :3], axis1=-2, axis2=-1) - 1) / 2
    return np.linalg.norm(motions[:, :3, 3], axis=1), np.arccos(np.clip(cosines, -1, 1))


def _notes(predicted: Trajectory, true: Trajectory, drifted: Drift, compared: dict[str, Floats]) -> list[str]:
    """Say what a reader must know of the numbers."""
    notes = []
    if not drifted.segments:
        shortest = f"no segment of {LENGTHS[0]} m starts and ends in it: t_rel and r_rel are not known"
        notes.append(f"the true path is {true.distances[-1]:.1f} m long, {shortest}")
    for trajectory, name in ((predicted, "predicted"), (true, "true")):
        if trajectory.distances[-1] == 0:
            notes.append(f"the {name} trajectory stands still: there is no scale to align")
    if best_scale(predicted.rebased().positions[None], true.rebased().positions[None])[0] < 0:
        notes.append("the fitted scale is negative: the predicted path goes the other way")
    if "mean_motion" not in compared:
        notes.append("no training trajectories are given: the mean motion is left out of the baselines")
    return notes
