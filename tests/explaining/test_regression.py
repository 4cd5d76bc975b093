"""Regressors that are planted: what they look at, and how hard the loss pulls, is known by hand."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidcam import Explanation, Model, explain, load_model
from vidcam.attribution.scores import component, components
from vidcam.data.preprocessing import Preprocessing
from vidcam.data.synthetic import drive, write_drives
from vidcam.errors import LayerError, MediaError, OptionError, TargetError
from vidcam.media import VideoWriter
from vidcam.models.sfmlearner.pose_and_depth import PoseExpNet

SIZE, CELL = 64, 8
FRAMES = 9


class Brightness(nn.Module):
    """Two numbers: the mean brightness of the left and of the right half; the layer has one channel per half."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.cells = nn.Conv2d(3, 2, CELL, CELL, bias=False)
        nn.init.constant_(self.cells.weight, 1 / (3 * CELL * CELL))
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        cells = self.cells(self.picture(x))
        half = cells.shape[3] // 2
        return self.gain * torch.stack([cells[:, 0, :, :half].mean((1, 2)), cells[:, 1, :, half:].mean((1, 2))], 1)

    def picture(self, x: Tensor) -> Tensor:
        return x[:, :, 0]


class Stacked(Brightness):
    """Sees three frames stacked, and reads the middle one."""

    def picture(self, x: Tensor) -> Tensor:
        assert x.shape[2] == 3
        return x[:, :, 1]


