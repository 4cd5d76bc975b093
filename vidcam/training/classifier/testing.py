"""Testing: a checkpoint's answers to a split, as a report."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only

from vidcam.data.manifest import Manifest, read_manifest
from vidcam.media.staging import check_free
from vidcam.models.build import load_model
from vidcam.models.checkpoint import read_checkpoint
from vidcam.training.classifier.module import Classifier
from vidcam.training.classifier.predictions import Predictions, load_predictions
from vidcam.training.classifier.report import Report, make_report
from vidcam.training.loading import split_clips, testing_loader
from vidcam.training.settings import Machine
from vidcam.training.trainer import build_trainer, quiet

CLIPS, BATCH = 4, 8
TESTED = ("report.json", "confusion.png", "roc.png", "predictions.npz")
"""What a test leaves in its folder."""


def test(
    manifest: str | Path | Manifest,
    *,
    checkpoint: str | Path,
    split: str = "test",
    clips: int | None = None,
    batch: int | None = None,
    output: str | Path | None = None,
    backend: str = "auto",
    devices: int | str | Sequence[int] = "auto",
    accelerator: str = "auto",
    strategy: str = "auto",
    num_nodes: int = 1,
    precision: str = "32-true",
    workers: int = 0,
    force: bool = False,
    progress: bool = True,
) -> Report:
    """Test a network on a split of a manifest.

    Args:
        manifest: a `manifest.csv`, or what `read_manifest` made of it.
        checkpoint: what `train` wrote; it knows its model, labels and preprocessing.
        split: which rows.
        clips: per video, spread evenly; None takes as many as training did, so that its report comes out again.
        batch: clips per forward pass and device; None takes training's.
        output: a folder for `report.json`, `confusion.png` and `predictions.npz`; None writes nothing.
        backend: which reader decodes, see `vidcam.media`.
        devices: Lightning's: how many, or which.
        accelerator: Lightning's: "cpu", "gpu" or "auto".
        strategy: Lightning's: "ddp" and others.
        num_nodes: machines.
        precision: of the forward pass, Lightning's.
        workers: processes that decode ahead, per device.
        force: replace such files in the output folder.
        progress: whether to show a bar on stderr.

    Raises:
        OptionError: no such split, or a label that the network does not know.
        ModelError: the checkpoint is damaged, or not one of vidcam's.
        MediaError: a video of the manifest is not there, or none can be read.
    """
    machine = Machine(
        devices=devices,
        accelerator=accelerator,
        strategy=strategy,
        num_nodes=num_nodes,
        precision=precision,
        workers=workers,
        progress=progress,
    )
    found = manifest if isinstance(manifest, Manifest) else read_manifest(manifest)
    if output is None:
        with tempfile.TemporaryDirectory(prefix="vidcam-") as temporary:
            return run_test(found, Path(checkpoint), split, Path(temporary), machine, clips, batch, backend)
    folder = Path(output)
    rank_zero_only(check_free)(folder, TESTED, force=force)
    folder.mkdir(parents=True, exist_ok=True)
    report = run_test(found, Path(checkpoint), split, folder, machine, clips, batch, backend)
    rank_zero_only(report.write)(folder)
    return report


def run_test(
    manifest: Manifest,
    checkpoint: Path,
    split: str,
    folder: Path,
    machine: Machine,
    clips: int | None = None,
    batch: int | None = None,
    backend: str = "auto",
    facts: Mapping[str, Any] | None = None,
) -> Report:
    """Test, with `predictions.npz` in the folder, and return the report; `facts` are more fields of it."""
    told = read_checkpoint(checkpoint).description
    trained = told.get("training", {})
    clips = trained.get("test_clips", CLIPS) if clips is None else clips
    batch = trained.get("batch", BATCH) if batch is None else batch
    model = load_model(None, checkpoint=checkpoint)
    dataset = split_clips(manifest, split, model, clips="uniform", per_video=clips, backend=backend)
    module = Classifier(model)
    module.keep_in, module.tested = folder / "predictions.npz", dataset
    said = _run(module, machine, batch)
    return make_report(
        said,
        manifest.split(split),
        model.labels,
        model=model.name,
        checkpoint=str(checkpoint),
        manifest=str(manifest.path),
        split=split,
        split_digest=manifest.digests[split],
        trained_on=told.get("splits", {}).get(trained.get("train_split")) == manifest.digests[split],
        clips=clips,
        best=trained.get("best", {}),
        **(facts or {}),
    )


def _run(module: Classifier, machine: Machine, batch: int) -> Predictions:
    assert module.tested is not None and module.keep_in is not None
    with quiet():
        trainer = build_trainer(machine)
        rank, world = trainer.global_rank, trainer.world_size
        loader = testing_loader(module.tested, batch=batch, workers=machine.workers, rank=rank, world=world)
        trainer.test(module, loader, verbose=False)
    return load_predictions(module.keep_in)
