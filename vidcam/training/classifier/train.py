"""Fitting: train a classifier on a manifest, from scratch, from published weights or from a checkpoint."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback

from vidcam.data.manifest import Manifest, read_manifest
from vidcam.errors import ModelError, OptionError, unknown
from vidcam.models.build import MODELS, load_model
from vidcam.models.checkpoint import read_checkpoint
from vidcam.models.head import find_head, renew_head
from vidcam.models.model import Model
from vidcam.models.recipe import UntrainedWarning
from vidcam.training.classifier.module import Classifier, class_weights
from vidcam.training.classifier.report import Report
from vidcam.training.classifier.testing import TESTED, run_test
from vidcam.training.folder import prepare_folder
from vidcam.training.loading import TrainingClips
from vidcam.training.parts import frozen_parts
from vidcam.training.saving import BEST, LAST, SKIPPED, ClassifierSaving, Patience
from vidcam.training.settings import Machine, Settings
from vidcam.training.trainer import build_trainer, quiet

VALIDATION = ("validation", "val")
WRITTEN = (LAST, BEST, SKIPPED, *TESTED)
"""What a run leaves in its folder, beside the logs."""


def train(
    manifest: str | Path | Manifest,
    *,
    output: str | Path,
    model: str | None = None,
    options: Mapping[str, Any] | None = None,
    weights: str | None = None,
    checkpoint: str | Path | None = None,
    train_split: str = "train",
    validation_split: str | None = None,
    test_split: str | None = None,
    epochs: int = 30,
    batch: int = 8,
    learning_rate: float = 1e-3,
    head_learning_rate: float | None = None,
    backbone_learning_rate: float | None = None,
    weight_decay: float = 0.01,
    schedule: str = "cosine",
    warmup_epochs: float = 0.0,
    label_smoothing: float = 0.0,
    clip_gradients: float | None = None,
    accumulate: int = 1,
    freeze: str | Sequence[str] = (),
    class_balance: str = "none",
    early_stopping: int | None = None,
    monitor: str = "accuracy",
    augment: Mapping[str, Any] | None = {},  # never changed
    clips_per_video: int = 1,
    test_clips: int = 4,
    seed: int = 0,
    backend: str = "auto",
    precision: str = "32-true",
    devices: int | str | Sequence[int] = "auto",
    accelerator: str = "auto",
    strategy: str = "auto",
    num_nodes: int = 1,
    sync_batchnorm: bool = False,
    workers: int = 0,
    resume: bool = False,
    force: bool = False,
    save_every: int = 100,
    logger: str = "tensorboard",
    progress: bool = True,
) -> Report:
    """Train a classifier on a manifest and test it.

    The output folder gets `checkpoint.safetensors`, the best model so far, which `explain`, `load_model` and `test`
    take as it is; `last.ckpt`, from which a run that was killed goes on; `report.json`, `confusion.png`, for two
    classes `roc.png`, and `predictions.npz` of the test; and the logs. The weights are a function of the manifest and
    the settings: a run that was killed and resumed ends with those of one that was not.

    Args:
        manifest: a `manifest.csv`, or what `read_manifest` made of it.
        output: a folder.
        model: one of `MODELS`; None takes the checkpoint's, or "cnn_lstm".
        options: what the network is built with, as `hidden` or `frames`; `MODELS[name].options` has them all.
        weights: published weights of the network to start from, as "KINETICS400_V1"; None starts from random ones.
        checkpoint: own weights to start from instead; where its labels are others, the last layer is made anew.
        train_split: name of the split to learn from.
        validation_split: name of the split that chooses the best epoch; None takes "validation" or "val" if there is
            one, and "none" takes none: then the last epoch is the best.
        test_split: name of the split for the report; None takes "test", or else the validation split, or else the
            training split.
        epochs: how often each video is seen.
        batch: clips per step and device.
        learning_rate: of AdamW.
        head_learning_rate: of the head; None takes `learning_rate`. The head is the last part that has parameters, or
            in a network with a part named "backbone" all other parts.
        backbone_learning_rate: of the other parts; None takes `learning_rate`.
        weight_decay: of AdamW.
        schedule: "cosine" falls to zero after each step; "plateau" falls to a tenth when the validation loss has not
            fallen for three epochs; "none".
        warmup_epochs: how long the learning rate rises from zero; not for "plateau".
        label_smoothing: share of the target that is spread over all classes.
        clip_gradients: largest norm of the gradient.
        accumulate: batches per step.
        freeze: parts that stay as they are, batch norm statistics included: names as in `net.named_modules()`, or
            "backbone" for all but the head.
        class_balance: "sampling" draws every class equally often, "loss" weighs rare classes more, "none".
        early_stopping: stop after so many epochs in which `monitor` has not become better.
        monitor: what is best: "accuracy" (of the validation videos; ties: the lower loss) or "loss".
        augment: changes to the fields of `Augmentation`, as {"flip": 0}; None trains on what a test would see.
        clips_per_video: random clips of each video in an epoch.
        test_clips: clips per video in validation and test, spread evenly.
        seed: of all chance.
        backend: which reader decodes, see `vidcam.media`.
        precision: Lightning's: "32-true", "16-mixed", "bf16-mixed".
        devices: Lightning's: how many, or which.
        accelerator: Lightning's: "cpu", "gpu" or "auto".
        strategy: Lightning's: "ddp", "fsdp" and others.
        num_nodes: machines.
        sync_batchnorm: whether batch norm sees the clips of all GPUs.
        workers: processes that decode ahead, per device.
        resume: go on from the output's `last.ckpt`; without one, begin.
        force: begin anew in a folder that holds a run.
        save_every: steps from one `last.ckpt` to the next; each epoch ends with one as well.
        logger: "tensorboard", "csv" or "none".
        progress: whether to show a bar on stderr.

    Raises:
        OptionError: a choice that does not exist, a split without rows or with one class, a folder that holds a run.
        ModelError: no such model, weights that do not fit, or a loss that is not finite.
        MediaError: a video of the manifest is not there, or none can be read.
    """
    given = dict(locals())
    found = manifest if isinstance(manifest, Manifest) else read_manifest(manifest)
    given |= _splits(found, train_split, validation_split, test_split)
    given["freeze"] = (freeze,) if isinstance(freeze, str) else tuple(freeze)
    given["checkpoint"] = None if checkpoint is None else str(checkpoint)
    given["options"] = dict(options or {})
    given["model"] = model or _checkpoint_s_model(checkpoint) or "cnn_lstm"
    settings = Settings(**{part.name: given[part.name] for part in fields(Settings)})
    folder = Path(output)
    given["log_folder"] = folder
    machine = Machine(**{part.name: given[part.name] for part in fields(Machine)})
    _check_choices(found, settings)
    start = starting_model(settings, found.labels)
    clips = TrainingClips(found, start, settings, workers=workers)
    _try_out(start, settings, machine)
    data = _data(found, settings)
    last = prepare_folder(folder, settings, data, origin="manifest", written=WRITTEN, resume=resume, force=force)
    _fit(start, clips, settings, machine, folder, data, facts={"splits": found.digests}, last=last)
    return _report(found, settings, machine, folder)


def starting_model(settings: Settings, labels: Sequence[str]) -> Model:
    """Load the model to start from, with one output per label."""
    if settings.model not in MODELS:
        raise ModelError(unknown("model", settings.model, MODELS))
    recipe = MODELS[settings.model]
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
        renew_head(model.net, len(labels), head=head, seed=int(model.options.get("seed", 0)))
        if "classes" in model.options:
            model.options["classes"] = len(labels)


def _checkpoint_s_model(checkpoint: str | Path | None) -> str | None:
    return None if checkpoint is None else read_checkpoint(checkpoint).description.get("model")


def _splits(manifest: Manifest, train: str, validation: str | None, test: str | None) -> dict[str, str | None]:
    """Choose the splits that were not named, of those that there are."""
    there = manifest.splits
    if validation is None:
        validation = next((name for name in VALIDATION if name in there), None)
    chosen = None if validation is None or validation == "none" else validation
    tested = test or ("test" if "test" in there else chosen or train)
    return {"train_split": train, "validation_split": chosen, "test_split": tested}


def _check_choices(manifest: Manifest, settings: Settings) -> None:
    for split in (settings.train_split, settings.validation_split, settings.test_split):
        if split is not None:
            manifest.split(split)
    classes = {row.label for row in manifest.split(settings.train_split)}
    if len(classes) < 2:
        raise OptionError(f"{manifest.path}: split {settings.train_split!r} has one class only, {classes.pop()!r}")
    if settings.validation_split is None and (settings.early_stopping or settings.schedule == "plateau"):
        what = "early_stopping" if settings.early_stopping else "schedule 'plateau'"
        raise OptionError(f"{what} needs a validation_split; possible: {', '.join(manifest.splits)}")
    if settings.validation_split == settings.train_split:
        raise OptionError(f"validation_split must not be the split that is learned, {settings.train_split!r}")


def _try_out(model: Model, settings: Settings, machine: Machine) -> None:
    """Let the Trainer and the parts to freeze refuse what they cannot do, before an earlier run is touched."""
    with quiet():
        build_trainer(replace(machine, logger="none"))
    frozen_parts(model.net, settings.freeze)


def _data(manifest: Manifest, settings: Settings) -> dict[str, Any]:
    """Return what a resumed run must find again: its rows to learn and to choose by, and the classes' order."""
    splits = [split for split in (settings.train_split, settings.validation_split) if split is not None]
    return {"digests": {split: manifest.digests[split] for split in splits}, "labels": list(manifest.labels)}


