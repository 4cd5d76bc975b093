"""Files and folders that appear whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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
