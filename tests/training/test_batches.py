"""Which samples come when."""

from itertools import chain

import numpy as np
import pytest

from vidcam.training.loading import Batches, share


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_what_one_process_sees(world: int) -> None:
    whole = [sorted(batch) for batch in Batches(24, batch=6, seed=3)]
    parts = [list(Batches(24, batch=6 // world, seed=3, rank=rank, world=world)) for rank in range(world)]
    assert [sorted(chain(*batches)) for batches in zip(*parts, strict=True)] == whole
    assert sorted(chain(*whole)) == list(range(24))


def test_a_pass_may_begin_anywhere() -> None:
    batches = Batches(10, batch=3, seed=0)
    batches.place(4)
    whole = list(batches)
    batches.place(4, 2)
    assert list(batches) == whole[2:]
    assert len(batches) == len(whole) == 4  # a pass that begins later is still of one epoch
    batches.place(5)
    assert list(batches) != whole


def test_the_last_batch_is_filled_up_to_equal_parts() -> None:
    parts = [list(Batches(5, batch=2, seed=0, rank=rank, world=2)) for rank in range(2)]
    assert [len(batch) for batch in parts[0]] == [len(batch) for batch in parts[1]] == [2, 1]
    assert {i for part in parts for batch in part for i in batch} == set(range(5))


def test_balanced_sampling_draws_rare_classes_as_often() -> None:
    classes = [0] * 90 + [2] * 10
    drawn = np.concatenate(list(Batches(100, batch=10, seed=0, classes=classes)))
    batches = Batches(100, batch=10, seed=0, classes=classes)
    share = []
    for epoch in range(50):
        batches.place(epoch)
        share += [classes[i] == 2 for batch in batches for i in batch]
    assert len(drawn) == 100
    assert abs(np.mean(share) - 0.5) < 4 * 0.5 / np.sqrt(len(share))  # four standard errors


def test_shares_are_equal_and_leave_nothing_out() -> None:
    shares = [share(7, rank=rank, world=3) for rank in range(3)]
    assert [len(share) for share in shares] == [3, 3, 3]
    assert set(chain(*shares)) == set(range(7))
