"""The command that trains pose and depth networks; a command is parse, one call into the library, print."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from vidcam.cli.console import show, warnings_in_one_line
from vidcam.cli.training import Accelerator, Config, Devices, Force, Json, Nodes, Precision, Strategy, Workers

SHOWN = ("validation", "snippets", "left_out", "best", "odometry", "outputs")


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("train-odometry")(train_odometry)


def train_odometry(
    data: Annotated[
        list[Path], typer.Argument(metavar="DATA...", help="KITTI's dataset, scenes, a drives.csv, single drives.")
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", help="For networks, report and logs.")] = Path("trained"),
    validation: Annotated[
        list[str] | None,
        typer.Option(metavar="DRIVE", help="Validates, or none; default: val.txt's, or each drive's last tenth."),
    ] = None,
    camera: Annotated[str | None, typer.Option(help="In KITTI's layout; default: image_2, or the first.")] = None,
    intrinsics: Annotated[str | None, typer.Option(metavar="FX,FY,CX,CY|FILE", help="In the source's pixels.")] = None,
    static_list: Annotated[Path | None, typer.Option(help="Frames in which the camera stands still.")] = None,
    length: Annotated[int, typer.Option(help="Frames of a snippet, odd.")] = 3,
    size: Annotated[tuple[int, int], typer.Option(metavar="HEIGHT WIDTH", help="Of the networks' frames.")] = (
        128,
        416,
    ),
    batch: Annotated[int, typer.Option(help="Snippets per step and device.")] = 4,
    epochs: Annotated[int, typer.Option(help="How often each snippet is seen.")] = 50,
    epoch_size: Annotated[int | None, typer.Option(metavar="STEPS", help="The most in an epoch.")] = None,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 2e-4,
    photometric: Annotated[float, typer.Option(help="Weight of the difference between pictures.")] = 1.0,
    smoothness: Annotated[float, typer.Option(help="Weight of depth's second derivatives.")] = 0.1,
    explainability: Annotated[float, typer.Option(help="Weight of the masks' loss; 0: no masks.")] = 0.0,
    rotation: Annotated[str, typer.Option(metavar="euler|quat", help="How pose vectors are read.")] = "euler",
    augment: Annotated[bool, typer.Option(help="Mirror, enlarge and crop at random.")] = True,
    skip_static: Annotated[bool, typer.Option(help="Leave out where the camera stands still.")] = True,
    pose: Annotated[Path | None, typer.Option(help="A pose network to start from.")] = None,
    disp: Annotated[Path | None, typer.Option(help="A depth network to start from.")] = None,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 0,
    precision: Precision = "32-true",
    devices: Devices = "auto",
    accelerator: Accelerator = "auto",
    strategy: Strategy = "auto",
    num_nodes: Nodes = 1,
    workers: Workers = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a killed run was.")] = False,
    save_every: Annotated[int, typer.Option(help="Steps from one last.ckpt to the next.")] = 500,
    logger: Annotated[str, typer.Option(metavar="tensorboard|csv|none")] = "tensorboard",
    force: Force = False,
    as_json: Json = False,
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
    given: dict[str, Any] = {name: value for name, value in locals().items() if name not in ("as_json", "config")}
    with warnings_in_one_line():
        from vidcam.odometry.training.train import train_odometry as fit

        report = fit(given.pop("data"), **given)
    facts = report.as_dict() | {"outputs": [str(output / name) for name in ("pose.safetensors", "disp.safetensors")]}
    if not as_json:
        facts |= {"odometry": [_in_short(row) for row in report.odometry]}
    show(facts if as_json else {name: facts[name] for name in SHOWN if facts[name]}, as_json=as_json)


def _in_short(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the drive and the ATE of the longest snippets, the network's and those of the baselines beside it."""
    name = [key for key in row if key.startswith("ate_") and key.endswith("_mean")][-1]
    compared = {f"({baseline})": values[name] for baseline, values in row["baselines"].items()}
    shown = {"drive": row["drive"], "frames": row["frames"], name: row[name], **compared}
    return {key: value for key, value in shown.items() if value is not None}
