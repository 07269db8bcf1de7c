"""Sources: what is read is what was written, checked by its sum, and kept decoded."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from remanence import streams
from remanence.errors import StateError, UsageError
from remanence.streams import SOURCES, decoded_cache, listing
from remanence.streams.clinc150 import DOMAINS, INTENTS
from remanence.streams.source import Source, read_columns
from remanence.streams.sources import _load

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMANENCE_CACHE", str(tmp_path / "cache"))
    _load.cache_clear()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("decoded"))


@pytest.fixture
def decoded(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One folder for the tests that decode all of MNIST, which takes seconds."""
    monkeypatch.setenv("REMANENCE_CACHE", shared)


def png(pixels: torch.Tensor) -> dict[str, object]:
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "png")
    return {"bytes": file.getvalue(), "path": "x.png"}


def write(path: Path, columns: dict[str, list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path)


def test_images_are_read_to_the_bit_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.randint(0, 256, (2500, 6, 5), dtype=torch.uint8)
    labels = torch.arange(2500) % 3
    write(tmp_path / "set/train.parquet", {"image": [png(x) for x in pixels], "label": labels.tolist()})
    monkeypatch.setenv("REMANENCE_DATA", str(tmp_path))
    source = Source("set", files={"train": "set/train.parquet"})
    for _ in range(2):
        x, y = read_columns(source, "train")
        assert torch.equal(x, pixels.unsqueeze(1))
        assert torch.equal(y, labels)
    (kept,) = (tmp_path / "cache/decoded").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert torch.equal(read_columns(source, "train")[0], pixels.unsqueeze(1))


def test_a_cache_that_cannot_be_written_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMANENCE_CACHE", "/proc/nowhere")
    decoded_cache.keep("key", {"x": torch.zeros(1)})
    assert decoded_cache.recall("key") is None


def test_a_file_of_another_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mnist/train.parquet", {"image": [png(torch.zeros(28, 28, dtype=torch.uint8))], "label": [0]})
    monkeypatch.setenv("REMANENCE_DATA", str(tmp_path))
    with pytest.raises(StateError, match="is not the file of mnist that is expected"):
        streams.whole("mnist")


def test_omniglot_comes_from_a_folder_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMANENCE_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="comes from a folder only: set REMANENCE_DATA"):
        streams.whole("omniglot")
    assert not next(row for row in listing() if row["name"] == "omniglot")["here"]


def test_sets_of_the_hub_are_read_by_the_types_of_their_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMANENCE_DATA", str(tmp_path))
    shapes = [(9, 12, 3), (9, 12, 3), (9, 12, 3), (8, 8, 3)] * 5
    pictures = [png(torch.full(shape, 7 * k, dtype=torch.uint8)) for k, shape in enumerate(shapes)]
    write(tmp_path / "owner/name/train-0.parquet", {"img": pictures, "fine_label": list("abcd") * 5})
    stream = streams.parse("hub:owner/name")
    assert stream.class_names == ("a", "b", "c", "d")
    assert stream.shape == (3, 9, 12)
    assert len(stream) == 4
    assert sum(len(segment.examples) for segment in stream.segments) == 16
    assert sum(len(test.y) for test in stream.tests) == 4
    write(tmp_path / "owner/odd/train.parquet", {"a": ["x"], "b": ["y"], "label": [0]})
    with pytest.raises(UsageError, match="not plainly a set of labelled images or texts"):
        streams.whole("hub:owner/odd")


def test_the_domains_hold_every_intent_once() -> None:
    assert len(set(INTENTS)) == 150
    assert {len(intents) for intents in DOMAINS.values()} == {15}


def test_the_list_names_every_source() -> None:
    assert [row["name"] for row in listing()] == list(SOURCES)


def test_a_run_over_mnist_stays_small(data: Path, decoded: None) -> None:
    script = (
        "import resource, torch\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "from remanence import streams\n"
        "stream = streams.parse('mnist')\n"
        "for experience in stream.experiences():\n"
        "    for rows in experience.examples.chunks(256): pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    if sys.platform != "linux":
        pytest.skip("peak memory is read in the units of Linux")
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=True)
    assert int(ran.stdout) / 1024 < 300


def test_named_sets_are_what_the_table_says(data: Path, decoded: None) -> None:
    for name in ("omniglot", "mnist"):
        stream, source = streams.whole(name), SOURCES[name]
        assert (len(stream.segments[0].examples), len(stream.tests[0].y)) == source.rows
        assert stream.segments[0].classes == tuple(range(source.classes))
        assert stream.shape == (1, 28, 28)
    omniglot = _load("omniglot", str(data))
    assert omniglot.segments[0].examples.labels().bincount().unique().tolist() == [15]
    assert omniglot.tests[0].y.bincount().unique().tolist() == [5]
    assert omniglot.tests[0].x.float().mean() < 128
