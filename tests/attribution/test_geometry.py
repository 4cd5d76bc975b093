"""Where slots lie in the input: placements and weights by hand, measured receptive fields against their recursion."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from vidcam.attribution.geometry import PLACEMENTS, Along, Axis, Mode, find_placement, interpolation_matrix
from vidcam.attribution.receptive_field import effective_centers, measure_axes
from vidcam.errors import LayerError, ModelError, OptionError
from vidcam.types import Floats

LAYER4 = Axis(8, 0, 109)  # the time axis of r3d_18's last stage


def place(placement: str, *, slots: int, length: int, effective: ArrayLike | None = None) -> tuple[Floats, Mode]:
    centroids = None if effective is None else lambda: np.array(effective)
    row = find_placement(placement)
    return row.lay(Along(slots, length, lambda: LAYER4, centroids)), row.mode


# T, slots, where each rule puts them
TABLE = [
    (8, 1, {"centers": [0], "linear": [3.5], "nearest": [3.5], "ends": [3.5]}),
    (10, 2, {"centers": [0, 8], "linear": [2, 7], "nearest": [2, 7], "ends": [0, 9]}),
    (16, 2, {"centers": [0, 8], "linear": [3.5, 11.5], "nearest": [3.5, 11.5], "ends": [0, 15]}),
    (
        32,
        4,
        {
            "centers": [0, 8, 16, 24],
            "linear": [3.5, 11.5, 19.5, 27.5],
            "nearest": [3.5, 11.5, 19.5, 27.5],
            "ends": [0, 31 / 3, 62 / 3, 31],
        },
    ),
]

# The weight of the second of two slots on frames 0 to 9.
SECOND_OF_TWO = {
    "centers": [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8, 1, 1],
    "linear": [0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1],
    "nearest": [0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
    "ends": [i / 9 for i in range(10)],
}


@pytest.mark.parametrize(("length", "slots", "expected"), TABLE)
def test_each_rule_places_slots_where_the_table_says(length: int, slots: int, expected: dict[str, list[float]]) -> None:
    for placement, positions in expected.items():
        placed, mode = place(placement, slots=slots, length=length)
        np.testing.assert_allclose(placed, positions, err_msg=placement)
        assert mode == ("nearest" if placement == "nearest" else "linear")


@pytest.mark.parametrize("placement", SECOND_OF_TWO)
def test_weights_of_the_second_slot_over_ten_frames(placement: str) -> None:
    positions, mode = place(placement, slots=2, length=10)
    weights = interpolation_matrix(positions, 10, mode=mode)
    assert weights.shape == (10, 2) and weights.dtype == np.float32
    np.testing.assert_allclose(weights[:, 1], SECOND_OF_TWO[placement], atol=1e-7)
    np.testing.assert_allclose(weights[:, 0], 1 - np.array(SECOND_OF_TWO[placement]), atol=1e-7)


def test_at_sixteen_frames_the_rules_disagree_at_frame_eight() -> None:
    at_eight = {}
    for placement in ("centers", "linear", "ends"):
        positions, _ = place(placement, slots=2, length=16)
        at_eight[placement] = interpolation_matrix(positions, 16)[8, 1]
    assert at_eight == pytest.approx({"centers": 1, "linear": 4.5 / 8, "ends": 8 / 15})


def test_effective_places_slots_at_the_given_centroids() -> None:
    positions, mode = place("effective", slots=2, length=10, effective=[3.66, 5.05])
    assert positions.tolist() == [3.66, 5.05] and mode == "linear"


def test_interpolation_by_hand_at_uneven_positions_and_float_coordinates() -> None:
    weights = interpolation_matrix([1, 2, 6], [-5, 1.25, 2, 3, 100.0])
    np.testing.assert_allclose(weights, [[1, 0, 0], [0.75, 0.25, 0], [0, 1, 0], [0, 0.75, 0.25], [0, 0, 1]])


def test_nearest_gives_ties_to_the_earlier_slot() -> None:
    weights = interpolation_matrix([0, 4, 10], [2, 2.1, 7, 7.1, 50], mode="nearest")
    assert weights.argmax(1).tolist() == [0, 1, 1, 2, 2]
    assert set(weights.ravel().tolist()) == {0, 1}


def test_one_slot_gives_its_value_everywhere() -> None:
    for mode in ("linear", "nearest"):
        assert (interpolation_matrix([3.0], np.int64(5), mode=mode) == np.ones((5, 1))).all()


def test_weights_keep_constants_and_agree_with_a_straight_line_inside() -> None:
    positions = np.sort(np.random.default_rng(0).uniform(0, 30, 6))
    weights = interpolation_matrix(positions, 31)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    frames = np.arange(31)
    np.testing.assert_allclose(weights @ positions, frames.clip(positions[0], positions[-1]), atol=1e-4)


def test_centers_begin_with_that_of_the_first_slot() -> None:
    assert Axis(8, 2, 99).centers(3).tolist() == [2, 10, 18]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"placement": "middle"}, "unknown placement 'middle'"),
        ({"placement": "lineal"}, "did you mean 'linear'"),
        ({"placement": "effective"}, "needs measured centroids"),
        ({"placement": "effective", "effective": [2.0, 1.0]}, "strictly increasing"),
        ({"placement": "effective", "effective": [2.0, math.nan]}, "finite"),
    ],
)
def test_a_placement_that_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message) as error:
        interpolation_matrix(place(**given, slots=2, length=10)[0], 10)
    assert "\n" not in str(error.value)


def test_matrices_that_cannot_be_are_refused() -> None:
    for positions in ([1.0, 1.0], [2.0, 1.0], [], [[0.0, 1.0]], [0.0, math.inf]):
        with pytest.raises(OptionError, match="strictly increasing"):
            interpolation_matrix(positions, 4)
    with pytest.raises(OptionError, match="unknown mode 'cubic'"):
        interpolation_matrix([0.0], 4, mode="cubic")  # type: ignore[arg-type]
    for stride, extent in ((0, 3), (-1, 3), (1, 0), (math.inf, 3)):
        with pytest.raises(OptionError, match="positive stride"):
            Axis(stride, 0, extent)
    assert set(PLACEMENTS) == {"centers", "linear", "effective", "nearest", "ends"}


# Chains of (operation, kernel, stride, padding before, padding after, dilation), alike along t, h and w.
CHAINS = {
    "odd": [("conv", 3, 1, 1, 1, 1), ("conv", 5, 2, 2, 2, 1), ("conv", 3, 2, 1, 1, 1)],
    "even": [("conv", 4, 2, 1, 1, 1), ("conv", 2, 1, 0, 0, 1), ("conv", 6, 3, 2, 2, 1)],
    "dilated": [("conv", 3, 1, 2, 2, 2), ("conv", 3, 2, 4, 4, 4), ("conv", 2, 1, 1, 1, 3)],
    "asymmetric": [("conv", 3, 2, 2, 0, 1), ("conv", 4, 2, 0, 3, 1)],
    "causal": [("conv", 3, 1, 2, 0, 1), ("conv", 3, 1, 4, 0, 2)],
    "valid": [("conv", 7, 2, 0, 0, 1), ("max", 3, 2, 0, 0, 1), ("conv", 5, 1, 0, 0, 1)],
    "pooled": [("conv", 3, 1, 1, 1, 1), ("max", 3, 2, 1, 1, 1), ("conv", 3, 1, 1, 1, 1), ("mean", 2, 2, 0, 0, 1)],
    "gaps": [("conv", 1, 3, 0, 0, 1), ("conv", 2, 1, 0, 0, 1)],
    "comb": [("conv", 2, 1, 4, 4, 8)],
    "point": [("conv", 1, 1, 0, 0, 1)],
}


def chain_net(chain: list[tuple[str, int, int, int, int, int]]) -> nn.Sequential:
    modules: list[nn.Module] = []
    for i, (kind, kernel, stride, before, after, dilation) in enumerate(chain):
        if kind == "max":
            modules.append(nn.MaxPool3d(kernel, stride, before))
        elif kind == "mean":
            modules.append(nn.AvgPool3d(kernel, stride))
        else:
            modules.append(nn.ConstantPad3d((before, after) * 3, 0.0))
            modules.append(nn.Conv3d(2, 2, kernel, stride, dilation=dilation))
            modules.append(nn.BatchNorm3d(2))
            modules.append(nn.ReLU(inplace=i % 2 == 0))
    return nn.Sequential(nn.Sequential(*modules), nn.Flatten())


def recursion(chain: list[tuple[str, int, int, int, int, int]]) -> Axis:
    """Walk from input to output: jump j, center of slot 0, extent r, as in textbooks."""
    stride, center, extent = 1, 0.0, 1
    for _kind, kernel, step, before, _after, dilation in chain:
        span = dilation * (kernel - 1)
        center += (span / 2 - before) * stride
        extent += span * stride
        stride *= step
    return Axis(stride, center, extent)


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_measures_as_its_recursion(name: str) -> None:
    net = chain_net(CHAINS[name])
    assert measure_axes(net, (2, 32, 40, 32), "0") == (recursion(CHAINS[name]),) * 3


def test_each_axis_is_measured_on_its_own() -> None:
    net = nn.Sequential(nn.Conv3d(1, 2, (3, 5, 1), (1, 2, 4), (1, 2, 0)), nn.ReLU(), nn.MaxPool3d((2, 1, 3), (2, 1, 1)))
    axes = measure_axes(net, (1, 8, 16, 16), "2")
    assert axes == (Axis(2, 0.5, 4), Axis(2, 0, 5), Axis(4, 4, 9))
    assert measure_axes(net, (1, 8, 16, 16), "2", axes="t") == axes[:1]


def test_zero_weights_and_dead_rectifiers_hide_nothing() -> None:
    net = chain_net(CHAINS["pooled"])
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.constant_(module.bias, -1.0)  # nothing gets through the rectifiers
    assert measure_axes(net, (2, 8, 8, 8), "0") == (recursion(CHAINS["pooled"]),) * 3


class Attentive(nn.Module):
    """A patch embedding of two frames, then attention over all frames; the head fits T=16 only."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv3d(1, 4, (2, 4, 4), (2, 4, 4))
        self.attend = nn.MultiheadAttention(4, 1, batch_first=True)
        self.mixed = nn.Identity()
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        tokens = x.mean((3, 4)).transpose(1, 2)  # (b, t, c)
        tokens = self.mixed(self.attend(tokens, tokens, tokens, need_weights=False)[0])
        return self.head(tokens.mean(2))


