import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vidcam.data.augmentation import SnippetChange, draw_change
from vidcam.data.drives.drive import open_drive
from vidcam.data.drives.snippets import SnippetDataset
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import MediaError, OptionError
from vidcam.media import open_video

SIZE = (12, 20)


def numbers(clip):
    """The number of every frame, told by its gray (C, T, H, W) -> T numbers."""
    return [round(((gray + 1) * 127.5 - 16) / 5) for gray in clip.mean(dim=(0, 2, 3)).tolist()]


@pytest.mark.parametrize("length", [3, 5])
def test_snippets_hold_neighbors_in_order(kitti, length):
    drives = [open_drive(kitti("00")), open_drive(kitti("01", count=5))]
    data = SnippetDataset(drives, length=length, size=SIZE)
    assert [tuple(s) for s in data.snippets] == [(d, f) for d, n in ((0, 6), (1, 5)) for f in range(n - length + 1)]
    for item in data:
        assert numbers(item["clip"]) == list(range(item["first"], item["first"] + length))
        assert item["clip"].shape == (3, length, *SIZE) and item["clip"].dtype == torch.float32
    assert torch.equal(item["intrinsics"], torch.tensor([[31, 0, 9.5], [0, 30, 5.5], [0, 0, 1]]))


def noise(folder, count=4):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        Image.fromarray(rng.integers(0, 256, (24, 40, 3), np.uint8)).save(folder / f"{index}.png")
    return open_drive(folder, intrinsics="60,60,19.5,11.5")


@pytest.mark.parametrize("room", [0, 3 * 12 * 20 * 2, 10**6])
def test_frames_are_those_that_a_network_is_fed_with(tmp_path, room):
    drive = noise(tmp_path / "noise")
    feed = Preprocessing(resize=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, antialias=True)
    with open_video(drive.source) as video:
        wanted = torch.stack([feed(frame.pixels) for frame in video], dim=1)
    data = SnippetDataset([drive], size=SIZE, cache_bytes=room)
    for _ in range(2):
        assert torch.equal(data[1]["clip"], wanted[:, 1:]) and torch.equal(data[0]["clip"], wanted[:, :3])
    assert len(data._frames._kept) == min(room // (3 * 12 * 20), 4)


def spot(x, y, height=64, width=96):
    """A bright spot of Gaussian shape at pixel (x, y): (1, 3, H, W) uint8."""
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (255 * torch.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 18)).round().to(torch.uint8).expand(1, 3, -1, -1)


def centroid(frames):
    weights = frames[0, 0].double()
    ys, xs = torch.meshgrid(torch.arange(weights.shape[0]), torch.arange(weights.shape[1]), indexing="ij")
    return [((weights * at).sum() / weights.sum()).item() for at in (xs, ys)]


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("point", [(0.5, 0.3, 8.0), (-0.6, -0.2, 5.0)])
def test_changed_intrinsics_project_points_to_where_their_pixels_went(mirror, point):
    intrinsics = np.array([[80.0, 0, 46.2], [0, 75.0, 30.7], [0, 0, 1]])
    x, y, _ = intrinsics @ point / point[2]
    frames, changed = SnippetChange((71, 110), 3, 8, mirror)(spot(x, y), intrinsics)
    sign = -1 if mirror else 1  # in the mirrored world the point is on the other side
    u, v, _ = changed @ (sign * point[0], *point[1:]) / point[2]
    assert frames.shape == (1, 3, 64, 96)
    assert centroid(frames) == pytest.approx([u, v], abs=0.02)  # half a pixel off would be 0.07 by scale, 1 by mirror


def test_changes_cover_their_range_and_keep_inside():
    rng = np.random.default_rng(0)
    drawn = [draw_change((128, 416), rng) for _ in range(400)]
    heights, widths = zip(*(change.enlarged for change in drawn), strict=True)
    assert (min(heights), max(heights), min(widths), max(widths)) == pytest.approx((128, 147, 416, 478), abs=2)
    assert all(0 <= c.top <= c.enlarged[0] - 128 and 0 <= c.left <= c.enlarged[1] - 416 for c in drawn)
    assert 160 < sum(change.mirror for change in drawn) < 240


def test_chance_hangs_on_seed_epoch_and_index_alone(tmp_path):
    drive = noise(tmp_path / "noise", 8)
    data, again = (SnippetDataset([drive], size=SIZE, augment=True, seed=3) for _ in range(2))
    first = [data[index] for index in range(len(data))]
    for index in reversed(range(len(data))):
        assert torch.equal(again[index]["clip"], first[index]["clip"])
    again.set_epoch(1)
    assert not any(torch.equal(again[i]["intrinsics"], first[i]["intrinsics"]) for i in range(len(data)))
    assert not torch.equal(SnippetDataset([drive], size=SIZE, augment=True)[0]["clip"], first[0]["clip"])


def test_workers_load_the_same(tmp_path):
    data = SnippetDataset([noise(tmp_path / "noise")], size=SIZE, augment=True)
    data.set_epoch(2)
    alone, shared = (next(iter(DataLoader(data, batch_size=2, num_workers=workers))) for workers in (0, 1))
    assert alone["clip"].shape == (2, 3, 3, *SIZE)
    assert all(torch.equal(alone[name], shared[name]) for name in ("clip", "intrinsics", "drive", "first"))


