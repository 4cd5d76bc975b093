"""Grad-CAM by other tools, those that are installed."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from material import TARGET
from timing import Call
from torch import Tensor, nn

Make = Callable[[nn.Module, Tensor, str], Call]


def peers(net: nn.Module, x: Tensor, layer: str) -> dict[str, Call]:
    """Return a call per tool that can be imported."""
    return {name: make(net, x, layer) for name, (package, make) in PEERS.items() if _is_there(package)}


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None and __import__(package) is not None
    except ImportError:  # it lacks something itself
        return False


def _captum(net: nn.Module, x: Tensor, layer: str) -> Call:
    from captum.attr import LayerGradCam

    explainer = LayerGradCam(net, net.get_submodule(layer))
    return lambda: explainer.attribute(x, target=TARGET, relu_attributions=True).cpu()


def _torch_cam(net: nn.Module, x: Tensor, layer: str) -> Call:
    from torchcam.methods import GradCAM

    def explain() -> Any:
        with GradCAM(net, layer, input_shape=tuple(x.shape[1:])) as explainer:
            return [heat.cpu() for heat in explainer([TARGET] * len(x), net(x))]

    return explain


def _pytorch_grad_cam(net: nn.Module, x: Tensor, layer: str) -> Call:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def explain() -> Any:
        with GradCAM(net, [net.get_submodule(layer)]) as explainer:
            heat = explainer(x, targets=[ClassifierOutputTarget(TARGET)] * len(x))
        net.zero_grad(set_to_none=True)
        return heat

    return explain


PEERS: dict[str, tuple[str, Make]] = {
    "Captum": ("captum", _captum),
    "torch-cam": ("torchcam", _torch_cam),
    "pytorch-grad-cam": ("pytorch_grad_cam", _pytorch_grad_cam),
}
