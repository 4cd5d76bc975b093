"""Attribution in pure torch: networks, tensors, layers and scores; no video file, no data set, no model by name."""

from vidcam.attribution.capturing import Captured, Score, capture
from vidcam.attribution.geometry import PLACEMENTS, Axis
from vidcam.attribution.methods import METHODS, cam, find_method
from vidcam.attribution.question import Method, Question, method
from vidcam.attribution.scores import class_score, component, components, minus, negative_loss

__all__ = [
    "METHODS",
    "PLACEMENTS",
    "Axis",
    "Captured",
    "Method",
    "Question",
    "Score",
    "cam",
    "capture",
    "class_score",
    "component",
    "components",
    "find_method",
    "method",
    "minus",
    "negative_loss",
]
