"""PoseExpNet and DispNetS: names, shapes and counts of the published checkpoints, and values derived independently."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vidcam.attribution.capturing import capture
from vidcam.attribution.formulas import cam
from vidcam.errors import ModelError, OptionError
from vidcam.models.sfmlearner.losses import sfm_losses
from vidcam.models.sfmlearner.network import Motion, SfMLearner, motion_scores, next_reference
from vidcam.models.sfmlearner.pose_and_depth import DispNetS, PoseExpNet

CAMERA = torch.tensor([[60.0, 0, 48], [0, 60, 32], [0, 0, 1]])
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def disp() -> DispNetS:
    torch.manual_seed(1)
    return unsettled(DispNetS().eval())


def unsettled(net: torch.nn.Module) -> torch.nn.Module:
    """Biases other than zero, so that leaving one out shows."""
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.uniform_(parameter, -0.3, 0.3)
    return net


def shapes(net: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


def with_biases(weights: dict[str, tuple[int, ...]], *, transposed: tuple[str, ...] = ()) -> dict[str, tuple[int, ...]]:
    found = {}
    for layer, shape in weights.items():
        found[f"{layer}.weight"] = shape
        found[f"{layer}.bias"] = (shape[1] if layer.startswith(transposed) else shape[0],)
    return found


@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.parametrize("masks", [False, True])
def test_pose_keys_and_shapes(n: int, masks: bool) -> None:
    expected = {
        "conv1.0": (16, 3 * (n + 1), 7, 7),
        "conv2.0": (32, 16, 5, 5),
        "conv3.0": (64, 32, 3, 3),
        "conv4.0": (128, 64, 3, 3),
        "conv5.0": (256, 128, 3, 3),
        "conv6.0": (256, 256, 3, 3),
        "conv7.0": (256, 256, 3, 3),
        "pose_pred": (6 * n, 256, 1, 1),
    }
    if masks:
        expected |= {
            "upconv5.0": (256, 256, 4, 4),
            "upconv4.0": (256, 128, 4, 4),
            "upconv3.0": (128, 64, 4, 4),
            "upconv2.0": (64, 32, 4, 4),
            "upconv1.0": (32, 16, 4, 4),
            **{f"predict_mask{k}": (n, c, 3, 3) for k, c in ((4, 128), (3, 64), (2, 32), (1, 16))},
        }
    assert shapes(PoseExpNet(n, masks)) == with_biases(expected, transposed=("upconv",))


def test_disparity_keys_and_shapes(disp: DispNetS) -> None:
    planes, kernels, up = (3, 32, 64, 128, 256, 512, 512, 512), (7, 5, 3, 3, 3, 3, 3), (16, 32, 64, 128, 256, 512, 512)
    joined = (17, 65, 129, 256, 512, 1024, 1024)
    expected = {}
    for k in range(1, 8):
        expected[f"conv{k}.0"] = (planes[k], planes[k - 1], kernels[k - 1], kernels[k - 1])
        expected[f"conv{k}.2"] = (planes[k], planes[k], kernels[k - 1], kernels[k - 1])
        expected[f"upconv{k}.0"] = ((*up, 512)[k], up[k - 1], 3, 3)
        expected[f"iconv{k}.0"] = (up[k - 1], joined[k - 1], 3, 3)
    expected |= {f"predict_disp{k}.0": (1, up[k - 1], 3, 3) for k in range(1, 5)}
    assert shapes(disp) == with_biases(expected, transposed=("upconv",))


def test_parameter_counts(disp: DispNetS) -> None:
    assert sum(p.numel() for p in PoseExpNet(4).parameters()) == 1_598_456
    assert sum(p.numel() for p in disp.parameters()) == 31_596_900


def test_weights_are_drawn_from_xavier_s_uniform_distribution() -> None:
    net = PoseExpNet(2, explainability=True)
    for name, parameter in net.state_dict().items():
        if name.endswith("bias"):
            assert not parameter.any()
            continue
        a, b = parameter.shape[:2]
        bound = math.sqrt(6 / ((a + b) * parameter.shape[2] * parameter.shape[3]))
        assert 0.97 * bound < float(parameter.abs().max()) <= bound, name
        assert float(parameter.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1), name


def layer(state: State, name: str, x: Tensor, stride: int, padding: int) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding)


@pytest.mark.parametrize("size", [(64, 96), (50, 71), (8, 9)])
def test_pose_values(size: tuple[int, int]) -> None:
    net = unsettled(PoseExpNet(3, explainability=True).double().eval())
    target, others = torch.randn(2, 3, *size).double(), torch.randn(2, 3, 3, *size).double()
    s, x = net.state_dict(), torch.cat([target, others[:, 0], others[:, 1], others[:, 2]], 1)
    maps = [x]
    for k, padding in enumerate((3, 2, 1, 1, 1, 1, 1), 1):
        x = layer(s, f"conv{k}.0", x, 2, padding).clamp(min=0)
        maps.append(x)
    predicted = torch.einsum("oi,bihw->bohw", s["pose_pred.weight"][:, :, 0, 0], x) + s["pose_pred.bias"][:, None, None]
    pose = 0.01 * predicted.mean(3).mean(2).reshape(2, 3, 6)
    masks, x = {}, maps[5]
    for k in (5, 4, 3, 2, 1):
        x = F.conv_transpose2d(x, s[f"upconv{k}.0.weight"], s[f"upconv{k}.0.bias"], 2, 1).clamp(min=0)
        x = x[:, :, : maps[k - 1].shape[2], : maps[k - 1].shape[3]]
        if k < 5:
            masks[k] = 1 / (1 + (-layer(s, f"predict_mask{k}", x, 1, 1)).exp())
    with torch.no_grad():
        mask, found = net(target, list(others.unbind(1)))
        torch.testing.assert_close(found, pose)
        torch.testing.assert_close(mask, masks[1])
        several, found = net.train()(target, others)
    torch.testing.assert_close(found, pose)
    assert len(several) == 4 and several[0].shape == (2, 3, *size)
    for k in range(1, 5):
        torch.testing.assert_close(several[k - 1], masks[k])


def test_conv7_is_one_by_four() -> None:
    net = PoseExpNet(4).eval()
    found = capture(net, (torch.randn(1, 3, 128, 416), torch.randn(1, 4, 3, 128, 416)), layers=["conv5", "conv7"])
    assert found.activations["conv5"].shape == (1, 256, 4, 13) and found.activations["conv7"].shape == (1, 256, 1, 4)
    assert found.output[0] is None and found.output[1].shape == (1, 4, 6)


@pytest.mark.parametrize("size", [(32, 48), (25, 38)])
def test_disparity_values(disp: DispNetS, size: tuple[int, int]) -> None:
    image = torch.randn(2, 3, *size)
    s, maps = disp.state_dict(), [image]
    for k, padding in enumerate((3, 2, 1, 1, 1, 1, 1), 1):
        x = layer(s, f"conv{k}.0", maps[-1], 2, padding).clamp(min=0)
        maps.append(layer(s, f"conv{k}.2", x, 1, padding).clamp(min=0))
    x, found = maps[7], {}
    for k in (7, 6, 5, 4, 3, 2, 1):
        h, w = maps[k - 1].shape[2:]
        x = F.conv_transpose2d(x, s[f"upconv{k}.0.weight"], s[f"upconv{k}.0.bias"], 2, 1, 1).clamp(min=0)[:, :, :h, :w]
        x = torch.cat([x, maps[k - 1]], 1) if k > 1 else x
        if k < 4:
            below = found[k + 1]
            twice = F.interpolate(below, (2 * below.shape[2], 2 * below.shape[3]), mode="bilinear")[:, :, :h, :w]
            x = torch.cat([x, twice], 1)
        x = layer(s, f"iconv{k}.0", x, 1, 1).clamp(min=0)
        if k < 5:
            found[k] = 10 / (1 + (-layer(s, f"predict_disp{k}.0", x, 1, 1)).exp()) + 0.01
    with torch.no_grad():
        torch.testing.assert_close(disp(image), found[1], rtol=1e-4, atol=1e-4)
        several = disp.train()(image)
        disp.eval()
    assert tuple(several[3].shape[2:]) == tuple(-(-side // 8) for side in size)
    for k in range(1, 5):
        torch.testing.assert_close(several[k - 1], found[k], rtol=1e-4, atol=1e-4)


def test_what_the_networks_refuse(disp: DispNetS) -> None:
    net = PoseExpNet(2)
    picture = torch.zeros(1, 3, 16, 16)
    for call, said in (
        (lambda: net(picture, torch.zeros(1, 4, 3, 16, 16)), "has 2 reference frames; given 4"),
        (lambda: net(picture, [picture, torch.zeros(1, 3, 16, 8)]), "references need the target's shape"),
        (lambda: net(torch.zeros(1, 3, 7, 90), torch.zeros(1, 2, 3, 7, 90)), "at least 8x8 pixels; given 90x7"),
        (lambda: disp(torch.zeros(1, 3, 64, 4)), "at least 8x8 pixels; given 4x64"),
        (lambda: disp(torch.zeros(3, 64, 64)), r"takes pictures \(B, 3, H, W\); given \(3, 64, 64\)"),
        (lambda: SfMLearner(net)(torch.zeros(1, 3, 5, 16, 16)), r"takes clips \(B, 3, 3, H, W\)"),
        (lambda: SfMLearner(net, disp, intrinsics=CAMERA)(torch.zeros(1, 3, 3, 16, 40)), "at least 17x17"),
    ):
        with pytest.raises(ModelError, match=said) as caught:
            call()
        assert "\n" not in str(caught.value)
    for call, said in (
        (lambda: PoseExpNet(0), "one reference frame or more; given 0"),
        (lambda: SfMLearner(net, rotation="eular"), "did you mean 'euler'"),
        (lambda: SfMLearner(net, intrinsics=torch.eye(4)), r"must be a matrix \(3, 3\)"),
        (lambda: SfMLearner(net, intrinsics=torch.zeros(3, 3)), "positive focal lengths"),
        (lambda: SfMLearner(net, intrinsics=CAMERA * float("nan")), "positive focal lengths"),
    ):
        with pytest.raises(OptionError, match=said) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_the_middle_frame_is_the_target(disp: DispNetS) -> None:
    net = SfMLearner(unsettled(PoseExpNet(4).eval()), disp).eval()
    clip = torch.randn(2, 3, 5, 32, 48)
    with torch.no_grad():
        found = net(clip)
        _, pose = net.pose(clip[:, :, 2], [clip[:, :, t] for t in (0, 1, 3, 4)])
        torch.testing.assert_close(found.pose, pose, rtol=0, atol=0)
        torch.testing.assert_close(found.disparity, disp(clip[:, :, 2]), rtol=0, atol=0)
    assert found.mask is None and found.loss is None
    assert [next_reference(n) for n in (1, 2, 3, 4)] == [0, 1, 2, 2]


def test_seeing_shares_the_networks_and_changes_nothing(disp: DispNetS) -> None:
    net = SfMLearner(PoseExpNet(2), disp).eval()
    net.pose.train()
    other = net.seeing(CAMERA)
    assert other.pose is net.pose and other.disp is net.disp and net.intrinsics is None
    assert not other.training and net.pose.training and not disp.training
    assert {key.partition(".")[0] for key in other.state_dict()} == {"pose", "disp"}
    assert other.double().intrinsics.dtype == torch.float64
    other.float()


def test_a_clip_s_loss_is_its_own(disp: DispNetS) -> None:
    net = SfMLearner(unsettled(PoseExpNet(2, True)), disp, intrinsics=CAMERA).eval()
    clip = torch.rand(2, 3, 3, 64, 96) * 2 - 1
    with torch.no_grad():
        both, singles = net(clip), [net(clip[i : i + 1]) for i in range(2)]
        (target, references), disparities = net.split(clip), disp.at_all_scales(clip[:, :, 1])
        masks, pose = net.pose.at_all_scales(target, references)
        training = sfm_losses(target, references, CAMERA.expand(2, 3, 3), disparities, pose, masks)
    assert both.loss.shape == (2,) and abs(float(both.loss[0] - both.loss[1])) > 1e-4
    assert both.mask.shape == (2, 2, 64, 96)
    for name in Motion._fields:
        joined = torch.cat([getattr(single, name) for single in singles])
        torch.testing.assert_close(getattr(both, name), joined, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(training.total, both.loss)
    torch.testing.assert_close(training.total, training.photometric + 0.1 * training.smoothness)


@pytest.mark.parametrize("name", ["loss", "tx", "rz", "speed", "turn"])
def test_the_identity_at_conv7(disp: DispNetS, name: str) -> None:
    """A 1x1 convolution and a mean follow conv7, so the map's sum is the derivative-weighted pose without its bias."""
    net = SfMLearner(unsettled(PoseExpNet(2).eval()), disp, intrinsics=CAMERA).eval()
    clip, score = torch.rand(2, 3, 3, 64, 160) * 2 - 1, motion_scores(2)[name]
    found = capture(net, clip, layers=["pose.conv7"], scores=[score])
    a, g = found.activations["pose.conv7"], found.gradients[0]["pose.conv7"]
    assert a.shape == (2, 256, 1, 2)
    pose = found.output.pose.requires_grad_()
    if name == "loss":  # differentiate what follows the pose, by the networks' other outputs
        target, references = net.split(clip)
        with torch.no_grad():
            disparities = disp.at_all_scales(target)
        value = -sfm_losses(target, references, CAMERA.expand(2, 3, 3), disparities, pose).total
    else:
        value = score(found.output._replace(pose=pose))
    torch.testing.assert_close(value, found.scores[0])
    (slope,) = torch.autograd.grad(value.sum(), pose)
    expected = (slope * (pose - 0.01 * net.pose.pose_pred.bias.reshape(2, 6))).sum((1, 2)).detach()
    alpha = g.mean((2, 3), keepdim=True)
    torch.testing.assert_close((alpha * a).sum((1, 2, 3)), expected, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(cam(a, g).sum((1, 2)), expected * a.shape[2] * a.shape[3], rtol=1e-4, atol=1e-7)


def test_speed_and_turn_by_hand() -> None:
    """To the next frame the camera goes 3 right and 4 on, and turns by a quarter to the right."""
    pose = torch.zeros(1, 2, 6)
    pose[0, 1] = torch.tensor([3.0, 0, 4, 0, -math.pi / 2, 0])
    scores = motion_scores(2)
    motion = Motion(pose, None, None, None)
    assert float(scores["speed"](motion)) == pytest.approx(5)
    assert float(scores["turn"](motion)) == pytest.approx(math.pi / 2)
    assert float(scores["tz"](motion)) == 4 and float(scores["ry"](motion)) == pytest.approx(-math.pi / 2)
    with pytest.raises(OptionError, match="'loss' needs a depth network"):
        scores["loss"](motion)
    with pytest.raises(OptionError, match="'loss' needs intrinsics"):
        scores["loss"](motion._replace(disparity=torch.ones(1)))


@pytest.mark.gpu
def test_on_a_gpu_as_on_the_cpu(disp: DispNetS) -> None:
    net = SfMLearner(unsettled(PoseExpNet(2, True)), disp, intrinsics=CAMERA).double().eval()
    clip = torch.rand(2, 3, 3, 64, 96).double() * 2 - 1
    with torch.no_grad():
        here = net(clip)
        there = net.cuda()(clip.cuda())
    net.cpu().float()
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(other.cpu(), one)
