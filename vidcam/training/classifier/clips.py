"""Clips of a manifest's splits, to learn from, to validate with and to test on."""

from typing import Any

from vidcam.data.clips import ClipDataset, collate
from vidcam.data.manifest import Manifest
from vidcam.errors import OptionError
from vidcam.models.model import Model
from vidcam.training.classifier.settings import ClassifierSettings
from vidcam.training.loading import TrainingData


def training_clips(manifest: Manifest, model: Model, settings: ClassifierSettings, *, workers: int) -> TrainingData:
    """Make random clips of the training split, and uniform ones of the validation split if there is one."""
    train = split_clips(
        manifest,
        settings.train_split,
        model,
        clips="random",
        per_video=settings.clips_per_video,
        augment=settings.augmentation,
        seed=settings.seed,
        backend=settings.backend,
    )
    validation, classes = None, None
    if settings.validation_split is not None:
        uniform = {"clips": "uniform", "per_video": settings.test_clips, "backend": settings.backend}
        validation = split_clips(manifest, settings.validation_split, model, **uniform)
    if settings.class_balance == "sampling":
        classes = [y for y in train.classes for _ in range(settings.clips_per_video)]
    return TrainingData(
        train, validation, batch=settings.batch, seed=settings.seed, workers=workers, classes=classes, join=collate
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
            preprocessing={name: given.preprocessing for name, given in model.inputs.items()} or model.preprocessing,
            **options,
        )
    except OptionError as error:
        raise OptionError(f"{manifest.path}: {error}") from None
