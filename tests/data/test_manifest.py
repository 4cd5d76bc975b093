import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from vidcam.data.manifest import Row, match_labels, read_manifest, weight_labels, write_manifest
from vidcam.errors import MediaError, OptionError

HEADER = "path,label,split,start_seconds,end_seconds,group\n"
GOOD = HEADER + "a.mp4,run,train,,,x\nb.mp4,walk,test,1.5,3,y\n"


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def write(folder):
    def write(text, name="manifest.csv"):
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_read(write, folder):
    manifest = read_manifest(write(GOOD))
    assert manifest.rows == (
        Row(folder / "a.mp4", "run", "train", None, None, "x"),
        Row(folder / "b.mp4", "walk", "test", 1.5, 3.0, "y"),
    )
    assert [row.line for row in manifest.rows] == [2, 3]
    assert manifest.labels == ("run", "walk")
    assert manifest.splits == {"train": 1, "test": 1}
    assert manifest.split("test") == manifest.rows[1:]


def test_columns_may_be_few_and_in_any_order_and_the_file_from_a_spreadsheet(write):
    manifest = read_manifest(write("\ufefflabel,split,path\r\nrun,train,a.mp4\r\n\r\nwalk,train,b.mp4\r\n".encode()))
    assert [(row.label, row.line) for row in manifest.rows] == [("run", 2), ("walk", 4)]


def test_listed_labels_keep_their_order_and_lines_are_still_counted_right(write):
    manifest = read_manifest(write('# labels: ["walk", "run", "sit"]\n# more\n' + GOOD))
    assert manifest.labels == ("walk", "run", "sit")
    assert [row.line for row in manifest.rows] == [4, 5]


def test_strange_names_survive(tmp_path):
    names = [
        "#1 [best], really!!!.avi",
        "a;b(c)&d.avi",
        'q"uote.avi',
        "ünï\u2028code.avi",
        "-dash.avi",
        "new\nline.avi",
    ]
    (tmp_path / "videos").mkdir()
    rows = [Row(tmp_path / "videos" / name, "one" if i % 2 else "two", "train") for i, name in enumerate(names)]
    for row in rows:
        row.path.touch()
    write_manifest(rows, tmp_path / "manifest.csv")
    assert [row.path.name for row in read_manifest(tmp_path / "manifest.csv").rows] == names
    write_manifest(
        [replace(row, path=row.path) for row in rows], tmp_path / "videos" / "inside.csv", labels=["two", "one"]
    )
    inside = read_manifest(tmp_path / "videos" / "inside.csv")
    assert [row.path.name for row in inside.rows] == names  # the first data line begins with "#"
    assert inside.labels == ("two", "one")


def test_times_and_relative_paths_survive_elsewhere(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "lists").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "lists")
    rows = [Row(tmp_path / "data" / f"{i}.avi", str(i), "train", 0.1, 1 / 3, "g") for i in range(2)]
    for row in rows:
        row.path.touch()
    write_manifest(rows, tmp_path / "link" / "m.csv")
    read = read_manifest(tmp_path / "lists" / "m.csv").rows
    assert "../data/0.avi" in (tmp_path / "lists" / "m.csv").read_text()
    assert [(row.start_seconds, row.end_seconds) for row in read] == [(0.1, 1 / 3)] * 2
    assert read_manifest(tmp_path / "link" / "m.csv").rows[0].path.samefile(rows[0].path)


def test_digests_tell_splits_apart_and_not_places(write, folder, tmp_path):
    first = read_manifest(write(GOOD)).digests
    assert set(first) == {"train", "test"}
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    assert read_manifest(moved / "manifest.csv").digests == first
    swapped = HEADER + "b.mp4,walk,test,1.5,3,y\na.mp4,run,train,,,x\n"
    assert read_manifest(write(swapped)).digests == first
    other = read_manifest(write(GOOD.replace("1.5", "1.25"))).digests
    assert other["train"] == first["train"] and other["test"] != first["test"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (HEADER, "no rows"),
        ("path,split\na.mp4,train\n", "no column label; given path,split"),
        ("path,label,split,grup\n", "'grup'; did you mean 'group'"),
        ("path,label,split,path\n", "twice"),
        (GOOD + "c.mp4,run,train,,,\n", "line 4: there is no file"),
        (GOOD + "a.mp4,run,train,,,\n", "line 4: it lists"),
        (GOOD + "a.mp4,run,train\n", "line 4: 3 cells instead of 6"),
        (GOOD + "a.mp4,,train,,,\n", "line 4: the label is empty"),
        (GOOD + "a.mp4,run, ,,,\n", "line 4: the split is empty"),
        (GOOD + "/a.mp4,run,train,,,\n", "line 4: the path '/a.mp4' is absolute"),
        (GOOD + "a.mp4,run,train,3,2,\n", "line 4: end_seconds 2 is not after start_seconds 3"),
        (GOOD + "a.mp4,run,train,,0,\n", "line 4: end_seconds 0 is not after start_seconds 0"),
        (GOOD + "a.mp4,run,train,-1,2,\n", "line 4: start_seconds must be seconds"),
        (GOOD + "a.mp4,run,train,nan,2,\n", "line 4: start_seconds must be seconds"),
        (GOOD + "a.mp4,run,train,one,2,\n", "line 4: start_seconds must be seconds"),
        (GOOD + "a\0.mp4,run,train,,,\n", "line 4"),
        (GOOD + 'a"b.mp4,"run"x,train,,,\n', "line 4"),
        (HEADER + "a.mp4,run,train,,,x\n", "line 2: 'run' is the only class"),
        ('# labels: ["run", "walks"]\n' + GOOD, "line 4: unknown label 'walk'; did you mean 'walks'"),
        ("# labels: run walk\n" + GOOD, "line 1: the labels must be JSON"),
        ('# labels: ["run", "run"]\n' + GOOD, "line 1: the label 'run' is listed twice"),
        (GOOD.encode() + b"caf\xe9.mp4,run,train,,,\n", "line 4: it is not UTF-8"),
        (GOOD.encode("utf-16"), "line 1: it is not UTF-8"),
    ],
)
def test_bad_manifests_are_told_in_one_line_with_the_file(write, text, said):
    with pytest.raises((OptionError, MediaError)) as caught:
        read_manifest(write(text))
    message = str(caught.value)
    assert said in message and "manifest.csv" in message and "\n" not in message


