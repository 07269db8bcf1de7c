"""External memories: read at once, in pieces or by steps, they hold the last inputs and no more."""

import pytest
import torch
from torch.nn.functional import layer_norm

from remanence.context import tree
from remanence.context.layers import stanhop
from remanence.context.layers.entmax import entmax
from remanence.context.layers.stanhop import StanHop, TandemHopfield, TuneMemory
from remanence.errors import StateError, UsageError


def memories():
    torch.manual_seed(0)
    return [StanHop(6, slots=5), StanHop(6, slots=3, alpha=2.0, steps=3), TuneMemory(6, slots=4, heads=2)]


def inputs(length=13, batch=2):
    return torch.randn(batch, length, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("cuts", [[13], [1] * 13, [5, 8], [2, 1, 7, 3], [12, 1]])
def test_however_a_sequence_is_cut_it_is_read_the_same(place, cuts):
    memory, x = memories()[place], inputs()
    whole, end = memory(x)
    pieces, state = [], None
    for piece in x.split(cuts, 1):
        y, state = memory.step(piece[:, 0], state) if piece.shape[1] == 1 else memory(piece, state)
        pieces.append(y.unsqueeze(1) if y.dim() == 2 else y)
    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    assert torch.equal(state["patterns"], end["patterns"]) and torch.equal(state["count"], end["count"])


def test_a_long_sequence_is_read_in_pieces_that_change_nothing(monkeypatch):
    memory, x = StanHop(6, slots=3), inputs(40)
    whole, _ = memory(x)
    monkeypatch.setattr(stanhop, "PIECE", 7)
    torch.testing.assert_close(memory(x)[0], whole)
    seen = []
    monkeypatch.setattr(memory, "lookup", lambda x, stored, held: seen.append(held.shape[1:]) or x)
    memory(inputs(1000, batch=1))
    assert len(seen) == 143 and set(seen) == {(7, 10), (6, 9)}


def test_plug_memory_is_a_loop_over_the_last_patterns():
    memory, x = StanHop(6, slots=4, beta=0.7, alpha=1.5), inputs()
    y, _ = memory(x)
    for row in range(2):
        for place in range(13):
            before = x[row, max(0, place - 4) : place]
            found = entmax(0.7 * before @ x[row, place], 1.5) @ before if place else torch.zeros(6)
            torch.testing.assert_close(y[row, place], layer_norm(x[row, place] + found, (6,)))


def test_tune_memory_gives_what_followed_the_patterns_it_finds():
    torch.manual_seed(0)
    memory, x = TuneMemory(6, slots=4), inputs()
    y, _ = memory(x)
    layer = memory.hopfield
    for place in (2, 5, 12):
        start = max(0, place - 4)
        patterns, labels = x[0, start : place - 1], x[0, start + 1 : place]
        share = entmax(layer.beta * layer.keys(patterns) @ layer.queries(x[0, place]), layer.alpha)
        torch.testing.assert_close(y[0, place], memory.norm(x[0, place] + layer.out(share @ layer.values(labels))))


def test_the_state_holds_the_last_inputs_is_counted_and_comes_back(tmp_path):
    for memory in memories():
        x = inputs()
        _, state = memory(x)
        assert torch.equal(state["patterns"], x[:, -memory.slots :])
        assert tree.nbytes(state) == 2 * memory.state_bytes == 2 * (memory.slots * 6 * 4 + 8)
        cut = tree.detach(state)
        tree.save(cut, tmp_path / "state.safetensors")
        again = tree.load(tmp_path / "state.safetensors")
        more = inputs(4)
        assert torch.equal(memory(more, again)[0], memory(more, state)[0])
        assert not cut["patterns"].requires_grad


def test_the_state_does_not_grow():
    memory, state = StanHop(6, slots=5), None
    sizes = set()
    for length in (1, 1, 30, 2):
        _, state = memory(inputs(length), state)
        sizes.add(tree.nbytes(state))
    assert sizes == {2 * memory.state_bytes}


def test_reading_writes_nothing_and_writing_appends():
    memory, x = StanHop(6, slots=5, beta=100.0, alpha=2.0, blend="retrieved"), inputs(3)
    x = x / x.norm(dim=-1, keepdim=True)
    state = memory.write(x)
    assert state["count"].tolist() == [3, 3] and not state["patterns"][:, :2].any()
    before = tree.apply(state, torch.clone)
    torch.testing.assert_close(memory.read(x, state), x)
    assert torch.equal(before["patterns"], state["patterns"])
    both = memory.write(x[:, 2:], memory.write(x[:, :2]))
    assert torch.equal(both["patterns"], state["patterns"])
    assert not memory.read(x, memory.initial(2)).any()


def test_gradients_reach_the_stored_patterns_and_the_association():
    memory = TuneMemory(6, slots=4)
    x = inputs().requires_grad_()
    _, state = memory(x[:, :6])
    memory(x[:, 6:], state)[0].square().sum().backward()
    assert x.grad[:, 4].abs().sum() > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in memory.parameters())


def test_the_tandem_block_mixes_times_and_series():
    torch.manual_seed(0)
    block = TandemHopfield(6, heads=2, patterns=3)
    x = torch.randn(2, 3, 5, 6, requires_grad=True)
    y = block(x)
    assert y.shape == x.shape
    y[0, 1, 2].square().sum().backward()
    assert x.grad[0, 1, 4].abs().sum() > 0 and x.grad[0, 2, 2].abs().sum() > 0
    assert not x.grad[1].any()
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(block(x[:, order]), y[:, order])
    with pytest.raises(UsageError, match="series"):
        block(x[0])


def test_what_does_not_fit_is_said():
    with pytest.raises(UsageError, match="alpha must be"):
        StanHop(6, alpha=2.5)
    with pytest.raises(UsageError, match="slots must be"):
        TuneMemory(6, slots=1)
    with pytest.raises(UsageError, match=r"expected \(batch, length, 6\)"):
        StanHop(6)(torch.zeros(2, 5))
    with pytest.raises(StateError, match="5 slots of width 6"):
        StanHop(6, slots=5)(inputs(), StanHop(6, slots=4).initial(2))
    with pytest.raises(StateError, match=r"initial\(\)"):
        StanHop(6)(inputs(), torch.zeros(2))
