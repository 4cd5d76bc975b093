"""Find what is wrong with the videos of a manifest before a training run does."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vidcam.data.manifest import Manifest, Row, read_manifest
from vidcam.data.sampling import ClipSource
from vidcam.errors import MediaError
from vidcam.media.files import digest
from vidcam.media.prefetching import each
from vidcam.media.reader import check_backend
from vidcam.options import Declared

Told = Callable[[int, int], None]  # how many videos have been looked at, and of how many
KINDS = ("unreadable", "short", "duplicate", "both sides")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a row."""

    kind: str
    """A name of `KINDS`."""
    line: int
    path: str
    about: str


@dataclass(frozen=True)
class Report:
    """What a check tells."""

    manifest: str
    videos: int
    splits: dict[str, int]
    problems: tuple[Problem, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many problems there are of each kind."""
        counts = Counter(problem.kind for problem in self.problems)
        return {kind: counts[kind] for kind in KINDS}

    def lines(self) -> Iterator[str]:
        """Say it for people: a line for each problem, then a summary."""
        for problem in self.problems:
            yield f"{self.manifest}, line {problem.line}: {problem.about}"
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.counts.items() if count)
        yield f"{self.videos} videos checked: {kinds or 'nothing wrong'}"

    def as_dict(self) -> dict[str, Any]:
        """Say it for programs."""
        return asdict(self) | {"counts": self.counts}


def check_manifest(
    manifest: Manifest | str | Path,
    *,
    min_seconds: float = 0.5,
    backend: str = "auto",
    workers: int = 4,
    progress: Told | None = None,
) -> Report:
    """Look at every video of a manifest: unreadable, too short, a copy of another, or from a source on both sides.

    Of every video the packets are read, and the first and the last frame of the row are decoded.

    Args:
        manifest: one that was read with `require_files=False`, or its path.
        min_seconds: what counts as too short.
        backend: which reader decodes, see `vidcam.media`.
        workers: how many videos are looked at at a time.
        progress: called with the number of videos looked at, and of all.

    Raises:
        MediaError: the manifest itself cannot be read.
        OptionError: the manifest is no manifest.
    """
    check_backend(backend)
    for name, value, least in (("min_seconds", min_seconds, 0), ("workers", workers, 1)):
        Declared(help=name, least=least).refuse(name, value)
    if not isinstance(manifest, Manifest):
        manifest = read_manifest(manifest, require_files=False)
    problems = [
        *looked(manifest.rows, min_seconds=min_seconds, backend=backend, workers=workers, progress=progress),
        *_duplicates(manifest.rows, workers),
        *_both_sides(manifest.rows),
    ]
    ordered = tuple(sorted(problems, key=lambda problem: (problem.line, problem.path)))
    return Report(str(manifest.path), len(manifest.rows), manifest.splits, ordered)


def looked(
    rows: Sequence[Row], *, min_seconds: float = 0.0, backend: str = "auto", workers: int, progress: Told | None = None
) -> Iterator[Problem]:
    """Look at every video, see `check_manifest`, and yield those that cannot be read or are too short."""
    with closing(each(partial(_look, min_seconds=min_seconds, backend=backend), rows, workers)) as found:
        for done, problem in enumerate(found, start=1):
            if progress is not None:
                progress(done, len(rows))
            if problem is not None:
                yield problem


def _look(row: Row, *, min_seconds: float, backend: str) -> Problem | None:
    """Read one video's packets, and decode its first and last frame."""
    try:
        source = ClipSource(row, backend=backend)
        source.read(source.ends)
    except (MediaError, OSError) as error:
        return _problem("unreadable", row, " ".join(str(error).split()))
    if source.duration_seconds < min_seconds:
        frames = f"{len(source.seconds)} frame{'s' * (len(source.seconds) > 1)}"
        about = f"{str(row.path)!r} lasts {source.duration_seconds:.2f} s ({frames}), less than {min_seconds:g} s"
        return _problem("short", row, about)
    return None


def _duplicates(rows: Iterable[Row], workers: int) -> Iterator[Problem]:
    """Yield files with the same bytes; only those of the same size are read for that."""
    by_size: defaultdict[int, dict[Path, Row]] = defaultdict(dict)
    for row in rows:
        if row.path.exists():
            by_size[_size(row.path)].setdefault(row.path, row)
    suspects = [row for same in by_size.values() if len(same) > 1 for row in same.values()]
    first: dict[str, Row] = {}
    with closing(each(_digest, suspects, workers)) as digests:
        for row, key in zip(suspects, digests, strict=True):
            other = first.setdefault(key, row)
            if other is not row:
                yield _problem("duplicate", row, f"{str(row.path)!r} is the same video as {_named(other, row)}")


def _both_sides(rows: Iterable[Row]) -> Iterator[Problem]:
    """Yield, for every group and every file that stands in more than one split, its first row in each further split."""
    first: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.split == "unused":  # nothing is trained or tested on it
            continue
        names = [f"group {row.group!r}"] if row.group else []
        for name in (*names, repr(str(row.path.resolve()))):
            sides = first.setdefault(name, {})
            if sides and row.split not in sides:
                other = next(iter(sides.values()))
                about = f"{name} is in {row.split} here and in {other.split} in line {other.line}"
                yield _problem("both sides", row, about)
            sides.setdefault(row.split, row)


def _named(other: Row, row: Row) -> str:
    """Tell where the other copy stands, and what is worse than a copy."""
    facts = [f"line {other.line}, {str(other.path)!r}"]
    facts += [f"which is in {other.split} and not in {row.split}"] if other.split != row.split else []
    facts += [f"and labeled {other.label!r} instead of {row.label!r}"] if other.label != row.label else []
    return ", ".join(facts)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.iterdir())


def _digest(row: Row) -> str:
    try:
        return digest(row.path)
    except OSError:
        return f"unreadable: {row.path}"


def _problem(kind: str, row: Row, about: str) -> Problem:
    return Problem(kind, row.line, str(row.path), about)
