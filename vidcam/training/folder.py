"""The folder of a training run: begun, begun anew or gone on with."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vidcam.errors import OptionError
from vidcam.training.lightning import rank_zero_only
from vidcam.training.saving import LAST, read_settings
from vidcam.training.settings import RunFolder, RunSettings


def prepare_folder(
    place: RunFolder, settings: RunSettings, data: Mapping[str, Any], *, origin: str, written: Sequence[str]
) -> Path | None:
    """Make the folder and return the `last.ckpt` to go on from, if there is one.

    Args:
        place: of the run, and whether to go on or to begin anew where there is one.
        settings: of the run.
        data: what a resumed run must find again, as JSON gives it back.
        origin: what the data are of, for errors.
        written: names of the files that a run leaves; they are deleted when a run begins anew.

    Raises:
        OptionError: there is a run that shall neither go on nor be replaced, or one of other settings or data, or the
            folder cannot be made.
        ModelError: `last.ckpt` is damaged.
    """
    _make(Path(place.output), written, resume=place.resume, force=place.force)
    last = Path(place.output) / LAST
    if not place.resume or not last.exists():
        return None
    before = read_settings(last)
    settings.check_same(before)
    for name, value in data.items():
        if before.get(name, value) != value:
            raise OptionError(f"cannot resume: the {origin}'s {name} are not those of the run; use another output")
    return last


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
def _make(folder: Path, written: Sequence[str], *, resume: bool, force: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make the folder {str(folder)!r}: {error.strerror}") from None
    if not resume:
        there = [folder / name for name in written if (folder / name).exists()]
        if there and not force:
            raise OptionError(f"{there[0]} exists: resume=True goes on, force=True begins anew")
        for path in there:
            path.unlink()
