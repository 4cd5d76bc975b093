"""The head: the parts of a network that tell its classes, and the layer whose rows they are."""

import copy
from typing import Any

from torch import nn

from vidcam.attribution.chance import seeded
from vidcam.errors import ModelError

BACKBONE = "backbone"


def head_names(net: nn.Module) -> tuple[str, ...]:
    """Name the direct parts that make up the head.

    They are all but `backbone` where there is a part of that name, and otherwise the last part that has parameters.
    """
    names = [name for name, part in net.named_children() if any(True for _ in part.parameters())]
    return tuple(name for name in names if name != BACKBONE) if BACKBONE in names else tuple(names[-1:])


def find_head(net: nn.Module) -> str | None:
    """Name the layer whose rows are the classes: the last linear layer or convolution of the head."""
    heads, kinds = head_names(net), (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    inside = [name for name, part in net.named_modules() if name.split(".")[0] in heads and isinstance(part, kinds)]
    return inside[-1] if inside else None


def renew_head(net: nn.Module, classes: int, *, head: str | None = None, seed: int = 0) -> None:
    """Put a fresh layer for other classes in the place of the one whose rows are the classes.

    Args:
        net: the network, which is changed.
        classes: K.
        head: the layer's name, any module with `weight` and `reset_parameters`; None takes `find_head`.
        seed: of its random weights.

    Raises:
        ModelError: the network does not end with a layer that can be made anew.
    """
    name = find_head(net) if head is None else head
    if name is None:
        raise ModelError(f"{type(net).__name__} does not end with a linear layer, which could be made anew")
    parent, _, last = name.rpartition(".")
    new: Any = copy.deepcopy(net.get_submodule(name))
    for key, old in list(new.named_parameters(recurse=False)):
        setattr(new, key, nn.Parameter(old.new_empty(classes, *old.shape[1:])))
    for count in {"out_features", "out_channels"} & vars(new).keys():
        setattr(new, count, classes)
    with seeded(seed):  # so that a run can be repeated
        new.reset_parameters()
    setattr(net.get_submodule(parent), last, new)
