"""PODNet: pooled distances, local similarities, the margin loss, imprinting and balanced passes, each by slow loops."""

from __future__ import annotations

import math

import pytest
import torch

import remanence as rm
from remanence.errors import UsageError
from remanence.models import networks
from remanence.weights.penalties.podnet import LocalSimilarityHead, nca_loss, pod_spatial, stages

STREAM = rm.streams.split("digits", experiences=5)
EXPERIENCES = list(STREAM.experiences())


def make(**settings):
    given = {"model": "cnn:4", "size": 20, "proxies": 2, "balanced_epochs": 1, "lr": 0.05, **settings}
    return rm.make("podnet", STREAM, **given)


def slow_pod(old, new):
    """The distance row by row, pooled number by pooled number."""
    total = 0.0
    for a, b in zip(old.double(), new.double(), strict=True):
        pooled = []
        for maps in (a, b):
            channels, height, width = maps.shape
            rows = [sum(maps[c, h, w] ** 2 for w in range(width)) for c in range(channels) for h in range(height)]
            columns = [sum(maps[c, h, w] ** 2 for h in range(height)) for c in range(channels) for w in range(width)]
            both = torch.stack([*rows, *columns])
            pooled.append(both / both.square().sum().sqrt())
        total += float((pooled[0] - pooled[1]).square().sum().sqrt())
    return total / len(old)


def test_pod_spatial_against_loops():
    draw = torch.Generator().manual_seed(0)
    old, new = torch.randn(2, 3, 2, 4, 3, generator=draw)
    assert float(pod_spatial(old, new)) == pytest.approx(slow_pod(old, new), rel=1e-5)
    assert float(pod_spatial(old, -old)) == 0.0  # squares, as in the authors' program


def test_local_similarities_against_loops():
    head = LocalSimilarityHead(5, 3, 2.5)
    head.grow([4, 9])
    features = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    found = head(features).detach()
    for row in range(4):
        for column in range(2):
            vectors = head.weight[column * 3 : column * 3 + 3].detach()
            near = [-float((v / v.norm() - features[row] / features[row].norm()).square().sum()) for v in vectors]
            weights = [math.exp(value) / sum(map(math.exp, near)) for value in near]
            expected = 2.5 * sum(w * value for w, value in zip(weights, near, strict=True))
            assert float(found[row, column]) == pytest.approx(expected, rel=1e-4)


def authors_loss(similarities, y, scale):
    """What the authors' program does, step by step; its margin is taken off every class."""
    similarities = scale * (similarities - 0.6)
    similarities = similarities - similarities.max()
    pulled = similarities.clone()
    pulled[y] = 0.0
    return -float(similarities[y] - pulled.exp().sum().log())


def test_the_loss_is_that_of_the_authors_program_in_which_the_margin_cancels_out():
    similarities = torch.tensor([[-0.2, -0.7, -1.9], [-3.0, -0.5, -0.2], [-0.1, -3.0, -4.0]])
    found = nca_loss(3.0 * similarities, torch.tensor([0, 0, 2]), 0.0)
    for row, y, value in zip(similarities, (0, 0, 2), found.tolist(), strict=True):
        assert value == pytest.approx(authors_loss(row, y, 3.0), rel=1e-5)
    assert float(found[0]) == pytest.approx(
        float(torch.nn.functional.cross_entropy(3 * similarities[0], torch.tensor(0)))
    )
    with_margin = nca_loss(3.0 * similarities, torch.tensor([0, 0, 2]), 0.5)
    lower = similarities.clone()
    lower[0, 0] -= 0.5 / 3
    assert float(with_margin[0]) == pytest.approx(authors_loss(lower[0], 0, 3.0), rel=1e-5)


def test_classes_that_a_row_does_not_compete_with_weigh_nothing():
    scores = torch.tensor([[1.0, -torch.inf, 0.5]], requires_grad=True)
    found = nca_loss(scores, torch.tensor([0]), 0.0)
    found.sum().backward()
    assert float(found) == pytest.approx(math.log(1 + math.exp(-0.5))) and bool(scores.grad.isfinite().all())


