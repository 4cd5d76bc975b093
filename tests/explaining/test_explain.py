"""explain(): choices, windows, targets, and everything that may go wrong on the way."""

import gc
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange
from torch import Tensor, nn

from vidcam import Model, explain
from vidcam.attribution.geometry import PLACEMENTS
from vidcam.attribution.methods import METHODS
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import LayerError, MediaError, ModelError, OptionError, TargetError
from vidcam.media import VideoWriter

LABELS = ("wave", "shoot bow", "golf")
FED = Preprocessing(resize=(24, 32), crop=(24, 24))


class Small(nn.Module):
    """Two 3D convolutions, the second with strides, average pooling and one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Conv3d(3, 6, 3, (1, 2, 2), 1)
        self.norm = nn.BatchNorm3d(6)
        self.deep = nn.Conv3d(6, 8, 3, 2, 1)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.deep(self.norm(self.early(x)).relu()).relu().mean(dim=(2, 3, 4)))


def small(**changes: Any) -> Model:
    torch.manual_seed(0)
    facts = {"layer": "deep", "frames": 8, "frame_rate": 15, "preprocessing": FED, "labels": LABELS}
    return Model(changes.pop("net", Small)(), **facts | changes)


Make = Callable[..., Path]


@pytest.fixture
def clip(tmp_path: Path) -> Make:
    """Write a clip of moving noise: `count` frames at `rate`."""

    def make(count: int = 48, *, rate: int = 30, width: int = 48, height: int = 36, name: str = "clip.mp4") -> Path:
        rng = np.random.default_rng(1)
        texture = rng.integers(0, 256, (height // 6 + 1, count // 3 + width // 6 + 1, 3), np.uint8)
        texture = texture.repeat(6, axis=0).repeat(6, axis=1)
        with VideoWriter(tmp_path / name, width=width, height=height, rate=Fraction(rate)) as writer:
            for i in range(count):
                writer.write(np.ascontiguousarray(texture[:height, 2 * i : 2 * i + width]))
        return tmp_path / name

    return make


def same(one: Any, other: Any, *, rtol: float = 1e-5) -> None:
    scale = max(abs(other.heat).max(), 1e-12)
    np.testing.assert_allclose(one.heat / scale, other.heat / scale, atol=rtol)
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
    assert one.target == other.target


# What comes back


def test_shapes_times_and_facts(clip: Make) -> None:
    path = clip(48)
    found = explain(small(), path, target="golf")
    assert found.heat.shape == (48, 6, 6) and found.heat.dtype == np.float32
    np.testing.assert_allclose(found.seconds, np.arange(48) / 30)
    assert (found.width, found.height, found.rate) == (48, 36, 30)
    # 24 samples, windows of 8 samples every 4
    np.testing.assert_allclose(found.windows[:, 0], np.arange(5) * 8 / 30)
    np.testing.assert_allclose(found.windows[:, 1] - found.windows[:, 0], 8 / 15, atol=1e-6)
    assert found.probabilities.shape == (5, 3)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (found.target, found.target_name, found.labels) == (2, "golf", LABELS)
    assert found.provenance["source"] == str(path)
    assert len(found.provenance["source_digest"]) == len(found.provenance["model_digest"]) == 64
    assert found.provenance["geometry"]["t"] == {"stride": 2.0, "center": 0.0, "extent": 5.0}
    assert "h" not in found.provenance["geometry"]  # not needed to place the cells, and seconds to measure
    np.testing.assert_allclose(found.rows, (np.arange(6) * 4 + 2) * 36 / 24 - 0.5)
    np.testing.assert_allclose(found.columns, (np.arange(6) * 4 + 4 + 2) * 48 / 32 - 0.5)
    assert any("pixels 6 to 42 of 48 across" in note for note in found.notes)
    nominal = explain(small(), path, target="golf", placement=("linear", "centers"))
    assert nominal.provenance["geometry"]["h"] == {"stride": 4.0, "center": 0.0, "extent": 7.0}
    np.testing.assert_allclose(nominal.rows, (np.arange(6) * 4 + 0.5) * 36 / 24 - 0.5)


def test_the_heat_of_one_window_is_the_cam_s_own(clip: Make) -> None:
    """With `nearest`, a window's frames hold the raw heat of `vidcam.cam` on the same clip."""
    import vidcam
    from vidcam.media import open_video

    model, path = small(), clip(8, rate=15)
    found = explain(model, path, target=1, when=None, placement=("nearest", "nearest"))
    x = torch.stack([FED(frame.pixels) for frame in open_video(path)], dim=1)[None]
    heat = vidcam.cam(model.net, x, layer="deep", target=1)[0].numpy()  # (4, 6, 6)
    np.testing.assert_allclose(found.heat, heat.repeat(2, axis=0), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 33])
