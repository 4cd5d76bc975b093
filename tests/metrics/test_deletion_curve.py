"""Erasing by hand, and deletion on regressors whose evidence is planted, against hand-computed numbers."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from vidcam.attribution.methods import cam
from vidcam.attribution.scores import component, minus
from vidcam.data.preprocessing import Preprocessing
from vidcam.data.sampling import Window
from vidcam.errors import ModelError, OptionError, TargetError
from vidcam.explaining.explanation import Explanation
from vidcam.explaining.windows import Fed
from vidcam.metrics.changes import loss_rise, pose_changes, score_change, score_drop
from vidcam.metrics.deletion_curve import deletion
from vidcam.metrics.deletion_report import ORDERS
from vidcam.metrics.erasing import erase, evenness, most, neighbors
from vidcam.models.inputs import Input
from vidcam.models.model import Model

SIDE, CELLS = 32, 4  # pixels; cells of 8 pixels
PATCH = (slice(8, 16), slice(16, 24))  # cell (1, 2)


class PatchMean(nn.Module):
    """Answers (mean of the patch in the red channel, minus twice that), averaged over time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 2, 1)
        self.norm = nn.BatchNorm3d(3)

    def forward(self, x: Tensor) -> Tensor:
        mean = x[:, 0, :, PATCH[0], PATCH[1]].mean((1, 2, 3))
        return torch.stack([mean, -2 * mean], 1)


def model(frames: int = 1, **changes: Any) -> Model:
    scores = {"angle": component(0), "other": component(1)}
    return Model(PatchMean(), layer="conv", frames=frames, scores=scores, **changes)


def explanation(heat: np.ndarray, **changes: Any) -> Explanation:
    facts: dict[str, Any] = {
        "heat": heat.astype(np.float32),
        "seconds": np.arange(len(heat)) / 10,
        "rows": (np.arange(CELLS) + 0.5) * SIDE / CELLS - 0.5,
        "columns": (np.arange(CELLS) + 0.5) * SIDE / CELLS - 0.5,
        "spread": "nearest",
        "region": (-0.5, -0.5, SIDE - 0.5, SIDE - 0.5),
        "width": SIDE,
        "height": SIDE,
        "rate": Fraction(10),
        "windows": np.array([[0.0, 0.4]]),
        "probabilities": np.zeros((1, 2)),
        "target": 0,
        "labels": ("angle", "other"),
    }
    return Explanation.from_heat(**facts | changes)


def planted(frames: int) -> np.ndarray:
    heat = np.zeros((frames, CELLS, CELLS))
    heat[:, 1, 2] = 3
    return heat


def windows(pictures: Tensor, length: int = 1) -> list[Window[Fed]]:
    samples = [Fed(i, picture) for i, picture in enumerate(pictures)]
    return [Window(i, tuple(samples[i : i + length])) for i in range(len(samples) - length + 1)]


def pictures(n: int) -> Tensor:
    """Black, and the patch of picture i is of i + 1 in red: erased, it becomes black."""
    found = torch.zeros(n, 3, SIDE, SIDE)
    found[:, 0, PATCH[0], PATCH[1]] = torch.arange(1.0, n + 1)[:, None, None]
    return found


def test_an_erased_cell_takes_the_mean_color_around_it() -> None:
    frames = torch.arange(9.0).reshape(1, 1, 3, 3).repeat_interleave(2, -1)  # cells of 1 x 2 pixels, values 0 to 8
    mask = torch.tensor([[[True, True, False], [False, False, False], [False, False, False]]])
    erased = erase(frames, mask)[0, 0, 0]
    assert erased[0].tolist() == pytest.approx([3.5, 3.5, 3.5, 3.5, 2, 2])  # of 3 and 4; of 2, 3, 4 and 5
    assert torch.equal(erased[1:], frames[0, 0, 1:])


def test_pixels_and_not_cells_are_averaged() -> None:
    """Five columns in two cells of 2 and 3 pixels, five in three: 2, 1 and 2."""
    frames = torch.tensor([[[[1.0, 3, 7, 2, 2]]]])
    erased = erase(frames, torch.tensor([[[False, True, False]]]))
    assert erased.flatten().tolist() == pytest.approx([1, 3, 2, 2, 2])  # (1 + 3 + 2 + 2) / 4


def test_where_all_around_is_erased_the_neighborhood_grows() -> None:
    frames = torch.arange(7.0).reshape(1, 1, 1, 7)
    erased = erase(frames, torch.tensor([[[True, True, True, True, True, False, False]]])).flatten()
    assert erased.tolist() == pytest.approx([5, 5, 5, 5, 5, 5, 6])
    alone = erase(frames, torch.tensor([[[False, True, True, True, True, True, True]]])).flatten()
    assert not alone.any()


