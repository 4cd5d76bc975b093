"""Parts of a network in training: those that are frozen, and the learning rates of backbone and head."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from vidcam.errors import OptionError, unknown
from vidcam.models.head import BACKBONE, head_names
from vidcam.training.classifier.settings import ClassifierSettings

PLATEAU_PATIENCE = 3  # epochs without a better loss before the rate falls to a tenth


def frozen_parts(net: nn.Module, freeze: Sequence[str]) -> list[nn.Module]:
    """Find the parts to freeze: names as in `net.named_modules()`, or "backbone" for all but the head."""
    known = dict(net.named_modules())
    frozen: list[nn.Module] = []
    for name in freeze:
        if name in known and name:
            frozen.append(known[name])
        elif name == BACKBONE:
            frozen += [part for child, part in net.named_children() if child not in head_names(net)]
        else:
            raise OptionError(unknown("part to freeze", name, [BACKBONE, *dict(net.named_children())]))
    return frozen


def optimizer(net: nn.Module, settings: ClassifierSettings) -> torch.optim.Optimizer:
    """Build AdamW with a group per part; frozen parameters are in none, and an OptionError says if all are frozen."""
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
    """Build what changes the learning rates: `LambdaLR` after each of the `steps`, a plateau after each validation."""
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
