"""Name the wheels beside this script whose package this Python lacks, or has too old for vidcam."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
WHEELS = HERE / "wheels"
PROJECT = HERE.parents[1] / "pyproject.toml"


def main() -> None:
    floors = wanted()
    for wheel in sorted(WHEELS.glob("*.whl")):
        if is_lacking(name := normal(wheel.name.split("-")[0]), floors.get(name, ())):
            print(wheel)


def is_lacking(name: str, floor: tuple[int, ...]) -> bool:
    """Whether a package is absent or below the floor."""
    try:
        return numbers(version(name)) < floor
    except PackageNotFoundError:
        return True


def wanted() -> dict[str, tuple[int, ...]]:
    """Return the lowest version that the project takes, by package."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    listed = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    pairs = [re.match(r"([\w.-]+)>=([\d.]+)", line) for line in listed]
    return {normal(pair[1]): numbers(pair[2]) for pair in pairs if pair}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.split("+")[0]))


if __name__ == "__main__":
    main()