def test_every_length(clip: Make, count: int) -> None:
    found = explain(small(), clip(count), target=0)
    assert len(found.heat) == len(found.seconds) == count
    assert np.isfinite(found.heat).all()
    said = [note for note in found.notes if "repeated" in note]
    samples = (count + 1) // 2
    assert len(said) == (samples < 8)
    assert all(f"gives {samples} frames at 15 per second" in note and "has 8" in note for note in said)
    assert len(found.windows) == {1: 1, 2: 1, 15: 1, 16: 1, 17: 2, 33: 4}[count]


def test_a_single_frame_has_heat_even_where_another_layer_tells_when(clip: Make) -> None:
    """A still picture says nothing of when: all frames count alike, and the deep layer's heat stays."""

    class PerFrame(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early, self.deep = nn.Conv3d(3, 4, (1, 3, 3)), nn.Conv3d(4, 4, (1, 3, 3))
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.deep(self.early(x).relu()).relu().mean(dim=(2, 3, 4)))

    for target in range(3):
        told = explain(small(net=PerFrame), clip(1, name=f"{target}.mp4"), target=target, when="early")
        alone = explain(small(net=PerFrame), clip(1, name=f"{target}b.mp4"), target=target, when=None)
        np.testing.assert_allclose(told.heat, alone.heat, rtol=1e-4)


def test_notes_are_said_once_where_the_video_is_read_twice(clip: Make) -> None:
    found = explain(ChangesItsMind.model(), clip(60), batch=1)
    assert len(set(found.notes)) == len(found.notes)
    assert len(found.seconds) == 60


# The target


def test_without_a_target_the_likeliest_class_is_explained(clip: Make) -> None:
    path = clip(64)
    found = explain(small(), path)
    assert found.target == found.probabilities.mean(axis=0).argmax()
    same(found, explain(small(), path, target=found.target))


