"""The folder of a training run: made, and cleared where a run begins anew."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vidcam.errors import OptionError
from vidcam.training.lightning import rank_zero_only
from vidcam.training.settings import RunFolder


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


@rank_zero_only
def make_folder(place: RunFolder, written: Sequence[str]) -> None:
    """Make the folder; where a run begins anew, delete the files `written` of an earlier one.

    Raises:
        OptionError: there is a run that shall neither go on nor be replaced, or the folder cannot be made.
    """
    folder = Path(place.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make the folder {str(folder)!r}: {error.strerror}") from None
    if not place.resume:
        there = [folder / name for name in written if (folder / name).exists()]
        if there and not place.force:
            raise OptionError(f"{there[0]} exists: resume=True goes on, force=True begins anew")
        for path in there:
            path.unlink()
