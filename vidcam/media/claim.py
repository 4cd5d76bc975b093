"""Claim: a file that one process at a time holds; the system lets go of it when that process ends, however it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vidcam.errors import MediaError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def claimed(path: Path, target: Path) -> Iterator[None]:
    """Hold a file that stands for `target` while the body runs; it is made, or taken over from a process that died.

    Raises:
        MediaError: another process holds it, or it cannot be made.
    """
    try:
        descriptor = _taken(path)
    except BlockingIOError:
        raise MediaError(f"another process is writing {str(target)!r}; wait for it, or choose another output") from None
    except OSError as error:
        raise MediaError(f"cannot write {str(target)!r}: {error.strerror}") from None
    try:
        yield
    finally:
        os.close(descriptor)


def is_claimed(path: Path) -> bool:
    """Tell whether a living process holds the file."""
    try:
        os.close(_taken(path, create=False))
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _taken(path: Path, *, create: bool = True) -> int:
    """Return the locked file's descriptor; a BlockingIOError says that another has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0) | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _lock(descriptor)
            if _is_at(descriptor, path):  # whoever had it before may have renamed or removed it since
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        return


def _is_at(descriptor: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    return False
