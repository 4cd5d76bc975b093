"""Print a run's results.jsonl as tables in Markdown, which a terminal shows as well."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Line = dict[str, Any]
RESULTS = Path(__file__).with_name("results") / "results.jsonl"
HIDDEN = ("stage", "at_s", "trace", "where")
TALL = 10  # facts of a line that stands alone are listed one below the other


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    print("\n".join(render(read(path))))


def read(path: Path) -> list[Line]:
    """Read the lines; the last one may be cut."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def render(lines: list[Line]) -> Iterator[str]:
    """Give the lines of text: a heading per stage, a table per kind of measurement, and what went wrong."""
    for stage in dict.fromkeys(line["stage"] for line in lines if line["stage"] != "end"):
        mine = [line for line in lines if line["stage"] == stage]
        yield from (f"### {stage}", "")
        for rows in _alike([line for line in mine if not told(line)]):
            yield from (*_table(rows), "")
        yield from (f"- {told(line)}" for line in mine if told(line))
        yield from [""] * any(map(told, mine))
    if not lines or lines[-1]["stage"] != "end":
        yield "The run was cut short."


def told(line: Line) -> str:
    """Say what a line tells that is no measurement: an error, or that something was left out."""
    why = next((f"{kind}: {line[kind]}" for kind in ("error", "skipped", "cut") if kind in line), "")
    what = [_cell(value) for key, value in line.items() if key not in (*HIDDEN, "error", "skipped", "cut")]
    return ", ".join(what) + (": " if what else "") + why if why else ""


def _alike(lines: list[Line]) -> list[list[Line]]:
    """Put lines that tell the same things together."""
    tables: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        shown = {key: value for key, value in line.items() if key not in HIDDEN}
        tables.setdefault(tuple(shown), []).append(shown)
    return list(tables.values())


def _table(rows: list[Line]) -> Iterator[str]:
    keys = list(rows[0])
    if len(rows) == 1 and len(keys) >= TALL:
        yield from _columns([("", ""), *((key, _cell(value)) for key, value in rows[0].items())])
    else:
        yield from _columns([tuple(keys), *(tuple(_cell(row[key]) for key in keys) for row in rows)])


def _columns(cells: list[tuple[str, ...]]) -> Iterator[str]:
    """Give the rows of a table, the first being its head, aligned."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    head, *body = ("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells)
    yield from (head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *body)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else str(value).replace("|", "/")


if __name__ == "__main__":
    main()
