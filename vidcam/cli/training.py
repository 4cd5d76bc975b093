"""The commands that train, test, check and rank; a command is parse, one call into the library, print."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vidcam.cli.configuration import configure, pairs
from vidcam.cli.console import progress_bar, say, show, warnings_in_one_line

Manifest = Annotated[Path, typer.Argument(metavar="MANIFEST", help="manifest.csv, as a recipe writes it.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an earlier run.")]
Config = Annotated[
    Path | None,
    typer.Option(is_eager=True, callback=configure, metavar="TOML", help="Options from a file; flags win."),
]
Devices = Annotated[str, typer.Option(help="Lightning's: how many, or which, or auto.")]
Accelerator = Annotated[str, typer.Option(metavar="auto|cpu|gpu", help="Lightning's.")]
Strategy = Annotated[str, typer.Option(help="Lightning's: auto, ddp, fsdp ...")]
Nodes = Annotated[int, typer.Option(help="Machines.")]
Precision = Annotated[str, typer.Option(help="Lightning's: 32-true, 16-mixed, bf16-mixed ...")]
Workers = Annotated[int, typer.Option(help="Processes that decode ahead, per device.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (check, train, test, rank):
        app.command()(command)


def check(
    manifest: Manifest,
    min_seconds: Annotated[float, typer.Option(help="Shorter videos are reported.")] = 0.5,
    as_json: Json = False,
) -> int:
    """Find unreadable, too short and duplicate videos, and sources on both sides of a split, before a run does."""
    from vidcam.data.checking import check_manifest

    with progress_bar("checking") as progress:
        report = check_manifest(manifest, min_seconds=min_seconds, progress=progress)
    if as_json:
        show(report.as_dict(), as_json=True)
    else:
        typer.echo("\n".join(report.lines()))
    return 1 if report.problems else 0


def train(
    manifest: Manifest,
    output: Annotated[Path, typer.Option(metavar="DIR", help="For checkpoint, report and logs.")] = Path("trained"),
    model: Annotated[str | None, typer.Option(help="A name of `vidcam models`; default: cnn_lstm.")] = None,
    options: Annotated[
        list[str], typer.Option("--option", metavar="NAME=VALUE", help="Of the network: hidden=128, frames=16.")
    ] = [],  # noqa: B006
    weights: Annotated[str | None, typer.Option(metavar="TAG", help="Published weights to start from.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Own weights to start from.")] = None,
    train_split: Annotated[str, typer.Option(help="Split to learn from.")] = "train",
    validation_split: Annotated[str | None, typer.Option(help="Chooses the best epoch; none: the last.")] = None,
    test_split: Annotated[str | None, typer.Option(help="For the report.")] = None,
    epochs: Annotated[int, typer.Option(help="How often each video is seen.")] = 30,
    batch: Annotated[int, typer.Option(help="Clips per step and device.")] = 8,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW.")] = 1e-3,
    head_learning_rate: Annotated[float | None, typer.Option(help="Of the head.")] = None,
    backbone_learning_rate: Annotated[float | None, typer.Option(help="Of all but the head.")] = None,
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.")] = 0.01,
    schedule: Annotated[str, typer.Option(metavar="cosine|plateau|none", help="Of the learning rate.")] = "cosine",
    warmup_epochs: Annotated[float, typer.Option(help="The rate rises from zero.")] = 0.0,
    label_smoothing: Annotated[float, typer.Option(help="Share of the target spread over all classes.")] = 0.0,
    clip_gradients: Annotated[float | None, typer.Option(help="Largest norm of the gradient.")] = None,
    accumulate: Annotated[int, typer.Option(help="Batches per step.")] = 1,
    freeze: Annotated[list[str], typer.Option(metavar="PART", help="Stays as it is; backbone: all but the head.")] = [],  # noqa: B006
    class_balance: Annotated[str, typer.Option(metavar="sampling|loss|none", help="For rare classes.")] = "none",
    early_stopping: Annotated[int | None, typer.Option(metavar="EPOCHS", help="Stop after so many in vain.")] = None,
    monitor: Annotated[str, typer.Option(metavar="accuracy|loss", help="What is best.")] = "accuracy",
    augment: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="Random changes: flip=0.")] = [],  # noqa: B006
    clips_per_video: Annotated[int, typer.Option(help="In an epoch.")] = 1,
    test_clips: Annotated[int, typer.Option(help="Per video, spread evenly.")] = 4,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 0,
    backend: Annotated[str, typer.Option(help="Reader: auto, pyav, torchcodec or decord.")] = "auto",
    precision: Precision = "32-true",
    devices: Devices = "auto",
    accelerator: Accelerator = "auto",
    strategy: Strategy = "auto",
    num_nodes: Nodes = 1,
    sync_batchnorm: Annotated[bool, typer.Option(help="Over all GPUs.")] = False,
    workers: Workers = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a killed run was.")] = False,
    save_every: Annotated[int, typer.Option(help="Steps from one last.ckpt to the next.")] = 100,
    logger: Annotated[str, typer.Option(metavar="tensorboard|csv|none")] = "tensorboard",
    force: Force = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Train a classifier on a manifest; writes a checkpoint that `vidcam explain --checkpoint` takes as it is.

    Examples:

      vidcam train manifest.csv --model cnn_lstm_attention --option backbone=resnet18 --freeze backbone

      vidcam train manifest.csv --model r2plus1d_18 --weights KINETICS400_V1 --head-learning-rate 1e-3 --devices 4
    """
    given: dict[str, Any] = {name: value for name, value in locals().items() if name not in ("as_json", "config")}
    given |= {"options": pairs(options, "option"), "augment": pairs(augment, "augment")}
    with warnings_in_one_line():
        from vidcam.training.classifier.train import train as fit

        report = fit(given.pop("manifest"), **given)
    _show_report(report.as_dict(), [output / "checkpoint.safetensors", output / "report.json"], as_json=as_json)


