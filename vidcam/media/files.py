"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
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
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


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
