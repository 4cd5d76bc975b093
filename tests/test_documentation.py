"""The documents hold: every code block of README and docs runs, and whatever they name is there."""

import ast
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from fractions import Fraction
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

import vidcam
from vidcam.__main__ import main
from vidcam.attribution.methods import METHODS
from vidcam.cli import COMMANDS
from vidcam.data.synthetic import drive, motion_clip, write_drives
from vidcam.media import VideoWriter
from vidcam.models.build import MODELS
from vidcam.models.sfmlearner import pose_and_depth
from vidcam.types import Pixels

ROOT = Path(__file__).parents[1]
HOUSE = ("vidcam", "docs", "datasets", "experiments")
TEXTS = sorted(path for path in ROOT.glob("*.*") if path.suffix in (".md", ".toml", ".cff"))
TEXTS += sorted(path for top in HOUSE for kind in ("*.md", "*.toml", "*.py") for path in (ROOT / top).rglob(kind))
MARKDOWN = [path for path in TEXTS if path.suffix == ".md"]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RATE = Fraction(30)

SKIPPED = ("python", "pip", "git", ".ci/check", "make", "source")
"""Commands that are not vidcam's: they set up."""
SMALL = {
    "train": "--epochs 1 --batch 2 --test-clips 1 --logger none --accelerator cpu --option hidden=8 --option frames=4 "
    "--option frame_rate=8 --option size=[32,32]",
    "test": "--accelerator cpu",
    "train-odometry": "--epochs 1 --size 32 104 --no-skip-static --logger none --accelerator cpu",
    "rank": "--draws 1",
}
"""Options that make a command of the documents short."""


