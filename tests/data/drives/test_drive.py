import shutil
from fractions import Fraction

import numpy as np
import pytest

from vidcam.data.drives.drive import Drive, find_drives, open_drive
from vidcam.data.drives.listing import ListedDrive, read_drives, write_drives
from vidcam.data.drives.scene import write_scene
from vidcam.errors import MediaError, OptionError
from vidcam.media import open_video


def ahead(drive):
    return drive.trajectory.poses[:, 2, 3].tolist()


def refused(error, about, path, **options):
    with pytest.raises(error, match=about) as caught:
        open_drive(path, **options)
    assert "\n" not in str(caught.value)


def test_a_sequence_of_kitti(kitti):
    drive = open_drive(kitti())
    assert (drive.name, drive.width, drive.height, drive.frames, drive.rate) == ("00", 40, 24, 6, Fraction(10))
    assert np.array_equal(drive.intrinsics, [[62, 0, 19], [0, 60, 11], [0, 0, 1]])
    assert np.array_equal(drive.intrinsics_at(12, 80), [[124, 0, 38], [0, 30, 5.5], [0, 0, 1]])
    assert ahead(drive) == [0, 1, 2, 3, 4, 5] and np.allclose(drive.seconds, np.arange(6) / 10)
    assert np.array_equal(drive.trajectory.seconds, drive.seconds) and drive.truth is None


def test_cameras(kitti, draw):
    folder = kitti(camera="image_0")
    assert open_drive(folder).intrinsics[0, 0] == 60
    draw(folder / "image_2")
    assert open_drive(folder).source.name == "image_2"
    assert open_drive(folder, camera="image_0").intrinsics[0, 0] == 60
    assert open_drive(folder / "image_0").source == open_drive(folder, camera="image_0").source
    refused(OptionError, "unknown camera 'image_3'; did you mean", folder, camera="image_3")


def test_more_poses_than_pictures_are_told_by_the_pictures_numbers(kitti):
    drive = open_drive(kitti(count=3, numbers=[2, 3, 5], rows=9))
    assert ahead(drive) == [2, 3, 5] and np.allclose(drive.seconds, [0.2, 0.3, 0.5])
    refused(MediaError, "9 times for 3 pictures, numbered 7 to 9", kitti("01", count=3, numbers=[7, 8, 9], rows=9))


def test_as_many_poses_as_pictures_are_theirs_in_order(kitti):
    assert ahead(open_drive(kitti(count=3, numbers=[7, 8, 9]))) == [0, 1, 2]


def test_fewer_poses_than_pictures(kitti):
    folder = kitti()
    poses = folder.parents[1] / "poses" / "00.txt"
    poses.write_text(poses.read_text().split("\n", 1)[1])
    refused(MediaError, r"00\.txt has 5 poses for 6 pictures, numbered 0 to 5", folder)


@pytest.mark.parametrize("text", ["0 0.1 0.2", "0 1 2 3 4 x", "", "0 1 2 2 3 4"])
def test_times_that_do_not_fit(kitti, text):
    folder = kitti()
    (folder / "times.txt").write_text(text)
    refused(MediaError, r"times\.txt", folder)


def test_what_may_be_absent(kitti):
    folder = kitti()
    (folder / "times.txt").unlink()
    (folder.parents[1] / "poses" / "00.txt").unlink()
    drive = open_drive(folder)
    assert drive.trajectory is None and drive.seconds is None and drive.rate is None


def test_missing_calibration(kitti):
    folder = kitti()
    (folder / "calib.txt").unlink()
    refused(MediaError, r"there is no .*calib\.txt", folder)
    assert open_drive(folder, intrinsics="5,6,7,8").intrinsics[1, 1] == 6
    (folder / "calib.txt").write_text("P0: " + "1 " * 12)
    refused(MediaError, r"no line P2 for image_2; it has P0", folder)
    (folder / "calib.txt").write_text("P2: " + "0 " * 12)
    refused(MediaError, r"calib\.txt, P2: .*0 0 1", folder)


