"""Compatible encoders by name, and the projection that is learnt from texts."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from remanence.errors import Diverged, StateError, UsageError
from remanence.store.encode.compatible.bt2 import BT2
from remanence.store.encode.compatible.encoder import HeadEncoder, write
from remanence.store.encode.compatible.oca import OCA
from remanence.store.encode.compatible.xbt import XBT, LowRank, contrastive, equal
from remanence.store.encode.encoder import encoder, register
from remanence.store.encode.older import CompatibleEncoder, InOldSpace, compatible


class Counts:
    """Texts as counts of twelve letters: quick, and another encoder than the packaged one."""

    name, dimension = "counts#12", 12

    def __init__(self, rest: str = "") -> None:
        pass

    def encode(self, texts):
        counts = np.array([[1 + text.count(chr(97 + k)) for k in range(12)] for text in texts], np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


register("counts", Counts)


def unit(rows, columns, seed):
    return functional.normalize(torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize("head", [OCA(12, 6, dimension=9), BT2(12, 6, extra=3), XBT(12, 6)])
def test_an_encoder_is_made_from_its_name_again(head, tmp_path):
    path = tmp_path / "upgrade.safetensors"
    write(path, head, "counts#12", "old#6")
    behind_cache = encoder(f"compatible:{path}")
    found = compatible(behind_cache)
    assert isinstance(found, CompatibleEncoder) and found.compatible_with == "old#6"
    vectors = found.encode(["abba", "b", ""])
    assert vectors.dtype == np.float32 and vectors.shape == (3, found.dimension)
    old = found.to_old(vectors)
    assert old.shape == (3, 6)
    for rows in (vectors, old):
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.allclose(encoder(found.name).encode(["b"]), vectors[1:2], atol=1e-5)
    with pytest.raises(UsageError, match="expected \\(any number"):
        found.to_old(vectors[:, :5])


def test_a_store_is_read_and_written_by_a_newer_encoder_beside_its_old_vectors(tmp_path):
    """No text is encoded again: with a head that gives the first numbers back, both understand one another."""
    from remanence import store

    class Exact(OCA):
        """The old vector and three numbers more."""

        def forward(self, features):
            return functional.normalize(torch.cat([features, 0.1 * features[:, :3]], dim=1), dim=1)

    class New:
        name, dimension, compatible_with = "new#15", 15, "counts#12"
        head = Exact(12, 12, dimension=15)

        def encode(self, texts):
            return self.head.embed(Counts().encode(texts))

        def to_old(self, vectors):
            return self.head.to_old(torch.from_numpy(vectors)).numpy()

    path = tmp_path / "memory.db"
    with store.open(path, encoder=Counts()) as opened:
        opened.write("aaaa bbbb", wait=True)
        opened.write("cccc dddd", wait=True)
    with store.open(path, encoder=InOldSpace(New(), 12)) as opened:
        assert opened.read("dcdc", k=1, mode="dense")[0].record.text == "cccc dddd"
        opened.write("eeee ffff", wait=True)
        assert opened.read("efe", k=1, mode="dense")[0].record.text == "eeee ffff"
    with store.open(path, encoder=Counts()) as opened:
        assert opened.read("fefe", k=1, mode="dense")[0].record.text == "eeee ffff"


def test_an_encoder_that_knows_no_other_is_not_taken_into_an_old_space(tmp_path):
    with pytest.raises(UsageError, match="counts#12 was not trained to be compatible"):
        InOldSpace(Counts(), 12)
    write(tmp_path / "new", OCA(12, 6), "counts#12", "old#6")
    assert InOldSpace(encoder(f"compatible:{tmp_path / 'new'}"), 6).encode(["a", "b"]).shape == (2, 6)
    with pytest.raises(UsageError, match="gives 6 numbers in the space of old#6, expected 7"):
        InOldSpace(HeadEncoder(tmp_path / "new"), 7)


def test_another_training_has_another_name(tmp_path):
    path = tmp_path / "upgrade.safetensors"
    write(path, OCA(12, 6, seed=1), "counts#12", "old#6")
    name = encoder(f"compatible:{path}").name
    write(path, OCA(12, 6, seed=2), "counts#12", "old#6")
    with pytest.raises(UsageError, match="encode the texts again"):
        encoder(name)


def test_what_is_no_encoder_or_has_another_below_is_said(tmp_path):
    OCA(12, 6).save(tmp_path / "head")
    with pytest.raises(StateError, match="holds no encoder"):
        HeadEncoder(tmp_path / "head")
    write(tmp_path / "other", OCA(5, 6), "counts#12", "old#6")
    with pytest.raises(UsageError, match=r"trained on vectors of counts#12 \(5 numbers\), and counts#12 \(12\)"):
        HeadEncoder(tmp_path / "other")
    with pytest.raises(StateError, match="no saved state"):
        encoder(f"compatible:{tmp_path / 'none'}")


def test_a_low_rank_change_is_nothing_at_first_and_of_its_rank_after():
    change = LowRank(10, 3)
    x = unit(5, 10, 0)
    assert torch.equal(change(x), x)
    with torch.no_grad():
        change.up.weight.normal_(generator=torch.Generator().manual_seed(1))
        matrix = change(torch.eye(10)) - torch.eye(10)
    assert int(torch.linalg.matrix_rank(matrix)) == 3


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
