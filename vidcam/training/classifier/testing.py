"""Testing: a checkpoint's answers to a split's clips, as a report."""

import tempfile
from pathlib import Path
from typing import Any

from vidcam.data.clips import ClipDataset, collate
from vidcam.data.manifest import Manifest, read_manifest
from vidcam.errors import OptionError
from vidcam.media.files import check_free
from vidcam.models.build import load_model
from vidcam.models.checkpoint import read_checkpoint
from vidcam.models.model import Model
from vidcam.options import takes
from vidcam.training.classifier.module import Classifier
from vidcam.training.classifier.report import CONFUSION, ROC, ClassifierReport, load_predictions, make_report
from vidcam.training.classifier.settings import SplitTest
from vidcam.training.failures import told_in_one_line
from vidcam.training.lightning import build_trainer, quiet, rank_zero_only
from vidcam.training.loading import loader, share
from vidcam.training.report import REPORT
from vidcam.training.settings import Machine

CLIPS, BATCH = 4, 8
PREDICTIONS = "predictions.npz"
TESTED = (REPORT, CONFUSION, ROC, PREDICTIONS)
"""What a test leaves in its folder."""


@takes(SplitTest, Machine)
def test(manifest: str | Path | Manifest, *, chosen: SplitTest, machine: Machine) -> ClassifierReport:
    """Test a network on a split of a manifest.

    Args:
        manifest: a `manifest.csv`, or what `read_manifest` made of it.

    Raises:
        OptionError: no such split, or a label that the network does not know.
        ModelError: the checkpoint is damaged, or not one of vidcam's.
        MediaError: a video of the manifest is not there, or none can be read.
    """
    listed = manifest if isinstance(manifest, Manifest) else read_manifest(manifest)
    if chosen.output is None:
        with tempfile.TemporaryDirectory(prefix="vidcam-") as temporary:
            return run_test(listed, chosen, Path(temporary), machine)
    folder = Path(chosen.output)
    rank_zero_only(check_free)(folder, TESTED, force=chosen.force)
    folder.mkdir(parents=True, exist_ok=True)
    report = run_test(listed, chosen, folder, machine)
    rank_zero_only(report.write)(folder)
    return report


def run_test(manifest: Manifest, chosen: SplitTest, folder: Path, machine: Machine) -> ClassifierReport:
    """Test, with `predictions.npz` in the folder, and return the report."""
    told, split = read_checkpoint(chosen.checkpoint).description, chosen.split
    trained = told.get("training", {})
    clips = trained.get("test_clips", CLIPS) if chosen.clips is None else chosen.clips
    batch = trained.get("batch", BATCH) if chosen.batch is None else chosen.batch
    model = load_model(None, checkpoint=chosen.checkpoint)
    dataset = split_clips(manifest, split, model, clips="uniform", per_video=clips, backend=chosen.backend)
    with quiet():
        trainer = build_trainer(machine)
        part = share(len(dataset), rank=trainer.global_rank, world=trainer.world_size)
        clips_of_split = loader(dataset, machine.workers, collate, sampler=part, batch_size=batch)
        with told_in_one_line(batch):
            trainer.test(Classifier(model, keep_in=folder / PREDICTIONS), clips_of_split, verbose=False)
    return make_report(
        load_predictions(folder / PREDICTIONS),
        manifest.split(split),
        model.labels,
        model=model.name,
        checkpoint=str(chosen.checkpoint),
        manifest=str(manifest.path),
        split=split,
        split_digest=manifest.digests[split],
        trained_on=told.get("splits", {}).get(trained.get("train_split")) == manifest.digests[split],
        clips=clips,
        best=trained.get("best", {}),
    )


def split_clips(manifest: Manifest, split: str, model: Model, **options: Any) -> ClipDataset:
    """Make a split's clips as the model takes them; an OptionError names the row with a label it does not know."""
    rows = manifest.split(split)
    try:
        return ClipDataset(
            rows,
            model.labels,
            frames=model.frames,
            frame_rate=model.frame_rate,
            sampling=model.sampling,
            preprocessing={name: given.preprocessing for name, given in model.inputs.items()} or model.preprocessing,
            **options,
        )
    except OptionError as error:
        raise OptionError(f"{manifest.path}: {error}") from None
