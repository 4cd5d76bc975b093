"""Clips of a manifest's splits, to learn from, to validate with and to test on."""

from typing import Any

from torch.utils.data import DataLoader

from vidcam.data.clips import ClipDataset, collate
from vidcam.data.manifest import Manifest
from vidcam.errors import OptionError
from vidcam.models.model import Model
from vidcam.training.batches import Share
from vidcam.training.classifier.settings import ClassifierSettings
from vidcam.training.loading import TrainingData, loader


class TrainingClips(TrainingData):
    """Random clips of the training split, and uniform ones of the validation split if there is one."""

    train: ClipDataset

    def __init__(self, manifest: Manifest, model: Model, settings: ClassifierSettings, *, workers: int = 0) -> None:
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
        validation = None
        if settings.validation_split is not None:
            validation = split_clips(
                manifest,
                settings.validation_split,
                model,
                clips="uniform",
                per_video=settings.test_clips,
                backend=settings.backend,
            )
        classes = None
        if settings.class_balance == "sampling":
            classes = [y for y in train.classes for _ in range(settings.clips_per_video)]
        super().__init__(
            train, validation, batch=settings.batch, seed=settings.seed, workers=workers, classes=classes, join=collate
        )


def split_clips(manifest: Manifest, split: str, model: Model, **options: Any) -> ClipDataset:
    """Make a split's clips as the model takes them.

    Raises:
        OptionError: the split has no rows, or a label that the model does not know.
    """
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


def testing_loader(dataset: ClipDataset, *, batch: int, workers: int, rank: int, world: int) -> DataLoader[Any]:
    """Load one process's share of uniform clips."""
    return loader(dataset, workers, collate, sampler=Share(len(dataset), rank=rank, world=world), batch_size=batch)
