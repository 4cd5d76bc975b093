"""Networks by where they are found: folders of Hugging Face and torch hub, timm, packages, a user's own file."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidcam import Preprocessing, load_model, wrap
from vidcam.errors import ModelError, OptionError
from vidcam.models import foreign
from vidcam.models.checkpoint import write_checkpoint
from vidcam.models.recipe import UntrainedWarning

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
FILE = '''
import torch
from torch import nn

import beside
import vidcam

RUNS = []


class Net(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        self.conv, self.head = nn.Conv3d(3, width, 3, 2, 1), nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.conv(x).relu().mean((2, 3, 4)))


def net(classes: int = beside.CLASSES, *, width: int = 4):
    """Three classes of nothing."""
    return Net(classes, width)


def model(width=4):
    return vidcam.Model(Net(2, width), "conv", frames=4, labels=["up", "down"])


def nothing():
    return 5


def fails():
    raise KeyError("weights")
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("CLASSES = 3\n")
    path = tmp_path / "own.py"
    path.write_text(FILE)
    return path


def test_a_function_in_a_file(file: Path) -> None:
    model = load_model(f"{file}:net", options={"width": 6, "frames": 4, "size": (16, 20)}, labels=["a", "b", "c"])
    assert (
        model.layer == "conv" and model.frames == 4 and model.preprocessing == Preprocessing((16, 20), antialias=True)
    )
    assert model.net.conv.out_channels == 6 and model.labels == ("a", "b", "c")
    assert model.name == f"{file}:net" and not model.net.training
    assert str(file.parent) not in sys.path


def test_it_may_return_a_model(file: Path) -> None:
    model = load_model(f"{file}:model", options={"width": 2})
    assert model.labels == ("up", "down") and model.net.conv.out_channels == 2


def test_options_that_are_slots_hold_for_a_model_too(file: Path) -> None:
    model = load_model(f"{file}:model", options={"frames": 5, "frame_rate": 3.0, "layer": "conv"})
    assert (model.frames, model.frame_rate, model.labels) == (5, 3.0, ("up", "down"))
    with pytest.raises(OptionError, match=r"size= is nothing to .*own.py:model: the model that it returns has a prepr"):
        load_model(f"{file}:model", options={"size": 16})


def test_a_function_in_a_package(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(file.parent)
    model = load_model("own:net", options={"frames": 4, "size": 16})
    assert model.layer == "conv" and model.net.head.out_features == 3


def test_a_returned_model_is_spread_over_the_video_whatever_its_rate(tmp_path: Path) -> None:
    code = (
        FILE.replace("import beside", "").replace("beside.CLASSES", "3").replace("frames=4,", "frames=4, frame_rate=5,")
    )
    (tmp_path / "paced.py").write_text(code)
    assert load_model(f"{tmp_path / 'paced.py'}:model").frame_rate == 5
    model = load_model(f"{tmp_path / 'paced.py'}:model", options={"sampling": "spread"})
    assert (model.sampling, model.frame_rate) == ("spread", None)
    with pytest.raises(OptionError, match="sampling='spread' takes frames of the whole video"):
        load_model(f"{tmp_path / 'paced.py'}:model", options={"sampling": "spread", "frame_rate": 4.0})


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("{}:nett", {}, r"own.py has no function 'nett'; it has Net, fails, model, net, nothing"),
        ("{}x.py:net", {}, r"there is no file '.*own.pyx.py'; a model of your own is named file.py:function"),
        ("nowhere.module:net", {}, "'nowhere.module' cannot be imported: No module named 'nowhere'"),
        ("{}:nothing", {}, "own.py:nothing must return an nn.Module or a vidcam.Model; it returned int"),
        ("{}:fails", {}, "own.py:fails failed: KeyError: 'weights'"),
        ("{}:net", {"depth": 3}, "unknown option of .*own.py:net 'depth'"),
        ("{}:net", {"frames": 4}, r"several shapes.*say preprocessing=vidcam.Preprocessing\(\(H, W\)\) or processor="),
        ("{}:net", {}, "say frames= and preprocessing="),
        ("hf:{}", {}, "hf:.*own.py cannot be built"),
        ("timm:resnet17", {}, "timm:resnet17 cannot be built: RuntimeError: Unknown model"),
        ("hub:nowhere:net", {}, "there is no folder 'nowhere'; to run code of a repository, say trust=True"),
        ("r3d", {}, "unknown model 'r3d'.*did you mean.*; or hf:REPOSITORY_OR_FOLDER, timm:NAME, hub:FOLDER:NAME"),
    ],
)
def test_what_is_not_there_is_one_line(file: Path, name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises((ModelError, OptionError), match=said) as refused:
        load_model(name.format(file), options=options, weights=None if name.startswith("timm") else "DEFAULT")
    assert "\n" not in str(refused.value)


def test_broken_code_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def net(:\n")
    with pytest.raises(ModelError, match=r"broken.py cannot be imported: SyntaxError"):
        load_model(f"{tmp_path / 'broken.py'}:net")


def test_a_checkpoint_keeps_where_it_is_found(file: Path, tmp_path: Path) -> None:
    options = {"width": 6, "frames": 4, "size": (16, 20)}
    model = load_model(f"{file}:net", options=options, labels=["a", "b", "c"])
    path = write_checkpoint(model, tmp_path / "own.safetensors")
    again = load_model(f"{file}:net", checkpoint=path)
    assert again.labels == ("a", "b", "c") and again.preprocessing == model.preprocessing
    assert again.weights == "checkpoint own.safetensors"
    assert all(
        torch.equal(one, other) for one, other in zip(model.net.parameters(), again.net.parameters(), strict=True)
    )


def test_no_checkpoint_has_code_run(file: Path, tmp_path: Path) -> None:
    path = write_checkpoint(load_model(f"{file}:model"), tmp_path / "own.safetensors")
    file.write_text("raise SystemExit('this was run')")
    with pytest.raises(ModelError, match=r"own.py:model, which is code, and run only where it is named"):
        load_model(None, checkpoint=path)


def test_a_package_registers_its_own(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(file.parent)
    points = [EntryPoint("theirs", "own:net", foreign.GROUP)]
    monkeypatch.setattr(foreign, "entry_points", lambda group, name=None: [p for p in points if name in (None, p.name)])
    assert foreign.registered() == ["theirs"]
    assert load_model("theirs", options={"frames": 4, "size": 16}).net.head.out_features == 3
    with pytest.raises(ModelError, match=r"unknown model 'their'.*'theirs'"):
        load_model("their")


def videomae(folder: Path, **told: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.VideoMAEConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_frames=4,
        image_size=32,
        patch_size=8,
        **told,
    )
    torch.manual_seed(0)
    net = transformers.VideoMAEForVideoClassification(config).eval()
    net.save_pretrained(folder)
    processor = transformers.VideoMAEImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    return net


def test_a_folder_of_hugging_face(tmp_path: Path) -> None:
    net = videomae(tmp_path, id2label={0: "wave", 1: "clap"}, label2id={"wave": 0, "clap": 1})
    model = load_model(f"hf:{tmp_path}")
    assert model.labels == ("wave", "clap") and model.frames == 4 and model.input_layout == "b t c h w"
    assert (model.preprocessing.resize, model.preprocessing.crop) == (40, (32, 32))
    assert model.preprocessing.mean == (0.5, 0.5, 0.5) and model.layer == "videomae"
    x = torch.rand(1, 4, 3, 32, 32)
    assert torch.equal(model.net(x).logits, net(x).logits)
    with pytest.warns(UntrainedWarning, match="has no weights for classifier.bias, classifier.weight: train it"):
        other = load_model(f"hf:{tmp_path}", options={"classes": 5}, labels=list("abcde"))
    assert other.net(x).logits.shape == (1, 5)


def test_a_head_that_the_folder_lacks_is_said(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    videomae(tmp_path)
    transformers.VideoMAEModel.from_pretrained(tmp_path).save_pretrained(tmp_path)
    with pytest.warns(UntrainedWarning, match=r"has no weights for classifier.bias, classifier.weight"):
        load_model(f"hf:{tmp_path}")


def test_a_network_of_timm() -> None:
    pytest.importorskip("timm")
    with pytest.warns(UntrainedWarning, match="timm:test_resnet is untrained"):
        model = load_model("timm:test_resnet", weights=None, options={"classes": 3})
    assert (model.input_layout, model.frames) == ("b c h w", 1)
    assert model.preprocessing == Preprocessing.from_processor(model.net.pretrained_cfg)
    frame = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    assert model.net(model.batch([[model.prepare(frame)]])).shape == (1, 3)


def test_a_folder_of_torch_hub(tmp_path: Path) -> None:
    (tmp_path / "hubconf.py").write_text(FILE.replace("import beside", "").replace("beside.CLASSES", "3"))
    model = load_model(f"hub:{tmp_path}:net", options={"width": 5, "frames": 4, "size": 16})
    assert model.net.conv.out_channels == 5 and model.layer == "conv"


def test_wrapped_by_name_and_by_hand(file: Path) -> None:
    """The same slots, so the same explanation."""
    by_name = load_model(f"{file}:net", options={"frames": 4, "size": 16})
    by_hand = wrap(by_name.net, frames=4, preprocessing=Preprocessing((16, 16), antialias=True))
    for slot in ("layer", "layout", "input_layout", "frames", "preprocessing", "labels", "activation"):
        assert getattr(by_name, slot) == getattr(by_hand, slot)
