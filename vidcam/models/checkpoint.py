"""Checkpoints: a user's own weights from a state dict or safetensors, never pickled code."""

import json
import pickle
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import ModelError, OptionError
from vidcam.media.files import replacing
from vidcam.models.inputs import Input
from vidcam.models.model import Model
from vidcam.models.ranges import SAMPLING, check_ranges

NESTED = (
    *("state_dict", "model_state_dict", "model", "net", "module"),
    *("model_state", "weights", "network", "params", "ema", "model_ema", "ema_state_dict", "state_dict_ema"),
)
"""Keys under which training code keeps the state dict."""
PREFIXES = ("module.", "_orig_mod.", "model.")
"""Prefixes that wrappers put before every key."""
MOST_REPEATED = 2**28
"""Bytes that a tensor may claim which it does not hold."""
PACE = ("frames", "frame_rate")
SHARED = {"classes", "frames", "frame_rate", "sampling", "clips", "size", "seed"}
"""Options that mean the same for all networks; none of them says which frames an input takes."""
KEY = "vidcam"
"""The key of a safetensors file's metadata under which vidcam keeps what rebuilds the model, as JSON."""


@dataclass(frozen=True)
class Kind:
    """A network that files are of: what it is called, and names of weights that no other has together."""

    what: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Checkpoint:
    """Weights by name, and the strings that were stored beside them."""

    path: Path
    state: dict[str, Tensor]
    facts: dict[str, str] = field(default_factory=dict)

    def rows(self, layer: str) -> int | None:
        """Return the number of rows of a layer's weight: of the head, the number of classes."""
        weight = next((each[key] for each in self.readings if (key := f"{layer}.weight") in each), None)
        return None if weight is None or not weight.ndim else int(weight.shape[0])

    @property
    def readings(self) -> Iterator[dict[str, Tensor]]:
        """The weights as they are named, and without what stands before all names: `net.`, then `net.backbone.`."""
        state = self.state
        yield state
        while len({key.partition(".")[0] for key in state}) == 1 and all("." in key for key in state):
            state = {key.partition(".")[2]: value for key, value in state.items()}
            yield state

    def fitting(self, fits: Callable[[Collection[str]], bool]) -> "Checkpoint":
        """Return the file in the reading whose names fit, or as it is where none does."""
        return replace(self, state=next((each for each in self.readings if fits(each.keys())), self.state))

    def kind(self, kinds: Mapping[str, Kind]) -> str | None:
        """Tell by the weights' names of which kind the file is; None if of none of these."""
        return next((name for name, kind in kinds.items() if set(kind.keys) <= self.state.keys()), None)

    @property
    def description(self) -> dict[str, Any]:
        """What `write_checkpoint` wrote beside the weights; empty if the file is not of its making.

        Raises:
            ModelError: it is damaged.
        """
        if KEY not in self.facts:
            return {}
        try:
            description = json.loads(self.facts[KEY])
            if not isinstance(description["model"], str) or not isinstance(description["options"], dict):
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged(error) from None
        return dict(description)

    def restore(self, model: Model, *, but: Collection[str] = ()) -> None:
        """Give a model the labels, preprocessing of each input, frames and rate that the description holds.

        Args:
            model: of the same name, with the same options.
            but: options that the user has chosen anew, which stay as they are.

        Raises:
            ModelError: the description is damaged, or its inputs or what they are made by are not the model's.
        """
        if not (told := self.description):
            return
        try:
            model.labels = _labels(told["labels"], model.options.get("classes"))
            told = {**SAMPLING, **told}
            check_ranges({name: told[name] for name in (*PACE, *SAMPLING) if name not in but})
            for name in {"frames", *SAMPLING}.difference(but):
                setattr(model, name, told[name])
            if not {"frame_rate", "sampling"} & set(but):  # a rate is one of windows
                model.frame_rate = None if told["frame_rate"] is None else float(told["frame_rate"])
            self._restore_pixels(model, told, set(but))
        except (KeyError, TypeError, ValueError, AttributeError, OptionError) as error:
            raise self._damaged(error) from None

    def _restore_pixels(self, model: Model, told: Mapping[str, Any], but: set[str]) -> None:
        """Restore how frames become what the network takes, for each of several inputs; what makes one is code."""
        kept, here = told.get("inputs", {}), {name: _described(given) for name, given in model.inputs.items()}
        if _listed(kept) != _listed(here):
            raise ModelError(f"checkpoint {self.path} is of {_listed(kept)}, but {model.name} has {_listed(here)}")
        if set(but) <= SHARED:  # an option of the network's own may have chosen another pace
            model.inputs = {
                name: replace(given, every=int(kept[name]["every"])) for name, given in model.inputs.items()
            }
        if not {"size", "backbone_input"} & but:
            model.preprocessing = _preprocessing(told["preprocessing"], model.preprocessing)
            model.inputs = {
                name: replace(given, preprocessing=_preprocessing(kept[name]["preprocessing"], given.preprocessing))
                for name, given in model.inputs.items()
            }

    def _damaged(self, error: Exception) -> ModelError:
        return ModelError(f"checkpoint {self.path} has a damaged description ({type(error).__name__})")