def _fit(
    model: Model,
    clips: TrainingClips,
    settings: Settings,
    machine: Machine,
    folder: Path,
    data: Mapping[str, Any],
    *,
    facts: Mapping[str, Any],
    last: Path | None,
) -> None:
    kept = {**settings.as_json(), **data}
    callbacks: list[Callback] = [
        ClassifierSaving(folder, settings=kept, facts=facts, every=settings.save_every, monitor=settings.monitor)
    ]
    if settings.early_stopping is not None:
        callbacks.append(Patience(settings.monitor, settings.early_stopping))
    balance = class_weights(clips.train.classes, len(model.labels)) if settings.class_balance == "loss" else None
    module = Classifier(model, settings, class_weights=balance)
    with quiet():
        trainer = build_trainer(
            machine,
            callbacks=callbacks,
            max_epochs=settings.epochs,
            accumulate_grad_batches=settings.accumulate,
            gradient_clip_val=settings.clip_gradients,
            limit_val_batches=0 if settings.validation_split is None else None,
        )
        trainer.fit(module.train(), datamodule=clips, ckpt_path=last, weights_only=True)
        trainer.strategy.barrier()


def _report(manifest: Manifest, settings: Settings, machine: Machine, folder: Path) -> Report:
    """Test what was written, as `test` will, in full precision."""
    skipped = folder / SKIPPED
    facts = {"skipped_in_training": json.loads(skipped.read_text()) if skipped.exists() else {}}
    assert settings.test_split is not None
    full = Machine(
        devices=machine.devices,
        accelerator=machine.accelerator,
        strategy=machine.strategy,
        num_nodes=machine.num_nodes,
        workers=machine.workers,
        progress=machine.progress,
    )
    report = run_test(manifest, folder / BEST, settings.test_split, folder, full, backend=settings.backend, facts=facts)
    rank_zero_only(report.write)(folder)
    return report
