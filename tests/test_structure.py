"""The house rules that can be read from the sources."""

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import vidcam

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vidcam"
LEVELS = {
    **dict.fromkeys(("errors", "types", "options"), 0),
    **dict.fromkeys(("media", "attribution"), 1),
    "data": 2,
    "models": 3,
    "explaining": 4,
    **dict.fromkeys(("metrics", "rendering", "training", "odometry"), 5),
    **dict.fromkeys(("cli", "__main__"), 7),
}
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
MODULES = [info.name for info in pkgutil.walk_packages(vidcam.__path__, "vidcam.")]
TRACKED = ("*.py", "*.md", "*.toml", "*.txt", "*.json", "*.yml", "*.yaml", "*.cfg", "run")


def module_name(path: Path) -> str:
    """vidcam/media/__init__.py -> vidcam.media"""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    """The modules of vidcam that a file imports anywhere, functions included, by their full names."""
    known = {module_name(source) for source in SOURCES}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("vidcam"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            if (node.module or "").split(".")[0] == "vidcam":
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    yield full if full in known else str(node.module)


def level(module: str) -> int:
    parts = module.split(".")
    return LEVELS[parts[1]] if len(parts) > 1 else max(LEVELS.values())


def test_every_module_has_a_level() -> None:
    assert {module_name(path).split(".")[1] for path in SOURCES} <= set(LEVELS)


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_go_down(path: Path) -> None:
    name = module_name(path)
    for other in imported(path):
        if other == "vidcam":  # the public names, loaded lazily: only for the command line
            assert level(name) == 7, f"{name} imports the package itself"
        else:
            assert level(other) <= level(name), f"{name} (level {level(name)}) imports {other} (level {level(other)})"


def test_little_lies_flat() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == {"__init__", "__main__", "errors", "types"}


def test_there_are_ten_floors_at_most() -> None:
    """The longest way down through the rooms, counted as rooms."""
    room = {name: ".".join(name.split(".")[:2]) for name in map(module_name, SOURCES)}
    below: dict[str, set[str]] = {}
    for path in SOURCES:
        own = room[module_name(path)]
        below.setdefault(own, set()).update(room[other] for other in imported(path) if other in room)
    height: dict[str, int] = {}
    for name in TopologicalSorter({name: others - {name} for name, others in below.items()}).static_order():
        height[name] = 1 + max((height[other] for other in below[name] - {name}), default=0)
    assert max(height.values()) <= 10


def test_modules_are_short() -> None:
    assert not [path.name for path in SOURCES if len(path.read_text(encoding="utf-8").splitlines()) >= 350]


def test_no_two_types_have_one_name() -> None:
    homes: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(module_name(path))
            elif isinstance(node, ast.Assign) and isinstance(name := node.targets[0], ast.Name):
                if re.fullmatch(r"[A-Z]\w*[a-z]\w*", name.id):  # an alias of a type
                    homes.setdefault(name.id, []).append(module_name(path))
    assert not {name: modules for name, modules in homes.items() if len(modules) > 1}


def test_imports_have_no_cycles() -> None:
    graph = {
        module_name(path): {o for o in imported(path) if o not in ("vidcam", module_name(path))} for path in SOURCES
    }
    assert len(list(TopologicalSorter(graph).static_order())) >= len(SOURCES)  # raises CycleError


def test_public_names_are_sorted_and_reachable() -> None:
    assert vidcam.__all__ == sorted(vidcam.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = vidcam.nonsense  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["vidcam", *(f"vidcam.{room}" for room in vidcam._ROOMS)])
def test_rooms_offer_what_they_name(name: str) -> None:
    """Each name stands for one thing, the same wherever it is taken from, and never for a module of that name."""
    room = import_module(name)
    hidden = {module.rpartition(".")[2] for module in MODULES if module.rpartition(".")[0] == name}
    if name != "vidcam":
        assert not hidden & set(room.__all__)
    if hasattr(room, "_HOMES"):
        assert dir(room) == room.__all__
    for public in room.__all__:
        assert getattr(room, public) is not None
        if public in vidcam._HOMES:
            assert getattr(room, public) is getattr(vidcam, public)


@pytest.mark.parametrize("name", ["vidcam", "vidcam.rendering"])
def test_public_names_that_type_checkers_see_are_the_same(name: str) -> None:
    room = import_module(name)
    tree = ast.parse(Path(str(room.__file__)).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == room._HOMES | dict.fromkeys(getattr(room, "_ROOMS", ()), "vidcam")


def test_rooms_are_reached_from_the_package_alone() -> None:
    code = "import vidcam; assert callable(vidcam.metrics.deletion) and vidcam.models.Extra is vidcam.Extra"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_script_that_only_names_vidcam_loads_nothing_heavy() -> None:
    code = "import sys, vidcam; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "matplotlib", "av", "typer"} & set(loaded)


def test_the_command_line_loads_nothing_heavy() -> None:
    code = "import sys, vidcam.cli, vidcam.__main__; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "typer" in loaded
    assert not {"torch", "torchvision", "numpy", "matplotlib", "av", "einops"} & set(loaded)


def test_no_folder_hides_another_package() -> None:
    assert not list((ROOT / "datasets").rglob("*.py"))
    assert not (ROOT / "experiments" / "__init__.py").exists()


def test_an_editable_install_offers_vidcam_and_nothing_else(tmp_path: Path) -> None:
    """Were the root on the path, datasets/ would pass for Hugging Face's; what pip would install is unpacked here."""
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    editables = Path(pytest.importorskip("editables").__file__).parents[1]
    with zipfile.ZipFile(next(builder.build(directory=str(tmp_path), versions=["editable"]))) as wheel:
        wheel.extractall(tmp_path / "site")
    code = f"""import site, sys, importlib.util
sys.path.append({str(editables)!r})
site.addsitedir({str(tmp_path / "site")!r})
for name in ("vidcam", "datasets", "experiments", "tests"):
    for place in getattr(importlib.util.find_spec(name), "submodule_search_locations", ()):
        print(place)
"""
    command = [sys.executable, "-I", "-S", "-c", code]
    places = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.splitlines()
    assert [Path(place).name for place in places if Path(place).parent == ROOT] == ["vidcam"]


def test_names_say_something() -> None:
    empty = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
    for top in ("vidcam", "tests", "experiments", "datasets"):
        names = {part for path in (ROOT / top).rglob("*") for part in path.relative_to(ROOT).with_suffix("").parts}
        assert not names & empty


@pytest.mark.parametrize("name", ["vidcam", *MODULES])
def test_every_public_thing_has_a_docstring(name: str) -> None:
    module = import_module(name)
    assert module.__doc__
    own = {n: o for n, o in vars(module).items() if not n.startswith("_") and getattr(o, "__module__", "") == name}
    assert not [n for n, thing in own.items() if inspect.isroutine(thing) and not thing.__doc__]
    classes = {n: thing for n, thing in own.items() if inspect.isclass(thing)}
    assert not [n for n, thing in classes.items() if not thing.__doc__]
    assert not [f"{n}.{m}" for n, thing in classes.items() for m in undocumented(thing)]


def undocumented(thing: type) -> Iterator[str]:
    """A class's own public methods and properties without a docstring; one that overrides inherits it."""
    for name, member in vars(thing).items():
        routine = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if not name.startswith("_") and (inspect.isfunction(routine) or isinstance(routine, property)):
            if inspect.getdoc(getattr(thing, name)) is None:
                yield name


def test_no_file_names_a_package_registry() -> None:
    hosts = ["pypi" + ".org", "python" + "hosted.org", "download." + "pytorch.org/whl", "conda." + "anaconda.org"]
    for top in (ROOT, *(ROOT / name for name in ("vidcam", "tests", "experiments", "datasets", ".ci"))):
        for pattern in TRACKED:
            for path in top.glob(pattern) if top == ROOT else top.rglob(pattern):
                text = path.read_text(encoding="utf-8", errors="replace").casefold()
                assert not [host for host in hosts if host in text], path


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_names_every_method(readme: str) -> None:
    from vidcam.attribution.methods import METHODS

    assert not [name for name in METHODS if not re.search(rf"\b{name}\b", readme)]


def test_the_readme_names_every_command(readme: str) -> None:
    from vidcam.cli import COMMANDS

    assert len(COMMANDS) >= 5
    assert not [name for name in COMMANDS if f"vidcam {name}" not in readme]


def test_the_readme_names_every_model(readme: str) -> None:
    from vidcam.models.build import MODELS

    assert not [name for name in MODELS if not re.search(rf"\b{name}\b", readme)]


def test_ci_runs_the_readme_s_test_command(readme: str) -> None:
    """A fenced block follows the line that says "Run the tests"; .ci/run holds the same commands, line by line."""
    blocks = re.findall(r"^[^\n]*Run the tests[^\n]*\n+```\w*\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    run = [line.strip() for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()]
    commands = [line.strip() for line in blocks[0].splitlines() if line.strip()]
    assert commands
    assert not [command for command in commands if command not in run]


def test_only_a_training_step_seeds_all_devices() -> None:
    """`torch.manual_seed` seeds GPUs for good, also within a fork of the CPU's numbers: `seeded` is for that."""
    found = {path.name for path in SOURCES if re.search(r"\btorch\.(random\.)?manual_seed\(", path.read_text("utf-8"))}
    assert found == {"module.py"}