def test_no_snippet_crosses_a_gap(kitti):
    data = SnippetDataset([open_drive(kitti(count=7, numbers=[0, 1, 2, 5, 6, 7, 8], rows=9))], size=SIZE)
    assert [snippet.first for snippet in data.snippets] == [0, 3, 4]
    assert data.left_out == {"gap": 2, "listed": 0, "static": 0}


def test_standing_still_by_true_poses(kitti):
    folder = kitti(count=7)
    ahead = [0, 1, 2, 2, 2, 2.02, 3]
    (folder.parents[1] / "poses/00.txt").write_text("".join(f"1 0 0 0 0 1 0 0 0 0 1 {z}\n" for z in ahead))
    drive = open_drive(folder)
    data = SnippetDataset([drive], size=SIZE)
    # mean steps of the five snippets: 1, 0.5, 0, 0.01, 0.5
    assert [snippet.first for snippet in data.snippets] == [0, 1, 4] and data.left_out["static"] == 2
    assert len(SnippetDataset([drive], size=SIZE, min_step_meters=0.005)) == 4
    assert len(SnippetDataset([drive], size=SIZE, skip_static=False)) == 5


def test_standing_still_by_the_pictures(draw, tmp_path):
    folder = draw(tmp_path / "scene")
    for number in (3, 4):  # the picture of 2 stays for three frames
        (folder / f"00000{number}.png").write_bytes((folder / "000002.png").read_bytes())
    data = SnippetDataset([open_drive(folder, intrinsics="60,60,19,11")], size=SIZE)
    # gray steps 5 5 0 0 15; means of the four snippets: 5, 2.5, 0, 7.5
    assert [snippet.first for snippet in data.snippets] == [0, 1, 3] and data.left_out["static"] == 1


@pytest.mark.parametrize("text", ["# still\n2\n", "00 2\n", "2011_09_26 00 0000000002\n\n2011_09_26 other 3\n"])
def test_listed_frames_are_no_targets(kitti, tmp_path, text):
    (tmp_path / "static.txt").write_text(text)
    data = SnippetDataset([open_drive(kitti())], size=SIZE, static_list=tmp_path / "static.txt")
    assert [snippet.first for snippet in data.snippets] == [0, 2, 3] and data.left_out["listed"] == 1


def test_scenes_of_raw_drives_are_named_by_drive_and_camera(draw, tmp_path):
    drive = open_drive(draw(tmp_path / "2011_09_26_drive_0001_sync_02"), intrinsics="60,60,19,11")
    (tmp_path / "static.txt").write_text("2011_09_26 2011_09_26_drive_0001_sync 4\n")
    data = SnippetDataset([drive], size=SIZE, static_list=tmp_path / "static.txt")
    assert [snippet.first for snippet in data.snippets] == [0, 1, 2]


@pytest.mark.parametrize(
    ("error", "text", "about"),
    [(MediaError, "a b c d\n", "line 1"), (MediaError, "-3\n", "line 1"), (OptionError, "99\n", "no frame of 00")],
)
def test_lists_that_do_not_fit(kitti, tmp_path, error, text, about):
    (tmp_path / "static.txt").write_text(text)
    with pytest.raises(error, match=about):
        SnippetDataset([open_drive(kitti())], size=SIZE, static_list=tmp_path / "static.txt")


def test_frames_of_several_drives_need_their_drive(kitti, tmp_path):
    (tmp_path / "static.txt").write_text("2\n")
    drives = [open_drive(kitti("00")), open_drive(kitti("01"))]
    with pytest.raises(OptionError, match="of 2 drives one must be named"):
        SnippetDataset(drives, size=SIZE, static_list=tmp_path / "static.txt")


def test_what_cannot_be(kitti, draw, tmp_path):
    drive = open_drive(kitti(count=4))
    for options in ({"length": 4}, {"length": 1}, {"size": (0, 4)}, {"min_step_meters": 9.0}):
        with pytest.raises(OptionError):
            SnippetDataset([drive], **{"size": SIZE} | options)
    with pytest.raises(MediaError, match="has 4 frames; a snippet needs 5"):
        SnippetDataset([drive], length=5)
    with pytest.raises(OptionError, match="no drives"):
        SnippetDataset([])
    with pytest.raises(OptionError, match="intrinsics are not known"):
        SnippetDataset([open_drive(draw(tmp_path / "bare"))])
    with pytest.raises(IndexError):
        SnippetDataset([drive], size=SIZE)[2]


@pytest.mark.shared
def test_real_snippets(data):
    drive = open_drive(data / "kitti_416x128/00")
    snippets = SnippetDataset([drive], length=5)
    assert len(snippets) == 196 and sum(snippets.left_out.values()) == 0
    with open_video(drive.source) as video:
        frame = video.frames_at([102])[0].pixels
    target = (snippets[100]["clip"][:, 2].permute(1, 2, 0) + 1) * 127.5
    assert np.array_equal(target.round().byte().numpy(), frame)  # they have the network's size: not resized
