"""What the claims of HiPPO, LSSL and fast and forgetful memory measure: equal states, equal data, equal figures again."""

import pytest
import torch

from remanence.claims.experiments.context.layers import fast_and_forgetful_memory, hippo, lssl
from remanence.streams.recall.sequence_batch import IGNORE


@pytest.mark.parametrize("claim", [fast_and_forgetful_memory, hippo, lssl])
def test_both_sides_hold_as_many_bytes_and_give_the_same_again(claim):
    sides = (claim.CLAIM.system, claim.CLAIM.baseline)
    mine, theirs = (claim.measure(side, 1, True, updates=2) for side in sides)
    assert mine.bytes == theirs.bytes
    assert mine.counts["updates"] == theirs.counts["updates"] == 2
    assert claim.CLAIM.metric in mine.figures
    assert claim.measure(sides[0], 1, True, updates=2) == mine


def test_a_trajectory_told_at_another_rate_is_the_same_stroke():
    slow, label = hippo.trajectories(20, 1, 2, 128)
    fast, again = hippo.trajectories(20, 1, 2, 32)
    assert torch.equal(label, again)
    torch.testing.assert_close(slow[:, 3::4], fast, atol=1e-5, rtol=1e-5)


def test_classes_are_apart_and_examples_differ():
    x, label = hippo.trajectories(400, 1, 2, 64)
    means = torch.stack([x[label == number].mean(0) for number in range(hippo.CLASSES)])
    nearest = torch.cdist(x.flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == label).double().mean() > 0.8
    assert (x[label == 0].std(0) > 0.05).any()


def test_digits_are_read_in_the_order_of_the_pixels():
    images = torch.arange(0, 128, dtype=torch.uint8).view(2, 1, 8, 8)
    pixels = torch.randperm(64)
    given = lssl.digits(images, torch.tensor([3, 7]), pixels)
    assert given.tokens[1, 5] == int(images[1].flatten()[pixels[5]]) * 16 // 255
    assert given.targets[:, -1].tolist() == [3, 7]
    assert (given.targets[:, :-1] == IGNORE).all()


def test_digits_that_choose_settings_are_not_reported(monkeypatch):
    seen = []

    def noted(images, classes, pixels):
        seen.append({bytes(image.tolist()) for image in images.flatten(1)})
        return original(images, classes, pixels)

    original = lssl.digits
    monkeypatch.setattr(lssl, "digits", noted)
    lssl.measure("lssl", 1, True, updates=1)
    lssl.measure("lssl", 1, False, updates=1)
    searching = seen[:2]
    assert len(searching[0]) == 1438 - lssl.KEPT
    assert not searching[0] & searching[1]
    assert not seen[-1] & (searching[0] | searching[1])