class Timed(nn.Module):
    """A regressor whose layer knows time: the brightness of one frame of eight."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Conv3d(3, 1, (1, CELL, CELL), (1, CELL, CELL), bias=False)
        nn.init.constant_(self.cells.weight, 1 / (3 * CELL * CELL))

    def forward(self, x: Tensor) -> Tensor:
        return self.cells(x).mean((3, 4))[:, :, 5].contiguous()


def spot(frame: int) -> tuple[int, int]:
    """Row and column of the bright cell."""
    return frame % 8, (3 * frame) % 8


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Black frames with one bright cell that jumps."""
    path = tmp_path_factory.mktemp("video") / "spot.mp4"
    with VideoWriter(path, width=SIZE, height=SIZE, rate=Fraction(10)) as writer:
        for frame in range(FRAMES):
            pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
            row, column = spot(frame)
            pixels[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = 255
            writer.write(pixels, frame / 10)
    return path


def regressor(net: nn.Module | None = None, frames: int = 1, names: tuple[str, ...] = ("left", "right")) -> Model:
    return Model(
        net or Brightness(),
        layer="cells",
        layout="b c h w" if isinstance(net, Stacked) else None,
        frames=frames,
        scores=components(*names),
        preprocessing=Preprocessing(resize=(SIZE, SIZE)),
    )


def hottest(found: Explanation, frame: int) -> tuple[int, int]:
    row, column = np.unravel_index(found.heat[frame].argmax(), found.heat[frame].shape)
    return int(row), int(column)


def test_heat_is_where_the_planted_evidence_is_in_every_frame(video: Path) -> None:
    found = explain(regressor(), video, target="left", method="hires_cam")
    assert found.heat.shape == (FRAMES, 8, 8)
    for frame in range(FRAMES):
        row, column = spot(frame)
        if column < 4:
            assert hottest(found, frame) == (row, column)
            # hires_cam: gradient 1/32 at each cell of the left half, times its brightness 1
            assert found.heat[frame, row, column] == pytest.approx(1 / 32, rel=0.05)
            assert found.values[frame] == pytest.approx(1 / 32, rel=0.05)
        else:
            assert found.heat[frame].max() < 0.1 / 32


def test_stacked_frames_lay_the_map_on_the_middle_one_and_the_ends_show_the_nearest(video: Path) -> None:
    alone = explain(regressor(), video, target="left", method="hires_cam")
    stacked = explain(regressor(Stacked(), frames=3), video, target="left", method="hires_cam")
    assert len(stacked.heat) == FRAMES
    np.testing.assert_allclose(stacked.maps[:, 1:-1], alone.maps[:, 1:-1], atol=1e-7)
    np.testing.assert_array_equal(stacked.maps[:, 0], stacked.maps[:, 1])
    np.testing.assert_array_equal(stacked.maps[:, -1], stacked.maps[:, -2])
    assert any("first 1 and last 1 frames" in note for note in stacked.notes)
    assert len(stacked.windows) == FRAMES - 2


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_the_batch_changes_nothing(video: Path, batch: int) -> None:
    one = explain(regressor(Stacked(), frames=3), video, batch=batch)
    two = explain(regressor(Stacked(), frames=3), video, batch=2)
    np.testing.assert_allclose(one.maps, two.maps, atol=1e-7)


def test_the_map_of_minus_the_loss_is_the_residual_times_the_components_maps(video: Path) -> None:
    truth = np.linspace(-0.1, 0.1, FRAMES)[:, None] * [1, -1]
    found = explain(regressor(), video, truth=truth)
    assert found.labels == ("loss", "left", "right") and found.target_name == "loss"
    outputs = found.outputs[:, 1:]
    np.testing.assert_allclose(found.outputs[:, 0], 0.5 * ((outputs - truth) ** 2).sum(1), rtol=1e-5)
    wanted = sum((truth - outputs)[:, i, None, None] * found.maps[1 + i] for i in range(2))
    np.testing.assert_allclose(found.maps[0], wanted, atol=1e-7)


def test_the_gradient_s_size_is_the_root_of_the_sum_of_squares(video: Path) -> None:
    found = explain(regressor(Brightness(gain=3.0)), video, target="right")
    # 32 cells with a gradient of 3/32 each
    np.testing.assert_allclose(found.gradients[1], 3 / 32**0.5, rtol=1e-5)


def test_a_perfect_fit_vanishes_and_is_not_stretched_to_full_color(video: Path) -> None:
    first = explain(regressor(), video)
    found = explain(regressor(), video, truth=first.outputs * (1 + 1e-6))
    assert found.is_vanishing.all() and not found.heat.any() and found.is_flat
    assert not found.normalize().any()
    assert any(f"vanishes in {FRAMES} of {FRAMES} frames" in note for note in found.notes)
    assert not found.of("left").is_vanishing.any() and found.of("left").heat.any()


def test_one_frame_that_fits_is_marked_and_the_others_are_not(video: Path) -> None:
    truth = explain(regressor(), video).outputs + 0.2
    truth[4] -= 0.2
    found = explain(regressor(), video, truth=truth)
    assert np.flatnonzero(found.is_vanishing).tolist() == [4]
    assert not found.heat[4].any()


def test_another_score_needs_no_network(video: Path) -> None:
    found = explain(regressor(), video, truth=np.full((FRAMES, 2), 0.5), target="left")
    for target in ("loss", "left", "right"):
        for signed in (False, True):
            again = explain(regressor(), video, truth=np.full((FRAMES, 2), 0.5), target=target, signed=signed)
            np.testing.assert_array_equal(found.of(target, signed=signed).heat, again.heat)
    assert (found.of("loss", signed=True).heat < 0).any() or (found.of("loss").heat > 0).any()


def test_signed_heat_keeps_what_lowers_the_score(video: Path) -> None:
    up = explain(regressor(Brightness(1.0)), video, target="left", method="hires_cam", signed=True)
    down = explain(regressor(Brightness(-1.0)), video, target="left", method="hires_cam", signed=True)
    np.testing.assert_allclose(down.heat, -up.heat, atol=1e-8)
    assert down.heat.min() == pytest.approx(-1 / 32, rel=0.05)
    assert not explain(regressor(Brightness(-1.0)), video, target="left", method="hires_cam").heat.any()
    assert down.frame_scores.argmax() in [f for f in range(FRAMES) if spot(f)[1] < 4]


def test_a_layer_that_knows_time_is_laid_on_its_own_frames(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    with VideoWriter(path, width=SIZE, height=SIZE, rate=Fraction(10)) as writer:
        for frame in range(8):
            writer.write(np.full((SIZE, SIZE, 3), 200, np.uint8), frame / 10)
    model = regressor(Timed(), frames=8, names=("light",))
    model.layout = "b c t h w"
    found = explain(model, path, method="hires_cam")
    assert found.frame_scores.argmax() == 5
    assert found.frame_scores[[0, 1, 2, 3, 4, 6, 7]].max() == 0


def test_an_own_loss_is_taken(video: Path) -> None:
    def absolute(output: Tensor, truth: Tensor) -> Tensor:
        return (output - truth).abs()

    truth = np.full((FRAMES, 2), 0.5)
    found = explain(regressor(), video, truth=truth, loss=absolute)
    np.testing.assert_allclose(found.values, np.abs(found.outputs[:, 1:] - 0.5).sum(1), rtol=1e-5)
    np.testing.assert_allclose(found.maps[0], found.maps[1] + found.maps[2], atol=1e-7)  # both are too low


def test_it_is_saved_and_loaded_whole(video: Path, tmp_path: Path) -> None:
    found = explain(regressor(), video, truth=np.zeros((FRAMES, 2)), signed=True)
    again = Explanation.load(found.save(tmp_path / "found.npz"))
    assert isinstance(again, Explanation)
    assert again.summary() == found.summary() and again.signed
    for name in ("heat", "maps", "gradients", "vanishing", "outputs", "seconds"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert "probability" not in again._repr_html_() and "probability" not in repr(again)


def test_explain_hands_a_regressor_on(video: Path) -> None:
    np.testing.assert_array_equal(
        explain(regressor(), video, target="right").heat, explain(regressor(), video, target="right").heat
    )


def test_the_network_is_left_as_it_was_found(video: Path) -> None:
    model = regressor().net.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    explain(regressor(model), video, truth=np.zeros((FRAMES, 2)))
    with pytest.raises(OptionError):
        explain(regressor(model), video, truth=np.zeros((2, 2)))
    assert model.training and all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not model.cells._forward_hooks
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("given", "error", "say"),
    [
        ({"target": "lef"}, TargetError, "did you mean 'left'"),
        ({"target": "loss"}, TargetError, "it needs truth="),
        ({"truth": np.zeros((FRAMES + 1, 2))}, OptionError, f"truth has {FRAMES + 1} rows.*{FRAMES} frames"),
        ({"truth": np.zeros((2, 2))}, OptionError, "truth has 2 rows"),
        ({"truth": np.full((FRAMES, 2), np.nan)}, OptionError, "finite"),
        ({"truth": 3.0}, OptionError, "a row per frame"),
        ({"truth": ["a"] * FRAMES}, OptionError, "a row per frame"),
        ({"truth": np.zeros((FRAMES, 2)), "loss": lambda output, truth: None}, OptionError, "returns NoneType"),
        ({"truth": np.zeros((FRAMES, 3))}, OptionError, "shape"),
        ({"layer": "cell"}, LayerError, "did you mean 'cells'"),
        ({"method": "grad_cm"}, OptionError, "did you mean 'grad_cam'"),
    ],
)
def test_bad_input_is_one_line(video: Path, given: dict[str, object], error: type[Exception], say: str) -> None:
    with pytest.raises(error, match=say) as caught:
        explain(regressor(), video, **given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


class Picture(Brightness):
    """Takes pictures (B, C, H, W), as most networks do that steer."""

    def picture(self, x: Tensor) -> Tensor:
        assert x.ndim == 4
        return x


@pytest.mark.parametrize("placement", ["linear", "centers", "effective"])
def test_a_network_of_pictures_needs_no_time(video: Path, placement: str) -> None:
    model = regressor(Picture())
    model.input_layout = "b c h w"
    found = explain(model, video, target="left", placement=("linear", placement))
    wanted = explain(regressor(), video, target="left", placement=("linear", placement))
    np.testing.assert_allclose(found.maps, wanted.maps, atol=1e-7)
    with pytest.raises(OptionError, match="has frames=1; given 4"):
        Model(Picture(), layer="cells", frames=4, input_layout="b c h w")


@pytest.mark.parametrize("noise", [1e-6, 1e-9])
def test_a_fit_that_is_perfect_but_for_rounding_vanishes_in_every_frame(video: Path, noise: float) -> None:
    outputs = explain(regressor(), video).outputs
    truth = outputs + noise * np.resize([1, -1], outputs.shape)
    assert explain(regressor(), video, truth=truth).is_vanishing.all()


def test_whole_numbers_stay_whole_for_a_loss_of_classes(video: Path) -> None:
    def cross_entropy(output: Tensor, truth: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, truth, reduction="none")

    found = explain(regressor(), video, truth=np.arange(FRAMES) % 2, loss=cross_entropy)
    chances = np.exp(found.outputs[:, 1:]) / np.exp(found.outputs[:, 1:]).sum(1, keepdims=True)
    np.testing.assert_allclose(found.values, -np.log(chances[np.arange(FRAMES), np.arange(FRAMES) % 2]), rtol=1e-5)


class Returns(Brightness):
    """A network that returns things called pose and disparity which are no camera's."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        out = super().forward(x)
        return {"out": out, "pose": out.new_zeros(len(x), 17, 2), "disparity": out[:, 0]}


def test_what_is_called_pose_is_not_taken_for_a_camera_s(video: Path) -> None:
    found = explain(regressor(Returns()), video)
    assert found.poses is None and found.depth is None


def test_methods_without_a_score_say_so(video: Path) -> None:
    found = explain(regressor(), video, truth=np.zeros((FRAMES, 2)), method="fem")
    assert any("looks at no score" in note for note in found.notes)
    with pytest.raises(OptionError, match="leave signed out"):
        explain(regressor(), video, method="fem", signed=True)


def test_another_score_brings_its_own_notes(video: Path) -> None:
    truth = explain(regressor(), video).outputs
    found = explain(regressor(), video, truth=truth)
    assert any("vanishes in" in note for note in found.notes)
    other = found.of("left")
    assert not any("vanishes" in note for note in other.notes)
    assert other.of("loss").notes == found.notes


def test_frames_that_the_network_did_not_see_are_said(video: Path) -> None:
    model = regressor()
    model.frame_rate = 5.0
    assert any("saw 5 of 9 frames" in note for note in explain(model, video).notes)


def test_turn_of_two_frames_is_that_of_the_way(street: Path) -> None:
    with pytest.warns(UserWarning, match="untrained"):
        model = load_model("sfmlearner", weights="none", options={"size": (64, 208), "references": 1})
    found = explain(model, street, target="turn")
    assert found.poses is not None
    steps = np.linalg.inv(found.poses[:-1]) @ found.poses[1:]
    turned = np.arctan2(steps[:, 0, 2], steps[:, 2, 2])  # of the camera's forward axis, to the right
    np.testing.assert_allclose(found.values[1:], turned, atol=1e-9)  # frame f is reached from f - 1


def test_a_model_without_scores_and_a_choice_of_classes_are_refused(video: Path) -> None:
    assert explain(Model(Brightness(), layer="cells", frames=1), video).classes == 2  # without scores a classifier
    with pytest.raises(OptionError, match="hop_seconds is for classifiers"):
        explain(regressor(), video, hop_seconds=0.1)
    with pytest.raises(TargetError, match="name of a score"):
        explain(regressor(), video, target=1)


def test_a_layer_that_moves_nothing_is_an_error(video: Path) -> None:
    model = regressor()
    model.scores = {"constant": lambda output: 0 * component(0)(output)}
    with pytest.raises(LayerError, match="does not influence"):
        explain(model, video)


def test_a_video_shorter_than_the_stack_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "two.mp4"
    with VideoWriter(path, width=SIZE, height=SIZE, rate=Fraction(10)) as writer:
        for frame in range(2):
            writer.write(np.zeros((SIZE, SIZE, 3), np.uint8), frame / 10)
    with pytest.raises(MediaError, match="has 2 frames, fewer than the 3"):
        explain(regressor(Stacked(), frames=3), path)


@pytest.fixture(scope="module")
def odometry() -> Model:
    with pytest.warns(UserWarning, match="untrained"):
        return load_model("sfmlearner", weights="none", options={"size": (64, 208)})


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("street")
    return write_drives(root, {"00": drive(1, frames=6, size=(64, 208))})[0]


def test_odometry_tells_every_score_of_every_frame(odometry: Model, street: Path) -> None:
    found = explain(odometry, street)
    assert found.labels == ("loss", "tx", "ty", "tz", "rx", "ry", "rz", "speed", "turn")
    assert found.heat.shape[0] == 6 and found.poses is not None and found.poses.shape == (6, 4, 4)
    assert found.true_poses is not None and found.depth is not None and len(found.depth) == 6
    np.testing.assert_allclose(found.outputs[:, 7], np.linalg.norm(found.outputs[:, 1:4], axis=1), rtol=1e-5)


def test_the_sum_of_a_map_at_conv7_is_the_pose_less_its_bias(odometry: Model, street: Path) -> None:
    net = odometry.net.pose
    bias = torch.linspace(-0.5, 0.7, len(net.pose_pred.bias))
    with torch.no_grad():
        net.pose_pred.bias.copy_(bias)
    found = explain(odometry, street, layer="pose.conv7", target="tx")
    for index in range(6):  # towards the next frame, the second reference
        sums = found.maps[1 + index].sum(axis=(1, 2))
        np.testing.assert_allclose(sums, found.outputs[:, 1 + index] - 0.01 * bias[6 + index].item(), atol=1e-7)
    assert any("4 cells" in note or "2 cells" in note for note in found.notes)


def test_without_intrinsics_there_is_no_loss(odometry: Model, street: Path) -> None:
    found = explain(odometry, _without_camera(street))
    assert "loss" not in found.labels and found.target_name == "tx"
    with pytest.raises(TargetError, match="the camera's intrinsics"):
        explain(odometry, _without_camera(street), target="loss")


def _without_camera(street: Path) -> Path:
    """The same pictures in a folder that knows no camera."""
    folder = street.parents[1] / "bare"
    folder.mkdir(exist_ok=True)
    for picture in (street / "image_2").iterdir():
        (folder / picture.name).write_bytes(picture.read_bytes())
    return folder


def test_a_pose_does_not_depend_on_the_depth_network(odometry: Model, street: Path) -> None:
    assert explain(odometry, street, layer="disp.conv4").gradients[0].all()
    with pytest.raises(LayerError, match=r"'disp.conv4' does not influence the score"):
        explain(odometry, street, layer="disp.conv4", target="tx")


def test_the_branch_of_masks_does_not_mix_into_the_pose_network_s_map(street: Path) -> None:
    with pytest.warns(UserWarning, match="untrained"):
        model = load_model("sfmlearner", weights="none", options={"size": (64, 208), "explainability": True})
    before = explain(model, street)
    net = model.net.pose
    assert isinstance(net, PoseExpNet)
    model.net.weights = type(model.net.weights)(explainability=5.0)  # acts on the masks alone
    np.testing.assert_allclose(explain(model, street).maps[0], before.maps[0], rtol=1e-4, atol=1e-9)


@pytest.mark.shared
@pytest.mark.parametrize(("sequence", "frames"), [("06", 51), ("04", 10)])
def test_kitti_has_one_map_per_frame(odometry: Model, data: Path, sequence: str, frames: int) -> None:
    found = explain(odometry, data / "kitti_odometry" / "dataset" / "sequences" / sequence, target="turn")
    assert len(found.heat) == frames and (found.width, found.height) == (1226, 370)
    assert found.true_poses is not None and len(found.true_poses) == frames
    # conv5 of 64x208 has 2 rows of cells: the middles of two halves of 370 pixels
    np.testing.assert_allclose(found.rows, [370 / 4 - 0.5, 3 * 370 / 4 - 0.5])