class Noting:
    """Wraps a hook, keeping what it was called with and what it gave."""

    def __init__(self, hooks):
        self.hook, self.steps, self.values = hooks[0], [], []
        hooks[0] = self

    def __call__(self, step):
        value = self.hook(step)
        self.steps.append(step)
        self.values.append(value)
        return value


def test_the_distillation_is_scaled_by_classes_and_averaged_over_stages():
    learner = make(spatial=3.0, flat=1.0)
    learner.learn(EXPERIENCES[0]).learn(EXPERIENCES[1])
    noted = Noting(learner._hooks["loss"])
    next(updates := learner.steps(EXPERIENCES[2]))
    update = next(updates)  # imprinting comes before
    step, found = noted.steps[0], float(noted.values[0].detach())
    previous, x = learner.previous, step.x
    with torch.no_grad(), previous.record(list(learner.parts[0].layers)) as maps:
        features = previous.body(x)
    spatial = [slow_pod(maps[layer], step.maps[layer].detach()) for layer in ("1", "5", "9")]
    cosines = torch.nn.functional.cosine_similarity(features, step.features.detach())
    assert found == pytest.approx(math.sqrt(6 / 2) * (3 * sum(spatial) / 3 + float((1 - cosines).mean())), rel=1e-4)
    assert update.forwards == 2 * (update.examples + update.rehearsed)


def test_new_class_vectors_start_at_centres_and_old_ones_stand_still():
    learner = make(balanced_epochs=0)
    learner.learn(EXPERIENCES[0])
    before = learner.model.head.weight.detach().clone()
    imprinting = next(updates := learner.steps(EXPERIENCES[1]))
    assert imprinting.steps == 0 and imprinting.forwards == len(EXPERIENCES[1].examples)
    head = learner.model.head
    rows = EXPERIENCES[1].examples.span(0, len(EXPERIENCES[1].examples))
    features = torch.nn.functional.normalize(learner.features(rows.x), dim=1)
    length = before.norm(dim=1).mean()
    for column in (2, 3):
        mine = features[rows.y == head.classes[column]]
        centres = head.weight[column * 2 : column * 2 + 2].detach() / length
        nearest = torch.cdist(mine, centres).argmin(1)
        for k in range(2):  # a centre of k-means is the mean of the rows nearest to it
            torch.testing.assert_close(centres[k], mine[nearest == k].mean(0), rtol=2e-2, atol=2e-2)
    list(updates)
    lengths = torch.nn.functional.normalize(head.weight[:4].detach(), dim=1)
    torch.testing.assert_close(lengths, torch.nn.functional.normalize(before, dim=1))


def test_balanced_passes_move_the_class_vectors_alone():
    learner = make(balanced_epochs=2, balanced_lr=0.1)
    learner.learn(EXPERIENCES[0])
    updates = learner.steps(EXPERIENCES[1])
    main = [next(updates) for _ in range(1 + len(learner.sampler(EXPERIENCES[1])) + 1)]
    assert main[-1].steps == 0  # the herding
    before = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
    phase = list(updates)
    assert len(phase) == 2 * -(-4 * 5 // 10) and all(update.examples == 0 for update in phase)
    moved = {name for name, p in learner.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"head.weight"}


def test_the_maps_are_those_of_the_last_block_of_each_size():
    model = networks.build("resnet18:4", (1, 16, 16))
    assert stages(model, (1, 16, 16)) == ("4", "6", "8", "10")
    with pytest.raises(UsageError, match="no layer of the body gives any"):
        stages(networks.build("mlp:8", (1, 8, 8)), (1, 8, 8))


def test_it_keeps_what_plain_training_loses():
    learner = make(model="cnn:8", size=100, lr=0.05, epochs=2, spatial=0.3, flat=0.1, balanced_epochs=5)
    for experience in EXPERIENCES:
        learner.learn(experience)
    x, y = (torch.cat([getattr(own, name) for own in STREAM.tests]) for name in ("x", "y"))
    assert float((learner.predict(x).labels == y).float().mean()) > 0.6  # plain training ends at 0.2
