"""Language tasks that memories ask for: behind any OpenAI-compatible endpoint, or by rules with none."""

from typing import Any

from remanence.store.language.llm_client import LLMClient
from remanence.store.language.model import LanguageModel
from remanence.store.language.rules import Rules
from remanence.store.language.tasks import Fact, Language, Lesson, NoteAnnotation, Operation
from remanence.store.language.usage import Usage

__all__ = [
    "Fact",
    "LLMClient",
    "Language",
    "LanguageModel",
    "Lesson",
    "NoteAnnotation",
    "Operation",
    "Rules",
    "Usage",
    "language",
]


def language(name: str = "rules", **settings: Any) -> Language:
    """What does a memory's language tasks, by name.

    Parameters
    ----------
    name:
        ``"rules"``, or the name of a model behind an OpenAI-compatible endpoint.
    **settings:
        What `LanguageModel` takes: ``base_url``, ``api_key``, ``timeout``, ``retries``, prices…

    Example
    -------
    >>> language("rules").relation("Ana lives in Porto.", "Ana lives in Lisbon now.")
    'replace'
    """
    if name == "rules":
        return Rules(**settings)
    return LLMClient(LanguageModel(name, **settings))
