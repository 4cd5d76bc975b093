"""The options of training and testing a classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vidcam.data.reading import Reading
from vidcam.errors import OptionError, unknown
from vidcam.options import option
from vidcam.training.settings import Machine, RunSettings

if TYPE_CHECKING:
    from vidcam.data.augmentation import Augmentation

NETWORK, DATA = "What is trained", "What it learns from"


@dataclass(frozen=True)
class ClassifierSettings(RunSettings, Reading):
    """Everything that the trained weights of a classifier depend on."""

    EXTENSIBLE: ClassVar[tuple[str, ...]] = ("epochs", "early_stopping", "save_every", "backend", "test_split")

    model: str | None = option(
        "A name of `vidcam models`; default: the checkpoint's, or cnn_lstm.", None, panel=NETWORK
    )
    options: Mapping[str, Any] = option(
        "Of the network: hidden=128, frames=16.",
        {},
        more="`vidcam.models.build.MODELS[name].options` has them all.",
        names=("--option",),
        panel=NETWORK,
    )
    weights: str | None = option(
        "Published weights to start from.", None, more="None starts from random ones.", metavar="TAG", panel=NETWORK
    )
    checkpoint: str | Path | None = option(
        "Own weights to start from.",
        None,
        more="Where its labels are others, the last layer is made anew.",
        panel=NETWORK,
    )
    freeze: Sequence[str] = option(
        "Stays as it is; backbone: all but the head.",
        (),
        more="Names as in `net.named_modules()`; statistics of batch norm stay too.",
        metavar="PART",
        panel=NETWORK,
    )
    train_split: str = option("Split to learn from.", "train", panel=DATA)
    validation_split: str | None = option(
        "Chooses the best epoch; none: the last.",
        None,
        more='None takes "validation" or "val" if there is one.',
        panel=DATA,
    )
    test_split: str | None = option(
        "For the report.",
        None,
        more='None takes "test", or else the validation split, or else the training split.',
        panel=DATA,
    )
    augment: Mapping[str, Any] | None = option(
        "Random changes: flip=0.",
        {},
        more="Changes to the fields of `Augmentation`; None trains on what a test would see.",
        panel=DATA,
    )
    class_balance: str = option(
        "For rare classes.",
        "none",
        more='"sampling" draws every class equally often, "loss" weighs rare classes more.',
        choices=("sampling", "loss", "none"),
        panel=DATA,
    )
    clips_per_video: int = option("Random clips in an epoch.", 1, least=1, panel=DATA)
    test_clips: int = option("Per video in validation and test, spread evenly.", 4, least=1, panel=DATA)

    epochs: int = option("How often each video is seen.", 30, least=1)
    batch: int = option("Clips per step and device.", 8, least=1)
    learning_rate: float = option("Of AdamW.", 1e-3, above=0)
    head_learning_rate: float | None = option(
        "Of the head.",
        None,
        more="None takes `learning_rate`. The head is the last part that has parameters, or in a network with a part "
        'named "backbone" all other parts.',
        least=0,
    )
    backbone_learning_rate: float | None = option(
        "Of all but the head.", None, more="None takes `learning_rate`.", least=0
    )
    weight_decay: float = option("Of AdamW.", 0.01, least=0)
    schedule: str = option(
        "Of the learning rate.",
        "cosine",
        more='"cosine" falls to zero after each step; "plateau" falls to a tenth when the validation loss has not '
        "fallen for three epochs.",
        choices=("cosine", "plateau", "none"),
    )
    warmup_epochs: float = option("The rate rises from zero.", 0.0, more='Not for "plateau".', least=0)
    label_smoothing: float = option("Share of the target spread over all classes.", 0.0, least=0, below=1)
    clip_gradients: float | None = option("Largest norm of the gradient.", None, above=0)
    accumulate: int = option("Batches per step.", 1, least=1)
    early_stopping: int | None = option(
        "Stop after so many in which `monitor` has not become better.", None, least=1, metavar="EPOCHS"
    )
    monitor: str = option(
        "What is best.",
        "accuracy",
        more="Of the validation videos; among equal accuracies the lower loss.",
        choices=("accuracy", "loss"),
    )

    @property
    def augmentation(self) -> "Augmentation | None":
        """The random changes of the training clips; an OptionError names near matches of one that does not exist."""
        from vidcam.data.augmentation import Augmentation

        if self.augment is None:
            return None
        known = [part.name for part in fields(Augmentation)]
        for name in self.augment:
            if name not in known:
                raise OptionError(unknown("augmentation", name, known))
        ranges: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in self.augment.items()
        }
        return Augmentation(**ranges)


@dataclass(frozen=True)
class ClassifierMachine(Machine):
    """Where a classifier is trained."""

    sync_batchnorm: bool = option("Batch norm sees the clips of all GPUs.", False)


@dataclass(frozen=True)
class SplitTest(Reading):
    """What a trained classifier is tested on."""

    panel: ClassVar[str] = "What is tested"

    checkpoint: str | Path = option("What `vidcam train` wrote; it knows its model, labels and preprocessing.")
    split: str = option("Which rows.", "test")
    clips: int | None = option("Per video, spread evenly; default: as in training.", None, least=1)
    batch: int | None = option("Clips per forward and device; default: as in training.", None, least=1)
    output: str | Path | None = option(
        "For report, plots and predictions.", None, more="None writes nothing.", metavar="DIR", panel="Output"
    )
    force: bool = option("Replace such files.", False, names=("--force",), panel="Output")