class ChangesItsMind(nn.Module):
    """Bright frames speak for class 1, and more so; all else for class 0."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Conv3d(3, 2, (1, 4, 4), (1, 4, 4), bias=False)
        with torch.no_grad():
            self.deep.weight.fill_(1 / 48)

    def forward(self, x: Tensor) -> Tensor:
        level = self.deep(x).mean(dim=(1, 2, 3, 4))
        return torch.stack([1 - level, 100 * (level - 0.5), 0 * level - 50], dim=1)

    @classmethod
    def model(cls) -> Model:
        return small(net=cls, preprocessing=Preprocessing(resize=(24, 32)))


@pytest.mark.parametrize("batch", [1, 3])
def test_a_winner_that_leads_only_later_is_explained_in_all_windows(tmp_path: Path, batch: int) -> None:
    with VideoWriter(tmp_path / "late.mp4", width=32, height=24, rate=Fraction(15)) as writer:
        for i in range(40):
            writer.write(np.full((24, 32, 3), 100 if i < 12 else 220, np.uint8))
    found = explain(ChangesItsMind.model(), tmp_path / "late.mp4", batch=batch)
    assert found.probabilities[0].argmax() == 0 and found.target == 1
    same(found, explain(ChangesItsMind.model(), tmp_path / "late.mp4", target=1))
    assert found.heat[:12].min() > 0  # these windows were run again


@pytest.mark.parametrize("target", [1, "1", "shoot bow", "Shoot_Bow", np.int64(1), torch.tensor(1)])
def test_a_target_by_index_and_name(clip: Make, target: Any) -> None:
    assert explain(small(), clip(16), target=target).target == 1


@pytest.mark.parametrize(
    ("target", "said"),
    [("shot bow", "did you mean 'shoot bow'"), (3, "possible: 0 to 2"), ("7", "possible: 0 to 2"), (-1, "0 to 2")],
)
def test_a_class_that_does_not_exist(clip: Make, target: Any, said: str) -> None:
    with pytest.raises(TargetError, match=said):
        explain(small(), clip(16), target=target)


@pytest.mark.parametrize("target", [5, "5", -1, "wave"])
def test_a_class_that_does_not_exist_without_labels(clip: Make, target: Any) -> None:
    with pytest.raises(TargetError):
        explain(small(labels=()), clip(16), target=target)


def test_a_wrong_number_of_labels(clip: Make) -> None:
    with pytest.raises(ModelError, match="3 classes, but 2 labels"):
        explain(small(labels=("a", "b")), clip(16))


# Choices


@pytest.mark.parametrize("method", METHODS)
def test_every_method(clip: Make, method: str) -> None:
    class Linear(Small):
        def forward(self, x: Tensor) -> Tensor:  # nothing between the layer and the pooling, as `cam` needs it
            return self.fc(self.deep(self.norm(self.early(x)).relu()).mean(dim=(2, 3, 4)))

    found = explain(small(net=Linear), clip(24), method=method, target=1)
    assert found.heat.shape == (24, 6, 6) and np.isfinite(found.heat).all()
    assert found.provenance["method"] == method


@pytest.mark.parametrize("when", [None, "early", "deep", "input", "auto"])
@pytest.mark.parametrize("pooling", ["slot", "clip"])
def test_when_and_pooling(clip: Make, when: str | None, pooling: str) -> None:
    found = explain(small(when="norm"), clip(24), target=1, when=when, pooling=pooling)
    assert np.isfinite(found.heat).all()
    assert found.provenance["when"] == ("norm" if when == "auto" else when)


def test_the_model_s_own_when_goes_with_its_own_layer_only(clip: Make) -> None:
    assert explain(small(when="norm"), clip(16), layer="early").provenance["when"] is None


@pytest.mark.parametrize("time", PLACEMENTS)
@pytest.mark.parametrize("space", PLACEMENTS)
def test_every_placement(clip: Make, time: str, space: str) -> None:
    found = explain(small(), clip(16), target=1, placement=(time, space), when="early")
    assert np.isfinite(found.heat).all()
    assert (np.diff(found.rows) > 0).all() and (np.diff(found.columns) > 0).all()


@pytest.mark.parametrize("batch", [2, 3, 64])
@pytest.mark.parametrize("method", ["grad_cam", "smooth_grad_cam_pp"])
def test_a_batch_of_windows_is_the_same(clip: Make, batch: int, method: str) -> None:
    path = clip(64)
    same(explain(small(), path, batch=batch, method=method), explain(small(), path, batch=1, method=method), rtol=1e-4)


@pytest.mark.parametrize(("hop", "count"), [(8 / 15, 3), (1 / 15, 17), (0.2, 7)])
def test_hops(clip: Make, hop: float, count: int) -> None:
    assert len(explain(small(), clip(48), hop_seconds=hop, target=0).windows) == count


@pytest.mark.parametrize("hop", [0, -1, 0.01, 0.6, 1e9, float("nan")])
def test_hops_that_leave_frames_out(clip: Make, hop: float) -> None:
    with pytest.raises(OptionError, match=r"possible: 0\.0667 to 0\.533 s"):
        explain(small(), clip(16), hop_seconds=hop)


def test_a_hop_without_end(clip: Make) -> None:
    with pytest.raises(OptionError, match="hop_seconds must be finite; given inf"):
        explain(small(), clip(16), hop_seconds=float("inf"))


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"method": "grad_cm"}, OptionError, "did you mean 'grad_cam'"),
        ({"layer": "dep"}, LayerError, "did you mean 'deep'"),
        ({"layer": ""}, LayerError, "unknown layer"),
        ({"layer": "fc"}, LayerError, "shape"),
        ({"when": "erly"}, LayerError, "did you mean 'early'"),
        ({"pooling": "slots"}, OptionError, "did you mean 'slot'"),
        ({"placement": ("linear", "center")}, OptionError, "did you mean 'centers'"),
        ({"placement": "linear"}, OptionError, "two names"),
        ({"placement": ("linear",)}, OptionError, "two names"),
        ({"backend": "pyva"}, OptionError, "did you mean 'pyav'"),
        ({"batch": -1}, OptionError, "at least 1"),
        ({"batch": 0}, OptionError, "at least 1"),
    ],
)
def test_choices_that_do_not_exist(clip: Make, options: dict, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        explain(small(), clip(16), **options)
    assert "\n" not in str(caught.value)


def test_a_source_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        explain(small(), tmp_path / "none.mp4")


# Networks of all kinds


def test_time_before_channels(clip: Make) -> None:
    class TimeFirst(Small):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[2] == 3
            return super().forward(x.transpose(1, 2))

    path = clip(24)
    for placement in (("linear", "centers"), ("effective", "effective")):
        for when in (None, "early", "input"):
            options = {"placement": placement, "when": when, "target": 2}
            expected = explain(small(), path, **options)
            assert not expected.is_flat
            same(explain(small(net=TimeFirst, input_layout="b t c h w", layout="b c t h w"), path, **options), expected)


@pytest.mark.parametrize("layout", ["(b t) c h w", None])
@pytest.mark.parametrize("placement", [("linear", "centers"), ("centers", "effective")])
def test_a_network_of_pictures_per_frame(clip: Make, layout: str | None, placement: tuple[str, str]) -> None:
    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deep, self.fc = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            each = self.deep(rearrange(x, "b c t h w -> (b t) c h w")).relu().mean(dim=(2, 3))
            return self.fc(rearrange(each, "(b t) c -> b t c", b=len(x)).mean(dim=1))

    found = explain(small(net=Frames, layout=layout), clip(24), target=1, placement=placement, batch=2)
    assert found.heat.shape == (24, 6, 6)
    assert found.provenance["geometry"]["t"]["stride"] == 1


def chunks(cnn: nn.Module, x: Tensor) -> Tensor:
    """(B, T, C, H, W), five frames at a time, the last chunk is shorter."""
    return torch.cat([cnn(part) for part in x.flatten(0, 1).split(5)]).unflatten(0, x.shape[:2])


def clips(cnn: nn.Module, x: Tensor) -> Tensor:
    return torch.stack([cnn(sample) for sample in x.flip(0)]).flip(0)


def backwards(cnn: nn.Module, x: Tensor) -> Tensor:
    return torch.stack([cnn(x[:, t]) for t in reversed(range(8))], 1).flip(1)


def time_outside(cnn: nn.Module, x: Tensor) -> Tensor:
    return cnn(x.transpose(0, 1).flatten(0, 1)).unflatten(0, (8, len(x))).transpose(0, 1)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("way", [chunks, clips, backwards, time_outside])
@pytest.mark.parametrize("placement", [("linear", "centers"), ("centers", "effective"), ("effective", "effective")])
def test_every_way_through_the_frames_lays_heat_on_the_same_ones(
    clip: Make, way: Callable[[nn.Module, Tensor], Tensor], batch: int, placement: tuple[str, str]
) -> None:
    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deep, self.rnn, self.fc = nn.Conv2d(3, 8, 4, 4), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 3)
            self.way: Callable[[nn.Module, Tensor], Tensor] = way

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.rnn(self.way(self.deep, x).relu().mean(dim=(3, 4)))[0][:, -1])

    class Folded(Frames):
        def __init__(self) -> None:
            super().__init__()
            self.way = lambda cnn, x: cnn(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    path, given = clip(48), {"target": 1, "placement": placement, "batch": batch}
    found = explain(small(net=Frames, input_layout="b t c h w"), path, **given)
    same(found, explain(small(net=Folded, input_layout="b t c h w", layout="(b t) c h w"), path, **given))
    assert not found.is_flat and found.provenance["geometry"]["t"] == {"stride": 1, "center": 0, "extent": 1}


@pytest.mark.parametrize("grid", [(4, 6, 6), lambda tokens: (4, 6, 6)])
@pytest.mark.parametrize("placement", [("linear", "centers"), ("linear", "linear"), ("effective", "effective")])
@pytest.mark.parametrize("cls", [False, True])
def test_a_network_of_tokens(clip: Make, grid: Any, placement: tuple[str, str], cls: bool) -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.mix, self.fc = nn.Conv3d(3, 8, (2, 4, 4), (2, 4, 4)), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.patches(x).flatten(2).transpose(1, 2)
            if cls:
                tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
            return self.fc(self.mix(tokens).relu().mean(dim=1))

    model = small(net=Tokens, layer="mix", layout="b (t h w) c", grid=grid)
    found = explain(model, clip(24), target=1, placement=placement)
    assert found.heat.shape == (24, 6, 6) and np.isfinite(found.heat).all()
    inferred = explain(small(net=Tokens, layer="mix", grid=grid), clip(24, name="b.mp4"), target=1)
    assert inferred.heat.shape == (24, 6, 6)


def test_attention_comes_along(clip: Make) -> None:
    class Attending(Small):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": super().forward(x), "attention": x.mean(dim=(1, 3, 4)).softmax(dim=1)}

    found = explain(small(net=Attending, attention=lambda output: output["attention"]), clip(40))
    assert found.attention.shape == (40,)
    assert found.attention.min() > 0


@pytest.mark.parametrize("answer", [lambda y: y[:, 0], lambda y: y[:, None], lambda y: y.sum()])
def test_a_network_without_classes_is_refused_in_one_line(clip: Make, answer: Callable[[Tensor], Tensor]) -> None:
    class Other(Small):
        def forward(self, x: Tensor) -> Tensor:
            return answer(super().forward(x))

    for target in (None, 0):
        with pytest.raises((ModelError, OptionError)) as caught:
            explain(small(net=Other, labels=()), clip(16, name=f"{target}.mp4"), target=target)
        assert "\n" not in str(caught.value)


def test_weights_that_are_no_numbers(clip: Make) -> None:
    model = small()
    with torch.no_grad():
        model.net.fc.bias[0] = float("nan")
    for target in (None, 0, 1):
        with pytest.raises(ModelError, match="NaN"):
            explain(model, clip(16, name=f"{target}.mp4"), target=target)


def test_a_layer_without_influence_names_one_that_has(clip: Make) -> None:
    class Detour(Small):
        def __init__(self) -> None:
            super().__init__()
            self.aside = nn.Conv3d(3, 2, 3, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 0 * self.aside(x).mean()

    with pytest.raises(LayerError, match=r"'aside' does not influence the score.*try 'deep'"):
        explain(small(net=Detour, layer="aside"), clip(16))
    with pytest.raises(LayerError, match="'aside' does not influence the score"):
        explain(small(net=Detour), clip(16, name="b.mp4"), when="aside")


def test_a_window_that_happens_to_be_dark_is_no_error(tmp_path: Path) -> None:
    """A rectified layer's gradient is zero on black frames, but not on noise: the layer is right."""

    class Dark(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deep = nn.Conv3d(3, 2, 1)
            with torch.no_grad():
                self.deep.bias.fill_(-0.1)
                self.deep.weight.fill_(0.5)

        def forward(self, x: Tensor) -> Tensor:
            score = self.deep(x).relu().square().mean(dim=(1, 2, 3, 4))
            return torch.stack([score, -score, 0 * score], dim=1)

    with VideoWriter(tmp_path / "dark.mp4", width=32, height=24, rate=Fraction(15)) as writer:
        for i in range(24):
            writer.write(np.full((24, 32, 3), 0 if i < 12 else 200, np.uint8))
    found = explain(small(net=Dark), tmp_path / "dark.mp4", target=0)
    assert found.heat[:8].max() == 0 < found.heat[20:].min()
    with VideoWriter(tmp_path / "black.mp4", width=32, height=24, rate=Fraction(15)) as writer:
        for _ in range(9):
            writer.write(np.zeros((24, 32, 3), np.uint8))
    flat = explain(small(net=Dark), tmp_path / "black.mp4", target=0)
    assert flat.is_flat and any("flat" in note for note in flat.notes)


# What is left behind


def state(model: Model) -> tuple:
    net = model.net
    return (
        model.digest,
        [module.training for module in net.modules()],
        [(p.requires_grad, p.grad) for p in net.parameters()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in net.modules()],
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
    )


def test_the_model_is_left_as_it_was(clip: Make) -> None:
    model = small()
    model.net.train()
    model.net.norm.eval()
    model.net.fc.weight.requires_grad_(False)
    before = state(model)
    for placement in (("linear", "centers"), ("effective", "effective")):
        explain(model, clip(24, name=f"{placement[0]}.mp4"), when="early", placement=placement)
        assert state(model) == before


class Stop(Exception):
    """Somebody had enough."""


@pytest.mark.parametrize("after", [1, 5, 30])
def test_an_exception_of_the_progress_comes_through_and_nothing_is_left(clip: Make, after: int) -> None:
    model, path = small(), clip(200)
    before, threads = state(model), threading.active_count()

    def progress(done: int, total: int | None) -> None:
        if done >= after:
            raise Stop

    with pytest.raises(Stop):
        explain(model, path, progress=progress)
    assert state(model) == before
    assert threading.active_count() == threads


def test_an_exception_of_the_network_comes_through_and_no_thread_is_left(clip: Make) -> None:
    class Failing(Small):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Failing.calls += 1
            if Failing.calls == 3:
                raise Stop
            return super().forward(x)

    threads, path = threading.active_count(), clip(400)
    with pytest.raises(Stop):
        explain(small(net=Failing), path)
    assert threading.active_count() == threads


def test_no_thread_is_left_after_success(clip: Make) -> None:
    threads = threading.active_count()
    explain(small(), clip(64))
    assert threading.active_count() == threads


def test_progress_counts_frames(clip: Make) -> None:
    seen: list[tuple[int, int | None]] = []
    explain(small(), clip(48), target=0, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, 48) for i in range(48)]