def blocks(page: Path, language: str) -> Iterator[tuple[str, str]]:
    """Yield the heading and the text of every block of a language."""
    heading = ""
    for match in re.finditer(r"^#+ (.+?)$|^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        heading = match[1] or heading
        if match[3] is not None and match[2] == language:
            yield heading, match[3]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of a block: lines, joined where they end in a backslash, and split where && stands."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in line.split("&&"):
            if words := shlex.split(part, comments=True):
                yield words


class Conv(nn.Module):
    """A network of one named convolution, for videos or for single pictures."""

    def __init__(self, layer: str, out: int, *, video: bool) -> None:
        super().__init__()
        convolution = nn.Conv3d(3, 4, (1, 8, 8), (2, 8, 8)) if video else nn.Conv2d(3, 4, 8, 8)
        self.layer = layer
        self.add_module(layer, convolution)
        self.head = nn.Linear(4, out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, T, H, W) or (B, 3, H, W) -> (B, out)"""
        read: Tensor = self.head(self.get_submodule(self.layer)(x).relu().flatten(2).mean(2))
        return read


NAMES: dict[str, Callable[[], dict[str, Any]]] = {
    "Explain any regressor": lambda: {"net": Conv("conv5", 1, video=False), "angles": np.linspace(-1, 1, 12)},
    "Explain your own network": lambda: {"net": Conv("layer4", 2, video=True), "x": torch.rand(1, 3, 16, 112, 112)},
}
"""What a reader has of his own, by the heading where the text speaks of it."""


def write(path: Path, pixels: Pixels, rate: Fraction = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, width=pixels.shape[2], height=pixels.shape[1], rate=rate) as writer:
        for picture in pixels:
            writer.write(picture)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the documents speak of: videos, a folder of clips, and two drives in KITTI's layout."""
    folder = tmp_path_factory.mktemp("files")
    moving = motion_clip(1, width=96, height=72, frames=32).pixels
    for name, frames in {"clip.mp4": 32, "wave.mp4": 24, "drive.mp4": 12}.items():
        write(folder / name, moving[:frames])
    for i, (label, who) in enumerate(product(("wave", "clap"), ("ann", "bob", "cid", "dan"))):
        write(folder / "clips" / label / f"{who}_1.mp4", motion_clip(i, frames=24, width=64, height=48).pixels)
    write_drives(folder / "dataset", {name: drive(int(name), frames=12, size=(32, 104)) for name in ("09", "10")})
    return folder


@pytest.fixture
def here(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with small files, small networks, and random weights in place of published ones."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    get_model = torchvision.models.get_model
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights=None, **more: get_model(name, **more))
    monkeypatch.setattr(pose_and_depth, "DEPTH_PLANES", (8, 16, 16, 16, 16, 16, 16))
    monkeypatch.setattr(pose_and_depth, "DECODED", (8, 8, 16, 16, 16, 16, 16))


@pytest.fixture
def tables() -> Iterator[None]:
    """Take away again what a block adds to the tables of the house."""
    with patch.dict(METHODS), patch.dict(MODELS):
        yield


def made_and_not_ignored(given: set[str]) -> list[str]:
    """What has come into the folder that git would show."""
    patterns = [line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").splitlines()]
    made = [path.name for path in Path().iterdir() if path.name not in given]
    return [name for name in made if not any(fnmatch(name, pattern) for pattern in patterns)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run_in_order(page: Path, here: None, tables: None) -> None:
    known: dict[str, Any] = {}
    given = {path.name for path in Path().iterdir()}
    for heading, text in blocks(page, "python"):
        known |= NAMES.get(heading, dict)()
        exec(compile(text, f"{page.name}: {heading}", "exec"), known)
    assert "vidcam" in known
    assert made_and_not_ignored(given) == []


def test_what_is_prepared_is_needed() -> None:
    spoken = {heading for page in PAGES for heading, _ in blocks(page, "python")}
    assert set(NAMES) <= spoken


@pytest.mark.parametrize(
    ("heading", "text"), [pytest.param(*block, id=block[0]) for page in PAGES for block in blocks(page, "bash")]
)
def test_commands_run_in_order(heading: str, text: str, here: None) -> None:
    pytest.importorskip("lightning")
    given = {path.name for path in Path().iterdir()}
    for words in commands(text):
        assert words[0] in ("vidcam", *SKIPPED), words
        if words[0] == "vidcam":
            assert main([*words[1:], *SMALL.get(words[1], "").split()]) == 0, words
    assert made_and_not_ignored(given) == []


# What the documents name


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    thing: Any = import_module("vidcam")
    parts = name.split(".")
    for i, part in enumerate(parts[1:], start=2):
        try:
            thing = import_module(".".join(parts[:i]))
        except ImportError:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
    return True


def test_every_dotted_name_is_there() -> None:
    named = {
        (name, path.relative_to(ROOT).as_posix())
        for path in TEXTS
        for name in re.findall(r"(?<![\w./])vidcam(?:\.[A-Za-z_]\w*)+", path.read_text("utf-8"))
    }
    known = {name: resolves(name) for name in {name for name, _ in named}}
    assert len(known) > 100
    assert not sorted((name, path) for name, path in named if not known[name])


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").rglob("*.py")), ids=lambda path: path.parent.name)
def test_experiments_import_what_is_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "vidcam":
            module = import_module(str(node.module))
            assert not [
                a.name for a in node.names if not hasattr(module, a.name) and not resolves(f"{node.module}.{a.name}")
            ]


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_files_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            there = page.parent / path if path else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target
    for name in re.findall(r"`([\w./-]+\.(?:py|toml|cff|sh))`", text):
        assert any((place / name).exists() for place in (page.parent, ROOT, ROOT / "vidcam")), name


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_are_there(page: Path) -> None:
    code = re.findall(r"^```\w*\n.*?^```$|`[^`]+`", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    named = re.findall(r"(?:^|`|&& |python -m )vidcam ([a-z][a-z-]+)", "\n".join(code), re.MULTILINE)
    assert not [name for name in named if name not in COMMANDS]


def test_the_version_is_the_same_everywhere() -> None:
    (cited,) = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    newest = re.findall(r"^## \[?([\d.]+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[0]
    assert cited == newest == vidcam.__version__
