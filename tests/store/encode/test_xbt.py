"""XBT: its contrastive loss against a loop, what texts and pairs teach it, saving, and refusals."""

import pytest
import torch
from torch.nn import functional

from remanence.errors import Diverged, StateError, UsageError
from remanence.store.encode.compatible.oca import OCA
from remanence.store.encode.compatible.xbt import XBT, contrastive, equal


def unit(rows, columns, seed):
    return functional.normalize(torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_the_contrastive_loss_against_loops():
    one, other = unit(4, 6, 1), unit(4, 6, 2)
    same = torch.eye(4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    total = 0.0
    for a, b in ((one, other), (other, one)):
        for i in range(4):
            logits = a[i] @ b.T / 0.1
            log = logits - torch.logsumexp(logits, 0)
            total += -float(log[same[i]].mean()) / 8
    assert float(contrastive(one, other, same, 0.1)) == pytest.approx(total, abs=1e-5)
    assert equal(one[[0, 1, 0]]).tolist() == [[True, False, True], [False, True, False], [True, False, True]]


def test_gradients_of_the_contrastive_loss_are_the_numerical_ones():
    one, other = unit(3, 4, 1).double().requires_grad_(), unit(3, 4, 2).double()
    same = torch.eye(3, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda x: contrastive(x, other, same, 0.2), (one,))


def world(count, seed):
    """A hidden meaning seen by two encoders; images lie where their texts do, two directions turned around."""
    meaning = unit(count, 10, seed)
    draw = torch.Generator().manual_seed(99)
    to_new, to_old = torch.randn(10, 16, generator=draw), torch.randn(10, 12, generator=draw)
    new_texts, old_texts = functional.normalize(meaning @ to_new, dim=1), functional.normalize(meaning @ to_old, dim=1)
    turned = torch.linalg.qr(torch.randn(16, 2, generator=draw))[0]
    images = new_texts - 2 * new_texts @ turned @ turned.T
    return new_texts, old_texts, functional.normalize(images + 0.1 * unit(count, 16, seed + 1), dim=1)


def test_texts_alone_bring_queries_into_the_old_space_and_pairs_bring_images():
    texts, old, _ = world(800, 0)
    asked, gallery, images = world(200, 50)
    space = XBT(16, 12, epochs=20, lr=3e-3, noise=0.3, epochs_pairs=60, lr_pairs=1e-2, batch_size=100)
    right = torch.arange(200)
    with torch.no_grad():
        before = float(((space.to_old(asked) @ gallery.T).argmax(1) == right).float().mean())
        space.pretrain(texts, old)
        after = float(((space.to_old(asked) @ gallery.T).argmax(1) == right).float().mean())
        seen = float(((space.to_old(images, "image") @ gallery.T).argmax(1) == right).float().mean())
        frozen = [value.clone() for value in space.projection.parameters()]
        few, _, few_images = world(150, 20)
        space.supervise(few_images, few)
        paired = float(((space.to_old(images, "image") @ gallery.T).argmax(1) == right).float().mean())
    assert before < 0.1 and after > 0.9
    assert paired > seen + 0.1
    assert all(torch.equal(a, b) for a, b in zip(frozen, space.projection.parameters(), strict=True))
    assert space.updates == 20 * 8 + 60 * 2


def test_a_projection_is_saved_and_loaded(tmp_path):
    texts, old, _ = world(60, 0)
    space = XBT(16, 12, epochs=2, rank=2).pretrain(texts, old)
    space.save(tmp_path / "space")
    loaded = XBT.load(tmp_path / "space")
    assert torch.equal(loaded.to_old(texts), space.to_old(texts)) and loaded.arguments() == space.arguments()
    OCA(12, 6).save(tmp_path / "head")
    with pytest.raises(StateError, match="holds OCA, not XBT"):
        XBT.load(tmp_path / "head")


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: XBT(16, 12, noise=-1), "noise must be"),
        (lambda: XBT(16, 12, ranks=1), "no hyperparameter 'ranks'"),
        (
            lambda: XBT(16, 12).pretrain(unit(3, 5, 0), unit(3, 12, 0)),
            r"new vectors of the texts have the shape \(3, 5\)",
        ),
        (lambda: XBT(16, 12).pretrain(unit(3, 16, 0), unit(4, 12, 0)), "3 new and 4 old"),
        (lambda: XBT(16, 12).supervise(unit(3, 16, 0), unit(4, 16, 0)), "3 images and 4 texts"),
    ],
)
def test_what_cannot_be_used_is_said(act, message):
    with pytest.raises(UsageError, match=message):
        act()


def test_a_loss_that_is_not_finite_is_said():
    with pytest.raises(Diverged, match="lower the learning rate"):
        XBT(16, 12).pretrain(unit(8, 16, 0) * float("nan"), unit(8, 12, 0))
