"""Several files that appear together or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vidcam.errors import MediaError


@contextmanager
def staged(directory: str | Path, names: Sequence[str], *, force: bool = False) -> Iterator[Path]:
    """Give a temporary folder to write files of these names into; move them into `directory` when all went well.

    The directory is made if need be. After an exception, nothing is left of either.

    Raises:
        MediaError: the directory cannot be written, or one of the files exists and `force` is not set.
    """
    directory = Path(directory)
    taken = [name for name in names if (directory / name).exists()]
    if taken and not force:
        raise MediaError(f"{directory / taken[0]} exists already; use --force (force=True) to replace it")
    made = _make(directory)
    part = None
    try:
        part = Path(tempfile.mkdtemp(prefix=".vidcam.part.", dir=directory))
        yield part
        for name in names:
            os.replace(part / name, directory / name)
    except BaseException:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
        for parent in reversed(made):
            parent.rmdir()
        raise
    else:
        part.rmdir()


def _make(directory: Path) -> list[Path]:
    """Make the directory and its parents; return those that were not there, outermost first."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()][::-1]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError("permission denied")
    except OSError as error:
        reason = error.strerror or str(error)
        raise MediaError(f"cannot write into the directory {directory}: {reason}") from None
    return missing
