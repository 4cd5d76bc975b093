"""Image classifiers of torchvision as backbones: all of them that comes before the pooling, frame by frame."""

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from vidcam.errors import ModelError, unknown
from vidcam.models.checkpoint import load_into, read_checkpoint
from vidcam.models.torchvision_weights import trained

FAMILIES = (
    *("alexnet", "convnext", "densenet", "efficientnet", "mnasnet", "mobilenetv2", "mobilenetv3"),
    *("regnet", "resnet", "shufflenetv2", "squeezenet", "swin_transformer", "vgg"),
)
"""Torchvision's modules whose classifiers are a chain of parts up to the pooling."""
HEAD = ("avgpool", "flatten", "classifier", "fc", "head")
"""What torchvision calls the parts from the pooling on."""


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
    if is_tag(name, weights):
        return _without_head(trained(name, str(weights), tags))
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


def is_tag(name: str, weights: str | Path | None) -> bool:
    """Tell a tag from the path of a file; a ModelError names near matches of what is neither."""
    tags = image_weights(name).__members__
    if not isinstance(weights, str) or weights in tags:
        return isinstance(weights, str)
    if not Path(weights).suffix and not Path(weights).exists():
        raise ModelError(unknown(f"weights tag of {name}", weights, tags) + " (or give a state dict's path)")
    return False


def count_channels(backbone: nn.Module) -> int:
    """Return C of the feature map by running a small picture through a backbone in eval mode."""
    flags = [(module, module.training) for module in backbone.modules()]
    with torch.no_grad():
        features: Tensor = backbone.eval()(torch.zeros(1, 3, 64, 64))
    for module, flag in flags:
        module.training = flag
    return int(features.shape[1])


def _without_head(net: nn.Module) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for name, part in net.named_children():
        if name in HEAD:
            break
        parts[name] = part
    if isinstance(net, torchvision.models.DenseNet):
        parts["relu"] = nn.ReLU()  # in the classifier this is a function call
    return nn.Sequential(parts)
