"""Files and folders that appear whole or not at all, several of them together, and their fingerprint."""

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vidcam.errors import MediaError


@contextmanager
def replacing(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to it on success and removed on any exception.

    The suffix stays (`.clip.4f1c9a2e.part.mp4` for `clip.mp4`), so that encoders know the format.

    Raises:
        MediaError: before the body runs, if `path` exists and `force` is not set or its folder cannot be written;
            after it, if the body wrote nothing.
    """
    path = Path(path)
    check_replaceable(path, force=force)
    temporary = _reserve(path)
    try:
        yield temporary
        _rename(temporary, path, force=force)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `folder` when all went well and is removed otherwise.

    What was there is deleted last, and is back where the new folder cannot take its place.
    """
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    part.mkdir(parents=True)
    try:
        yield part
        _swap(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _swap(part: Path, folder: Path) -> None:
    aside = part.with_suffix(".old")
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
        shutil.rmtree(aside) if aside.is_dir() and not aside.is_symlink() else aside.unlink()


def check_replaceable(path: Path, *, force: bool = False) -> None:
    """Raise a MediaError if `path` exists and `force` is not set, or if there is no folder to write it to."""
    if path.is_dir():
        raise MediaError(f"cannot write {str(path)!r}: it is a folder")
    if os.path.lexists(path) and not force:
        raise MediaError(f"{str(path)!r} exists; force=True replaces it")
    if not path.parent.is_dir():
        raise MediaError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}")


def _reserve(path: Path) -> Path:
    """Create an empty file of an unused name beside `path`."""
    stem = path.stem.lstrip(".")[:50]
    temporary = path.with_name(f".{stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        temporary.open("xb").close()
    except OSError as error:
        raise MediaError(f"cannot write {str(path)!r}: {error.strerror}") from None
    return temporary


def _rename(temporary: Path, path: Path, *, force: bool) -> None:
    if not temporary.exists() or temporary.stat().st_size == 0:
        raise MediaError(f"nothing was written to {str(path)!r}")
    check_replaceable(path, force=force)  # somebody else may have written it meanwhile
    os.replace(temporary, path)


@contextmanager
def staged(directory: str | Path, names: Sequence[str], *, force: bool = False) -> Iterator[Path]:
    """Give a temporary folder to write files of these names into; move them into `directory` when all went well.

    The directory is made if need be. After an exception, nothing is left of either.

    Raises:
        MediaError: the directory cannot be written, or one of the files exists and `force` is not set.
    """
    directory = Path(directory)
    check_free(directory, names, force=force)
    with leaving_none_empty(directory):
        part = _part_in(directory)
        try:
            yield part
            _move(part, directory, names)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    part.rmdir()


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
    for path in (directory / name for name in names):
        if os.path.isdir(path):
            raise MediaError(f"cannot write {path}: it is a folder")
        if os.path.lexists(path) and not force:
            raise MediaError(f"{path} exists already; use force=True to replace it")


def _part_in(directory: Path) -> Path:
    """Make a temporary folder in a directory, and that one if need be."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".vidcam.part.", dir=directory))
    except OSError as error:
        reason = error.strerror or str(error)
        raise MediaError(f"cannot write into the directory {directory}: {reason}") from None


def _move(part: Path, directory: Path, names: Sequence[str]) -> None:
    """Move all files, or none if one is missing or cannot be put in its place."""
    missing = [name for name in names if not (part / name).is_file()]
    if missing:
        raise MediaError(f"nothing was written to {directory / missing[0]}")
    check_free(directory, names, force=True)
    for name in names:
        os.replace(part / name, directory / name)


def digest(path: str | Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files with their names in sorted order."""
    path = Path(path)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    parts = [f"{file.name} {digest(file)}" for file in sorted(path.iterdir()) if file.is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
