"""The commands that evaluate odometry and train its networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from vidcam.cli.console import progress_bar, say, show, table, warnings_in_one_line
from vidcam.cli.network import Camera, Network, NetworkFiles
from vidcam.cli.options import Config, Printing, Writing
from vidcam.cli.presence import check_there
from vidcam.errors import OptionError
from vidcam.odometry.choices import ALIGNMENTS
from vidcam.odometry.training.settings import OdometrySettings
from vidcam.options import Options, option
from vidcam.training.settings import Machine, RunFolder

if TYPE_CHECKING:
    from vidcam.data.drives.drive import Drive
    from vidcam.odometry.evaluation import Result
    from vidcam.odometry.prediction import Prediction

SHOWN = (
    *("frames", "length_m", "alignment", "scale", "t_rel_percent", "r_rel_deg_per_100m", "segments"),
    *("ate_m", "rpe_m", "rpe_deg", "outputs"),
)
"""Facts under the table, if they are known."""
LEARNED = ("validation", "snippets", "left_out", "best", "odometry", "outputs")
"""What people look for in the report of a training."""


@dataclass(frozen=True)
class Predicting(Network):
    """Which network predicts poses."""

    model: str | None = option("Predict SEQUENCE's poses with this network: sfmlearner.", None)


@dataclass(frozen=True)
class Judging(Options):
    """How a path is evaluated."""

    panel: ClassVar[str] = "Evaluation"

    alignment: str = option("What is fitted to the truth first; snippets fit a scale.", "7dof", choices=ALIGNMENTS)
    train_poses: Sequence[Path] = option(
        "For the mean motion; default: KITTI's 00-08 beside POSES_TRUE.", (), metavar="FILE"
    )


@dataclass(frozen=True)
class ResultFiles(Writing):
    """What is written."""

    plot: Path | None = option("Draw the paths: .png .jpg .pdf .svg.", None, metavar="FILE")
    csv: Path | None = option("Write the errors of every snippet.", None, metavar="FILE")
    output: Path | None = option("poses.txt, results.json, results.csv and trajectory.png.", None, metavar="DIR")

    def files(self) -> dict[str, Any]:
        """Return them as the arguments of what writes them."""
        return {name: getattr(self, name) for name in ("plot", "csv", "output", "force")}


def odometry(
    first: Annotated[
        str, typer.Argument(metavar="POSES_PREDICTED|SEQUENCE", help="A pose file, or with --model a drive.")
    ],
    network: Predicting,
    files: NetworkFiles,
    camera: Camera,
    judging: Judging,
    results: ResultFiles,
    true: Annotated[
        Path | None, typer.Argument(metavar="POSES_TRUE", help="The true poses; a KITTI sequence knows its own.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Snippets per forward.", rich_help_panel="Machine")] = 8,
) -> None:
    """Evaluate a camera's path: 5-frame snippets, KITTI's drift, the whole path, and baselines that see no picture.

    Pose files are KITTI's (12 columns, or 13 with the frame's number) or TUM's (8 columns), told by their columns.
    With --model the poses are predicted from pictures first, and evaluated if the true ones are known.

    Examples:

      vidcam odometry predicted/09.txt dataset/poses/09.txt --plot 09.png

      vidcam odometry predicted.txt true.txt --alignment scale --train-poses 00.txt --train-poses 01.txt --json

      vidcam odometry dataset/sequences/09 --model sfmlearner --pose pose.pth.tar --output odometry-09
    """
    _check_usage(true, network, files.pose or network.checkpoint)
    given = [Path(first), *judging.train_poses, true, files.pose, files.disp, network.checkpoint]
    check_there(*given)
    drive = None if network.model is None else _open(first, true, camera, results.csv)
    from vidcam.odometry.evaluation import check_writable, compare, judge, own_poses, write

    check_writable([path for path in given if path is not None], **results.files())
    with warnings_in_one_line():
        if drive is None:
            assert true is not None  # checked
            result = compare(Path(first), true, judging.alignment, list(judging.train_poses))
        else:
            prediction = _predict(network, files, drive, batch)
            result = judge(drive, prediction, true or own_poses(drive), judging.alignment, list(judging.train_poses))
        written = write(result, **results.files())
    _print(result, written, as_json=results.as_json)


def _check_usage(true: Path | None, network: Predicting, weights: Path | None) -> None:
    if network.model is None and true is None:
        raise OptionError("give POSES_PREDICTED and POSES_TRUE, or a SEQUENCE and --model to predict its poses")
    if (network.model is None) != (weights is None):
        raise OptionError("to predict poses give both, --model sfmlearner and its weights by --pose or --checkpoint")


def _open(sequence: str, poses: Path | None, camera: Camera, csv: Path | None) -> "Drive":
    from vidcam.data.drives.drive import open_drive

    drive = open_drive(sequence, poses=poses, **camera.arguments())
    if csv is not None and drive.trajectory is None:
        raise OptionError(f"csv= holds errors, and the true poses of {sequence!r} are not known; give POSES_TRUE")
    return drive


def _predict(network: Network, files: NetworkFiles, drive: "Drive", batch: int) -> "Prediction":
    from vidcam.odometry.prediction import predict

    model = network.load(files.arguments())
    with progress_bar("predicting") as progress:
        return predict(model, drive, batch=batch, progress=progress)


def _print(result: "Result", written: list[Path], *, as_json: bool) -> None:
    facts = result.facts | {"outputs": [str(path) for path in written]}
    if not as_json:
        if result.report is not None:
            table(_rows(facts, result.report.snippet), as_json=False)
        for note in facts["notes"]:
            say(f"note: {note}")
    show(facts, as_json=as_json, first=SHOWN)


def _rows(facts: dict[str, Any], snippet: int) -> list[dict[str, Any]]:
    """Return the snippets' errors, the prediction first."""
    rows = []
    for name, errors in {"predicted": facts, **facts["baselines"]}.items():
        row: dict[str, Any] = {f"snippets of {snippet} frames": name}
        for kind, unit in (("ate", "m"), ("re", "rad")):
            mean, spread = errors[f"{kind}_{snippet}_mean"], errors[f"{kind}_{snippet}_std"]
            row[f"{kind.upper()} ({unit})"] = "-" if mean is None else f"{mean:.4f} ± {spread:.4f}"
        rows.append(row | {"snippets": errors["snippets"]})
    return rows


