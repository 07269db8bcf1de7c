"""What a bounded cache still knows of a long text: planted facts asked for exactly, and perplexity while reading."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from remanence.claims.engine.experiment import Measured
from remanence.randomness import derive, global_generator
from remanence.streams.recall.needle_text import needle_text
from remanence.streams.recall.notes import NeedleText

if TYPE_CHECKING:
    from remanence.context.caches.cache import PolicyCache
    from remanence.context.caches.policy import Policy

Make = Callable[[Any, int], "PolicyCache"]
"""Makes an empty cache for a model and a budget in bytes."""

BEGIN = 257
"""The mark that texts of `tiny-lm` begin with."""

BUDGET = 670_000
"""Bytes of a cache for one text: some 320 entries in each of the four layers of `tiny-lm`."""


@dataclass(frozen=True)
class Texts:
    """The texts of one measurement.

    Parameters
    ----------
    length:
        Bytes of a text.
    facts:
        Facts planted in it, each asked for at its end, as if the text ended with that question alone.
    count:
        How many texts there are for each seed; they are read as one batch where a policy reads rows apart.
    piece:
        Tokens that are read in one call.
    window:
        Facts at most so many bytes before the end are near, the others far.
    apart:
        Whether the bytes of an answer come one in a call, as when they are written. A policy that looks at a call as a
        whole would otherwise see in the question what the answer is.
    """

    length: int = 1024
    facts: int = 6
    count: int = 8
    piece: int = 64
    window: int = 320
    apart: bool = False

    def drawn(self, seed: int, *, held_out: bool) -> list[NeedleText]:
        """The texts of a seed: among held-out Shakespeare, or, for searching, among the part to learn from."""
        purpose = "searched" if held_out else "reported"
        return [
            needle_text(self.length, derive(seed, "planted text", purpose, k), facts=self.facts, held_out=not held_out)
            for k in range(self.count)
        ]


@dataclass
class Found:
    """What reading some texts gave.

    Parameters
    ----------
    right:
        For each fact, its distance in bytes from the end of the text, and whether its value was said exactly.
    nats, predicted:
        The negative log-likelihood of all bytes outside the notes, and how many they are.
    nbytes:
        The most bytes that were held of a text after a call.
    """

    right: list[tuple[int, bool]] = field(default_factory=list)
    nats: float = 0.0
    predicted: int = 0
    nbytes: int = 0


PROMPTS = Texts(length=464, facts=6, count=8, piece=512, window=64)
"""Texts that are one prompt with the question at their end, within the positions of `tiny-lm`."""

PROMPT_BUDGET = 270_000
"""Bytes of a cache for one prompt: some 128 entries in each layer, a quarter of the prompt."""


@functools.cache
def subject() -> Any:
    """The model that reads: `tiny-lm`, as `remanence prepare` trained it."""
    from remanence.models.tiny_lm import tiny_lm

    return tiny_lm().model


def bounded(policy: Callable[[], Policy]) -> Make:
    """Makes caches of a policy that has no name, such as a baseline that only a claim needs."""
    from remanence.context.caches.hugging_face import cache_class
    from remanence.context.caches.probe import shape_of

    def make(model: Any, budget: int) -> PolicyCache:
        made: PolicyCache = cache_class()(policy(), shape_of(model), budget=budget, tokens=None)
        made.layer_budget.check()
        return made

    return make


def named(name: str, **settings: Any) -> Make:
    """Makes caches of a policy by its name; what follows ``#`` only tells two of one name apart."""
    from remanence.context import cache

    return lambda model, budget: cache(name.partition("#")[0], model=model, budget=budget, **settings)