def test_frames_and_channels_have_their_own_colors() -> None:
    frames = torch.randn(3, 2, 4, 6)
    masks = torch.rand(5, 2, 3) < 0.5
    masks[:, 0, 0] = False
    together = erase(frames, masks)
    assert together.shape == (5, 3, 2, 4, 6)
    single = torch.stack(
        [torch.stack([erase(f[None, c : c + 1], masks)[:, 0, 0] for c in (0, 1)], 1) for f in frames], 1
    )
    assert torch.allclose(together, single)


def test_a_plain_picture_does_not_change() -> None:
    assert torch.allclose(erase(torch.full((1, 3, 9, 11), 0.3), torch.rand(4, 4, 4) < 0.7), torch.tensor(0.3))


@pytest.mark.parametrize("n", [1, 3, 7, 12, 19])
def test_blocks_are_connected_and_of_the_asked_size(n: int) -> None:
    for seed in range(20):
        mask = neighbors((3, 7), n, np.random.default_rng(seed))
        assert mask.sum() == n
        reached = np.zeros_like(mask)
        reached[tuple(np.argwhere(mask)[0])] = True
        for _ in range(n):
            grown = [np.roll(reached, by, axis) for by in (-1, 1) for axis in (0, 1)]  # opposite borders touch
            reached |= np.logical_or.reduce(grown) & mask
        assert (reached == mask).all()


@pytest.mark.parametrize("n", [10, 83])
def test_blocks_erase_every_cell_equally_often(n: int) -> None:
    """5 and 40 % of 8 x 26 cells: the count of each cell stays within five standard deviations of a binomial's."""
    generator, draws = np.random.default_rng(0), 4000
    counts = sum(neighbors((8, 26), n, generator).astype(int) for _ in range(draws))
    share = n / (8 * 26)
    assert np.abs(counts - draws * share).max() < 5 * math.sqrt(draws * share * (1 - share))


def test_the_most_are_nested_and_ties_are_drawn() -> None:
    values = np.array([[0.0, 2, 0], [0, 5, 0]])
    one, two, three = most(values, (1, 2, 3), np.random.default_rng(0))
    assert one.sum() == 1 and one[1, 1] and two.sum() == 2 and two[0, 1]
    assert three.sum() == 3 and (three >= two).all()
    drawn = {tuple(most(values, (3,), np.random.default_rng(s))[0].ravel()) for s in range(40)}
    assert len(drawn) == 4  # any of the four cold cells


def test_even_cells_are_spread_better_than_random_ones() -> None:
    """Counts in the 16 quarters of quarters differ less than those of random cells."""

    def deviation(mask: np.ndarray) -> float:
        return float(mask.reshape(4, 4, 4, 4).sum(axis=(1, 3)).std())

    generator = np.random.default_rng(0)
    even = most(evenness((16, 16)), (64,), generator)[0]
    random = [deviation(most(np.zeros((16, 16)), (64,), generator)[0]) for _ in range(20)]
    assert deviation(even) < 0.5 * min(random)


def test_planted_evidence_by_hand() -> None:
    """Only the patch counts: the hottest cell moves the answer of picture i by i + 1, the coldest by nothing."""
    n = 6
    report = deletion(
        model(), windows(pictures(n)), explanation(planted(n)), fractions=(0.05, 0.5), cells=(4, 4), draws=200, seed=1
    )
    assert (report.erased, report.cells, report.flat) == ((1, 8), (4, 4), 0)
    hottest = report.changes["angle"]["hottest"]
    assert hottest[:, 0] == pytest.approx(np.arange(1, n + 1))
    assert (report.changes["angle"]["coldest"] == 0).all()
    random = report.changes["angle"]["random"].mean(axis=0) / 3.5  # the patch is among 1 or 8 of 16 cells
    assert random[0] == pytest.approx(1 / 16, abs=3 * math.sqrt(1 / 16 * 15 / 16 / 1200))
    assert random[1] == pytest.approx(0.5, abs=3 * math.sqrt(0.25 / 1200))
    difference = report.difference("angle", "coldest")
    assert difference[0] == pytest.approx([3.5, 3.5])
    assert (difference[1] > 2).all() and (difference[2] < 5).all()
    assert (report.difference("angle", "random")[1, 0] > 0) and report.mean("angle", "fixed")[0, 0] == pytest.approx(
        3.5
    )


