"""kvpress beside ours where both have the same method: ``python -m bench.peers.kvpress_run``.

Both run in one process, in an environment of its own (`setup`) with the newest transformers that kvpress takes, on
one thread, with the library's ``tiny-lm``. A text of 383 bytes with four planted facts is read at once; after that
both hold the same number of entries, half of them or as `METHODS` says; then each fact is asked for, from a copy, and
answered greedily. Given are the share of answers that are wholly right, the bytes of the tensors held after reading
(ours with room for the entries that may come before some go again), and processor time of reading and of answering.
Theirs lets go once, after reading, and grows by question and answer; ours stays bounded and lets go of further
entries for these.

Attention sinks count positions within the cache on both sides (`KeyRerotationPress`), the others as in the text.
SnapKV has the same window and kernel, and the question but its last byte is read with the text, as its window is to
see what is asked; nine tenths stay, since with half of the entries neither side recalls any fact. ThinK prunes
channels and lets no entry go: theirs sets them to zero, ours does not hold them, and keeps the newest 16 keys whole.
With nothing let go both sides are the model alone, which shows what could be recalled at all.
"""

from __future__ import annotations

import copy
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers.environment import FOLDER, borrowing

ENVIRONMENT = FOLDER / "kvpress"
PYTHON = ENVIRONMENT / "bin" / "python"
NEEDED = ("kvpress==0.5.5", "transformers==5.2.0")
LENGTH, FACTS, KEPT, WINDOW, KERNEL, CHANNELS = 383, 4, 0.5, 16, 5, 0.5
ROOM = 1.1
TEXTS = 32


@dataclass(frozen=True)
class Method:
    """One method as both have it.

    Parameters
    ----------
    ours, settings:
        The policy and its hyperparameters.
    theirs:
        Makes the press.
    kept:
        The share of the entries that stay; more than 1 where question and answer find room too.
    asked:
        Whether the question is read with the text.
    """

    ours: str
    settings: dict[str, Any]
    theirs: Callable[[Any], Any]
    kept: float = KEPT
    asked: bool = False


METHODS = {
    "nothing let go": Method("full-cache", {}, lambda kvpress: kvpress.StreamingLLMPress(0.0), kept=ROOM),
    "attention sinks": Method(
        "attention-sinks",
        {"sinks": 4},
        lambda kvpress: kvpress.KeyRerotationPress(kvpress.StreamingLLMPress(1 - KEPT, n_sink=4)),
    ),
    "SnapKV": Method(
        "snap-kv",
        {"window": WINDOW, "kernel": KERNEL, "positions": "original"},
        lambda kvpress: kvpress.SnapKVPress(0.1, window_size=WINDOW, kernel_size=KERNEL),
        kept=0.9,
        asked=True,
    ),
    "ThinK": Method(
        "think",
        {"ratio": CHANNELS, "whole": 16, "observed": 32, "positions": "original"},
        lambda kvpress: kvpress.ThinKPress(CHANNELS, window_size=32),
        kept=ROOM,
    ),
}


def setup() -> None:
    """Make the environment if it is not there."""
    if not (ENVIRONMENT / "made").exists():
        python = borrowing(ENVIRONMENT)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *NEEDED], check=True)
        (ENVIRONMENT / "made").touch()


def rows(texts: int = TEXTS) -> list[dict[str, Any]]:
    """Rows for the table; none, and a sentence, where kvpress cannot be installed."""
    try:
        setup()
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"kvpress is left out, as it could not be installed here: {error}", file=sys.stderr)
        return []
    paths = [str(Path(__file__).parents[2] / "src"), str(Path(__file__).parents[2])]
    done = subprocess.run(
        [PYTHON, "-W", "ignore", "-m", "bench.peers.kvpress_run", str(texts)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "PYTHONPATH": os.pathsep.join(paths)},
    )
    return [_row(*told) for told in json.loads(done.stdout.splitlines()[-1])]


def _row(method: str, what: str, ours: float, theirs: float, unit: str) -> dict[str, Any]:
    ratio = ours - theirs if unit.startswith("recall") else ours / theirs
    sign = "minus" if unit.startswith("recall") else "/"
    return {
        "what": f"ours {sign} kvpress, {method}, {what}",
        "ratio": round(ratio, 3),
        "ours": round(ours, 3),
        "theirs": round(theirs, 3),
        "unit": unit,
        "turns": TEXTS,
        "target": None,
    }


# In the peer's environment


