"""Parts of a network: its backbone and its head, frozen ones, and the learning rate of each."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from vidcam.errors import ModelError, OptionError, unknown
from vidcam.training.classifier.settings import ClassifierSettings

BACKBONE = "backbone"
PLATEAU_PATIENCE = 3  # epochs without a better loss before the rate falls to a tenth


def head_names(net: nn.Module) -> tuple[str, ...]:
    """Name the direct parts that make up the head.

    They are all but `backbone` where there is a part of that name, and otherwise the last part that has parameters.
    """
    names = [name for name, part in net.named_children() if any(True for _ in part.parameters())]
    return tuple(name for name in names if name != BACKBONE) if BACKBONE in names else tuple(names[-1:])


def frozen_parts(net: nn.Module, freeze: Sequence[str]) -> list[nn.Module]:
    """Find the parts to freeze: names as in `net.named_modules()`, or "backbone" for all but the head.

    Raises:
        OptionError: there is no such part; the message names near matches.
    """
    known = dict(net.named_modules())
    found: list[nn.Module] = []
    for name in freeze:
        if name in known and name:
            found.append(known[name])
        elif name == BACKBONE:
            found += [part for child, part in net.named_children() if child not in head_names(net)]
        else:
            raise OptionError(unknown("part to freeze", name, [BACKBONE, *dict(net.named_children())]))
    return found


def last_linear(net: nn.Module) -> tuple[str, nn.Linear] | None:
    """Find the linear layer that the head ends with, and its name."""
    heads = head_names(net)
    named = [(name, part) for name, part in net.named_modules() if name.split(".")[0] in heads]
    return next(((name, part) for name, part in reversed(named) if isinstance(part, nn.Linear)), None)


def renew_head(net: nn.Module, classes: int, *, seed: int = 0) -> None:
    """Put a fresh last layer for other classes in the place of the old one.

    Raises:
        ModelError: the network does not end with a linear layer.
    """
    found = last_linear(net)
    if found is None:
        raise ModelError(f"{type(net).__name__} does not end with a linear layer, which could be made anew")
    name, old = found
    parent, _, last = name.rpartition(".")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # so that a run can be repeated
        setattr(net.get_submodule(parent), last, nn.Linear(old.in_features, classes, bias=old.bias is not None))


def optimizer(net: nn.Module, settings: ClassifierSettings) -> torch.optim.Optimizer:
    """Build AdamW with a group per part; frozen parameters are in none.

    Raises:
        OptionError: all parameters are frozen.
    """
    heads = head_names(net)
    rates = {BACKBONE: settings.backbone_learning_rate, "head": settings.head_learning_rate}
    groups: list[dict[str, Any]] = []
    for part, rate in rates.items():
        inside = [p for name, p in net.named_parameters() if p.requires_grad and _part(name, heads) == part]
        if inside:
            groups.append({"params": inside, "lr": settings.learning_rate if rate is None else rate, "name": part})
    if not groups:
        raise OptionError(f"nothing to train: all parameters of {settings.model} are frozen")
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)


def schedule(
    chosen: torch.optim.Optimizer, settings: ClassifierSettings, *, steps: int, steps_per_epoch: float
) -> LambdaLR | ReduceLROnPlateau:
    """Build what changes the learning rates: `LambdaLR` after each step, `ReduceLROnPlateau` after each validation.

    Args:
        chosen: the optimizer.
        settings: of the run.
        steps: of the optimizer in all epochs.
        steps_per_epoch: of the optimizer.
    """
    if settings.schedule == "plateau":
        return ReduceLROnPlateau(chosen, factor=0.1, patience=PLATEAU_PATIENCE)
    warm = settings.warmup_epochs * steps_per_epoch
    cosine = settings.schedule == "cosine"

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        done = min((step - warm) / max(steps - warm, 1), 1.0)
        return (1 + math.cos(math.pi * done)) / 2 if cosine else 1.0

    return LambdaLR(chosen, factor)


def _part(name: str, heads: Sequence[str]) -> str:
    return "head" if name.split(".")[0] in heads else BACKBONE
