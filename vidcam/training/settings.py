"""The options of every training run: what it computes, on what, and where it leaves what."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from vidcam.options import Options, option


@dataclass(frozen=True)
class RunSettings(Options):
    """What the trained weights depend on; a resumed run is compared by it."""

    panel: ClassVar[str] = "Learning"
    EXTENSIBLE: ClassVar[tuple[str, ...]] = ("epochs", "save_every")
    """What may change when a run is resumed; anything else would make it another run."""

    epochs: int = option("How often each sample is seen.", 30, least=1)
    batch: int = option("Samples per step and device.", 8, least=1)
    learning_rate: float = option("Of the optimizer.", 1e-3, above=0)
    seed: int = option("Of all chance.", 0, least=0, most=2**63 - 1)
    save_every: int = option(
        "Steps from one last.ckpt to the next.", 100, more="Each epoch ends with one as well.", least=1, panel="Output"
    )

    def as_json(self) -> dict[str, Any]:
        """Return the settings as JSON gives them back."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return plain


def _keeps_weights_whole(strategy: object) -> str | None:
    """Refuse strategies by name that spread a model's weights, of which one process would save its part alone."""
    if isinstance(strategy, str) and (strategy in ("auto", "single_device") or "ddp" in strategy.split("_")):
        return None
    return "must leave each process all weights, to be saved: auto, ddp or ddp_find_unused_parameters_true"


@dataclass(frozen=True)
class Machine(Options):
    """Flags of Lightning's Trainer that say where it runs."""

    panel: ClassVar[str] = "Machine"

    devices: int | str | Sequence[int] = option("Lightning's: how many, or which, or auto.", "auto", cli=str)
    accelerator: str = option("Lightning's.", "auto", metavar="auto|cpu|gpu")
    strategy: str = option("Lightning's: auto, or one with ddp in its name.", "auto", check=_keeps_weights_whole)
    num_nodes: int = option("Machines.", 1, least=1)
    precision: str = option(
        "Lightning's.", "32-true", choices=("32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true")
    )
    deterministic: str = option(
        "The same weights again from a GPU, too.",
        "no",
        more="What has no deterministic version there, as the gradient of odometry's warping, stops the run, or is "
        "warned of; all may be slower.",
        choices=("no", "yes", "warn"),
    )
    workers: int = option("Processes that load ahead, per device.", 0, least=0)
    progress: bool = option("Whether to show a bar on stderr.", True, cli=False)


@dataclass(frozen=True)
class RunFolder(Options):
    """Where a run leaves what, and what becomes of an earlier one."""

    panel: ClassVar[str] = "Output"

    output: str | Path = option("Folder for what is trained, report and logs.", Path("trained"), metavar="DIR")
    resume: bool = option(
        "Go on where a killed run was.", False, more="Without a last.ckpt in the output, begin.", names=("--resume",)
    )
    force: bool = option("Begin anew in a folder that holds a run.", False, names=("--force",))
    logger: str = option("How the losses are logged.", "tensorboard", choices=("tensorboard", "csv", "none"))
