"""OCA: the turn that keeps the geometry, and what it is trained by."""

import pytest
import torch

from remanence.store.encode.compatible.head import SHARPNESS, EmbeddingHead, class_means
from remanence.store.encode.compatible.oca import OCA

QUICK = {"epochs": 15, "lr": 0.02, "hidden": 32, "batch_size": 40}


def turned(rotation, seed):
    with torch.no_grad():
        rotation.generator.copy_(torch.randn(rotation.generator.shape, generator=torch.Generator().manual_seed(seed)))
    return rotation


def built(**changes):
    return OCA(12, 6, seed=1, **{**QUICK, "dimension": 9, **changes})


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


def test_the_kept_vector_has_the_geometry_of_the_plain_one():
    head = built()
    turned(head.turn, 3)
    features = torch.randn(6, 12, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        plain, kept = head._plain(features), head(features)
    assert torch.allclose(plain @ plain.T, kept @ kept.T, atol=1e-5)
    assert not torch.allclose(plain, kept, atol=0.1)


def test_what_the_loss_is_made_of(compatible_rows):
    """Written out again from its parts."""
    features, labels, old = compatible_rows[0][:30], compatible_rows[1][:30], compatible_rows[2][:30]
    means = class_means(compatible_rows[2], compatible_rows[1], 10)
    classifier = torch.nn.Linear(9, 10, bias=False)

    def entropy(vectors, weight):
        logits = SHARPNESS * vectors @ weight.T
        return (torch.logsumexp(logits, 1) - logits[range(30), labels]).mean()

    oca = built(alignment=0.5)
    turned(oca.turn, 1)
    expected = entropy(oca._plain(features), classifier.weight) + 0.5 * entropy(oca.to_old(oca(features)), means)
    assert torch.allclose(oca._loss(features, labels, classifier, old, means, None), expected, atol=1e-4)