def test_memory_does_not_grow_with_the_length(clip: Make) -> None:
    """Preprocessed frames are let go of: never more than a few windows are alive."""
    alive: list[int] = []
    model, path = small(), clip(600)

    def progress(done: int, total: int | None) -> None:
        if done % 100 == 0:
            alive.append(sum(1 for thing in gc.get_objects() if type(thing).__name__ == "Sample"))

    explain(model, path, target=0, progress=progress)
    assert max(alive) < 50


def test_frames_in_a_folder(tmp_path: Path) -> None:
    from PIL import Image

    for i in range(12):
        Image.fromarray(np.full((36, 48, 3), 20 * i, np.uint8)).save(tmp_path / f"frame{i}.png")
    found = explain(small(), tmp_path, target=0)
    assert len(found.heat) == 12 and found.rate == 25


def test_choices_are_checked_before_the_network_runs(clip: Make) -> None:
    class Never(Small):
        def forward(self, x: Tensor) -> Tensor:
            raise Stop

    path = clip(16)
    for options in (
        {"target": "nonsense"},
        {"method": "x"},
        {"layer": "x"},
        {"placement": ("x", "y")},
        {"pooling": "x"},
    ):
        with pytest.raises((TargetError, OptionError, LayerError)):
            explain(small(net=Never), path, **options)