def _labels(told: Any, classes: int | None) -> tuple[str, ...]:
    """Return the names of the classes, after a check that there are as many as classes."""
    labels = tuple(map(str, told)) if isinstance(told, list) else None
    if labels is None or len(set(labels)) != len(labels) or (labels and classes not in (None, len(labels))):
        raise ValueError
    return labels


def write_checkpoint(
    model: Model, path: str | Path, *, facts: Mapping[str, Any] | None = None, force: bool = False
) -> Path:
    """Write a model to one safetensors file that `load_model(None, checkpoint=path)` rebuilds, bit for bit.

    Functions are no part of it: those that inputs are made by (`Input.make`) are kept by name, and compared.

    Args:
        model: from `load_model`, trained since.
        path: a `.safetensors` file.
        facts: what else to keep, as digests of the splits it was trained on; anything that JSON takes.
        force: whether to replace an existing file.

    Raises:
        ModelError: the file's name does not end with `.safetensors`.
        MediaError: the file exists and `force` is not set, or its folder cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ModelError(f"a checkpoint's name must end with .safetensors; given {path.name!r}")
    write_weights(model.net, path, {**(facts or {}), **describe(model)}, force=force)
    return path


def write_weights(net: nn.Module, path: Path, facts: Mapping[str, Any], *, force: bool) -> None:
    """Write a network's weights to a safetensors file, and facts beside them."""
    # copies, because safetensors refuses tensors that share memory
    state = {key: value.detach().cpu().contiguous().clone() for key, value in net.state_dict().items()}
    text = json.dumps(facts, default=str)
    with replacing(path, force=force) as part:
        part.write_bytes(save(state, metadata={KEY: text}))  # its own `save_file` lets nobody else read the file


def describe(model: Model) -> dict[str, Any]:
    """Return everything but the weights that is needed to rebuild a model, for JSON."""
    return {
        "model": model.name,
        "options": dict(model.options),
        "labels": list(model.labels),
        "frames": model.frames,
        "frame_rate": model.frame_rate,
        "sampling": model.sampling,
        "clips": model.clips,
        "preprocessing": _pixels(model.preprocessing),
        "inputs": {name: _described(given) for name, given in model.inputs.items()},
        "vidcam": version("vidcam"),
    }


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a `.safetensors` file, or anything that `torch.load(weights_only=True)` reads.

    A state dict may lie under "state_dict" or "model", and its keys may begin with "module.".

    Raises:
        ModelError: the file is missing, is no checkpoint, or holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"checkpoint {path} does not exist or is no file")
    try:
        state, facts = _read_safetensors(path) if path.suffix == ".safetensors" else (_read_torch(path), {})
    except Exception as error:  # given garbage, the readers raise whatever they stumble upon
        raise ModelError(f"checkpoint {path} cannot be read: {_why(error)}") from None
    if not state:
        raise ModelError(f"checkpoint {path} holds no tensors; save net.state_dict()")
    for key, value in state.items():
        if strange := _strange(value):
            raise ModelError(f"checkpoint {path} cannot be used: {key} is {strange}; save net.state_dict()")
    return Checkpoint(path, _without_prefixes(state), facts)


