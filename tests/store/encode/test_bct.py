"""BCT: what it is trained by."""

import pytest
import torch

from remanence.store.encode.compatible.bct import BCT
from remanence.store.encode.compatible.head import SHARPNESS, EmbeddingHead, class_means

QUICK = {"epochs": 15, "lr": 0.02, "hidden": 32, "batch_size": 40}


def built(**changes):
    return BCT(12, 6, seed=1, **{**QUICK, "dimension": 9, **changes})


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


def test_what_the_loss_is_made_of(compatible_rows):
    """Written out again from its parts."""
    features, labels, old = compatible_rows[0][:30], compatible_rows[1][:30], compatible_rows[2][:30]
    means = class_means(compatible_rows[2], compatible_rows[1], 10)
    classifier = torch.nn.Linear(9, 10, bias=False)

    def entropy(vectors, weight):
        logits = SHARPNESS * vectors @ weight.T
        return (torch.logsumexp(logits, 1) - logits[range(30), labels]).mean()

    bct = built(influence=3.0)
    expected = entropy(bct(features), classifier.weight) + 3 * entropy(bct.to_old(bct(features)), means)
    assert torch.allclose(bct._loss(features, labels, classifier, old, means, None), expected, atol=1e-4)
