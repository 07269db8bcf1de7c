"""Reading with a language model: it is given a text and the beginning of a line, and goes on with what it holds likeliest.

Every memory of text answers through this one reader, so that what is compared is what was remembered. Its weights are
shared by all of them and belong to none.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from remanence.answer import Answer
from remanence.errors import UsageError

LONGEST = 32
"""Tokens of an answer whose length nobody said."""


@dataclass(frozen=True)
class Reply:
    """What the model went on with, and the logarithm of the probability that it gave to it."""

    text: str
    score: float


class Reader:
    """A causal language model that answers by going on: greedily, one question at a time, always the same.

    Parameters
    ----------
    model:
        A causal language model of transformers; it is never changed.
    tokenizer:
        Its tokenizer, with transformers' ``encode`` and ``decode``.

    Example
    -------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> from remanence.models.byte_tokenizer import ByteTokenizer
    >>> size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    >>> reader = Reader(LlamaForCausalLM(LlamaConfig(vocab_size=259, **size)), ByteTokenizer())
    >>> len(reader.answer("The key is 12.", "The key is ", 2).text) <= 2
    True
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model.eval().requires_grad_(False), tokenizer
        self.positions: int | None = getattr(getattr(model, "config", None), "max_position_embeddings", None)

    def tokens(self, text: str, *, beginning: bool = True) -> list[int]:
        """A text as tokens, with the tokenizer's marks where it is the beginning of what is read."""
        return list(self.tokenizer.encode(text, add_special_tokens=beginning))

    def logits(self, tokens: Tensor, cache: Any = None, weights: Mapping[str, Tensor] | None = None) -> tuple[Any, Any]:
        """The model's logits (1, length, vocabulary) after each of the tokens (length,), and the cache it leaves.

        Parameters
        ----------
        tokens:
            What is read next.
        cache:
            A cache that holds what was read before, and then this too; None to begin.
        weights:
            Other weights than the model's own, by name; those that are not there stay as they are.
        """
        given = {"input_ids": tokens[None], "past_key_values": cache, "use_cache": True}
        found = (
            self.model(**given) if weights is None else torch.func.functional_call(self.model, dict(weights), (), given)
        )
        return found.logits, found.past_key_values

    def answer(
        self, context: str, question: str, length: int | None = None, weights: Mapping[str, Tensor] | None = None
    ) -> Reply:
        """Read a text, then the beginning of a line, and go on to its end.

        Of a text that is longer than the model can read, the end is read.

        Parameters
        ----------
        context:
            What the answer shall be found in, lines that end with a line break; it may be empty.
        question:
            The beginning of a line that the answer ends.
        length:
            How many characters the answer has at most.
        weights:
            As in `logits`.
        """
        tokens = self.tokens(context + question)
        if self.positions is not None:
            tokens = tokens[-max(1, self.positions - (length or LONGEST)) :]
        return self.go_on(tokens, length, weights=weights)

    @torch.no_grad()
    def go_on(
        self,
        tokens: list[int],
        length: int | None = None,
        *,
        cache: Any = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> Reply:
        """Read tokens and go on greedily, to the end of the line or until there are `length` characters.

        Parameters
        ----------
        tokens:
            One or more.
        length:
            How many characters at most.
        cache:
            What was read before. It is written to: hand over a copy to keep it.
        weights:
            As in `logits`.
        """
        if not tokens or (length is not None and length < 1):
            raise UsageError(f"{len(tokens)} tokens to read and {length} to give: at least one of each is needed")
        end = getattr(self.tokenizer, "eos_token_id", None)
        given: list[int] = []
        score, reading = 0.0, torch.tensor(tokens)
        for _ in range(length or LONGEST):
            logits, cache = self.logits(reading, cache, weights)
            likely = logits[0, -1].float().log_softmax(0)
            token = int(likely.argmax())
            text = self.tokenizer.decode([*given, token])
            if token == end or "\n" in text:
                break
            given, score = [*given, token], score + float(likely[token])
            if length is not None and len(text) >= length:
                break
            reading = torch.tensor([token])
        return Reply(self.tokenizer.decode(given)[:length], score)


def answered(replies: list[Reply], records: Tensor | None = None) -> Answer:
    """The answer of a learner whose texts are these replies."""
    scores = torch.tensor([[reply.score] for reply in replies]).reshape(-1, 1)
    return Answer(scores, (), records, tuple(reply.text for reply in replies))


def question_of(row: Mapping[str, Any]) -> tuple[str, int | None]:
    """What a row of a stream asks, and how long its answer is; a record is taken as a question in its own words."""
    return row.get("question") or row["text"], row.get("length")


@functools.lru_cache(maxsize=2)
def reader(name: str) -> Reader:
    """The reader of a language model by name or folder; all learners of a process share it."""
    from remanence.models.tiny_lm import language_model

    return Reader(*language_model(name))
