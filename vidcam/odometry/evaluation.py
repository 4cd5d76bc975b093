"""Evaluation of odometry: a path against the true one, and the files that it leaves behind."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vidcam.data.drives.drive import Drive
from vidcam.data.drives.trajectory import Trajectory, read_trajectory, write_kitti
from vidcam.errors import MediaError, OptionError
from vidcam.media.files import check_free, check_replaceable, staged
from vidcam.odometry.alignment import align
from vidcam.odometry.baselines import baseline_paths
from vidcam.odometry.errors import SNIPPET, OdometryReport, evaluate
from vidcam.odometry.plots import trajectory_plot
from vidcam.odometry.prediction import Prediction
from vidcam.rendering.drawing import check_format

TRAINING = tuple(f"{number:02d}" for number in range(9))
"""KITTI's sequences that are trained on; 09 and 10 are for testing."""
NAMES = ("poses.txt", "results.json", "results.csv", "trajectory.png")
UNKNOWN = "the true poses are not known: nothing is evaluated"


@dataclass(frozen=True)
class Result:
    """A path and, where the true one is known, how good it is."""

    name: str
    predicted: Trajectory
    true: Trajectory | None = None
    report: OdometryReport | None = None
    training: tuple[Trajectory, ...] = ()
    why: str = UNKNOWN
    """Why there is no report."""

    @property
    def facts(self) -> dict[str, Any]:
        """What a program wants."""
        if self.report is not None:
            return self.report.as_dict()
        return {"frames": len(self.predicted), "notes": [self.why]}


def compare(predicted: Path, true: Path, alignment: str, train_poses: list[Path]) -> Result:
    """Evaluate one pose file by another."""
    path, truth = read_trajectory(predicted), read_trajectory(true)
    known = _training_poses(train_poses, true)
    return _evaluated(predicted.name, path, truth, known, _apart_in_time(path, truth), alignment=alignment)


def _apart_in_time(predicted: Trajectory, true: Trajectory) -> Iterator[str]:
    """Say where rows that are compared have other times; rows are paired by their order."""
    if predicted.seconds is None or true.seconds is None or len(true) < 2:
        return
    apart = float(np.abs(predicted.seconds - true.seconds).max())
    if apart > float(np.diff(true.seconds).mean()) / 2:
        yield f"the files' times differ by up to {apart:.3g} s: rows are paired by their order, not by time"


def judge(drive: Drive, prediction: Prediction, true: Path | None, alignment: str, train_poses: list[Path]) -> Result:
    """Evaluate a predicted path; a network that sees as many frames as a snippet has is judged by its own snippets."""
    if drive.trajectory is None:
        return Result(drive.name, prediction.trajectory)
    if drive.frames < SNIPPET:
        why = f"a drive of {drive.frames} frames has no snippet of {SNIPPET}: nothing is evaluated"
        return Result(drive.name, prediction.trajectory, why=why)
    frames = prediction.snippets.shape[1]
    own = prediction.snippets if frames == SNIPPET else None
    cut = f"snippets are cut from the chained path: the network sees {frames} frames at once"
    notes = (cut if own is None else "snippets are the network's own", *_gaps(drive))
    known, options = _training_poses(train_poses, true), {"alignment": alignment, "predicted_snippets": own}
    return _evaluated(drive.name, prediction.trajectory, drive.trajectory, known, notes, **options)


def _evaluated(
    name: str, predicted: Trajectory, true: Trajectory, known: Sequence[Path], notes: Iterable[str], **options: Any
) -> Result:
    """Evaluate with options of `evaluate`, beside the mean motion of the `known` pose files."""
    training = tuple(read_trajectory(path) for path in known)
    report = evaluate(predicted, true, training=training, **options)
    mean = [f"mean_motion is that of {', '.join(path.stem for path in known)}"] if known else []
    return Result(name, predicted, true, replace(report, notes=(*report.notes, *mean, *notes)), training)


def _gaps(drive: Drive) -> Iterator[str]:
    if drive.numbers is not None and (count := int((np.diff(drive.numbers) != 1).sum())):
        yield f"{count} gap(s) in the pictures' numbers: steps and snippets across them count as ordinary ones"


def own_poses(drive: Drive) -> Path | None:
    """Return the pose file of a drive in KITTI's layout, dataset/sequences/NN/image_2."""
    sequence = drive.source.parent
    path = sequence.parent.parent / "poses" / f"{sequence.name}.txt"
    return path if path.is_file() else None


def _training_poses(given: list[Path], true: Path | None) -> list[Path]:
    """Return the pose files for the mean motion: those given, else KITTI's training sequences beside the truth."""
    if given or true is None or not re.fullmatch(r"\d\d", true.stem):
        return given
    beside = (true.with_name(f"{name}{true.suffix}") for name in TRAINING if name != true.stem)
    return [path for path in beside if path.is_file()]


def check_writable(
    inputs: Sequence[Path], *, plot: Path | None, csv: Path | None, output: Path | None, force: bool
) -> None:
    """Refuse, before any work is done, to replace files without `force`, and what is read at all.

    Raises:
        MediaError: a file exists, or is one that is read.
        OptionError: two results would go into one file, or the plot's format is unknown.
    """
    for path in filter(None, (plot, csv)):
        check_replaceable(path, force=force)
    if output is not None:
        check_free(output, NAMES, force=force)
    if plot is not None:
        check_format(plot)
    results = [path for path in (plot, csv, *([output / name for name in NAMES] if output else ())) if path is not None]
    for path in results:
        if any(path.exists() and read.exists() and path.samefile(read) for read in inputs):
            raise MediaError(f"{path} is one of the files that are read; choose another name for the result")
    if len({path.absolute() for path in results}) < len(results):
        raise OptionError("two results would go into one file; give plot=, csv= and output= different names")


def write(result: Result, *, plot: Path | None, csv: Path | None, output: Path | None, force: bool) -> list[Path]:
    """Write what is asked for and return the files."""
    written = [path for path in (plot, csv) if path is not None]
    if csv is not None and result.report is not None:
        result.report.write_csv(csv, force=force)
    if plot is not None:
        _draw(result, plot, force=force)
    if output is None:
        return written
    names = [name for name in NAMES if result.report is not None or name != "results.csv"]
    with staged(output, names, force=force) as part:
        write_kitti(part / "poses.txt", result.predicted)
        (part / "results.json").write_text(json.dumps(result.facts, indent=2) + "\n", encoding="utf-8")
        if result.report is not None:
            result.report.write_csv(part / "results.csv")
        _draw(result, part / "trajectory.png")
    for name in set(NAMES) - set(names):  # of an earlier run, which `force` replaces
        (output / name).unlink(missing_ok=True)
    return [*written, *(output / name for name in names)]


def _draw(result: Result, path: Path, *, force: bool = False) -> None:
    predicted, true, report = result.predicted, result.true, result.report
    if true is None or report is None:
        paths, unit = {"predicted": predicted.rebased()}, "network units"
        trajectory_plot(None, paths, path, title=result.name, unit=unit, force=force)
        return
    paths = {"predicted": align(predicted, true, report.alignment)} | baseline_paths(true, training=result.training)
    title = f"{result.name}: ATE {report.ate_m:.3g} m, alignment {report.alignment}"
    trajectory_plot(true, paths, path, title=title, force=force)