def test_missing_pictures(kitti, tmp_path):
    folder = kitti()
    shutil.rmtree(folder / "image_2")
    refused(MediaError, r"image_0 to image_3; it holds calib\.txt, times\.txt", folder)
    (folder / "image_2").mkdir()
    refused(MediaError, "holds no pictures", folder)
    (tmp_path / "empty").mkdir()
    refused(MediaError, "holds no pictures", tmp_path / "empty")
    refused(MediaError, "nowhere", tmp_path / "nowhere")
    refused(MediaError, "a whole data set; open one of 00", tmp_path / "dataset")


def test_pictures_of_mixed_sizes(kitti, draw):
    folder = kitti()
    draw(folder / "image_2", numbers=[6], size=(41, 24))
    refused(MediaError, r"differ in size: .* is 40x24, '000006\.png' is 41x24", folder)


def test_mixed_sizes_amid_a_drive(kitti, draw):
    folder = kitti()
    draw(folder / "image_2", numbers=[3], size=(40, 25))
    refused(MediaError, r"differ in size: '000000\.png' is 40x24, '000003\.png' is 40x25", folder)
    (folder / "image_2" / "000003.png").write_bytes(b"none")
    refused(MediaError, r"cannot read the picture '.*000003\.png'", folder)


def test_a_folder_of_pictures_in_natural_order(draw, tmp_path):
    folder = draw(tmp_path / "scene", suffix="jpg")
    (folder / "000002.jpg").rename(folder / "10.jpg")
    drive = open_drive(folder, intrinsics=np.diag([3.0, 4, 1]))
    assert drive.numbers.tolist() == [0, 1, 3, 4, 5, 10] and drive.intrinsics[1, 1] == 4
    assert drive.trajectory is None and drive.rate is None
    refused(OptionError, "in KITTI's layout only", folder, camera="image_2")
    with pytest.raises(OptionError, match="intrinsics are not known"):
        open_drive(folder).intrinsics_at(2, 2)


def test_a_video(make, tmp_path):
    path = make(count=8, rate=20)
    poses = tmp_path / "poses.txt"
    poses.write_text("".join(f"1 0 0 0 0 1 0 0 0 0 1 {index}\n" for index in range(8)))
    drive = open_drive(path, intrinsics="30,30,16,12", poses=poses)
    assert (drive.name, drive.frames, drive.rate, drive.numbers) == ("clip", 8, 20, None)
    assert np.allclose(drive.seconds, np.arange(8) / 20) and len(drive.trajectory) == 8
    poses.write_text(poses.read_text() * 2)
    refused(MediaError, "16 poses for 8 pictures;", path, poses=poses)


def test_truth_of_a_synthetic_drive(kitti):
    folder = kitti()
    (folder / "depth").mkdir()
    assert open_drive(folder).truth == folder


def test_all_drives_of_a_data_set(kitti, tmp_path):
    for name in ("10", "02"):
        kitti(name)
    assert [drive.name for drive in find_drives(tmp_path / "dataset")] == ["02", "10"]
    assert [drive.name for drive in find_drives(tmp_path / "dataset/sequences")] == ["02", "10"]
    assert [drive.name for drive in find_drives(tmp_path / "dataset/sequences/10")] == ["10"]
    (tmp_path / "other").mkdir()
    with pytest.raises(MediaError, match=r"there is no drive in .*it holds nothing"):
        find_drives(tmp_path / "other")
    with pytest.raises(OptionError, match="the split 'val' is not told of"):
        find_drives(tmp_path / "dataset", split="val")