@torch.no_grad()
def read(model: Any, cache: PolicyCache, texts: Sequence[NeedleText], *, piece: int, apart: bool = False) -> Found:
    """Read texts of one length as a batch, in pieces, then ask for each of their facts on copies of the cache."""
    found = Found()
    tokens = torch.tensor([[BEGIN, *given.text.encode("ascii")] for given in texts])
    told = torch.stack([_outside(given) for given in texts])
    last: Tensor | None = None
    with cache.attach(model):
        for at in range(0, tokens.shape[1], piece):
            logits = model(tokens[:, at : at + piece], past_key_values=cache).logits.float()
            # The last logits of the call before predict the first token of this one
            ahead = logits[:, :-1] if last is None else torch.cat([last, logits[:, :-1]], 1)
            here = slice(at + (last is None), at + logits.shape[1])
            losses = cross_entropy(ahead.flatten(0, 1), tokens[:, here].flatten(), reduction="none")
            counted = told[:, here].flatten()
            found.nats += float(losses[counted].sum())
            found.predicted += int(counted.sum())
            found.nbytes = max(found.nbytes, -(-cache.nbytes // len(texts)))
            last = logits[:, -1:]
    for facts in zip(*(given.latest for given in texts), strict=True):
        questions = [fact.question.encode("ascii") for fact in facts]
        said = answers(model, cache.copy(), questions, [fact.value.encode("ascii") for fact in facts], apart=apart)
        found.right += [
            (len(given.text) - fact.value_at, right) for given, fact, right in zip(texts, facts, said, strict=True)
        ]
    return found


@torch.no_grad()
def answers(
    model: Any,
    cache: PolicyCache,
    questions: Sequence[Sequence[int]],
    values: Sequence[Sequence[int]],
    *,
    apart: bool = False,
) -> list[bool]:
    """Whether the model, asked a question in each row, says the value exactly; the cache goes on from there.

    Questions, and values, have as many bytes in every row. A question is read with the right value behind it: that each
    byte of it is foreseen is the same as that it would have been written; with `apart`, its bytes come one in a call.
    """
    asked = torch.tensor([[*question, *value] for question, value in zip(questions, values, strict=True)])
    size = len(values[0])
    calls = [asked[:, :-1]]
    if apart:
        calls = [asked[:, :-size], *(asked[:, k : k + 1] for k in range(asked.shape[1] - size, asked.shape[1] - 1))]
    with cache.attach(model):
        logits = torch.cat([model(call, past_key_values=cache).logits for call in calls], 1)
    right: list[bool] = (logits[:, -size:].argmax(-1) == asked[:, -size:]).all(1).tolist()
    return right


def _outside(given: NeedleText) -> Tensor:
    """Which tokens of a text, the mark of its beginning before them, are not within a note."""
    told = torch.ones(len(given.text) + 1, dtype=torch.bool)
    for fact in given.facts:
        told[fact.start + 1 : fact.end + 1] = False
    return told


def measured(make: Make, seed: int, *, held_out: bool, texts: Texts | None = None, budget: int = BUDGET) -> Measured:
    """Recall of planted facts, all and far ones, and the perplexity of the text between them, over a seed's texts.

    Parameters
    ----------
    make:
        Makes an empty cache for a model and a budget.
    seed, held_out:
        As an `Experiment` gives them: which texts, and whether they are for searching.
    texts:
        What they are like.
    budget:
        Bytes for each text; a batch has as many times more.
    """
    texts = texts or Texts()
    model, drawn = subject(), texts.drawn(seed, held_out=held_out)
    rows = len(drawn) if make(model, budget).policy.rows_apart else 1
    with global_generator(derive(seed, "reading")):
        found = [
            read(model, make(model, budget * rows), drawn[at : at + rows], piece=texts.piece, apart=texts.apart)
            for at in range(0, len(drawn), rows)
        ]
    figures = {
        "recall": _share(found, 0),
        "far recall": _share(found, texts.window),
        "perplexity": math.exp(sum(one.nats for one in found) / sum(one.predicted for one in found)),
    }
    return Measured(figures, {"cache": max(one.nbytes for one in found)}, {"texts": len(drawn)})


@torch.no_grad()
def prompted(make: Make, seed: int, *, held_out: bool, texts: Texts = PROMPTS, budget: int = PROMPT_BUDGET) -> Measured:
    """Recall where text and question are one prompt, read at once; the answer is written from what the cache kept of it.

    As in the papers, the first byte of the answer is predicted while all of the prompt is seen, and the others with what
    the cache holds.
    """
    model, drawn = subject(), texts.drawn(seed, held_out=held_out)
    rows = len(drawn) if make(model, budget).policy.rows_apart else 1
    found = Found()
    for facts in zip(*(given.latest for given in drawn), strict=True):
        for at in range(0, len(drawn), rows):
            some, asked = drawn[at : at + rows], facts[at : at + rows]
            prompts = [
                [BEGIN, *(given.text + fact.question).encode("ascii")] for given, fact in zip(some, asked, strict=True)
            ]
            values = torch.tensor([list(fact.value.encode("ascii")) for fact in asked])
            cache, prompt = make(model, budget * rows), torch.tensor(prompts)
            with cache.attach(model):
                first = model(prompt, past_key_values=cache).logits[:, -1:]
                found.nbytes = max(found.nbytes, -(-cache.nbytes // rows))
                others = model(values[:, :-1], past_key_values=cache).logits
                said = torch.cat([first, others], 1).argmax(-1)
            right = (said == values).all(1).tolist()
            found.right += [(len(given.text) - f.value_at, r) for given, f, r in zip(some, asked, right, strict=True)]
    figures = {"recall": _share([found], 0), "far recall": _share([found], texts.window)}
    return Measured(figures, {"cache": found.nbytes}, {"prompts": len(found.right)})


def _share(found: Sequence[Found], beyond: int) -> float:
    asked = [right for one in found for distance, right in one.right if distance > beyond]
    return fmean(asked) if asked else math.nan


def measure(side: str, seed: int, held_out: bool, **settings: Any) -> Measured:
    """The measurement of an `Experiment` whose sides are policies by name: facts asked for after a long text."""
    return measured(named(side, **settings), seed, held_out=held_out)


def measure_prompts(side: str, seed: int, held_out: bool, **settings: Any) -> Measured:
    """The measurement of an `Experiment` whose sides are policies by name: facts asked for within the prompt."""
    return prompted(named(side, **settings), seed, held_out=held_out)


HOW = (
    "tiny-lm reads texts of 1,024 bytes of held-out Shakespeare with 6 planted facts, 64 tokens a call, and is then asked "
    "for each fact; far facts are those more than 320 bytes before the end; 8 texts for each seed, others for searching"
)
EQUAL = "670,000 bytes of cache for a text on both sides, held to after every call; scores and thresholds are counted"
HOW_PROMPTS = (
    "tiny-lm reads 464 bytes of held-out Shakespeare with 6 planted facts and a question for one of them as one prompt, "
    "and answers from what the cache kept, at the positions of the text; the first byte of an answer is predicted before "
    "anything goes; far facts are those more than 64 bytes before the end; 48 prompts for each "
    "seed, others for searching"
)
EQUAL_PROMPTS = (
    "270,000 bytes of cache for a prompt on both sides, held to after every call; scores and thresholds are counted"
)
REDUCED = "a byte-level Llama of 0.8 million parameters and 512 positions instead of one of 7 billion, {instead}"
