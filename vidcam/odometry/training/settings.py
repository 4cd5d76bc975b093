"""The options of training pose and depth networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from vidcam.options import Options, option
from vidcam.training.settings import RunSettings

NO_VALIDATION: Literal["none"] = "none"


def _two_sides(size: Sequence[int]) -> str | None:
    return None if len(size) == 2 else "needs a height and a width"


@dataclass(frozen=True)
class SnippetChoice(Options):
    """Which snippets of which drives are learned from."""

    panel: ClassVar[str] = "Drives and snippets"

    validation: str | Sequence[str] | None = option(
        "Drives that validate, or none; default: val.txt's, or each drive's last tenth.", None, metavar="DRIVE"
    )
    camera: str | None = option("In KITTI's layout; default: image_2, or the first.", None)
    intrinsics: str | Path | None = option(
        "In the source's pixels, for all drives.", None, metavar="FX,FY,CX,CY|FILE", cli=str
    )
    static_list: str | Path | None = option("File of frames in which the camera stands still.", None)
    skip_static: bool = option("Leave out where the camera stands still.", True)
    length: int = option("Frames of a snippet, odd; the middle one is the target.", 3)
    size: tuple[int, int] = option("Of the networks' frames.", (128, 416), check=_two_sides, metavar="HEIGHT WIDTH")
    augment: bool = option("Mirror, enlarge and crop at random.", True)


@dataclass(frozen=True)
class OdometryStart(Options):
    """What the networks start from."""

    panel: ClassVar[str] = "What is trained"

    pose: str | Path | None = option("A pose network to start from, of vidcam's or a published one.", None)
    disp: str | Path | None = option("A depth network to start from.", None)
    rotation: str = option("How pose vectors are read.", "euler", choices=("euler", "quat"))


@dataclass(frozen=True)
class OdometrySettings(RunSettings, SnippetChoice, OdometryStart):
    """Everything that the trained weights of pose and depth networks depend on."""

    batch: int = option("Snippets per step and device.", 4, least=1)
    epochs: int = option("How often each snippet is seen.", 50, least=1)
    epoch_size: int | None = option("The most in an epoch; default: all.", None, least=1, metavar="STEPS")
    learning_rate: float = option("Of Adam.", 2e-4, above=0)
    save_every: int = 500
    photometric: float = option("Weight of the difference between pictures.", 1.0, above=0, panel="Loss")
    smoothness: float = option("Weight of depth's second derivatives.", 0.1, least=0, panel="Loss")
    explainability: float = option("Weight of the masks' loss; 0: no masks.", 0.0, least=0, panel="Loss")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "size", tuple(map(int, self.size)))
        names = (self.validation,) if isinstance(self.validation, str) else self.validation or ()
        object.__setattr__(self, "validation", NO_VALIDATION if names == (NO_VALIDATION,) else names or None)
