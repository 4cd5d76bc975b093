"""Models: a network, how to feed it, which layer to explain, and how to read that layer."""

from vidcam.models.build import MODELS, load_model
from vidcam.models.checkpoint import read_checkpoint, write_checkpoint
from vidcam.models.extra import Extra
from vidcam.models.inputs import Input
from vidcam.models.inspection import list_layers, list_models, list_options
from vidcam.models.model import Model
from vidcam.models.recipe import Recipe
from vidcam.models.source import Source

__all__ = [
    "MODELS",
    "Extra",
    "Input",
    "Model",
    "Recipe",
    "Source",
    "list_layers",
    "list_models",
    "list_options",
    "load_model",
    "read_checkpoint",
    "write_checkpoint",
]