def test_lists_of_scenes(draw, tmp_path):
    for name in ("a", "b", "c"):
        draw(tmp_path / "root" / name, count=2)
    assert [drive.name for drive in find_drives(tmp_path / "root")] == ["a", "b", "c"]
    (tmp_path / "root/train.txt").write_text("c\na\n")
    (tmp_path / "root/val.txt").write_text("b\n")
    assert [drive.name for drive in find_drives(tmp_path / "root")] == ["c", "a", "b"]
    assert [drive.name for drive in find_drives(tmp_path / "root", split="val")] == ["b"]
    with pytest.raises(OptionError, match="unknown split 'test'"):
        find_drives(tmp_path / "root", split="test")
    (tmp_path / "root/val.txt").write_text("b\n\nd\n")
    with pytest.raises(MediaError, match=r"val\.txt, line 3: there is no folder"):
        find_drives(tmp_path / "root")


def test_drives_csv(kitti, tmp_path):
    rows = [ListedDrive(kitti("00"), "image_2", "train"), ListedDrive(kitti("01", camera="image_0"), "", "test")]
    path = tmp_path / "lists" / "drives.csv"
    path.parent.mkdir()
    write_drives(rows, path)
    assert path.read_text().splitlines()[1] == "../dataset/sequences/00,image_2,train"
    assert [drive.source.name for drive in find_drives(path)] == ["image_2", "image_0"]
    assert [drive.name for drive in find_drives(path, split="test")] == ["01"]
    with pytest.raises(OptionError, match="unknown split 'val'"):
        find_drives(path, split="val")


@pytest.mark.parametrize(
    "text", ["", "a,b\n", "path,camera,split\n", "path,camera,split\n.,,some\n", "path,camera,split\nx,,train\n"]
)
def test_malformed_drives_csv(tmp_path, text):
    (tmp_path / "drives.csv").write_text(text)
    with pytest.raises(MediaError, match=r"drives\.csv"):
        read_drives(tmp_path / "drives.csv")


def test_a_prepared_scene_is_the_same_drive(kitti, tmp_path):
    drive = open_drive(kitti(count=3, numbers=[2, 3, 5], rows=9))
    write_scene(drive, tmp_path / "scenes/00", size=(12, 20))
    scene = open_drive(tmp_path / "scenes/00")
    assert (scene.name, scene.width, scene.height, scene.numbers.tolist()) == ("00", 20, 12, [2, 3, 5])
    assert np.array_equal(scene.intrinsics, drive.intrinsics_at(12, 20)) and np.array_equal(
        scene.seconds, drive.seconds
    )
    assert ahead(scene) == ahead(drive)
    with open_video(scene.source) as video:
        assert [round(frame.pixels.mean()) for frame in video] == pytest.approx([16, 21, 26], abs=1)
    with pytest.raises(MediaError, match="exists; force=True"):
        write_scene(drive, tmp_path / "scenes/00")
    write_scene(drive, tmp_path / "scenes/00", size=(6, 10), force=True)
    assert open_drive(tmp_path / "scenes/00").width == 10 and len(list((tmp_path / "scenes").iterdir())) == 1


@pytest.mark.shared
@pytest.mark.parametrize(
    ("place", "camera", "frames", "size"),
    [
        ("kitti_odometry/dataset/sequences/06", "image_0", 51, (1226, 370)),
        ("kitti_odometry/dataset/sequences/04", "image_2", 10, (1226, 370)),
        ("kitti_416x128/00", "00", 200, (416, 128)),
    ],
)
def test_real_drives(data, place, camera, frames, size):
    drive = open_drive(data / place)
    assert isinstance(drive, Drive) and drive.source.name == camera
    assert (drive.frames, len(drive.trajectory), (drive.width, drive.height)) == (frames, frames, size)
    rows = np.loadtxt(data / "kitti_odometry/dataset/poses" / f"{drive.name}.txt")[:frames].reshape(-1, 3, 4)
    assert np.allclose(drive.trajectory.poses[:, :3], rows, atol=1e-6)
    if size[0] == 1226:
        wanted = pytest.approx([239.927, 244.615, 204.229, 63.346], abs=5e-4)
        assert drive.intrinsics_at(128, 416)[[0, 1, 0, 1], [0, 1, 2, 2]] == wanted
        assert 9.5 < drive.rate < 10 and len(drive.seconds) == frames
