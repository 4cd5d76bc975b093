"""Torchvision's networks: published weights, how to feed them, and image classifiers as backbones, frame by frame."""

import sys
from collections import OrderedDict
from contextlib import redirect_stdout
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch import nn

from vidcam.errors import ModelError, unknown
from vidcam.models.checkpoint import load_into, read_checkpoint

FAMILIES = (
    *("alexnet", "convnext", "densenet", "efficientnet", "mnasnet", "mobilenetv2", "mobilenetv3"),
    *("regnet", "resnet", "shufflenetv2", "squeezenet", "swin_transformer", "vgg"),
)
"""Torchvision's modules whose classifiers are a chain of parts up to the pooling."""
HEAD = ("avgpool", "flatten", "classifier", "fc", "head")
"""What torchvision calls the parts from the pooling on."""


def trained(name: str, tag: str, tags: Any) -> nn.Module:
    """Build with torchvision's weights, from its cache or from the network.

    Raises:
        ModelError: no network connection.
    """
    try:
        with redirect_stdout(sys.stderr):  # torch says there that it downloads
            net: nn.Module = torchvision.models.get_model(name, weights=tags[tag])
    except (URLError, OSError, RuntimeError) as error:
        why = getattr(error, "reason", error)
        raise ModelError(
            f"cannot download the weights {tag} of {name} ({why}); give a checkpoint file or weights 'none'"
        ) from None
    return net


def image_backbone(name: str, *, weights: str | Path | None = None) -> nn.Sequential:
    """Return an image classifier without its pooling and head: `(N, 3, H, W)` to a feature map `(N, C, h, w)`.

    Parts keep torchvision's names, so that "layer4" of a ResNet or "features" of a MobileNet is a layer to explain.

    Args:
        name: of one of torchvision's classifiers.
        weights: a tag of torchvision's, downloaded when it is not in torch's cache; or a file with a state dict of the
            classifier, with whatever head; None leaves the weights random.

    Raises:
        ModelError: no such classifier or tag, one that is no chain of parts, no network connection, or a file that
            is missing or does not fit.
    """
    tags = image_weights(name)
    if isinstance(weights, str):
        if weights in tags.__members__:
            return _without_head(trained(name, weights, tags))
        if not Path(weights).suffix and not Path(weights).exists():
            say = unknown(f"weights tag of {name}", weights, tags.__members__)
            raise ModelError(f"{say} (or give a state dict's path)")
    backbone = _without_head(torchvision.models.get_model(name, weights=None))
    if weights is not None:
        checkpoint = read_checkpoint(weights)
        kept = {key: value for key, value in checkpoint.state.items() if key.partition(".")[0] not in HEAD}
        load_into(backbone, replace(checkpoint, state=kept), name)
    return backbone


def image_weights(name: str) -> Any:
    """Return torchvision's tags for a classifier that can be a backbone."""
    possible = torchvision.models.list_models(module=torchvision.models)
    if name not in possible:
        raise ModelError(unknown("backbone", name, possible))
    family = torchvision.models.get_model_builder(name).__module__.rpartition(".")[2]
    if family not in FAMILIES:
        raise ModelError(f"{name} cannot be a backbone: it is no chain of parts; possible: {', '.join(FAMILIES)}")
    return torchvision.models.get_model_weights(name)


def count_channels(backbone: nn.Module) -> int:
    """Return C of the feature map of a small picture; the backbone is in eval mode from then on."""
    with torch.no_grad():
        return int(backbone.eval()(torch.zeros(1, 3, 64, 64)).shape[1])


def _without_head(net: nn.Module) -> nn.Sequential:
    parts = OrderedDict(takewhile(lambda child: child[0] not in HEAD, net.named_children()))
    if isinstance(net, torchvision.models.DenseNet):
        parts["relu"] = nn.ReLU()  # in the classifier this is a function call
    return nn.Sequential(parts)
