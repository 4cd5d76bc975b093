"""Networks that look at one patch of one frame, from a video file to the pixels of the written overlay."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from torch import Tensor, nn

from vidcam import Explanation, Model, explain, render
from vidcam.data.preprocessing import Preprocessing
from vidcam.media import VideoWriter, open_video

RATE = Fraction(30)
CELL = 8  # network pixels
GRID = 14  # cells of 112 pixels


class OnePatch(nn.Module):
    """Pass brightness through a convolution; the score reads one cell of one slot."""

    def __init__(self, cell: tuple[int, int, int], *, time: int = 1, kernel: int | None = None) -> None:
        super().__init__()
        kernel = time if kernel is None else kernel
        size, stride, padding = (kernel, CELL, CELL), (time, CELL, CELL), ((kernel - time) // 2, 0, 0)
        self.conv = nn.Conv3d(3, 1, size, stride, padding, bias=False)
        nn.init.constant_(self.conv.weight, 1 / self.conv.weight[0].numel())
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        t, h, w = self.cell
        score = self.conv(x)[:, 0, t, h, w]
        return torch.stack([score, -score], dim=1)


class Average(OnePatch):
    """The score is the mean of all cells: what speaks is where the video is bright."""

    def forward(self, x: Tensor) -> Tensor:
        score = self.conv(x).mean(dim=(1, 2, 3, 4))
        return torch.stack([100 * score, -score], dim=1)


def wrap(net: nn.Module, *, frames: int = 16) -> Model:
    """As torchvision's networks are fed: 15 frames per second, resized, the middle cut out."""
    preprocessing = Preprocessing(resize=(128, 171), crop=(112, 112))
    return Model(net, layer="conv", frames=frames, frame_rate=15, preprocessing=preprocessing)


def write(path: Path, frames: np.ndarray) -> Path:
    """(F, H, W) gray -> a video."""
    height, width = frames.shape[1:]
    with VideoWriter(path, width=width, height=height, rate=RATE, force=True) as writer:
        for frame in frames:
            writer.write(np.repeat(frame[..., None], 3, axis=2))
    return path


def gray(count: int, size: tuple[int, int]) -> np.ndarray:
    """Every frame the same medium gray: only the network knows where to look."""
    return np.full((count, size[1], size[0]), 128, np.uint8)


def bright(count: int, size: tuple[int, int], frames: range, x: float, y: float) -> np.ndarray:
    """A bright spot of about one cell at a place on some frames of a black video."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    spot = 235 * np.exp(-(((rows - y) / 7) ** 2) - ((columns - x) / 7) ** 2)
    film = np.zeros((count, size[1], size[0]))
    film[frames.start : frames.stop : frames.step] += spot
    return film.astype(np.uint8)


def opacity(plain: Path, overlaid: Path, size: tuple[int, int]) -> np.ndarray:
    """How hot every second pixel of the written overlay is, (F, H/2, W/2), from the decoded pixels of both alone.

    For every level of heat it is known what color a pixel of the source would get; the nearest one is the level.
    """
    levels = np.linspace(0, 1, 26)
    strengths = 0.6 * levels[:, None, None, None]
    added = strengths * 255 * colormaps["turbo"](levels)[:, None, None, :3]
    found = []
    with open_video(plain) as before, open_video(overlaid) as after:
        for one, other in zip(before, after, strict=True):
            a, b = (halved(frame.pixels[: size[1], : size[0]]) for frame in (one, other))
            found.append(levels[np.square(a * (1 - strengths) + added - b).sum(axis=3).argmin(axis=0)])
    heat = np.stack(found)
    padded = np.pad(heat, [(0, 0), (1, 1), (1, 1)], mode="edge")  # the encoder is lossy
    height, width = heat.shape[1:]
    return sum(padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)) / 9


def halved(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H/2, W/2, 3): means over 2 x 2, without a last odd row or column."""
    height, width = (length // 2 * 2 for length in pixels.shape[:2])
    return pixels[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3)).astype(np.float32)


