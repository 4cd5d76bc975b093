"""Rotations, warping and losses: numbers by hand, a rendered plane, and gradients in float64."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from vidcam.errors import ModelError, OptionError
from vidcam.models.sfmlearner.geometry import euler_matrix, inverse_warp, pose_matrix, quaternion_matrix
from vidcam.models.sfmlearner.losses import (
    LossWeights,
    explainability_loss,
    photometric_loss,
    scale_intrinsics,
    sfm_losses,
    smoothness_loss,
)

QUARTER = math.pi / 2
SIZE = (64, 96)
CAMERA = torch.tensor([[70.0, 0, 47], [0, 65, 30], [0, 0, 1]], dtype=torch.float64)
NORMAL, DISTANCE = torch.tensor([0.1, -0.5, 0.86], dtype=torch.float64), 8.0
POSES = torch.tensor([[0.3, -0.1, -0.5, 0.01, -0.03, 0.02], [-0.2, 0.1, 0.6, -0.02, 0.02, -0.01]], dtype=torch.float64)


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("angles", "point", "turned"),
    [
        ((QUARTER, 0, 0), (0, 1, 0), (0, 0, 1)),
        ((0, QUARTER, 0), (0, 0, 1), (1, 0, 0)),
        ((0, 0, QUARTER), (1, 0, 0), (0, 1, 0)),
        ((QUARTER, 0, QUARTER), (1, 0, 0), (0, 0, 1)),  # first about z, then about x: R = Rx Ry Rz
        ((0, QUARTER, QUARTER), (0, 1, 0), (0, 0, 1)),
        ((QUARTER, QUARTER, 0), (0, 0, 1), (1, 0, 0)),
    ],
)
def test_quarter_turns(angles: tuple[float, ...], point: tuple[float, ...], turned: tuple[float, ...]) -> None:
    torch.testing.assert_close(euler_matrix(double(angles)) @ double(point), double(turned), atol=1e-12, rtol=0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_quaternions(axis: int) -> None:
    """(1, tan(a/2) axis) is a turn by a."""
    angle = torch.zeros(3, dtype=torch.float64)
    angle[axis] = 0.7
    torch.testing.assert_close(quaternion_matrix(torch.tan(angle / 2)), euler_matrix(angle))
    quarter = quaternion_matrix(double([1.0 if i == axis else 0.0 for i in range(3)]))
    angle[axis] = QUARTER
    torch.testing.assert_close(quarter, euler_matrix(angle))


@pytest.mark.parametrize("turn", [euler_matrix, quaternion_matrix])
def test_rotations_are_orthogonal(turn) -> None:  # type: ignore[no-untyped-def]
    found = turn(torch.randn(4, 5, 3).double())
    assert found.shape == (4, 5, 3, 3)
    torch.testing.assert_close(found @ found.mT, torch.eye(3).double().expand(4, 5, 3, 3))
    torch.testing.assert_close(torch.linalg.det(found), torch.ones(4, 5).double())


def test_a_pose_is_rotation_then_translation() -> None:
    vector = torch.randn(2, 6).double()
    found = pose_matrix(vector, "quat")
    torch.testing.assert_close(found[:, :, :3], quaternion_matrix(vector[:, 3:]), rtol=0, atol=0)
    torch.testing.assert_close(found[:, :, 3], vector[:, :3], rtol=0, atol=0)
    with pytest.raises(OptionError, match="unknown rotation 'quaternion'"):
        pose_matrix(vector, "quaternion")
    with pytest.raises(OptionError, match=r"6 numbers; given shape \(2, 5\)"):
        pose_matrix(vector[:, :5])


def texture(points: Tensor) -> Tensor:
    """Smooth colors in -1..1 of points (..., 3) of the world."""
    x, y, z = points.unbind(-1)
    return torch.stack([torch.sin(1.1 * x + 0.3), torch.cos(0.9 * y - 0.7 * x), torch.sin(0.8 * z + 0.5 * x)], dim=-1)


def plane(matrix: Tensor, size: tuple[int, int] = SIZE, camera: Tensor = CAMERA) -> tuple[Tensor, Tensor]:
    """Cast rays at the plane NORMAL · X = DISTANCE, from the camera that X -> R X + t leads to: picture and depth."""
    v, u = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in size), indexing="ij")
    rays = torch.stack([(u - camera[0, 2]) / camera[0, 0], (v - camera[1, 2]) / camera[1, 1], torch.ones_like(u)], -1)
    turn, shift = matrix[:, :3], matrix[:, 3]
    towards, origin = rays @ turn, -shift @ turn  # rows, so this is the transposed rotation
    depth = (DISTANCE - origin @ NORMAL) / (towards @ NORMAL)
    return texture(origin + depth[..., None] * towards).movedim(-1, 0)[None], depth[None]


IDENTITY = torch.eye(3, 4, dtype=torch.float64)


def error(pose: Tensor, reference: Tensor) -> float:
    target, depth = plane(IDENTITY)
    warped, valid = inverse_warp(reference, depth, pose[None], CAMERA[None])
    assert valid.double().mean() > 0.6
    return float((warped - target).abs().mean(1)[valid].mean())


@pytest.mark.parametrize("pose", POSES)
def test_the_true_depth_and_pose_reproduce_the_target(pose: Tensor) -> None:
    """The error is that of bilinear sampling; it grows with every component of the pose, to either side."""
    reference, _ = plane(pose_matrix(pose))
    target, _ = plane(IDENTITY)
    assert float((reference - target).abs().mean()) > 0.1
    best = error(pose, reference)
    assert best < 2e-3
    for component in range(6):
        for step in (0.1, -0.1) if component < 3 else (0.01, -0.01):
            wrong = [error(pose + amount * step * torch.eye(6).double()[component], reference) for amount in (1, 2)]
            assert 2 * best < wrong[0] < wrong[1], (component, step)


def test_standing_still_gives_the_picture_itself() -> None:
    image = torch.rand(2, 3, *SIZE).double()
    depth = torch.rand(2, *SIZE).double() * 9 + 1
    warped, valid = inverse_warp(image, depth, torch.zeros(2, 6).double(), CAMERA.expand(2, 3, 3))
    torch.testing.assert_close(warped[..., 1:-1, 1:-1], image[..., 1:-1, 1:-1])
    assert valid[:, 1:-1, 1:-1].all()


def test_a_shift_by_whole_pixels() -> None:
    """At depth 2, moving by 2 * 3 / fx shifts by three pixels; what comes from outside is zero and not valid."""
    image = torch.rand(1, 3, *SIZE).double() + 0.5
    pose = double([[2 * 3 / 70, 0, 0, 0, 0, 0]])
    warped, valid = inverse_warp(image, torch.full((1, *SIZE), 2.0).double(), pose, CAMERA[None])
    torch.testing.assert_close(warped[..., 1:-1, :-4], image[..., 1:-1, 3:-1])
    assert valid[:, 1:-1, :-4].all() and not valid[..., -3:].any()
    assert not warped[..., -2:].any()


def test_points_behind_the_camera_are_not_valid() -> None:
    image, depth = torch.rand(1, 3, *SIZE).double(), torch.ones(1, *SIZE).double()
    warped, valid = inverse_warp(image, depth, double([[0.3, 0.3, -5.0, 0, 0, 0]]), CAMERA[None])
    assert torch.isfinite(warped).all() and valid.double().mean() < 0.01


@pytest.mark.parametrize(
    "change", [{"depth": torch.ones(1, 9, 9)}, {"pose": torch.zeros(1, 7)}, {"intrinsics": torch.eye(3)}]
)
def test_shapes_that_do_not_belong_together(change: dict[str, Tensor]) -> None:
    given = {"image": torch.ones(1, 3, 8, 8), "depth": torch.ones(1, 8, 8), "pose": torch.zeros(1, 6)}
    given |= {"intrinsics": torch.eye(3)[None], **change}
    with pytest.raises(OptionError, match="warping needs image") as caught:
        inverse_warp(**given)
    assert "\n" not in str(caught.value)


def test_intrinsics_are_scaled_with_the_picture() -> None:
    found = scale_intrinsics(CAMERA, (64, 96), (16, 24))
    torch.testing.assert_close(found, double([[17.5, 0, 11.75], [0, 16.25, 7.5], [0, 0, 1]]))


def world(sizes: int = 4) -> tuple[Tensor, Tensor, Tensor, list[Tensor], Tensor]:
    """Two samples, one plane, two references: what `sfm_losses` takes, all of it true."""
    target, _ = plane(IDENTITY)
    references = torch.cat([plane(pose_matrix(pose))[0] for pose in POSES])
    disparities = []
    for scale in range(sizes):
        size = (SIZE[0] >> scale, SIZE[1] >> scale)
        disparities.append(1 / plane(IDENTITY, size, scale_intrinsics(CAMERA, SIZE, size))[1][:, None])
    other = (target.flip(1), references.flip(1))
    return (
        torch.cat([target, other[0]]),
        torch.stack([references, other[1]]),
        CAMERA.expand(2, 3, 3),
        [d.expand(2, -1, -1, -1) for d in disparities],
        POSES.expand(2, 2, 6).clone(),
    )


def test_the_loss_of_the_truth_is_small_and_that_of_errors_is_not() -> None:
    target, references, cameras, disparities, pose = world()
    _, depth = plane(IDENTITY)
    finest, _ = photometric_loss(target, references, cameras, depth.expand(2, -1, -1), pose_matrix(pose))
    assert finest.max() < 4e-3  # two references
    true = sfm_losses(target, references, cameras, disparities, pose)
    still = sfm_losses(target, references, cameras, disparities, torch.zeros_like(pose))
    assert (true.photometric < 0.3 * still.photometric).all()
    assert [tuple(x.shape) for x in true.warped][::3] == [(2, 2, 3, 64, 96), (2, 2, 3, 8, 12)]
    same = sfm_losses(target, target[:, None].expand(-1, 2, -1, -1, -1), cameras, disparities, torch.zeros_like(pose))
    interior = (same.warped[0][..., 1:-1, 1:-1] - target[:, None, :, 1:-1, 1:-1]).abs().max()
    assert interior < 1e-9 and same.photometric.max() < 1e-9  # of a perfect warp it is zero, at every scale


def test_photometric_loss_by_hand() -> None:
    """A target of 1 and references of 0.75 and 0: residuals 0.25 and 1, one of them half masked."""
    target, references = torch.ones(1, 3, 8, 8).double(), torch.zeros(1, 2, 3, 8, 8).double()
    references[:, 0] = 0.75
    camera = double([[[8.0, 0, 3.5], [0, 8, 3.5], [0, 0, 1]]])
    still = IDENTITY.expand(1, 2, 3, 4)
    loss, warped = photometric_loss(target, references, camera, torch.ones(1, 8, 8).double(), still)
    assert float(loss) == pytest.approx(1.25) and warped.shape == (1, 2, 3, 8, 8)
    mask = torch.ones(1, 2, 8, 8).double()
    mask[:, 1, :4] = 0
    loss, _ = photometric_loss(target, references, camera, torch.ones(1, 8, 8).double(), still, mask)
    assert float(loss) == pytest.approx(0.25 + 0.5)
    away = torch.cat([torch.eye(3).double(), double([[0.5], [0], [0]])], dim=1).expand(1, 2, 3, 4)  # four pixels
    loss, _ = photometric_loss(target, references, camera, torch.ones(1, 8, 8).double(), away)
    assert float(loss) == pytest.approx(1.25 / 2)  # the half that lies outside counts as no difference


def test_smoothness_by_hand() -> None:
    """x^2 has dxx = 2 and nothing else, x y has dxy = dyx = 1, a ramp has nothing; scales fade by 2.3."""
    y, x = torch.meshgrid(torch.arange(5.0).double(), torch.arange(6.0).double(), indexing="ij")
    maps = torch.stack([x**2, x * y, 3 * x - 2 * y + 1])
    torch.testing.assert_close(smoothness_loss([maps]), double([2.0, 2.0, 0.0]))
    expected = 2 + 2 / 2.3 + 2 / 2.3**2 + 2 / 2.3**3
    torch.testing.assert_close(smoothness_loss([maps] * 4), double([expected, expected, 0.0]))
    with pytest.raises(ModelError, match="at least 17x17; given depth of 5x2"):
        smoothness_loss([maps, maps[:, :2, :5]])


def test_smoothness_is_of_depth() -> None:
    """Disparity 1 / (1 + x^2) is a depth whose second derivative is 2 at every scale; the weights join the parts."""
    target, references, cameras, _, pose = (v if isinstance(v, list) else v[:1] for v in world())
    disparities = []
    for scale in range(4):
        x = torch.arange(96 >> scale).double().expand(1, 1, 64 >> scale, -1)
        disparities.append(1 / (1 + x**2))
    weights = LossWeights(photometric=2, smoothness=3, explainability=5)
    masks = [torch.full((1, 2, 64 >> s, 96 >> s), 0.5).double() for s in range(4)]
    found = sfm_losses(target, references, cameras, disparities, pose, masks, weights=weights)
    assert float(found.smoothness) == pytest.approx(sum(2 / 2.3**scale for scale in range(4)))
    assert float(found.explainability) == pytest.approx(4 * math.log(2))
    total = 2 * found.photometric + 3 * found.smoothness + 5 * found.explainability
    torch.testing.assert_close(found.total, total)
    unmasked = sfm_losses(target, references, cameras, disparities, pose)
    torch.testing.assert_close(found.photometric, unmasked.photometric / 2)
    with pytest.raises(OptionError, match="as many scales"):
        sfm_losses(target, references, cameras, disparities, pose, masks[:2])


def test_explainability_is_cross_entropy() -> None:
    masks = [torch.rand(2, 3, 8, 8).double(), torch.rand(2, 3, 4, 4).double()]
    expected = [
        sum(float(torch.nn.functional.binary_cross_entropy(m[i], torch.ones_like(m[i]))) for m in masks)
        for i in range(2)
    ]
    torch.testing.assert_close(explainability_loss(masks), double(expected))
    assert torch.isfinite(explainability_loss([torch.zeros(1, 1, 2, 2)])).all()


def test_a_batch_is_its_samples() -> None:
    target, references, cameras, disparities, pose = world()
    pose = pose + 0.05 * torch.randn_like(pose)
    masks = [torch.rand(2, 2, *d.shape[2:]).double() for d in disparities]
    both = sfm_losses(target, references, cameras, disparities, pose, masks)
    for i in range(2):
        one = slice(i, i + 1)
        single = sfm_losses(
            target[one],
            references[one],
            cameras[one],
            [d[one] for d in disparities],
            pose[one],
            [m[one] for m in masks],
        )
        for name in ("total", "photometric", "smoothness", "explainability"):
            torch.testing.assert_close(getattr(both, name)[one], getattr(single, name))


@pytest.mark.parametrize("rotation", ["euler", "quat"])
def test_gradients_of_poses(rotation: str) -> None:
    assert gradcheck(lambda v: pose_matrix(v, rotation), torch.randn(2, 6).double().requires_grad_())


def test_gradients_of_warping() -> None:
    image = torch.rand(1, 2, 6, 7).double()
    depth = torch.rand(1, 6, 7).double() + 2
    camera = double([[[6.0, 0, 3.1], [0, 6, 2.4], [0, 0, 1]]])
    pose = double([[0.11, -0.07, 0.13, 0.02, -0.03, 0.04]])
    inputs = tuple(x.requires_grad_() for x in (image, depth, pose, camera))
    assert gradcheck(lambda *x: inverse_warp(*x)[0], inputs, eps=1e-7, atol=1e-5)


def test_gradients_of_the_loss() -> None:
    size = (18, 20)
    target, references = torch.rand(1, 3, *size).double(), torch.rand(1, 1, 3, *size).double()
    camera = double([[[18.0, 0, 9.3], [0, 18, 8.2], [0, 0, 1]]])
    disparities = [torch.rand(1, 1, -(-18 // 2**s), -(-20 // 2**s)).double() / 5 + 0.2 for s in range(4)]
    masks = [torch.rand(1, 1, *d.shape[2:]).double() * 0.8 + 0.1 for d in disparities]
    pose = double([[[0.11, -0.07, 0.13, 0.02, -0.03, 0.04]]])
    weights = LossWeights(1, 0.1, 0.2)

    def loss(pose: Tensor, *rest: Tensor) -> Tensor:
        found = sfm_losses(target, references, camera, rest[:4], pose, rest[4:], weights=weights)
        return found.total

    inputs = tuple(x.requires_grad_() for x in (pose, *disparities, *masks))
    assert gradcheck(loss, inputs, eps=1e-8, atol=1e-4, fast_mode=True)


@pytest.mark.gpu
def test_losses_on_a_gpu_as_on_the_cpu() -> None:
    target, references, cameras, disparities, pose = world()
    here = sfm_losses(target, references, cameras, disparities, pose)
    there = sfm_losses(target.cuda(), references.cuda(), cameras.cuda(), [d.cuda() for d in disparities], pose.cuda())
    torch.testing.assert_close(there.total.cpu(), here.total)
