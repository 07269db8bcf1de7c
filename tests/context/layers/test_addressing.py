"""Addressing against the equations of the paper as plain loops, and what must hold for any weighting."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.context.layers.addressing import (
    addressed,
    by_content,
    interpolated,
    read,
    sharpened,
    shifted,
    similarity,
    written,
)

BATCH, HEADS, LOCATIONS, SIZE = 2, 3, 7, 4


def draw(seed=0, heads=HEADS, locations=LOCATIONS, size=SIZE, reach=1):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(BATCH, *shape, generator=generator, dtype=torch.float64)

    return {
        "memory": normal(locations, size),
        "previous": normal(heads, locations).softmax(-1),
        "key": normal(heads, size),
        "strength": 3 * normal(heads).exp(),
        "gate": normal(heads).sigmoid(),
        "shift": normal(heads, 2 * reach + 1).softmax(-1),
        "sharpness": 1 + normal(heads).exp(),
    }


def loop_address(memory, previous, key, strength, gate, shift, sharpness):
    """One head of one memory, lists of floats: equations 5 to 9 of the paper."""
    locations, size = len(memory), len(key)
    scores = []
    for row in memory:
        product = sum(key[j] * row[j] for j in range(size))
        norms = math.sqrt(sum(k * k for k in key)) * math.sqrt(sum(m * m for m in row))
        scores.append(strength * product / norms)
    total = sum(math.exp(s) for s in scores)
    content = [math.exp(s) / total for s in scores]
    gated = [gate * content[i] + (1 - gate) * previous[i] for i in range(locations)]
    reach = len(shift) // 2
    kernel = [0.0] * locations
    for place, share in enumerate(shift):
        kernel[(place - reach) % locations] += share
    moved = [sum(gated[j] * kernel[(i - j) % locations] for j in range(locations)) for i in range(locations)]
    total = sum(w**sharpness for w in moved)
    return [w**sharpness / total for w in moved]


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_addressing_is_the_equations_of_the_paper(reach):
    drawn = draw(reach=reach)
    got = addressed(**drawn)
    for b in range(BATCH):
        for h in range(HEADS):
            one = {name: value[b][h].tolist() for name, value in drawn.items() if name != "memory"}
            wanted = loop_address(drawn["memory"][b].tolist(), **one)
            assert got[b, h].tolist() == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("heads", [1, 3])
def test_reads_and_writes_are_the_equations_of_the_paper(heads):
    drawn = draw(1, heads=heads)
    memory, weights = drawn["memory"], drawn["previous"]
    generator = torch.Generator().manual_seed(2)
    erase = torch.rand(BATCH, heads, SIZE, generator=generator, dtype=torch.float64)
    add = torch.randn(BATCH, heads, SIZE, generator=generator, dtype=torch.float64)
    got, seen = written(memory, weights, erase, add), read(memory, weights)
    for b in range(BATCH):
        wanted = memory[b].tolist()
        for h in range(heads):
            for i in range(LOCATIONS):
                for j in range(SIZE):
                    wanted[i][j] *= 1 - float(weights[b, h, i]) * float(erase[b, h, j])
        for h in range(heads):
            for i in range(LOCATIONS):
                for j in range(SIZE):
                    wanted[i][j] += float(weights[b, h, i]) * float(add[b, h, j])
            for j in range(SIZE):
                total = sum(float(weights[b, h, i]) * float(memory[b, i, j]) for i in range(LOCATIONS))
                assert float(seen[b, h, j]) == pytest.approx(total, abs=1e-10)
        for i in range(LOCATIONS):
            assert got[b, i].tolist() == pytest.approx(wanted[i], abs=1e-10)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    locations=st.integers(1, 12),
    reach=st.integers(0, 3),
    strength=st.floats(0, 200),
    sharpness=st.floats(1, 100),
)
def test_a_weighting_is_never_negative_and_sums_to_one(seed, locations, reach, strength, sharpness):
    drawn = {name: value.float() for name, value in draw(seed, locations=locations, reach=reach).items()}
    drawn["strength"] = torch.full_like(drawn["strength"], strength)
    drawn["sharpness"] = torch.full_like(drawn["sharpness"], sharpness)
    weights = addressed(**drawn)
    assert bool((weights >= 0).all())
    assert torch.allclose(weights.sum(-1), torch.ones(BATCH, HEADS), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), move=st.integers(-2, 2), locations=st.integers(1, 9))
def test_a_sure_shift_moves_the_weighting_round_the_memory(seed, move, locations):
    weights = draw(seed, locations=locations)["previous"]
    shift = torch.zeros(BATCH, HEADS, 5, dtype=torch.float64)
    shift[..., move + 2] = 1
    got = shifted(weights, shift)
    for i in range(locations):
        assert torch.equal(got[..., (i + move) % locations], weights[..., i])


def test_the_gate_chooses_between_content_and_the_weighting_before():
    drawn = draw(3)
    content = by_content(drawn["memory"], drawn["key"], drawn["strength"])
    assert torch.equal(interpolated(content, drawn["previous"], torch.ones_like(drawn["gate"])), content)
    assert torch.equal(interpolated(content, drawn["previous"], torch.zeros_like(drawn["gate"])), drawn["previous"])


def test_a_key_finds_its_row_whatever_its_length():
    memory = draw(4)["memory"]
    weights = by_content(memory, 0.01 * memory[:, 2:3], torch.full((BATCH, 1), 1000.0, dtype=torch.float64))
    assert torch.allclose(weights[..., 2], torch.ones(BATCH, 1, dtype=torch.float64), atol=1e-6)


def test_rows_and_keys_of_zeros_are_like_nothing_and_have_a_gradient():
    memory = torch.zeros(1, 3, 2, dtype=torch.float64, requires_grad=True)
    key = torch.zeros(1, 1, 2, dtype=torch.float64, requires_grad=True)
    cosine = similarity(memory, key)
    assert torch.equal(cosine, torch.zeros(1, 1, 3, dtype=torch.float64))
    cosine.sum().backward()
    assert bool(memory.grad.isfinite().all())
    assert bool(key.grad.isfinite().all())


def test_sharpness_one_changes_nothing_and_a_high_one_leaves_the_largest():
    weights = draw(5)["previous"]
    one = torch.ones(BATCH, HEADS, dtype=torch.float64)
    assert torch.allclose(sharpened(weights, one), weights, atol=1e-12)
    # So high a power of a flat weighting is zero in 32 bits, unless it is taken relative to the largest.
    flat = torch.full((1, 1, 128), 1 / 128)
    flat[..., 5] *= 1.5
    high = sharpened(flat, torch.full((1, 1), 60.0))
    assert float(high[..., 5]) == pytest.approx(1.0, abs=1e-6)


def test_gradients_are_right():
    drawn = {name: value[:, :2] if name != "memory" else value for name, value in draw(6, locations=4, size=3).items()}
    names = list(drawn)
    inputs = [drawn[name].clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(lambda *given: addressed(**dict(zip(names, given, strict=True))), inputs)
    erase, add = torch.rand(2, BATCH, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    given_ = [t.clone().requires_grad_() for t in (drawn["memory"], drawn["previous"], erase, add)]
    assert torch.autograd.gradcheck(written, given_)
    assert torch.autograd.gradcheck(read, given_[:2])
