"""The rehearsal memory: its reservoir against a loop over rows, and what it keeps through a save."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.weights.batch import Batch
from remanence.weights.replay.memory import Memory


def _offer(memory: Memory, sizes: list[int]) -> None:
    seen = 0
    for number, size in enumerate(sizes):
        ids = torch.arange(seen, seen + size)
        batch = Batch(ids.float().unsqueeze(1), ids % 3, ids, size)
        memory.reservoir(batch, torch.Generator().manual_seed(number))
        seen += size


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 25))
def test_reservoir_equals_a_loop_over_rows(sizes: list[int], size: int) -> None:
    memory = Memory(size)
    _offer(memory, sizes)
    slots: dict[int, int] = {}
    seen = 0
    for number, count in enumerate(sizes):
        numbers = torch.rand(count, generator=torch.Generator().manual_seed(number), dtype=torch.float64).tolist()
        for number_drawn in numbers:
            slot = seen if seen < size else int(number_drawn * (seen + 1))
            if slot < size:
                slots[slot] = seen
            seen += 1
    assert len(memory) == min(size, seen) and memory.seen == seen
    assert memory.ids[: len(memory)].tolist() == [slots[slot] for slot in range(len(memory))]


def test_every_row_is_kept_about_equally_often() -> None:
    counts = torch.zeros(60)
    for trial in range(400):
        memory = Memory(15)
        for start in range(0, 60, 10):
            ids = torch.arange(start, start + 10)
            draw = torch.Generator().manual_seed(1000 * trial + start)
            memory.reservoir(Batch(ids.float().unsqueeze(1), ids, ids, 10), draw)
        counts[memory.ids] += 1
    expected, deviation = 400 * 0.25, (400 * 0.25 * 0.75) ** 0.5
    assert float((counts - expected).abs().max()) < 4.5 * deviation


def test_what_was_seen_is_kept_through_structure() -> None:
    memory = Memory(4)
    _offer(memory, [3, 9])
    again = Memory(4)
    again.restructure(memory.structure())
    assert (len(again), again.seen) == (4, 12)


def test_draws_are_different_rows() -> None:
    memory = Memory(50)
    _offer(memory, [50])
    for seed in range(20):
        slots = memory.draw(20, torch.Generator().manual_seed(seed))
        assert len(set(slots.tolist())) == 20
