"""The same maps as Captum and pytorch-grad-cam, where these compute the published formula; on copies of the network."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import resnet18, video

from vidcam.attribution.methods import cam

NETS = {"r3d_18": video.r3d_18, "r2plus1d_18": video.r2plus1d_18, "mc3_18": video.mc3_18}
TARGETS = [1, 4]


@pytest.fixture(scope="module", params=NETS)
def net(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(3)
    return NETS[request.param](num_classes=6).eval()


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(2, 3, 9, 24, 32, generator=torch.Generator().manual_seed(4))


def relative(found: Any, expected: Any) -> float:
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    assert found.shape == expected.shape and np.abs(expected).max() > 0
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("layer", ["layer4", "layer3"])
def test_grad_cam_equals_captum(net: nn.Module, x: Tensor, layer: str) -> None:
    attr = pytest.importorskip("captum.attr")
    theirs = copy.deepcopy(net)
    explainer = attr.LayerGradCam(theirs, theirs.get_submodule(layer))
    expected = explainer.attribute(x, target=TARGETS, relu_attributions=True)[:, 0].detach()
    assert relative(cam(net, x, layer=layer, target=TARGETS, pooling="clip"), expected) <= 1e-5


PEERS = {
    "grad_cam": "GradCAM",
    "hires_cam": "HiResCAM",
    "x_grad_cam": "XGradCAM",
    "layer_cam": "LayerCAM",
    "grad_cam_pp": "GradCAMPlusPlus",
}


def scaled(heat: Tensor, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Scale and enlarge our heat as pytorch-grad-cam does its own."""
    from pytorch_grad_cam.utils.image import scale_cam_image

    enlarged = scale_cam_image(heat.numpy(), size[::-1])
    scaled: NDArray[np.float32] = scale_cam_image(np.maximum(enlarged, 0))
    return scaled


def theirs(name: str, net: nn.Module, layer: str, x: Tensor) -> NDArray[np.float32]:
    peer = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    theirs = copy.deepcopy(net)
    explainer = getattr(peer, name)(theirs, [theirs.get_submodule(layer)])
    heat: NDArray[np.float32] = explainer(x, targets=[ClassifierOutputTarget(target) for target in TARGETS])
    return heat


@pytest.mark.parametrize("layer", ["layer4", "layer3"])
def test_grad_cam_equals_pytorch_grad_cam(net: nn.Module, x: Tensor, layer: str) -> None:
    heat = cam(net, x, layer=layer, target=TARGETS, pooling="clip")
    expected = theirs("GradCAM", net, layer, x)
    assert relative(scaled(heat, (9, 24, 32)), expected) <= 1e-5


@pytest.mark.parametrize("method", ["hires_cam", "layer_cam", "x_grad_cam"])
@pytest.mark.parametrize("net", ["r3d_18"], indirect=True)
def test_other_methods_equal_pytorch_grad_cam_on_video(net: nn.Module, x: Tensor, method: str) -> None:
    heat = cam(net, x, layer="layer3", target=TARGETS, method=method, pooling="clip")
    expected = theirs(PEERS[method], net, "layer3", x)
    assert relative(scaled(heat, (9, 24, 32)), expected) <= 1e-5


@pytest.mark.parametrize("method", PEERS)
@pytest.mark.parametrize("layer", ["layer4", "layer2"])
def test_methods_equal_pytorch_grad_cam_on_images(method: str, layer: str) -> None:
    net, x = resnet18(num_classes=6).eval(), torch.randn(2, 3, 64, 64)
    # theirs adds 1e-6 to the denominator of Grad-CAM++, which is nothing only beside large gradients
    net.fc.weight.data.mul_(1e6)
    heat = cam(net, x, layer=layer, target=TARGETS, method=method)
    expected = theirs(PEERS[method], net, layer, x)
    assert relative(scaled(heat, (64, 64)), expected) <= 1e-5


def test_eigen_cam_is_theirs_up_to_its_sign() -> None:
    net, x = resnet18(num_classes=6).eval(), torch.randn(1, 3, 64, 64)
    heat = cam(net, x, layer="layer3", method="eigen_cam")
    kept: list[Tensor] = []
    net.layer3.register_forward_hook(lambda _m, _a, output: kept.append(output.detach()))
    net(x)
    pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    projection = get_2d_projection(kept[0].numpy())
    assert min(relative(heat, np.maximum(sign * projection, 0)) for sign in (1, -1)) <= 1e-4