def train_odometry(
    data: Annotated[
        list[Path], typer.Argument(metavar="DATA...", help="KITTI's dataset, scenes, a drives.csv, single drives.")
    ],
    settings: OdometrySettings,
    machine: Machine,
    place: RunFolder,
    printing: Printing,
    config: Config = None,
) -> None:
    """Train SfMLearner's pose and depth networks on drives, without labels.

    Writes pose.safetensors and disp.safetensors, which the other commands take as --model sfmlearner's, last.ckpt,
    report.json, curves.png and logs.

    Examples:

      vidcam train-odometry kitti/dataset --validation 08 --output trained --workers 4

      vidcam train-odometry prepared --length 5 --smoothness 2 --epoch-size 1000

      vidcam train-odometry dashcam.mp4 --intrinsics 721,721,609,172 --size 64 208 --explainability 0.2
    """
    check_there(*data)
    with warnings_in_one_line():
        from vidcam.odometry.training.train import train_odometry as fit

        report = fit(data, **settings.arguments(), **machine.arguments(), **place.arguments())
    outputs = [str(Path(place.output) / name) for name in ("pose.safetensors", "disp.safetensors")]
    facts = report.as_dict() | {"outputs": outputs}
    if not printing.as_json:
        facts |= {"odometry": [_in_short(row) for row in report.odometry]}
    show(facts, as_json=printing.as_json, first=LEARNED)


def _in_short(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the drive and the ATE of the longest snippets, the network's and those of the baselines beside it."""
    name = [key for key in row if key.startswith("ate_") and key.endswith("_mean")][-1]
    compared = {f"({baseline})": values[name] for baseline, values in row["baselines"].items()}
    shown = {"drive": row["drive"], "frames": row["frames"], name: row[name], **compared}
    return {key: value for key, value in shown.items() if value is not None}
