"""Weights that torchvision has published: by tag, from torch's cache or the network, and how to feed them."""

import sys
from contextlib import redirect_stdout
from typing import Any
from urllib.error import URLError

import torchvision
from torch import nn

from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import ModelError


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


def preset_preprocessing(preset: Any) -> Preprocessing:
    """Read torchvision's own preset; one number is the length of the shorter side."""
    resize, crop = list(preset.resize_size), list(preset.crop_size)
    return Preprocessing(
        resize=resize[0] if len(resize) == 1 else (resize[0], resize[1]),
        crop=(crop[0], crop[-1]),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        antialias=bool(getattr(preset, "antialias", False)),  # presets for videos have no such choice
    )
