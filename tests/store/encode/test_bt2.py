"""BT2: nothing is lost by merging, and what it is trained by."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from remanence.store.encode.compatible.bt2 import BT2
from remanence.store.encode.compatible.head import SHARPNESS, EmbeddingHead, class_means

QUICK = {"epochs": 15, "lr": 0.02, "hidden": 32, "batch_size": 40}


def turned(rotation, seed):
    with torch.no_grad():
        rotation.generator.copy_(torch.randn(rotation.generator.shape, generator=torch.Generator().manual_seed(seed)))
    return rotation


def built(**changes):
    return BT2(12, 6, seed=1, **{**QUICK, "extra": 3, **changes})


@pytest.fixture(scope="module")
def compatible_rows():
    """Ten classes in twelve numbers, and the vectors of an old head that knows the first five."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(10, 12, generator=generator)
    labels = torch.arange(10).repeat(40)
    features = centres[labels] + 0.3 * torch.randn(400, 12, generator=generator)
    known = labels < 5
    old = EmbeddingHead(12, 6, seed=7, **QUICK).fit(features[known], labels[known])
    return features, labels, old(features).detach()


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 6), st.floats(0.1, 5), st.integers(0, 100))
def test_nothing_of_the_good_vector_is_lost(extra, spread, seed):
    """Inner products of merged vectors are those of the added numbers and the good vectors, whatever the turns."""
    head = BT2(12, 6, extra=extra, spread=spread, new_dimension=7, hidden=16, seed=seed)
    turned(head.turn_new, seed), turned(head.turn_old, seed + 1)
    features = torch.randn(8, 12, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        vectors, (good, added) = head(features), head.parts(features)
    expected = (added @ added.T + spread**2 * good @ good.T) / (1 + spread**2)
    assert vectors.shape == (8, 7 + extra)
    assert torch.allclose(vectors @ vectors.T, expected, atol=1e-4)


def test_the_part_in_the_old_space_is_a_turn_of_the_added_numbers_and_some_of_the_good_ones():
    head = built()
    turned(head.turn_new, 1), turned(head.turn_old, 2)
    features = torch.randn(5, 12, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        good, added = head.parts(features)
        u = torch.cat([added, 2.0 * good @ head.turn_new.matrix().T], 1)
        expected = functional.normalize(u[:, :6] @ head.turn_old.matrix().T, dim=1)
        assert torch.allclose(head.to_old(head(features)), expected, atol=1e-5)


def test_what_the_loss_is_made_of(compatible_rows):
    """Written out again from its parts."""
    features, labels, old = compatible_rows[0][:30], compatible_rows[1][:30], compatible_rows[2][:30]
    means = class_means(compatible_rows[2], compatible_rows[1], 10)
    classifier = torch.nn.Linear(9, 10, bias=False)

    def entropy(vectors, weight):
        logits = SHARPNESS * vectors @ weight.T
        return (torch.logsumexp(logits, 1) - logits[range(30), labels]).mean()

    bt2 = built(match_new=2.0, influence=3.0, match_old=4.0)
    turned(bt2.turn_old, 1)
    classifier = torch.nn.Linear(6, 10, bias=False)
    teacher = functional.normalize(torch.randn(30, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    good, held = bt2.parts(features)[0], bt2.to_old(bt2(features))
    expected = entropy(good, classifier.weight) + 3 * entropy(held, means)
    expected += 2 * (1 - (good * teacher).sum(1).mean()) + 4 * (1 - (held * old).sum(1).mean())
    assert torch.allclose(bt2._loss(features, labels, classifier, old, means, teacher), expected, atol=1e-4)
