"""The commands that check a manifest, train a classifier on it and test it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidcam.cli.console import progress_bar, show, warnings_in_one_line
from vidcam.cli.options import Config, Printing
from vidcam.cli.presence import check_there
from vidcam.training.classifier.settings import ClassifierMachine, ClassifierSettings, SplitTest
from vidcam.training.settings import Machine, RunFolder

if TYPE_CHECKING:
    from vidcam.data.manifest import Manifest

ManifestFile = Annotated[Path, typer.Argument(metavar="MANIFEST", help="manifest.csv, as a recipe writes it.")]
FIRST = ("model", "split", "per_video", "per_clip", "mean_class_accuracy", "per_class", "auc", "skipped", "outputs")
"""What people look for in a report."""


def check(
    manifest: ManifestFile,
    printing: Printing,
    min_seconds: Annotated[float, typer.Option(help="Shorter videos are reported.")] = 0.5,
) -> int:
    """Find unreadable, too short and duplicate videos, and sources on both sides of a split, before a run does."""
    from vidcam.data.checking import check_manifest

    with progress_bar("checking") as progress:
        report = check_manifest(manifest, min_seconds=min_seconds, progress=progress)
    if printing.as_json:
        show(report.as_dict(), as_json=True)
    else:
        typer.echo("\n".join(report.lines()))
    return 1 if report.problems else 0


def train(
    manifest: ManifestFile,
    settings: ClassifierSettings,
    machine: ClassifierMachine,
    place: RunFolder,
    printing: Printing,
    config: Config = None,
) -> None:
    """Train a classifier on a manifest; writes a checkpoint that `vidcam explain --checkpoint` takes as it is.

    Examples:

      vidcam train manifest.csv --model cnn_lstm_attention --option backbone=resnet18 --freeze backbone

      vidcam train manifest.csv --model r2plus1d_18 --weights KINETICS400_V1 --head-learning-rate 1e-3 --devices 4
    """
    listed = _listed(manifest, settings.checkpoint)
    with warnings_in_one_line():
        from vidcam.training.classifier.train import train as fit

        report = fit(listed, **settings.arguments(), **machine.arguments(), **place.arguments())
    outputs = [str(Path(place.output) / name) for name in ("checkpoint.safetensors", "report.json")]
    show(report.as_dict() | {"outputs": outputs}, as_json=printing.as_json, first=FIRST)


def test(manifest: ManifestFile, chosen: SplitTest, machine: Machine, printing: Printing) -> None:
    """Test a trained network on a split of a manifest: accuracy per clip, video and class."""
    listed = _listed(manifest, chosen.checkpoint)
    with warnings_in_one_line():
        from vidcam.training.classifier.testing import test as run

        report = run(listed, **chosen.arguments(), **machine.arguments())
    outputs = [] if chosen.output is None else [str(Path(chosen.output) / "report.json")]
    show(report.as_dict() | {"outputs": outputs}, as_json=printing.as_json, first=FIRST)


def _listed(manifest: Path, checkpoint: str | Path | None) -> "Manifest":
    """Read what is trained or tested on, before torch is imported."""
    check_there(manifest, checkpoint)
    from vidcam.data.manifest import read_manifest

    return read_manifest(manifest)