class Ours:
    """A policy's cache, and how a text is read with it."""

    def __init__(self, model: Any, method: Method, length: int) -> None:
        import remanence as rm

        self.model = model
        kept = int(length * method.kept)
        slack = max(1, kept // 32)  # what goes at once by default, so that `kept` are held after reading
        self.make = lambda: rm.context.cache(
            method.ours, model=model, tokens=kept + slack, slack=slack, **method.settings
        )

    def read(self, text: Any) -> Any:
        """The cache after a text."""
        cache = self.make()
        with cache.attach(self.model):
            self.model(text, past_key_values=cache)
        return cache

    def answer(self, cache: Any, question: Any, count: int) -> list[int]:
        """Tokens that follow a question."""
        with cache.attach(self.model):
            return _greedy(self.model, cache, question, count, None)

    @staticmethod
    def nbytes(cache: Any) -> int:
        """Bytes held."""
        return int(cache.nbytes)


class Theirs:
    """A press, and how a text is read with it."""

    def __init__(self, model: Any, method: Method, length: int) -> None:
        import kvpress

        self.model, self.press, self.length = model, method.theirs(kvpress), length
        self.moved = isinstance(self.press, kvpress.KeyRerotationPress)

    def read(self, text: Any) -> Any:
        """The cache after a text."""
        from transformers import DynamicCache

        cache = DynamicCache()
        with self.press(self.model):
            self.model(text, past_key_values=cache)
        return cache

    def answer(self, cache: Any, question: Any, count: int) -> list[int]:
        """Tokens that follow a question."""
        return _greedy(self.model, cache, question, count, cache.get_seq_length() if self.moved else self.length)

    @staticmethod
    def nbytes(cache: Any) -> int:
        """Bytes of keys and values as they are stored."""
        return sum(t.untyped_storage().nbytes() for layer in cache.layers for t in (layer.keys, layer.values))


def _greedy(model: Any, cache: Any, question: Any, count: int, position: int | None) -> list[int]:
    import torch

    found: list[int] = []
    while len(found) < count:
        new = question.shape[1]
        # A shortened plain cache does not know how far the text has come
        at = {} if position is None else {"position_ids": torch.arange(position, position + new)[None]}
        found.append(int(model(question, past_key_values=cache, **at).logits[0, -1].argmax()))
        position = None if position is None else position + new
        question = torch.tensor([found[-1:]])
    return found


def compare(model: Any, method: Method, texts: int) -> dict[str, dict[str, float]]:
    """Recall, bytes and milliseconds of both."""
    import torch

    from remanence.models.byte_tokenizer import BEGIN
    from remanence.streams.recall.needle_text import needle_text

    end = len(needle_text(LENGTH, 0, facts=FACTS).facts[0].question) - 1 if method.asked else 0
    length = LENGTH + 1 + end
    sides = {"ours": Ours(model, method, length), "theirs": Theirs(model, method, length)}
    found: dict[str, dict[str, list[float]]] = {
        side: {"recall": [], "bytes": [], "reading": [], "answering": []} for side in sides
    }
    for number in range(-1, texts):  # the first warms up
        given = needle_text(LENGTH, 1000 + number, facts=FACTS)
        for facts in [[fact] for fact in given.facts] if method.asked else [list(given.facts)]:
            text = [BEGIN, *given.text.encode("ascii"), *facts[0].question.encode("ascii")[:end]]
            for side, one in list(sides.items())[:: 1 if number % 2 else -1]:
                told = found[side] if number >= 0 else {name: [] for name in found[side]}
                began = time.process_time()
                cache = one.read(torch.tensor([text]))
                told["reading"].append((time.process_time() - began) * 1e3)
                told["bytes"].append(one.nbytes(cache))
                for fact in facts:
                    question, again = list(fact.question.encode("ascii"))[end:], copy.deepcopy(cache)
                    began = time.process_time()
                    answer = one.answer(again, torch.tensor([question]), len(fact.value))
                    told["answering"].append((time.process_time() - began) * 1e3)
                    told["recall"].append(answer == list(fact.value.encode("ascii")))
    return {
        side: {
            name: (statistics.mean if name == "recall" else statistics.median)(values) for name, values in told.items()
        }
        for side, told in found.items()
    }


def main(texts: int) -> None:
    import torch

    import remanence as rm
    from remanence.models.tiny_lm import tiny_lm

    torch.set_num_threads(1)
    model = tiny_lm().model
    units = {
        "recall": f"recall of {texts * FACTS} facts",
        "bytes": "bytes after reading",
        "reading": "ms of processor time a text",
        "answering": "ms of processor time a question",
    }
    told = []
    with torch.inference_mode():
        for name, method in METHODS.items():
            if method.ours in rm.context.policies():
                sides = compare(model, method, texts)
                told += [(name, what, sides["ours"][what], sides["theirs"][what], unit) for what, unit in units.items()]
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else TEXTS)