def test_missing_files_are_counted_and_can_be_allowed(write):
    path = write(GOOD + "c.mp4,run,train,,,\nd.mp4,run,train,,,\n")
    with pytest.raises(MediaError, match=r"line 4: .*c\.mp4.*2 of 4 rows"):
        read_manifest(path)
    assert len(read_manifest(path, require_files=False).rows) == 4


def test_an_absent_manifest_and_a_folder_are_media_errors(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(MediaError, match="cannot read the manifest"):
            read_manifest(path)


def test_an_empty_split_names_those_there_are(write):
    with pytest.raises(OptionError, match="'tset'; did you mean 'test'"):
        read_manifest(write(GOOD)).split("tset")


def test_writing_refuses_nothing_and_what_is_there(tmp_path):
    row = Row(tmp_path / "a.mp4", "run", "train")
    with pytest.raises(OptionError, match="no videos"):
        write_manifest([], tmp_path / "m.csv")
    write_manifest([row], tmp_path / "m.csv")
    with pytest.raises(MediaError, match="exists"):
        write_manifest([row], tmp_path / "m.csv")
    with pytest.raises(MediaError, match="UTF-8"):
        write_manifest([replace(row, path=Path("caf\udce9.mp4"))], tmp_path / "n.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.csv"]


def test_labels_match_by_letters():
    labels = weight_labels("R3D_18_Weights.KINETICS400_V1")
    folders = ["skiing_(not_slalom_or_crosscountry)", "skiing_crosscountry", "massaging_persons_head", "Tai Chi"]
    assert list(match_labels(folders, labels).values()) == [
        "skiing (not slalom or crosscountry)",
        "skiing crosscountry",
        "massaging person's head",
        "tai chi",
    ]
    assert (labels.index("skiing (not slalom or crosscountry)"), labels.index("skiing crosscountry")) == (308, 309)
    # All 400 names of cleaned folders are told apart, though they sort differently.
    cleaned = ["".join(c for c in label if c not in "'()").replace(" ", "_") for label in labels]
    assert tuple(match_labels(cleaned, labels).values()) == labels
    assert sorted(cleaned) != cleaned


def test_labels_that_do_not_match():
    with pytest.raises(OptionError, match="'walkin'; did you mean 'walking'"):
        match_labels(["walkin"], ["walking", "running"])
    with pytest.raises(OptionError, match="'A B' may be 'a b' or 'ab'"):
        match_labels(["A B"], ["a b", "ab"])
    assert match_labels(["ab"], ["a b", "ab"]) == {"ab": "ab"}
    with pytest.raises(OptionError, match="no weights"):
        weight_labels("R3D_18_Weights.NONE")


def test_labels_nested_without_end(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"# labels: {'[' * 100_000}\npath,label,split\na,b,train\n")
    with pytest.raises(OptionError, match="the labels must be JSON") as caught:
        read_manifest(tmp_path / "m.csv", require_files=False)
    assert "\n" not in str(caught.value)


def test_many_labels_and_splits_take_no_longer_than_their_rows(tmp_path: Path) -> None:
    count = 20_000
    rows = [Row(tmp_path / f"{i}.mp4", f"label {i}", f"split {i}") for i in range(count)]
    write_manifest(rows, tmp_path / "m.csv", labels=[row.label for row in rows])
    begun = time.monotonic()
    told = read_manifest(tmp_path / "m.csv", require_files=False)
    assert len(told.labels) == len(told.splits) == len(told.digests) == count
    assert time.monotonic() - begun < 30  # each pair of rows compared, it was minutes
