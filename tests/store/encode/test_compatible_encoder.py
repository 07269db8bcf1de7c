"""Compatible encoders by name."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from remanence.errors import StateError, UsageError
from remanence.store.encode.compatible.bt2 import BT2
from remanence.store.encode.compatible.encoder import HeadEncoder, write
from remanence.store.encode.compatible.oca import OCA
from remanence.store.encode.compatible.xbt import XBT, LowRank
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
