"""Prepared scenes: a drive's pictures at a network's size, so that training need not resize them again and again."""

from pathlib import Path

from PIL import Image

from vidcam.data.drives.drive import Drive
from vidcam.data.drives.trajectory import write_kitti, write_rows
from vidcam.data.preprocessing import Size, resize_frame
from vidcam.errors import MediaError, OptionError
from vidcam.media import open_video
from vidcam.media.files import replacing_folder


def write_scene(drive: Drive, folder: str | Path, *, size: Size = (128, 416), force: bool = False) -> None:
    """Write a drive as a prepared scene: 0000000.jpg and so on, cam.txt and, where they are known, poses and times.

    Pictures, of that (H, W), keep the numbers that they have. The folder appears when it is whole.

    Raises:
        MediaError: the folder exists and `force` is not set, it cannot be written, or a picture cannot be read.
        OptionError: the drive's intrinsics are not known, or the size is not positive.
    """
    folder = Path(folder)
    if min(size) < 1:
        raise OptionError(f"a size is (H, W), positive; given {size}")
    if folder.exists() and not force:
        raise MediaError(f"{str(folder)!r} exists; force=True replaces it")
    intrinsics = drive.intrinsics_at(*size)
    try:
        with replacing_folder(folder) as part:
            _write_pictures(drive, part, size)
            write_rows(part / "cam.txt", intrinsics)
            if drive.trajectory is not None:
                write_kitti(part / "poses.txt", drive.trajectory)
            if drive.seconds is not None:
                write_rows(part / "times.txt", drive.seconds[:, None])
    except OSError as error:
        raise MediaError(f"cannot write the scene {str(folder)!r}: {error.strerror}") from None


def _write_pictures(drive: Drive, folder: Path, size: Size) -> None:
    with open_video(drive.source) as video:
        for frame in video:
            small = resize_frame(frame.pixels, size, antialias=True)
            number = frame.index if drive.numbers is None else int(drive.numbers[frame.index])
            picture = Image.fromarray(small.permute(1, 2, 0).numpy())
            picture.save(folder / f"{number:07d}.jpg", quality=95, subsampling=0)
