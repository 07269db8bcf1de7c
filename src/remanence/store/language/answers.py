"""Reading what a language model answered: one JSON object of the type asked for, or a phrase of what is wrong."""

from __future__ import annotations

import re
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from remanence.hyperparameters import first_problem

Typed = TypeVar("Typed", bound=BaseModel)


def read(text: str, answer: type[Typed]) -> Typed:
    """Read an answer strictly: one JSON object of the type; a fence or a thinking block around it is taken off.

    Raises
    ------
    ValueError
        With one phrase of what is wrong.

    Example
    -------
    >>> from remanence.store.language.tasks import YesNoAnswer
    >>> read('{"yes": true}', YesNoAnswer).yes
    True
    """
    bare = re.sub(r"^\s*<think>.*?</think>", "", text, flags=re.DOTALL).strip()
    fenced = re.fullmatch(r"```(?:json)?\s*\n(.*)\n?```", bare, flags=re.DOTALL)
    bare = (fenced[1] if fenced else bare).strip()
    if not bare:
        raise ValueError("it was empty")
    try:
        return answer.model_validate_json(bare, strict=True)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise ValueError("it was no JSON object") from None
        problem = first_problem(error)
        raise ValueError(problem if len(problem) <= 300 else problem[:300] + "…") from None
