"""The command that evaluates odometry; importing this imports no torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidcam.cli.configuration import pairs
from vidcam.cli.console import progress_bar, say, show, table, warnings_in_one_line
from vidcam.errors import OptionError

if TYPE_CHECKING:
    from vidcam.data.drives.drive import Drive
    from vidcam.odometry.evaluation import Result
    from vidcam.odometry.prediction import Prediction

SHOWN = (
    *("frames", "length_m", "alignment", "scale", "t_rel_percent", "r_rel_deg_per_100m", "segments"),
    *("ate_m", "rpe_m", "rpe_deg"),
)
"""Facts under the table, if they are known."""


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(odometry)


def odometry(
    first: Annotated[
        str, typer.Argument(metavar="POSES_PREDICTED|SEQUENCE", help="A pose file, or with --model a drive.")
    ],
    true: Annotated[
        Path | None, typer.Argument(metavar="[POSES_TRUE]", help="The true poses; a KITTI sequence knows its own.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Predict SEQUENCE's poses with this network: sfmlearner.")] = None,
    pose: Annotated[Path | None, typer.Option(metavar="FILE", help="The pose network's weights.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(metavar="FILE", help="Instead, all networks in one file.")] = None,
    options: Annotated[
        list[str], typer.Option("--option", metavar="NAME=VALUE", help="Of the network: rotation=quat.")
    ] = [],  # noqa: B006
    camera: Annotated[
        str | None, typer.Option(help="In KITTI's layout: image_2 ...; default: that, or the first.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Snippets per forward.")] = 8,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where the network runs.")] = "auto",
    alignment: Annotated[
        str,
        typer.Option(metavar="none|scale|6dof|7dof", help="What is fitted to the truth first; snippets fit a scale."),
    ] = "7dof",
    train_poses: Annotated[
        list[Path], typer.Option(metavar="FILE", help="For the mean motion; default: KITTI's 00-08 beside POSES_TRUE.")
    ] = [],  # noqa: B006
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the paths: .png .jpg .pdf .svg.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the errors of every snippet.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="poses.txt, results.json, results.csv and trajectory.png.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files of an earlier run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Evaluate a camera's path: 5-frame snippets, KITTI's drift, the whole path, and baselines that see no picture.

    Pose files are KITTI's (12 columns, or 13 with the frame's number) or TUM's (8 columns), told by their columns.
    With --model the poses are predicted from pictures first, and evaluated if the true ones are known.

    Examples:

      vidcam odometry predicted/09.txt dataset/poses/09.txt --plot 09.png

      vidcam odometry predicted.txt true.txt --alignment scale --train-poses 00.txt --train-poses 01.txt --json

      vidcam odometry dataset/sequences/09 --model sfmlearner --pose pose.pth.tar --output odometry-09
    """
    _check_usage(true, model, pose or checkpoint)
    from vidcam.odometry.alignment import check_kind
    from vidcam.odometry.evaluation import check_writable, compare, judge, own_poses, write

    check_kind(alignment)
    inputs = [Path(first), *train_poses, *(path for path in (true, pose, checkpoint) if path is not None)]
    check_writable(inputs, plot=plot, csv=csv, output=output, force=force)
    with warnings_in_one_line():
        if model is None:
            assert true is not None  # checked
            result = compare(Path(first), true, alignment, train_poses)
        else:
            drive = _open(first, true, camera, csv)
            files: dict[str, Any] = {"pose": pose, "checkpoint": checkpoint}
            prediction = _predict(drive, model, files, pairs(options, "option"), batch, device)
            result = judge(drive, prediction, true or own_poses(drive), alignment, train_poses)
        written = write(result, plot=plot, csv=csv, output=output, force=force)
    _print(result, written, as_json=as_json)


def _check_usage(true: Path | None, model: str | None, weights: Path | None) -> None:
    if model is None and true is None:
        raise OptionError("give POSES_PREDICTED and POSES_TRUE, or a SEQUENCE and --model to predict its poses")
    if (model is None) != (weights is None):
        raise OptionError("to predict poses give both, --model sfmlearner and its weights by --pose or --checkpoint")


def _open(sequence: str, poses: Path | None, camera: str | None, csv: Path | None) -> "Drive":
    from vidcam.data.drives.drive import open_drive

    drive = open_drive(sequence, camera=camera, poses=poses)
    if csv is not None and drive.trajectory is None:
        raise OptionError(f"--csv holds errors, and the true poses of {sequence!r} are not known; give POSES_TRUE")
    return drive


def _predict(
    drive: "Drive", model: str, files: dict[str, Any], options: dict[str, Any], batch: int, device: str
) -> "Prediction":
    from vidcam.models.build import load_model
    from vidcam.odometry.prediction import predict

    loaded = load_model(model, **files, device=device, options=options)
    with progress_bar("predicting") as progress:
        return predict(loaded, drive, batch=batch, progress=progress)


def _print(result: "Result", written: list[Path], *, as_json: bool) -> None:
    facts = result.facts | {"outputs": [str(path) for path in written]}
    if as_json:
        show(facts, as_json=True)
        return
    if result.report is not None:
        table(_rows(facts, result.report.snippet), as_json=False)
    for note in facts["notes"]:
        say(f"note: {note}")
    shown = {key: facts[key] for key in SHOWN if facts.get(key) is not None}
    show(shown | ({"outputs": facts["outputs"]} if written else {}), as_json=False)


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