def peak(heat: np.ndarray) -> tuple[float, float, float]:
    """Frame, row, column, in pixels of the source, in the middle of where heat is highest."""
    frame, row, column = np.argwhere(heat > heat.max() - 0.02).mean(axis=0)
    return frame, 2 * row + 0.5, 2 * column + 0.5


Run = Callable[..., tuple[Explanation, np.ndarray]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Explain a video and write the overlay; return how hot its pixels are."""

    def go(model: Model, frames: np.ndarray, **options) -> tuple[Explanation, np.ndarray]:
        source = write(tmp_path / "source.mp4", frames)
        explanation = explain(model, source, target=0, **options)
        size = frames.shape[2], frames.shape[1]
        render(explanation, tmp_path / "overlay.mp4", force=True)
        return explanation, opacity(source, tmp_path / "overlay.mp4", size)

    return go


def middle(cell: int, axis: int, size: tuple[int, int]) -> float:
    """Where a cell's middle lies in the source, by arithmetic of its own: crop, then resize, half-pixels kept."""
    cut, resized, whole = ((8, 128, size[1]), (30, 171, size[0]))[axis]  # torchvision rounds 29.5 to 30
    return (cell * CELL + CELL / 2 + cut) * whole / resized - 0.5


CELLS = [(0, 0), (GRID - 1, GRID - 1), (0, GRID - 1), (GRID - 1, 0), (6, 9)]


@pytest.mark.parametrize(
    ("size", "slot", "cell"),
    [
        *[((171, 128), slot, cell) for slot, cell in zip([0, 15, 0, 15, 6], CELLS, strict=True)],
        *[((203, 97), slot, cell) for slot, cell in zip([15, 0, 7, 1, 15], CELLS, strict=True)],
    ],
)
def test_the_patch_and_the_frame_are_found(run: Run, size, slot, cell) -> None:
    """32 frames at 30 per second are 16 at 15 per second: one window, and slot k is frame 2 k."""
    _, heat = run(wrap(OnePatch((slot, *cell))), gray(32, size), method="hires_cam")
    check(heat, size, cell, frame=2 * slot, stride=2)


def check(heat: np.ndarray, size: tuple[int, int], cell: tuple[int, int], *, frame: float, stride: float) -> None:
    """The peak is within half a cell of the patch's middle, and within half a slot's stride of the frame."""
    assert heat.max() > 0.5
    found, row, column = peak(heat)
    half = [CELL / 2 * whole / resized for whole, resized in ((size[1], 128), (size[0], 171))]
    # Beyond the outermost cells' middles heat stays constant as far as the network sees.
    slack = [half[i] if cell[i] in (0, GRID - 1) else 0 for i in (0, 1)]
    assert abs(row - middle(cell[0], 0, size)) <= half[0] + slack[0] / 2
    assert abs(column - middle(cell[1], 1, size)) <= half[1] + slack[1] / 2
    assert abs(found - frame) <= stride / 2


@pytest.mark.parametrize(
    "placement",
    [
        ("centers", "centers"),
        ("linear", "linear"),
        ("effective", "effective"),
        ("nearest", "nearest"),
        ("ends", "linear"),
    ],
)
@pytest.mark.parametrize("cell", [(0, 0), (6, 9)])
def test_with_every_placement(run: Run, placement, cell) -> None:
    """With one frame per slot the placements agree in time; `ends` in space is off by up to half a cell."""
    _, heat = run(wrap(OnePatch((6, *cell))), gray(32, (171, 128)), method="hires_cam", placement=placement)
    check(heat, (171, 128), cell, frame=12, stride=2)


@pytest.mark.parametrize(("time", "kernel"), [(4, 4), (2, 2), (4, 8)])
@pytest.mark.parametrize("slot", [0, 3, 1])
def test_layers_with_a_stride_in_time(run: Run, time: int, kernel: int, slot: int) -> None:
    """Slot k sees samples around time * k + (time - 1) / 2, which are twice as many source frames on."""
    slot = min(slot, 16 // time - 1) if slot < 3 else 16 // time - 1
    net = OnePatch((slot, 6, 9), time=time, kernel=kernel)
    _, heat = run(wrap(net), gray(32, (171, 128)), method="hires_cam")
    frame = 2 * (time * slot + (time - 1) / 2)
    assert heat.max() > 0.5
    # the first and the last slot's heat stays constant to the end of the window
    lean = time / 2 if slot in (0, 16 // time - 1) else 0
    check(heat, (171, 128), (6, 9), frame=frame, stride=2 * time + 2 * lean)


@pytest.mark.parametrize(("frame", "hop"), [(0, None), (94, None), (31, 2 / 15), (64, 16 / 15), (32, 16 / 15)])
def test_several_windows(run: Run, frame: int, hop: float | None) -> None:
    """96 frames are 48 samples: windows of 16 that overlap, or not. A spot is bright for three frames."""
    size, cell = (171, 128), (4, 10)
    x, y = middle(cell[1], 1, size), middle(cell[0], 0, size)
    film = bright(96, size, range(max(frame - 1, 0), min(frame + 2, 96)), x, y)
    explanation, heat = run(wrap(Average((0, 0, 0))), film, hop_seconds=hop)
    assert len(explanation.windows) == {None: 5, 2 / 15: 17, 16 / 15: 3}[hop]
    found, row, column = peak(heat)
    assert abs(found - frame) <= 1
    assert abs(row - y) <= CELL / 2 and abs(column - x) <= CELL / 2
    assert explanation.top_frames(1)[0] in range(frame - 1, frame + 2)


def test_where_the_network_does_not_look_no_pixel_changes(run: Run, tmp_path: Path) -> None:
    film = bright(32, (171, 128), range(10, 14), 85, 64)
    film[:, :, :20] = film[:, :, -20:] = 200  # outside of the crop
    _, heat = run(wrap(Average((0, 0, 0))), film)
    assert heat[:, :, :10].max() < 0.1 and heat[:, :, -10:].max() < 0.1
    assert heat[11:13, 30:34, 40:45].min() > 0.5


@pytest.mark.parametrize("frame", [9, 40])
def test_the_reversed_video_has_the_mirrored_peak(run: Run, frame: int) -> None:
    """63 frames: then the samples of the reversed video are those of the video, reversed."""
    size = (171, 128)
    film = bright(63, size, range(frame - 2, frame + 3), 60, 80)
    forward, _ = run(wrap(Average((0, 0, 0), time=2)), film)
    backward, _ = run(wrap(Average((0, 0, 0), time=2)), film[::-1])
    assert abs(forward.top_frames(1)[0] - frame) <= 2
    assert abs(backward.top_frames(1)[0] - (62 - frame)) <= 2


def test_an_earlier_layer_tells_when(run: Run) -> None:
    """The deep layer has two slots of 8 samples; the earlier one tells the frame."""

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early = Average((0, 0, 0)).conv
            self.conv = nn.AvgPool3d((8, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            score = self.conv(self.early(x)).mean(dim=(1, 2, 3, 4))
            return torch.stack([100 * score, -score], dim=1)

    film = bright(32, (171, 128), range(4, 7), 60, 80)
    alone, _ = run(wrap(Deep()), film, when=None)
    told, heat = run(wrap(Deep()), film, when="early")
    assert alone.frame_scores[[4, 5, 6]].sum() / alone.frame_scores.sum() < 0.25
    assert told.frame_scores[[4, 5, 6]].sum() / told.frame_scores.sum() > 0.7
    found, row, column = peak(heat)
    assert abs(found - 5) <= 1 and abs(row - 80) <= 4 and abs(column - 60) <= 4
