"""A user's own weights: what is accepted, and what is refused in one line."""

import io
import os
import pickle
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vidcam.errors import ModelError
from vidcam.models.checkpoint import load_into, read_checkpoint


class Net(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.Linear(4, classes)


STATE = Net().state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=0, atol=0)


@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "model.", "_orig_mod.module.model."]
)
@pytest.mark.parametrize("nested", [(), ("state_dict",), ("model",), ("model_state_dict",), ("module", "state_dict")])
def test_state_dicts(tmp_path: Path, prefix: str, nested: tuple[str, ...]) -> None:
    saved: Any = OrderedDict((prefix + key, value) for key, value in STATE.items())
    for key in reversed(nested):
        saved = {"epoch": 7, "args": {"lr": 0.1}, key: saved}
    torch.save(saved, tmp_path / "a.pth")
    found = read_checkpoint(tmp_path / "a.pth")
    same(found.state, STATE)
    assert found.rows("fc") == 3 and found.rows("head") is None
    net = Net()
    load_into(net, found, "net")
    same(net.state_dict(), STATE)


def test_which_of_several_weights_are_taken_is_said(tmp_path: Path) -> None:
    other = {key: value + 1 if value.is_floating_point() else value for key, value in STATE.items()}
    torch.save({"ema": other, "state_dict": dict(STATE), "model": {"lr": 0.1}}, tmp_path / "a.pth")
    with pytest.warns(UserWarning, match="several weights: those of 'state_dict' are taken, not 'ema'"):
        same(read_checkpoint(tmp_path / "a.pth").state, STATE)


@pytest.mark.parametrize("prefix", ["net.", "backbone.", "student.encoder.", "net.module."])
@pytest.mark.parametrize("key", [None, "ema", "weights", "model_state", "params"])
def test_whatever_stands_before_all_names_is_taken_off_where_they_then_fit(
    tmp_path: Path, prefix: str, key: str | None
) -> None:
    """Lightning modules, vidcam's own last.ckpt among them, put the name of their attribute before all."""
    state = {prefix + name: value for name, value in STATE.items()}
    torch.save(state if key is None else {key: state}, tmp_path / "a.ckpt")
    found = read_checkpoint(tmp_path / "a.ckpt")
    assert found.rows("fc") == 3
    net = Net()
    load_into(net, found, "net")
    same(net.state_dict(), STATE)


def test_a_network_whose_own_names_begin_alike_keeps_them(tmp_path: Path) -> None:
    net, other = nn.Sequential(Net()), nn.Sequential(Net())
    torch.save(net.state_dict(), tmp_path / "a.pt")
    load_into(other, read_checkpoint(tmp_path / "a.pt"), "net")
    same(other.state_dict(), net.state_dict())


def test_safetensors_with_facts(tmp_path: Path) -> None:
    save_file({f"module.{key}": value for key, value in STATE.items()}, tmp_path / "a.safetensors", {"labels": "a"})
    found = read_checkpoint(str(tmp_path / "a.safetensors"))
    same(found.state, STATE)
    assert found.facts == {"labels": "a"} and found.path.name == "a.safetensors"


