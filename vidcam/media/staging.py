"""Several files that appear together or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vidcam.errors import MediaError

PART = ".vidcam.part."


@contextmanager
def staged(directory: str | Path, names: Sequence[str], *, force: bool = False) -> Iterator[Path]:
    """Give a temporary folder to write files of these names into; move them into `directory` when all went well.

    The directory is made if need be. After an exception, nothing is left of either.

    Raises:
        MediaError: the directory cannot be written, or one of the files exists and `force` is not set.
    """
    directory = Path(directory)
    check_free(directory, names, force=force)
    made: list[Path] = []
    try:
        part = _make(directory, made)
        yield part
        _move(part, directory, names)
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):  # somebody else has put something there meanwhile
                shutil.rmtree(folder) if folder.name.startswith(PART) else folder.rmdir()
        raise
    part.rmdir()


@contextmanager
def leaving_none_empty(folder: Path) -> Iterator[None]:
    """Remove the folders that were made down to `folder` if the body fails and they are empty."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except BaseException:
        for place in new:
            with suppress(OSError):  # it holds something, or was never made
                place.rmdir()
        raise


def check_free(directory: Path, names: Sequence[str], *, force: bool = False) -> None:
    """Raise a MediaError, before any work, if a file exists without `force` or the directory cannot be written."""
    nearest = next(path for path in (directory, *directory.absolute().parents) if os.path.exists(path))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        why = "permission denied" if nearest.is_dir() else f"{nearest} is no directory"
        raise MediaError(f"cannot write into the directory {directory}: {why}")
    for path in (directory / name for name in names):
        if os.path.isdir(path):
            raise MediaError(f"cannot write {path}: it is a folder")
        if os.path.lexists(path) and not force:
            raise MediaError(f"{path} exists already; use force=True to replace it")


def _make(directory: Path, made: list[Path]) -> Path:
    """Make the directory, its parents and a temporary folder in it; tell what was made as it is made."""
    try:
        for path in [path for path in (directory, *directory.parents) if not os.path.exists(path)][::-1]:
            path.mkdir(exist_ok=True)
            made.append(path)
        made.append(Path(tempfile.mkdtemp(prefix=PART, dir=directory)))
    except OSError as error:
        reason = error.strerror or str(error)
        raise MediaError(f"cannot write into the directory {directory}: {reason}") from None
    return made[-1]


def _move(part: Path, directory: Path, names: Sequence[str]) -> None:
    """Move all files, or none if one is missing or cannot be put in its place."""
    missing = [name for name in names if not (part / name).is_file()]
    if missing:
        raise MediaError(f"nothing was written to {directory / missing[0]}")
    check_free(directory, names, force=True)
    for name in names:
        os.replace(part / name, directory / name)