def load_into(net: nn.Module, checkpoint: Checkpoint, name: str) -> None:
    """Load the weights strictly; what stands before all their names may be anything.

    Raises:
        ModelError: keys or shapes differ; it lists them. Or a weight is not finite.
    """
    wanted = net.state_dict()
    given = checkpoint.fitting(lambda keys: keys == wanted.keys()).state
    differences = {
        "missing": wanted.keys() - given.keys(),
        "unexpected": given.keys() - wanted.keys(),
        "of another shape": {
            f"{key} has shape {tuple(given[key].shape)} instead of {tuple(wanted[key].shape)}"
            for key in wanted.keys() & given.keys()
            if given[key].shape != wanted[key].shape
        },
    }
    if any(differences.values()):
        say = "; ".join(f"{kind}: {_some(sorted(keys))}" for kind, keys in differences.items() if keys)
        raise ModelError(f"checkpoint {checkpoint.path} does not fit {name}; {say}")
    weights = dict(net.named_parameters())
    if damaged := [key for key in weights if not (given[key].is_floating_point() and given[key].isfinite().all())]:
        raise ModelError(f"checkpoint {checkpoint.path} holds weights that are no finite numbers: {_some(damaged)}")
    net.load_state_dict(given)


def _described(given: Input) -> dict[str, Any]:
    """Return all of an input but its function: code, of which a checkpoint keeps the name."""
    make: Any = given.make
    named = None if make is None else getattr(make, "__qualname__", type(make).__qualname__)
    kept = asdict(replace(given, make=None, preprocessing=Preprocessing()))
    return kept | {"make": named, "preprocessing": _pixels(given.preprocessing)}


def _pixels(preprocessing: Preprocessing) -> dict[str, Any] | None:
    """Return how frames become pixels; None where that is code, which whoever builds the model brings along."""
    return asdict(preprocessing) if type(preprocessing) is Preprocessing else None


def _listed(inputs: Mapping[str, Mapping[str, Any]]) -> str:
    """List inputs by name, with what they are made by."""
    names = (name + (f" (made by {one['make']})" if one["make"] else "") for name, one in inputs.items())
    return f"inputs {' and '.join(names)}" if inputs else "no named inputs"


def _preprocessing(told: Mapping[str, Any] | None, own: Preprocessing) -> Preprocessing:
    """Undo `_pixels`; JSON has made lists of tuples."""
    if told is None:
        return own
    fields: dict[str, Any] = {key: tuple(x) if isinstance(x, list) else x for key, x in told.items()}
    return Preprocessing(**fields)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})


def _read_torch(path: Path) -> dict[str, Tensor]:
    loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    seen: list[Any] = []  # one that holds itself has no end
    while isinstance(loaded, Mapping) and not any(loaded is one for one in seen):
        seen.append(loaded)
        held = [key for key in NESTED if _holds_weights(loaded.get(key))]
        if len(held) > 1:
            others = " and ".join(map(repr, held[1:]))
            warnings.warn(f"{path} holds several weights: those of {held[0]!r} are taken, not {others}", stacklevel=4)
        loaded = next((loaded[key] for key in (*held, *NESTED) if isinstance(loaded.get(key), Mapping)), loaded)
    if not isinstance(loaded, Mapping):
        return {}
    return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}


def _holds_weights(part: Any) -> bool:
    """Tell whether a part of a checkpoint holds tensors, at once or one level below."""
    parts = part.values() if isinstance(part, Mapping) else ()
    return any(isinstance(each, Tensor) or (isinstance(each, Mapping) and _tensors(each)) for each in parts)


def _tensors(part: Mapping[Any, Any]) -> bool:
    return any(isinstance(each, Tensor) for each in part.values())


def _strange(value: Tensor) -> str | None:
    """Say what keeps a tensor from being a weight."""
    if value.is_complex():
        return "complex"
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        return "no plain tensor"
    if value.numel() * value.element_size() > max(MOST_REPEATED, value.untyped_storage().nbytes()):
        return f"one number repeated {value.numel()} times"
    return None


def _why(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
        return "it holds pickled code, which is never run; save net.state_dict() instead"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "TorchScript" in str(error):
        return "it is a TorchScript archive; save net.state_dict() instead"
    return "it is damaged, or neither a state dict nor safetensors"


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off what wrappers put before every key, however many wrappers there were."""
    while prefix := next((each for each in PREFIXES if all(key.startswith(each) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _some(items: list[str]) -> str:
    return ", ".join(items[:4]) + (f" and {len(items) - 4} more" if len(items) > 4 else "")