def test(
    manifest: Manifest,
    checkpoint: Annotated[Path, typer.Option(help="What `vidcam train` wrote.")],
    split: Annotated[str, typer.Option(help="Which rows.")] = "test",
    clips: Annotated[int | None, typer.Option(help="Per video; default: as in training.")] = None,
    batch: Annotated[int | None, typer.Option(help="Clips per forward; default: as in training.")] = None,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="For report and plots.")] = None,
    backend: Annotated[str, typer.Option(help="Reader: auto, pyav, torchcodec or decord.")] = "auto",
    devices: Devices = "auto",
    accelerator: Accelerator = "auto",
    strategy: Strategy = "auto",
    num_nodes: Nodes = 1,
    precision: Precision = "32-true",
    workers: Workers = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Test a trained network on a split of a manifest: accuracy per clip, video and class."""
    given: dict[str, Any] = {name: value for name, value in locals().items() if name != "as_json"}
    with warnings_in_one_line():
        from vidcam.training.classifier.testing import test as run

        report = run(given.pop("manifest"), **given)
    _show_report(report.as_dict(), [output / "report.json"] if output else [], as_json=as_json)


def rank(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video file, GIF or folder of frames.")],
    by: Annotated[str, typer.Option(metavar="attention|contribution|heat|leave_out", help="What ranks.")] = "heat",
    model: Annotated[str | None, typer.Option(help="Default: the checkpoint's.")] = None,
    weights: Annotated[str, typer.Option(metavar="TAG|none", help="Weights to download; none: random.")] = "DEFAULT",
    checkpoint: Annotated[Path | None, typer.Option(help="What `vidcam train` wrote, or your own weights.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Class names: one per line, or JSON.")] = None,
    target: Annotated[str | None, typer.Option(metavar="NAME|INDEX", help="Class; default: the likeliest.")] = None,
    k: Annotated[int, typer.Option("--top", help="Frames to list and to draw.")] = 8,
    draws: Annotated[int, typer.Option(help="Random choices of frames to compare with.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where the network runs.")] = "auto",
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: vidcam-out/NAME.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Rank a video's frames, say how far the rankings agree, and what the top frames alone are worth.

    Writes ranking.json and ranking.png, the top frames with their Grad-CAM.
    """
    from vidcam.cli.batch import rank_one

    chosen = {"model": model, "weights": weights, "checkpoint": checkpoint, "labels": labels, "device": device}
    with warnings_in_one_line(), progress_bar("ranking") as progress:
        facts, notes = rank_one(
            video,
            chosen,
            by=by,
            target=target,
            k=k,
            draws=draws,
            seed=seed,
            output=output,
            force=force,
            progress=progress,
        )
    for note in notes:
        say(f"note: {note}")
    show(facts, as_json=as_json)


def _show_report(report: dict[str, Any], outputs: list[Path], *, as_json: bool) -> None:
    """Print all of a report as JSON, or what people look for first."""
    facts = report | {"outputs": [str(path) for path in outputs]}
    first = ("model", "split", "per_video", "per_clip", "mean_class_accuracy", "per_class", "auc", "skipped", "outputs")
    show(facts if as_json else {name: facts[name] for name in first if facts.get(name)}, as_json=as_json)
