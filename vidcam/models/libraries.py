"""Libraries that people take networks from: Hugging Face, timm and torch hub."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vidcam.errors import ModelError, VidcamError
from vidcam.models.model import Model
from vidcam.models.recipe import Chosen

SLOTS = ("frames", "frame_rate", "sampling", "clips", "layer", "input_layout", "output", "activation")
"""Slots of the model that may be chosen beside what the network itself takes."""
CLASSES = ("classes", "num_classes", "num_labels", "n_classes")
"""What functions call the number of classes."""


@dataclass(frozen=True)
class Fetched:
    """What came of a name."""

    net: nn.Module | Model
    processor: Any = None
    labels: Sequence[str] = ()
    origin: str = "as it was made"
    """Where the weights came from; "none" where they are random."""
    lacking: Sequence[str] = ()
    """Weights that nobody has given, so that they are random."""


Make = Callable[[str, Chosen, bool], Fetched]
"""What stands behind the kind, the options, whether weights are wanted -> the network."""


def _of_hugging_face(where: str, chosen: Chosen, pretrained: bool) -> Fetched:
    transformers = _library("transformers", "hf")
    trust = {"trust_remote_code": bool(chosen.get("trust", False))}
    more = {key: value for key, value in chosen.items() if key not in (*SLOTS, *CLASSES, "size", "trust")}
    with _refusing(f"hf:{where}"), _quiet(transformers):
        config = transformers.AutoConfig.from_pretrained(where, **trust, **more)
        if (classes := _classes(chosen)) and classes != config.num_labels:
            config.num_labels = classes
        kind = _architecture(transformers, config)
        if not pretrained:
            net = kind.from_config(config) if hasattr(kind, "from_config") else kind(config)
            return Fetched(net, _hf_processor(transformers, where), origin="none")
        told = {"output_loading_info": True, "ignore_mismatched_sizes": True}
        net, info = kind.from_pretrained(where, config=config, **told, **trust)
        lacking = {key if isinstance(key, str) else key[0] for name in LACKING for key in info.get(name, ())}
        return Fetched(net, _hf_processor(transformers, where), origin=where, lacking=sorted(lacking))


LACKING = ("missing_keys", "mismatched_keys")
"""Where Hugging Face lists the weights that it has made anew."""


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Let it say nothing of what is said here in a line."""
    logs = transformers.utils.logging
    before, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(before)
        if bars:
            logs.enable_progress_bar()


def _architecture(transformers: Any, config: Any) -> Any:
    """Return the class that the configuration names, or the one for the task."""
    named = [getattr(transformers, name, None) for name in getattr(config, "architectures", None) or ()]
    answering = [kind for kind in named if kind is not None and "ForPreTraining" not in kind.__name__]
    for name in ("AutoModelForVideoClassification", "AutoModelForImageClassification"):
        auto = getattr(transformers, name)
        if type(config) in auto._model_mapping:
            return next((kind for kind in answering if "Classification" in kind.__name__), auto)
    if answering:
        return answering[0]
    raise ModelError(f"a {config.model_type} classifies neither videos nor pictures; build it in a file.py:function")


def _hf_processor(transformers: Any, where: str) -> Any:
    """Return its processor, or None where the folder has none."""
    for name in ("AutoVideoProcessor", "AutoImageProcessor"):
        try:
            return getattr(transformers, name).from_pretrained(where)
        except (OSError, ValueError, ImportError, AttributeError, KeyError, TypeError):
            continue
    return None


def _of_timm(name: str, chosen: Chosen, pretrained: bool) -> Fetched:
    timm = _library("timm", "timm")
    more = {key: value for key, value in chosen.items() if key not in (*SLOTS, *CLASSES, "size")}
    if classes := _classes(chosen):
        more["num_classes"] = classes
    with _refusing(f"timm:{name}"):
        net = timm.create_model(name, pretrained=pretrained, **more)
    return Fetched(net, labels=_timm_labels(timm, net), origin="timm" if pretrained else "none")


def _timm_labels(timm: Any, net: Any) -> Sequence[str]:
    """Return ImageNet's names where the network has its classes."""
    if getattr(net, "num_classes", 0) not in (1000, 21841, 21843, 11821):
        return ()
    try:
        info = timm.data.ImageNetInfo(timm.data.infer_imagenet_subset(net))
        names = [info.index_to_description(index) for index in range(net.num_classes)]
    except (AttributeError, ValueError, AssertionError, TypeError):
        return ()
    return names if len(set(names)) == len(names) else [f"{name} ({i})" for i, name in enumerate(names)]


def _of_hub(where: str, chosen: Chosen, pretrained: bool) -> Fetched:
    """Build what the `hubconf.py` of a folder has, or of a repository that the user trusts."""
    folder, _, name = where.rpartition(":")
    local = Path(folder).is_dir()
    if not local and not chosen.get("trust"):
        raise ModelError(f"there is no folder {folder!r}; to run code of a repository, say trust=True")
    more = {key: value for key, value in chosen.items() if key not in (*SLOTS, "size", "trust")}
    with _refusing(f"hub:{where}"):
        load: Any = torch.hub.load
        net = load(folder, name, source="local" if local else "github", trust_repo=True, **more)
    return Fetched(net, origin=f"hub {folder}")


KINDS: Mapping[str, tuple[str, Make, bool]] = {
    "hf": ("a network of Hugging Face: hf:REPOSITORY or hf:FOLDER", _of_hugging_face, False),
    "timm": ("an image network of timm, frame by frame: timm:NAME", _of_timm, False),
    "hub": ("a network of torch hub: hub:FOLDER:NAME", _of_hub, True),
}
"""What stands before the colon, what it is, what makes it, and whether it runs code of the user's choice."""


def _classes(chosen: Chosen) -> int | None:
    return next((chosen[name] for name in CLASSES if chosen.get(name) is not None), None)


def _library(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ModelError(f'{name} is not installed: pip install "vidcam[{extra}]"') from None


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Turn whatever a library fails with into one line that names the network."""
    try:
        yield
    except VidcamError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise ModelError(f"{name} cannot be built: {type(error).__name__}: {why}") from error
