"""Fitting: train a classifier on a manifest, from scratch, from published weights or from a checkpoint."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vidcam.data.clips import collate
from vidcam.data.manifest import Manifest, read_manifest
from vidcam.errors import ModelError, OptionError
from vidcam.models.build import find_recipe, load_model
from vidcam.models.checkpoint import read_checkpoint
from vidcam.models.head import find_head, renew_head
from vidcam.models.model import Model
from vidcam.models.recipe import UntrainedWarning
from vidcam.options import takes
from vidcam.training.classifier.module import BEST, SKIPPED, Classifier, ClassifierSaving, class_weights
from vidcam.training.classifier.report import ClassifierReport
from vidcam.training.classifier.settings import ClassifierMachine, ClassifierSettings, SplitTest
from vidcam.training.classifier.testing import TESTED, run_test, split_clips
from vidcam.training.lightning import rank_zero_only
from vidcam.training.loading import TrainingData
from vidcam.training.run import LAST, Patience, TrainingRun
from vidcam.training.settings import Machine, RunFolder

VALIDATION = ("validation", "val")
WRITTEN = (LAST, BEST, SKIPPED, *TESTED)
"""What a run leaves in its folder, beside the logs."""


@takes(ClassifierSettings, ClassifierMachine, RunFolder)
def train(
    manifest: str | Path | Manifest, *, settings: ClassifierSettings, machine: ClassifierMachine, place: RunFolder
) -> ClassifierReport:
    """Train a classifier on a manifest and test it.

    The output folder gets `checkpoint.safetensors`, the best model so far, which `explain`, `load_model` and `test`
    take as it is; `last.ckpt`, from which a run that was killed goes on; `report.json`, `confusion.png`, for two
    classes `roc.png`, and `predictions.npz` of the test; and the logs. The weights are a function of the manifest and
    the settings, on a GPU with `deterministic="yes"` only, without which it may round otherwise each time: a run that
    was killed and resumed ends with those of one that was not.

    Args:
        manifest: a `manifest.csv`, or what `read_manifest` made of it.

    Raises:
        OptionError: a choice that does not exist, a split without rows or with one class, a folder that holds a run.
        ModelError: no such model, weights that do not fit, or a loss that is not finite.
        MediaError: a video of the manifest is not there, or none can be read.
    """
    listed = manifest if isinstance(manifest, Manifest) else read_manifest(manifest)
    settings = _settled(settings, listed)
    _check_choices(listed, settings)
    model = starting_model(settings, listed.labels)
    splits = [split for split in (settings.train_split, settings.validation_split) if split is not None]
    data = {"digests": {split: listed.digests[split] for split in splits}, "labels": list(listed.labels)}
    run = TrainingRun(settings, machine, place, data, origin="manifest", written=WRITTEN)
    _fit(run, settings, machine, model, listed)
    return _report(listed, settings, machine, run.folder)


def _settled(settings: ClassifierSettings, manifest: Manifest) -> ClassifierSettings:
    """Decide what was left open: the model, and the splits, of those that there are."""
    there, validation, tested = manifest.splits, settings.validation_split, settings.test_split
    if validation is None:
        validation = next((name for name in VALIDATION if name in there), None)
    validation = None if validation == "none" else validation
    told = {} if settings.checkpoint is None else read_checkpoint(settings.checkpoint).description
    return replace(
        settings,
        model=settings.model or told.get("model") or "cnn_lstm",
        options=dict(settings.options or {}),
        validation_split=validation,
        test_split=tested or ("test" if "test" in there else validation or settings.train_split),
    )


def starting_model(settings: ClassifierSettings, labels: Sequence[str]) -> Model:
    """Load the model to start from, with one output per label."""
    recipe = find_recipe(str(settings.model))
    if recipe.trained_by != "train":
        raise ModelError(f"{settings.model} does not learn from classes: use {recipe.trained_by}")
    known = recipe.options
    options = {"seed": settings.seed} if "seed" in known else {}
    if "classes" in known and settings.checkpoint is None:
        options["classes"] = len(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)
        model = load_model(
            settings.model,
            weights=settings.weights,
            checkpoint=settings.checkpoint,
            options={**options, **settings.options},
        )
    _fit_head(model, labels, recipe.head or find_head(model.net))
    model.labels = tuple(labels)
    return model


def _fit_head(model: Model, labels: Sequence[str], head: str | None) -> None:
    """Make the last layer anew where its outputs mean other classes."""
    outputs = model.options.get("classes") if head is None else len(model.net.get_parameter(f"{head}.weight"))
    if outputs != len(labels) or (model.labels and tuple(model.labels) != tuple(labels)):
        told = "names of classes" if outputs == len(labels) else f"{outputs} classes"
        warnings.warn(
            f"the last layer is made anew: {told} are not those of the manifest ({len(labels)})", stacklevel=2
        )
        renew_head(model.net, len(labels), head=head, seed=int(model.options.get("seed", 0)))
        if "classes" in model.options:
            model.options["classes"] = len(labels)


def _check_choices(manifest: Manifest, settings: ClassifierSettings) -> None:
    for split in (settings.train_split, settings.validation_split, settings.test_split):
        if split is not None:
            manifest.split(split)
    classes = {row.label for row in manifest.split(settings.train_split)}
    if len(classes) < 2:
        raise OptionError(f"{manifest.path}: split {settings.train_split!r} has one class only, {classes.pop()!r}")
    if settings.validation_split is None and (settings.early_stopping or settings.schedule == "plateau"):
        what = "early_stopping" if settings.early_stopping else "schedule 'plateau'"
        others = ", ".join(name for name in manifest.splits if name != settings.train_split)
        raise OptionError(f"{what} needs validation_split=NAME; {manifest.path} has: {others or 'no other split'}")
    if settings.validation_split == settings.train_split:
        raise OptionError(f"validation_split must not be the split that is learned, {settings.train_split!r}")


def _fit(
    run: TrainingRun, settings: ClassifierSettings, machine: ClassifierMachine, model: Model, manifest: Manifest
) -> None:
    clips = _clips(manifest, model, settings, workers=machine.workers)
    balance = class_weights(clips.train.classes, len(model.labels)) if settings.class_balance == "loss" else None
    patience = [] if settings.early_stopping is None else [Patience(settings.monitor, settings.early_stopping)]
    run.fit(
        Classifier(model, settings, class_weights=balance),
        clips,
        ClassifierSaving(run, {"splits": manifest.digests}),
        *patience,
        sync_batchnorm=machine.sync_batchnorm,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip_gradients,
    )


def _clips(manifest: Manifest, model: Model, settings: ClassifierSettings, *, workers: int) -> TrainingData:
    """Make random clips of the training split, and uniform ones of the validation split if there is one."""
    drawn = {"per_video": settings.clips_per_video, "augment": settings.augmentation, "seed": settings.seed}
    train = split_clips(manifest, settings.train_split, model, clips="random", backend=settings.backend, **drawn)
    validation, classes = None, None
    if settings.validation_split is not None:
        uniform = {"clips": "uniform", "per_video": settings.test_clips, "backend": settings.backend}
        validation = split_clips(manifest, settings.validation_split, model, **uniform)
    if settings.class_balance == "sampling":
        classes = [y for y in train.classes for _ in range(settings.clips_per_video)]
    return TrainingData(train, validation, settings, workers, classes, join=collate)


def _report(manifest: Manifest, settings: ClassifierSettings, machine: Machine, folder: Path) -> ClassifierReport:
    """Test what was written, as `test` will, in full precision."""
    assert settings.test_split is not None
    chosen = SplitTest(checkpoint=folder / BEST, split=settings.test_split, backend=settings.backend)
    report = run_test(manifest, chosen, folder, replace(machine, precision="32-true"))
    if (folder / SKIPPED).exists():
        report = replace(report, skipped_in_training=json.loads((folder / SKIPPED).read_text()))
    rank_zero_only(report.write)(folder)
    return report