class Planted(nn.Module):
    """Looks at every pixel, answers with the mean of red and green in the patch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 2, 1, bias=False)
        self.conv.weight.data = torch.eye(3)[:2, :, None, None, None]

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[:, :, 0, PATCH[0], PATCH[1]].mean((1, 2, 3))[:, None]


def test_from_the_network_s_own_heat_to_the_numbers() -> None:
    net, picture = Planted(), torch.rand(1, 3, SIDE, SIDE)
    score = component(0)
    heat = cam(net, picture[:, :, None], layer="conv", target=score, method="hires_cam")[0].numpy()
    inside = np.zeros((SIDE, SIDE), bool)
    inside[PATCH] = True
    assert (heat[0][inside] > 0).all() and not heat[0][~inside].any()
    pixels = np.arange(float(SIDE))
    given = explanation(heat, rows=pixels, columns=pixels)
    planted_model = Model(net, layer="conv", frames=1, scores={"angle": score})
    report = deletion(planted_model, windows(picture), given, fractions=(0.05, 0.9), cells=(4, 4), draws=4)
    around = picture[0, :2, 0:24, 8:32].double().sum((1, 2)) - picture[0, :2, PATCH[0], PATCH[1]].double().sum((1, 2))
    by_hand = abs(picture[0, :2, PATCH[0], PATCH[1]].mean().item() - around.sum().item() / (2 * 8 * 64))
    found = report.changes["angle"]
    assert found["hottest"][0, 0] == pytest.approx(by_hand, abs=1e-6)
    assert found["fixed"][0, 0] == found["hottest"][0, 0]
    assert (found["coldest"] == 0).all()  # 14 of 16 cells, but not the patch


def test_a_rising_background_is_the_color_that_erases() -> None:
    """The patch is 10, all around it 4: the answer falls by 6; degrees, the loss and the other component by hand."""
    picture = torch.full((1, 3, SIDE, SIDE), 4.0)
    picture[:, :, PATCH[0], PATCH[1]] = 10
    measures = {
        "degrees": score_change(component(0), scale=25),
        "other": score_change(component(1)),
        "drop": score_drop(minus(component(0))),
        "loss": loss_rise(np.array([[11.0, -20.0]])),
    }
    report = deletion(model(), windows(picture), explanation(planted(1)), measures=measures, fractions=(0.01,))
    found = {name: report.changes[name]["hottest"].item() for name in measures}
    # loss before: (10 - 11)^2 / 2 + 0; after: (4 - 11)^2 / 2 + (-8 + 20)^2 / 2
    assert found == pytest.approx({"degrees": 150, "other": 12, "drop": -6, "loss": 24.5 + 72 - 0.5})


def test_windows_of_several_frames_lose_the_same_cells_in_all() -> None:
    report = deletion(model(3), windows(pictures(5), 3), explanation(planted(5)), fractions=(0.05,))
    assert report.changes["angle"]["hottest"][:, 0] == pytest.approx([2, 3, 4])  # the mean over the window
    assert report.starts == (0, 1, 2)


@pytest.mark.parametrize(
    ("provenance", "hottest"),
    [
        ({"geometry": {"h": {}, "w": {}}}, [2.0, 3, 4]),  # the middle frame's map
        ({"geometry": {}}, [2.0, 3, 4]),  # a layer whose cells are placed by their number alone
        ({"geometry": {"t": {}, "h": {}, "w": {}}}, [0.0, 0, 0]),  # the mean of three frames' maps
        ({}, [0.0, 0, 0]),
    ],
)
def test_layers_without_time_order_by_the_middle_frame_s_map(provenance: dict[str, Any], hottest: list[float]) -> None:
    """The windows' middle frames show the patch; in the mean of the window a neighbor's other cell is hotter."""
    for i, expected in enumerate(hottest):
        heat = planted(5)
        heat[i] = heat[i + 2] = 0
        heat[i, 3, 0] = 30
        report = deletion(
            model(3), windows(pictures(5), 3)[i : i + 1], explanation(heat, provenance=provenance), fractions=(0.05,)
        )
        assert report.changes["angle"]["hottest"][:, 0] == pytest.approx([expected])


def test_signed_maps_rank_by_size_and_flat_windows_are_counted() -> None:
    heat = -planted(4)
    heat[:, 0, 0] = 1
    heat[2] = 0
    report = deletion(model(), windows(pictures(4)), explanation(heat), fractions=(0.05,))
    assert report.flat == 1
    assert report.changes["angle"]["hottest"][:, 0] == pytest.approx([1, 2, 4])
    with pytest.raises(ModelError, match="none has heat"):
        deletion(model(), windows(pictures(1)), explanation(np.zeros((1, 4, 4))))


def test_default_cells_are_the_maps_own_between_4_and_16_pixels() -> None:
    class Wide(PatchMean):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((1, 3, 4))

    facts: dict[str, Any] = {"rows": np.array([20.0, 43]), "columns": np.arange(40.0), "width": 40, "height": 64}
    heat = np.ones((1, 2, 40))
    wide = Model(Wide(), layer="conv", frames=1, scores={"angle": component(0)})
    given = explanation(heat, region=(-0.5, -0.5, 39.5, 63.5), **facts)
    report = deletion(wide, windows(torch.rand(1, 3, 64, 40)), given, fractions=(0.5,))
    assert report.cells == (4, 10)  # rows of 32 pixels are halved, columns of one are joined


def test_same_seed_same_numbers_whatever_the_batch_and_the_network_is_left_as_found() -> None:
    given = model()
    given.net.train()
    before = {name: value.clone() for name, value in given.net.state_dict().items()}
    state = torch.get_rng_state()
    heat = np.random.default_rng(0).random((3, 4, 4))
    a, b = (deletion(given, windows(torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))),
                     explanation(heat), batch=batch, fractions=(0.1, 0.3)) for batch in (2, 100))  # fmt: skip
    for order in ORDERS:
        assert a.changes["angle"][order] == pytest.approx(b.changes["angle"][order], abs=1e-6)
    assert a.changes["angle"]["random"].std() > 0
    assert given.net.training and given.net.norm.training
    assert all(p.requires_grad for p in given.net.parameters())
    assert all(torch.equal(before[name], value) for name, value in given.net.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_a_folder_is_streamed(tmp_path: Path) -> None:
    for i in range(5):
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        pixels[PATCH] = 51 * (i + 1)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    report = deletion(model(), tmp_path, explanation(planted(5)), fractions=(0.05,), every=2)
    assert report.starts == (0, 2, 4)
    assert report.changes["angle"]["hottest"][:, 0] == pytest.approx([0.2, 0.6, 1])
    facts = report.as_dict()
    assert facts["changes"]["angle"]["hottest"][0][0] == pytest.approx(0.6)
    assert facts["hottest_minus"]["angle"]["coldest"][0][0] == pytest.approx(0.6)
    assert "5% erased" in report.table()
    with pytest.raises(OptionError, match="has 4 frames, the source has a frame 4"):
        deletion(model(), tmp_path, explanation(planted(4)))


def test_pose_changes_by_hand() -> None:
    def poses(output: Tensor) -> Tensor:
        return output

    whole = torch.eye(4).repeat(2, 1, 1)
    moved = whole.clone()
    moved[0, :3, 3] = torch.tensor([3.0, 0, 4])
    angle = 1e-3
    c, s = math.cos(angle), math.sin(angle)
    moved[1, :3, :3] = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    turned = torch.diag(torch.tensor([-1.0, -1, 1, 1])).repeat(2, 1, 1)  # half a turn
    changes = pose_changes(poses)
    output = torch.stack([whole, moved, turned])
    assert changes["translation"](output, (0,)).tolist() == pytest.approx([0, 2.5, 0])
    assert changes["rotation_radians"](output, (0,)).tolist() == pytest.approx([0, angle / 2, math.pi], rel=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    given, heat = windows(pictures(1)), explanation(planted(1))
    with pytest.raises(OptionError, match="between 0 and 1"):
        deletion(model(), given, heat, fractions=(0.5, 1))
    with pytest.raises(OptionError, match="seed must not be negative; given -1"):
        deletion(model(), given, heat, seed=-1)
    with pytest.raises(OptionError, match="resamples must be at least 1; given 0"):
        deletion(model(), given, heat, resamples=0)
    with pytest.raises(OptionError, match="block must be at least 1; given 0"):
        deletion(model(), given, heat, block=0)
    with pytest.raises(OptionError, match="measures needs at least one"):
        deletion(model(), given, heat, measures={})
    with pytest.raises(OptionError, match="cells needs rows and columns"):
        deletion(model(), given, heat, cells=(64, 4))
    with pytest.raises(TargetError, match="unknown score 'speed'"):
        deletion(model(), given, explanation(planted(1), labels=("speed",)))
    with pytest.raises(OptionError, match="unknown measure 'speed'"):
        deletion(model(), given, heat).mean("speed", "hottest")
    with pytest.raises(OptionError, match="needs as many answers; given 1"):
        deletion(model(), given, heat, measures={"loss": loss_rise([1.0])})
    views = {"color": Input(), "depth": Input(Preprocessing(resize=(8, 8)))}
    with pytest.raises(OptionError, match="erased in all inputs alike"):
        deletion(model(inputs=views), given, heat)
    with pytest.raises(ModelError, match="not finite"):
        deletion(model(), windows(pictures(1) * math.nan), heat)


class Hungry(PatchMean):
    """Has memory for three pictures at a time."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return super().forward(x)


def test_a_batch_for_which_there_is_no_memory_is_halved_unless_the_user_chose_it() -> None:
    given, heat, hungry = windows(pictures(2)), explanation(planted(2)), model()
    hungry.net = Hungry()
    expected, found = (deletion(each, given, heat).changes["angle"] for each in (model(), hungry))
    for order, changes in expected.items():
        np.testing.assert_allclose(found[order], changes, atol=1e-6)
    with pytest.raises(ModelError, match=r"no memory for custom on 7 erased versions of 1 frames; a smaller batch="):
        deletion(hungry, given, heat, batch=8)