def test_the_old_format(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.tar", _use_new_zipfile_serialization=False)
    same(read_checkpoint(tmp_path / "a.tar").state, STATE)


def test_half_precision_is_made_the_network_s_own(tmp_path: Path) -> None:
    torch.save(
        {key: value.half() if value.is_floating_point() else value for key, value in STATE.items()}, tmp_path / "a.pt"
    )
    net = Net()
    load_into(net, read_checkpoint(tmp_path / "a.pt"), "net")
    assert net.fc.weight.dtype == torch.float32
    torch.testing.assert_close(net.fc.weight.detach(), STATE["fc.weight"], atol=1e-3, rtol=0)


def test_what_does_not_fit_is_listed(tmp_path: Path) -> None:
    changed = dict(STATE) | {"head.weight": torch.zeros(2), "head.bias": torch.zeros(2), "fc.bias": torch.zeros(5)}
    del changed["conv.bias"]
    torch.save(changed, tmp_path / "a.pth")
    net = Net()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        load_into(net, read_checkpoint(tmp_path / "a.pth"), "mynet")
    said = str(caught.value)
    assert "does not fit mynet" in said and "\n" not in said
    assert "missing: conv.bias" in said and "unexpected: head.bias, head.weight" in said
    assert "fc.bias has shape (5,) instead of (3,)" in said
    same(net.state_dict(), before)


def test_long_lists_are_cut(tmp_path: Path) -> None:
    torch.save({f"other{i}": torch.zeros(1) for i in range(50)}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match="and 46 more") as caught:
        load_into(Net(), read_checkpoint(tmp_path / "a.pth"), "net")
    assert len(str(caught.value)) < 600


class Evil:
    """Would make a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def saved(thing: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


CODE = "pickled code, which is never run; save net.state_dict"
DAMAGED = "damaged, or neither a state dict nor safetensors"
EMPTY = "holds no tensors"
REFUSED = {
    "module.pth": (saved(nn.Linear(2, 2)), CODE),
    "text.pth": (b"these are no weights\n" * 20, DAMAGED),
    "empty.pth": (b"", DAMAGED),
    "truncated.pth": (saved(STATE)[:900], DAMAGED),
    "binary.pth": (bytes(range(256)) * 9, DAMAGED),
    "list.pth": (saved([1, 2, 3]), EMPTY),
    "number.pth": (saved(3), EMPTY),
    "no_tensors.pth": (saved({"epoch": 3}), EMPTY),
    "text.safetensors": (b"these are no weights\n" * 20, DAMAGED),
    "empty.safetensors": (b"", DAMAGED),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    data, said = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelError, match=said) as caught:
        read_checkpoint(tmp_path / name)
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_code_is_never_run(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "evil": Evil(tmp_path / "made")}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Evil(tmp_path / "made")))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(ModelError):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "made").exists()


def test_garbage_is_refused_whatever_it_holds(tmp_path: Path) -> None:
    rng = random.Random(0)
    good = saved(STATE)
    for i in range(200):
        data = rng.randbytes(rng.randint(1, 80))
        if i % 4 == 0:
            data = b"\x80\x02" + data
        if i % 4 == 1:
            at = rng.randrange(len(good) - 80)
            data = good[:at] + data + good[at + len(data) :]
        (tmp_path / "a.pth").write_bytes(data)
        try:
            read_checkpoint(tmp_path / "a.pth")
        except ModelError as error:
            assert "\n" not in str(error)


def test_a_state_dict_that_holds_itself(tmp_path: Path) -> None:
    round_and_round: dict[str, Any] = {"epoch": 1}
    round_and_round["model"] = {"net": round_and_round}
    torch.save(round_and_round, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=EMPTY):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("weight", "says"),
    [
        (torch.zeros(3, 4, dtype=torch.complex64), r"fc\.weight is complex"),
        (torch.zeros(3, 4).to_sparse(), "no plain tensor|cannot be read"),
        (torch.zeros(1).expand(2**20, 2**20), r"fc\.weight is one number repeated 1099511627776 times"),
        (torch.full((3, 4), torch.nan), r"no finite numbers: fc\.weight"),
        (torch.zeros(3, 4, dtype=torch.int8), r"no finite numbers: fc\.weight"),
    ],
)
def test_tensors_that_are_no_weights(tmp_path: Path, weight: Tensor, says: str) -> None:
    torch.save(STATE | {"fc.weight": weight}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=says) as caught:
        load_into(Net(), read_checkpoint(tmp_path / "a.pth"), "net")
    assert "\n" not in str(caught.value)


def test_a_prefix_a_thousand_times(tmp_path: Path) -> None:
    torch.save({"module." * 2000 + key: value for key, value in STATE.items()}, tmp_path / "a.pth")
    same(read_checkpoint(tmp_path / "a.pth").state, STATE)


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors", "."])
def test_what_is_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="does not exist or is no file"):
        read_checkpoint(tmp_path / name)


def test_a_weight_without_rows(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.tensor(1.0)}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth").rows("fc") is None
