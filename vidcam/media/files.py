"""Files and folders that appear whole or not at all, several of them together, and their fingerprint."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vidcam.errors import MediaError
from vidcam.media.claim import claimed, is_claimed

CLAIM = ".claim"
"""In a folder: the file that its process holds."""
MOST_OF_A_NAME = 50
MOVING = ".moving"
"""In a temporary folder: its files are whole, and on their way."""


@contextmanager
def replacing(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to it on success and removed on any exception.

    The suffix stays (`.clip.part.mp4` for `clip.mp4`), so that encoders know the format. What a process left there that
    was killed is written over.

    Raises:
        MediaError: before the body runs, if `path` exists and `force` is not set, its folder cannot be written, or
            another process is writing it; after it, if the body wrote nothing.
    """
    path = Path(path)
    check_replaceable(path, force=force)
    temporary = _beside(path, path.suffix)
    with claimed(temporary, path):
        try:
            os.truncate(temporary, 0)
            yield temporary
            _rename(temporary, path, force=force)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `folder` when all went well and is removed otherwise.

    What was there is deleted last, and is back where the new folder cannot take its place.

    Raises:
        MediaError: another process is writing it, or it cannot be written.
    """
    part = _beside(folder)
    aside = part.with_suffix(".old")
    with _claimed_folder(part, folder):
        _put_back(aside, folder)
        try:
            yield part
            _swap(part, aside, folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep a folder to this process while the body runs; a MediaError says that another process has it."""
    with claimed(folder / CLAIM, folder):
        try:
            yield
        finally:
            (folder / CLAIM).unlink(missing_ok=True)


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Give an empty folder that is removed at the end; what a process left in it that was killed is swept.

    Raises:
        MediaError: another process works in it, or it cannot be written.
    """
    with _claimed_folder(folder, folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _put_back(aside: Path, folder: Path) -> None:
    """Undo what a process did that was killed between two renames, or remove what it had no time to remove."""
    if os.path.lexists(aside):
        _remove(aside) if os.path.lexists(folder) else os.replace(aside, folder)


def _swap(part: Path, aside: Path, folder: Path) -> None:
    (part / CLAIM).unlink(missing_ok=True)
    there = os.path.lexists(folder)
    if there:
        os.replace(folder, aside)
    try:
        os.replace(part, folder)
    except BaseException:
        if there:
            os.replace(aside, folder)
        raise
    if there:
        _remove(aside)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _beside(path: Path, suffix: str = "") -> Path:
    """Name what is written in the place of `path` before it is whole: the same in every process."""
    stem = path.stem if path.suffix == suffix else path.name
    if len(stem) > MOST_OF_A_NAME:
        stem = stem[:MOST_OF_A_NAME] + hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]
    return path.with_name(f".{stem.lstrip('.')}.part{suffix}")


@contextmanager
def _claimed_folder(part: Path, target: Path) -> Iterator[None]:
    """Make an empty folder, or empty what a process left that was killed, and hold it."""
    try:
        part.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"cannot write into the directory {target}: {error.strerror}") from None
    with claimed(part / CLAIM, target):
        for left in part.iterdir():
            if left.name != CLAIM:
                _remove(left)
        yield


def check_replaceable(path: Path, *, force: bool = False) -> None:
    """Raise a MediaError if `path` exists and `force` is not set, or if there is no folder to write it to."""
    if path.is_dir():
        raise MediaError(f"cannot write {str(path)!r}: it is a folder")
    if os.path.lexists(path) and not force:
        raise MediaError(f"{str(path)!r} exists; force=True replaces it")
    if not path.parent.is_dir():
        raise MediaError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}")


def _rename(temporary: Path, path: Path, *, force: bool) -> None:
    if not temporary.exists() or temporary.stat().st_size == 0:
        raise MediaError(f"nothing was written to {str(path)!r}")
    check_replaceable(path, force=force)  # somebody else may have written it meanwhile
    os.replace(temporary, path)


@contextmanager
def staged(directory: str | Path, names: Sequence[str], *, force: bool = False) -> Iterator[Path]:
    """Give a temporary folder to write files of these names into; move them into `directory` when all went well.

    The directory is made if need be. After an exception, nothing is left of either. Where a process was killed while it
    moved its files, those that it moved count as not there.

    Raises:
        MediaError: the directory cannot be written, another process is writing these files, or one of them exists and
            `force` is not set.
    """
    directory = Path(directory)
    check_free(directory, names, force=force)
    part, new = _part_of(directory, names), [name for name in names if name not in _moved(directory, names)]
    with leaving_none_empty(directory), _claimed_folder(part, directory):
        try:
            check_free(directory, new, force=force)  # somebody else may have written them meanwhile
            yield part
            check_free(directory, new, force=force)
            _move(part, directory, names)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def leaving_none_empty(folder: Path) -> Iterator[None]:
    """Remove the folders that were made down to `folder` if the body fails and they are empty."""
    new = [place for place in (folder, *folder.parents) if not os.path.exists(place)]
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
    moved = set() if force else _moved(directory, names)
    for path in (directory / name for name in names):
        if os.path.isdir(path):
            raise MediaError(f"cannot write {path}: it is a folder")
        if os.path.lexists(path) and not force and path.name not in moved:
            raise MediaError(f"{path} exists already; use force=True to replace it")


def _part_of(directory: Path, names: Sequence[str]) -> Path:
    """Name the temporary folder of files: that of all processes which write files of these names."""
    return directory / f".vidcam.{names[0]}.part"


def _moved(directory: Path, names: Sequence[str]) -> set[str]:
    """Return the names of files that a process had moved when it was killed, and others not yet."""
    part = _part_of(directory, names)
    if not os.path.exists(part / MOVING) or is_claimed(part / CLAIM):
        return set()
    return set((part / MOVING).read_text(encoding="utf-8").split("\n")) - set(os.listdir(part))


def _move(part: Path, directory: Path, names: Sequence[str]) -> None:
    """Move all files, or none if one is missing or cannot be put in its place."""
    missing = [name for name in names if not (part / name).is_file()]
    if missing:
        raise MediaError(f"nothing was written to {directory / missing[0]}")
    check_free(directory, names, force=True)
    (part / MOVING).write_text("\n".join(names), encoding="utf-8")
    try:
        for name in names:
            os.replace(part / name, directory / name)
    except KeyboardInterrupt:  # all of them are whole
        for name in filter(lambda name: (part / name).exists(), names):
            os.replace(part / name, directory / name)
        raise


def digest(path: str | Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files with their names in sorted order."""
    path = Path(path)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    parts = [f"{file.name} {digest(file)}" for file in sorted(path.iterdir()) if file.is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
