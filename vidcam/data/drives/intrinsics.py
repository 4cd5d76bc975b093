"""A camera's intrinsics: read them, and keep them right when pictures are resized, cropped and mirrored.

Pixels count from 0 in the middle of the first one, as warping takes them: a picture W wide ends in the middle of W - 1.
"""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidcam.errors import MediaError, OptionError, VidcamError
from vidcam.types import Floats


def read_calibration(path: Path) -> dict[str, Floats]:
    """Read KITTI's calib.txt: P0 to P3, projections of the rectified cameras, and Tr, each (3, 4).

    Lines of other names are passed over; a MediaError names the line that is malformed.
    """
    matrices: dict[str, Floats] = {}
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        name, colon, rest = text.partition(":")
        if text.strip() and not colon:
            raise MediaError(f"{path}, line {line}: 'NAME: numbers' is expected; given {text.strip()[:60]!r}")
        if name.strip().rstrip("0123456789") in ("P", "Tr"):
            values = numbers(rest)
            if values is None or values.size != 12:
                raise MediaError(f"{path}, line {line}: {name} needs 12 finite numbers; given {_told(rest)}")
            matrices[name.strip()] = values.reshape(3, 4)
    return matrices


def calibrated(path: Path, camera: str) -> Floats:
    """Read the intrinsics of a camera such as image_2 from KITTI's calib.txt; else a MediaError."""
    if not path.is_file():
        raise MediaError(f"there is no {str(path)!r}, which holds the intrinsics; else give them as 'fx,fy,cx,cy'")
    projections = read_calibration(path)
    name = f"P{int(camera.removeprefix('image_'))}"
    if name not in projections:
        raise MediaError(f"{path} has no line {name} for {camera}; it has {', '.join(projections) or 'none'}")
    return checked(projections[name][:, :3], f"{path}, {name}: the intrinsics", error=MediaError)


def parse_intrinsics(given: npt.ArrayLike | str | Path) -> Floats:
    """Return (3, 3) intrinsics in pixels from a matrix, from "fx,fy,cx,cy", or from a file of 3 by 3 numbers.

    Raises:
        MediaError: a file that cannot be read, or that holds no intrinsics.
        OptionError: what is given are no intrinsics: of another form, not finite or singular.
    """
    if not isinstance(given, str | Path):
        return checked(np.array(given, dtype=np.float64), "the intrinsics")
    values = numbers(str(given))
    if values is not None and values.size == 4:
        fx, fy, cx, cy = values
        return checked(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), f"the intrinsics {str(given)!r}")
    if values is not None or ("," in str(given) and not Path(given).exists()):
        raise OptionError(f"intrinsics are 'fx,fy,cx,cy' in pixels, or a file of 3 by 3 numbers; given {str(given)!r}")
    return read_intrinsics(Path(given))


def read_intrinsics(path: Path) -> Floats:
    """Read a cam.txt: the 3 by 3 numbers of the intrinsics in pixels, parted by spaces or commas; else a MediaError."""
    text = read_text(path)
    values = numbers(text)
    if values is None or values.size != 9:
        raise MediaError(f"{path}: 3 by 3 finite numbers are expected; given {_told(text)}")
    return checked(values.reshape(3, 3), str(path), error=MediaError)


def checked(matrix: Floats, what: str, *, error: type[VidcamError] = OptionError) -> Floats:
    """Return the intrinsics if they are some: (3, 3), finite, with positive focal lengths and a last row of 0, 0, 1."""
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise error(f"{what} must be 3 by 3 finite numbers; given {_row(matrix)}")
    if not np.allclose(matrix[2], (0, 0, 1)) or matrix[1, 0] != 0:
        raise error(f"{what} must be fx s cx, 0 fy cy, 0 0 1; given {_row(matrix)}")
    if min(matrix[0, 0], matrix[1, 1]) <= 0:
        raise error(f"{what} must have positive focal lengths; given fx {matrix[0, 0]:g} and fy {matrix[1, 1]:g}")
    return matrix


def resized(intrinsics: Floats, across: float, down: float) -> Floats:
    """Multiply the first row by `across`, the second by `down`, as SfMLearner's networks were trained.

    It takes a principal point for a distance from the picture's edge, and so moves it by half a pixel times the change
    of scale against `stretched`.
    """
    changed: Floats = intrinsics * np.array([[across], [down], [1.0]])
    return changed


def stretched(intrinsics: Floats, across: float, down: float) -> Floats:
    """Return the intrinsics of a picture resized by these factors: its pixel u lies at factor * (u + 0.5) - 0.5."""
    changed = resized(intrinsics, across, down)
    changed[:2, 2] += (np.array([across, down]) - 1) / 2
    return changed


def cropped(intrinsics: Floats, *, left: float, top: float) -> Floats:
    """Return the intrinsics of a picture after that many pixels were cut off."""
    changed = intrinsics.copy()
    changed[:2, 2] -= left, top
    return changed


def mirrored(intrinsics: Floats, width: int) -> Floats:
    """Return the intrinsics of a picture whose left and right were exchanged: cx becomes W - 1 - cx."""
    changed = intrinsics.copy()
    changed[0, 1:] = -intrinsics[0, 1], width - 1 - intrinsics[0, 2]
    return changed


def read_text(path: Path) -> str:
    """Read a text file; a MediaError if it is not there, or no text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MediaError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MediaError(f"cannot read {str(path)!r}: it is no text in UTF-8") from None


def numbers(text: str) -> Floats | None:
    """Return the numbers of a text parted by spaces or commas; None if something else, or one not finite, is there."""
    try:
        values = np.array([float(part) for part in re.split(r"[\s,]+", text.strip()) if part])
    except ValueError:
        return None
    return values if values.size and np.isfinite(values).all() else None


def _told(text: str) -> str:
    parts = re.split(r"[\s,]+", text.strip())
    return f"{len(parts)}: {' '.join(parts)[:60]!r}" if parts != [""] else "nothing"


def _row(matrix: Floats) -> str:
    return " ".join(f"{value:g}" for value in matrix.ravel()[:9]) + f" of shape {matrix.shape}"