def test_attention_sees_all_and_falls_back_on_equal_bins() -> None:
    net = Attentive()
    assert measure_axes(net, (1, 16, 8, 8), "embed") == (Axis(2, 0.5, 2), Axis(4, 1.5, 4), Axis(4, 1.5, 4))
    assert measure_axes(net, (1, 16, 8, 8), "mixed", layout="b t c") == (Axis(2, 0.5, math.inf),)


class Fixed(nn.Module):
    """Takes one size only, as networks with learned position embeddings do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 4, 3, (2, 4, 4), 1)
        self.position = nn.Parameter(torch.zeros(1, 4, 8, 4, 4))
        self.body = nn.Conv3d(4, 4, 3, 1, 1)
        self.tokens = nn.Flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.tokens(self.body(self.conv(x) + self.position))


def test_a_network_of_fixed_size_is_measured_where_slots_have_room_and_global_otherwise() -> None:
    axes = measure_axes(Fixed(), (1, 16, 16, 16), "body")
    assert axes == (Axis(2, 0, 7), Axis(4, 1.5, math.inf), Axis(4, 1.5, math.inf))


def test_tokens_are_read_by_their_grid() -> None:
    axes = measure_axes(Fixed(), (1, 16, 16, 16), "tokens", layout="b c (t h w)", grid=(8, 4, 4))
    assert axes == (Axis(2, 0, 7), Axis(4, 1.5, math.inf), Axis(4, 1.5, math.inf))


def test_a_recurrent_layer_sees_all() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(x.transpose(1, 2))[0]

    assert measure_axes(Recurrent(), (3, 10), "lstm", layout="b t c") == (Axis(1, 0, math.inf),)


class PerFrame(nn.Module):
    """A picture network run on every frame, folded into the batch or one after the other."""

    def __init__(self, folded: bool) -> None:
        super().__init__()
        self.folded, self.conv, self.head = folded, nn.Conv2d(2, 3, 3, 2, 1), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        frames = [x.transpose(1, 2).flatten(0, 1)] if self.folded else x.unbind(2)
        return torch.stack([self.head(self.conv(frame).mean((2, 3))) for frame in frames])


@pytest.mark.parametrize("folded", [True, False])
def test_frames_folded_into_the_batch_are_slots_of_one_frame(folded: bool) -> None:
    axes = measure_axes(PerFrame(folded), (2, 6, 16, 16), "conv", layout="(b t) c h w")
    assert axes == (Axis(1, 0, 1), Axis(2, 0, 3), Axis(2, 0, 3))


def test_images_have_two_axes() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    assert measure_axes(net, (3, 32, 48), "2", layout="b c h w") == (Axis(4, 0, 11), Axis(4, 0, 11))


def test_an_up_sampled_layer_has_no_regular_interval() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.Upsample(scale_factor=2))
    assert measure_axes(net, (1, 16, 16), "1", layout="b c h w") == (Axis(1, 0, math.inf),) * 2


def test_the_head_is_never_reached() -> None:
    net = nn.Sequential(nn.Conv3d(1, 1, 3, 1, 1), nn.AvgPool3d((1, 8, 8)), nn.Flatten(), nn.Linear(7, 2))
    assert measure_axes(net, (1, 16, 8, 8), "0") == (Axis(1, 0, 3),) * 3


FAILURES = {
    "out of memory": torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore on this."),
    "on a CPU": RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    "CUDA": RuntimeError("CUDA error: an illegal memory access was encountered"),
    "cuBLAS": RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cuDNN": RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
}


class Failing(nn.Module):
    """Fails where the input is longer, or narrower, than it should be."""

    def __init__(self, error: Exception, *, longest: int = 2048, narrowest: int = 1) -> None:
        super().__init__()
        self.conv, self.error, self.longest, self.narrowest = nn.Conv3d(1, 1, 3), error, longest, narrowest

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] > self.longest or x.shape[4] < self.narrowest:
            raise self.error
        return self.conv(x)


@pytest.mark.parametrize("limits", [{"longest": 6}, {"narrowest": 8}])
@pytest.mark.parametrize("name", FAILURES)
def test_a_device_that_fails_does_not_read_as_a_size_that_does_not_fit(name: str, limits: dict[str, int]) -> None:
    """The right geometry is (1, 1, 3); where failing read as a wrong size, all slots saw all."""
    first = str(FAILURES[name]).splitlines()[0]
    with pytest.raises(ModelError, match=r"the geometry of layer 'conv' cannot be measured: .* Model\(axes=") as told:
        measure_axes(Failing(FAILURES[name], **limits), (1, 6, 8, 8), "conv", axes="t")
    assert first in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("error", [RuntimeError("Kernel size can't be greater"), ValueError("too long"), IndexError()])
def test_a_size_that_does_not_fit_is_one(error: Exception) -> None:
    assert measure_axes(Failing(error, longest=6), (1, 6, 8, 8), "conv", axes="t") == (Axis(1.5, 0.25, math.inf),)
    assert measure_axes(Failing(error, narrowest=8), (1, 6, 8, 8), "conv", axes="t") == (Axis(1, 1, 3),)


def test_the_precision_of_convolutions_may_be_set_in_the_new_way() -> None:
    """`torch.backends.cudnn.flags` fails beside it."""
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("torch before 2.9")
    before = torch.backends.fp32_precision
    try:
        torch.backends.fp32_precision = "ieee"
        assert measure_axes(nn.Sequential(nn.Conv3d(1, 1, 3)), (1, 6, 8, 8), "0") == (Axis(1, 1, 3),) * 3
        assert torch.backends.fp32_precision == "ieee"
    finally:
        torch.backends.fp32_precision = before


def snapshot(net: nn.Module) -> dict[str, Any]:
    state = {name: value.clone() for name, value in net.state_dict().items()}
    return {
        "state": state,
        "flags": [module.training for module in net.modules()],
        "frozen": [parameter.requires_grad for parameter in net.parameters()],
        "gradients": [None if p.grad is None else p.grad.clone() for p in net.parameters()],
        "hooks": [len(module._forward_hooks) for module in net.modules()],
        "random": torch.get_rng_state(),
        "cudnn": torch.backends.cudnn.enabled,
        "grad": torch.is_grad_enabled(),
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return all(map(same, a, b)) and len(a) == len(b) if isinstance(a, list) else a == b


def test_the_network_is_left_as_found_also_after_an_error() -> None:
    net = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2), nn.Dropout(0.5), nn.Conv3d(2, 2, 1)).train()
    net[1].eval()
    net[0].weight.requires_grad_(False)
    net(torch.randn(1, 1, 4, 4, 4)).sum().backward()
    x = torch.randn(1, 1, 4, 4, 4)
    before = snapshot(net)
    measure_axes(net, (1, 4, 8, 8), "2")
    effective_centers(net, x, "2")
    with pytest.raises(LayerError, match="does not fit the layout"):
        measure_axes(net, (1, 4, 8, 8), "2", layout="b t c")
    with pytest.raises(RuntimeError):
        measure_axes(net, (3, 4, 8, 8), "2")  # wrong channels at every size
    assert same(before, snapshot(net))


def test_wrong_layers_and_layouts_are_refused() -> None:
    net = chain_net(CHAINS["odd"])
    with pytest.raises(LayerError, match="unknown layer 'layer9'"):
        measure_axes(net, (2, 8, 8, 8), "layer9")
    with pytest.raises(OptionError, match="does not fit an input with the axes h w"):
        measure_axes(net, (2, 8, 8), "0")
    with pytest.raises(OptionError, match="batch size 1"):
        effective_centers(net, torch.zeros(2, 2, 8, 8, 8), "0")


def test_effective_centers_by_hand() -> None:
    net = nn.Sequential(nn.Conv3d(1, 1, (3, 1, 1), (2, 1, 1), bias=False))
    net[0].weight.data[:] = torch.tensor([1.0, 0.0, 2.0]).view(1, 1, 3, 1, 1)
    for context in (torch.enable_grad(), torch.no_grad(), torch.inference_mode()):
        with context:
            t, h, w = effective_centers(net, torch.randn(1, 1, 7, 2, 3), "0")
        # The energies 1, 0, 4 of slot i lie at 2i, 2i+1, 2i+2.
        np.testing.assert_allclose(t, [1.6, 3.6, 5.6], rtol=1e-6)
        np.testing.assert_allclose(h, [0, 1], atol=1e-12)
        np.testing.assert_allclose(w, [0, 1, 2], atol=1e-12)


def test_effective_centers_of_a_dead_slot_are_not_a_number() -> None:
    net = nn.Sequential(nn.Conv1d(1, 1, 1, bias=False))
    nn.init.zeros_(net[0].weight)
    (centers,) = effective_centers(net, torch.ones(1, 1, 3), "0", layout="b c t")
    assert np.isnan(centers).all()
    with pytest.raises(OptionError, match="finite"):
        interpolation_matrix(place("effective", slots=3, length=3, effective=centers)[0], 3)


TIME = [
    *[(name, f"layer{i}", Axis(2 ** (i - 1), 0, e)) for name in ("r3d_18", "r2plus1d_18") for i, e in
      ((1, 11), (2, 25), (3, 53), (4, 109))],
    ("mc3_18", "layer4", Axis(1, 0, 11)),
    ("s3d", "features", Axis(8, 2, 99)),
]  # fmt: skip


@pytest.fixture(scope="module")
def nets() -> dict[str, nn.Module]:
    from torchvision.models import video

    return {name: getattr(video, name)(weights=None) for name in ("r3d_18", "r2plus1d_18", "mc3_18", "s3d")}


@pytest.mark.parametrize(("name", "layer", "axis"), TIME)
def test_the_time_axis_of_torchvision_networks(nets: dict[str, nn.Module], name: str, layer: str, axis: Axis) -> None:
    assert measure_axes(nets[name], (3, 16, 112, 112), layer, axes="t") == (axis,)


def test_the_space_axes_of_r3d(nets: dict[str, nn.Module]) -> None:
    # 7 at stride 2, then 3x3: 4 at 2, 1 at 2 and 3 at 4, 1 at 4 and 3 at 8, 1 at 8 and 3 at 16
    extent = 7 + 2 * (4 * 2 + (2 + 3 * 4) + (4 + 3 * 8) + (8 + 3 * 16))
    assert measure_axes(nets["r3d_18"], (3, 16, 112, 112), "layer4", axes="hw") == (Axis(16, 0, extent),) * 2


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (10, [3.66, 5.05]),
        pytest.param(16, [4.88, 7.43], marks=pytest.mark.slow),
        pytest.param(32, [6.2, 9.8, 15.9, 21.5], marks=pytest.mark.slow),
    ],
)
def test_effective_centers_of_r3d(frames: int, expected: list[float]) -> None:
    from torchvision.models.video import r3d_18

    centers = [
        effective_centers(r3d_18(weights=None), torch.randn(1, 3, frames, 32, 32), "layer4", axes="t")[0]
        for _ in range(4)
    ]
    # Single initializations scatter by about 0.15.
    np.testing.assert_allclose(np.mean(centers, axis=0), expected, atol=0.25)
