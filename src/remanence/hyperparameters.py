"""Hyperparameters: typed, described and checked where a system is constructed, once."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError, validate_call
from pydantic.fields import FieldInfo

from remanence.errors import UsageError, nearest

Init = TypeVar("Init", bound=Callable[..., None])


def validated(init: Init) -> Init:
    """Check the annotated hyperparameters of an ``__init__``.

    Annotate each with its type and range, ``Annotated[float, Field(gt=0, description="…")]``; a value
    of the wrong type or out of range raises a one-sentence `UsageError` (a ``ValueError``).
    """
    checked = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(init)

    @functools.wraps(init)
    def construct(self: object, *args: Any, **kwargs: Any) -> None:
        known = inspect.signature(init).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
            for name in kwargs:
                if name not in known:
                    names = [n for n in known if n != "self"]
                    hint = nearest(name, names) if names else "it has none"
                    raise UsageError(f"{type(self).__name__} has no hyperparameter {name!r}: {hint}")
        try:
            checked(self, *args, **kwargs)
        except ValidationError as error:
            raise UsageError(f"{type(self).__name__}: {first_problem(error)}") from None

    return typing.cast(Init, construct)


def first_problem(error: ValidationError) -> str:
    """The first problem of a pydantic error as one phrase: which setting, what it was, what it must be."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"]) or "a setting"
    message = problem["msg"].removeprefix("Value error, ")
    message = message.removeprefix("Input should be").strip()
    if problem["type"] == "string_pattern_mismatch":
        message = "one of " + problem["ctx"]["pattern"].strip("^$()").replace(r"(:\d+)?", "").replace("|", ", ")
    return f"{where} must be {message}, got {problem.get('input')!r}"


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter as `remanence show` prints it."""

    name: str
    type: str
    default: Any
    range: str
    description: str


def hyperparameters(target: Callable[..., Any]) -> list[Hyperparameter]:
    """What the annotated constructor of `target` takes, in order."""
    init = target.__init__ if inspect.isclass(target) else target
    hints = typing.get_type_hints(init, include_extras=True)
    found = []
    for parameter in inspect.signature(init).parameters.values():
        hint = hints.get(parameter.name)
        if parameter.name == "self" or typing.get_origin(hint) is not typing.Annotated:
            continue
        kind, *extras = typing.get_args(hint)
        info = next((extra for extra in extras if isinstance(extra, FieldInfo)), FieldInfo())
        found.append(
            Hyperparameter(
                parameter.name,
                _type_name(kind),
                parameter.default if parameter.default is not parameter.empty else None,
                _range_of(info),
                info.description or "",
            )
        )
    return found


def _type_name(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return " | ".join(str(value) for value in typing.get_args(kind))
    return getattr(kind, "__name__", str(kind)) if not typing.get_args(kind) else str(kind)


def _range_of(info: FieldInfo) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    bounds = []
    for constraint in info.metadata:
        for name, sign in signs.items():
            if getattr(constraint, name, None) is not None:
                bounds.append(f"{sign} {getattr(constraint, name)}")
    return ", ".join(bounds)
