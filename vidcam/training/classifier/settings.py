"""The options of training and testing a classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vidcam.data.reading import Reading
from vidcam.errors import OptionError, unknown
from vidcam.options import Options, option
from vidcam.training.settings import Machine, RunSettings

if TYPE_CHECKING:
    from vidcam.data.augmentation import Augmentation


@dataclass(frozen=True)
class Start(Options):
    """Which network is trained, and what it starts from."""

    panel: ClassVar[str] = "What is trained"

    model: str | None = option("A name of `vidcam models`; default: the checkpoint's, or cnn_lstm.", None)
    options: Mapping[str, Any] = option(
        "Of the network: hidden=128, frames=16.", {}, more="`MODELS[name].options` has them.", names=("--option",)
    )
    weights: str | None = option("Published weights to start from.", None, metavar="TAG")
    checkpoint: str | Path | None = option(
        "Own weights to start from.", None, more="Where its labels are others, the last layer is made anew."
    )
    freeze: Sequence[str] = option(
        "Stays as it is; backbone: all but the head.", (), more="As in `net.named_modules()`.", metavar="PART"
    )


@dataclass(frozen=True)
class Samples(Reading):
    """What a classifier learns from, and what it is judged by."""

    panel: ClassVar[str] = "What it learns from"

    train_split: str = option("Split to learn from.", "train")
    validation_split: str | None = option(
        "Chooses the best epoch; none: the last.", None, more='None takes "validation" or "val" if there is one.'
    )
    test_split: str | None = option("For the report.", None, more='None takes "test", or else what there is.')
    augment: Mapping[str, Any] | None = option(
        "Random changes: flip=0.", {}, more="Fields of `Augmentation`; None trains on what a test would see."
    )
    class_balance: str = option(
        "For rare classes: drawn as often as others, or weighed more.", "none", choices=("sampling", "loss", "none")
    )
    clips_per_video: int = option("Random clips in an epoch.", 1, least=1)
    test_clips: int = option("Per video in validation and test, spread evenly.", 4, least=1)


@dataclass(frozen=True)
class ClassifierSettings(RunSettings, Samples, Start):
    """Everything that the trained weights of a classifier depend on."""

    EXTENSIBLE: ClassVar[tuple[str, ...]] = ("epochs", "early_stopping", "save_every", "backend", "test_split")

    epochs: int = option("How often each video is seen.", 30, least=1)
    batch: int = option("Clips per step and device.", 8, least=1)
    learning_rate: float = option("Of AdamW.", 1e-3, above=0)
    head_learning_rate: float | None = option(
        "Of the head: the last part, or all but a part named backbone; default: the rate of all.", None, least=0
    )
    backbone_learning_rate: float | None = option("Of all but the head; default: the rate of all.", None, least=0)
    weight_decay: float = option("Of AdamW.", 0.01, least=0)
    schedule: str = option(
        "Of the learning rate: to zero by steps, or to a tenth when the validation loss stands still.",
        "cosine",
        choices=("cosine", "plateau", "none"),
    )
    warmup_epochs: float = option("The rate rises from zero; not for plateau.", 0.0, least=0)
    label_smoothing: float = option("Share of the target spread over all classes.", 0.0, least=0, below=1)
    clip_gradients: float | None = option("Largest norm of the gradient.", None, above=0)
    accumulate: int = option("Batches per step.", 1, least=1)
    early_stopping: int | None = option("Stop after so many in vain.", None, least=1, metavar="EPOCHS")
    monitor: str = option("What is best; ties: the lower loss.", "accuracy", choices=("accuracy", "loss"))

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
        ranges: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in self.augment.items()}
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
