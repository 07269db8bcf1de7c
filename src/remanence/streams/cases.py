"""Tasks that were tried: what was asked, what was done, and whether it worked; and new tasks that need a like case."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from remanence.randomness import derive
from remanence.streams.experience import Stream
from remanence.streams.scenarios import Seed, recorded, scenario, start
from remanence.streams.text_rows import Chapter, Question, question_stream

OBJECTS = {
    "a spreadsheet": ("open_table", "query_table"),
    "a photograph": ("edit_image", "retouch_image"),
    "a voice message": ("transcribe_audio", "caption_audio"),
    "a contract": ("check_clauses", "review_terms"),
    "an invoice": ("book_payment", "settle_account"),
    "a map": ("plan_route", "find_path"),
    "a recipe": ("scale_amounts", "convert_units"),
    "a poem": ("translate_verse", "render_verse"),
    "a calendar": ("find_slot", "propose_date"),
    "a password": ("reset_login", "renew_access"),
}
"""What a task is about, and what helps: before and after the rules change."""

SITTINGS = (
    "{} is planning a wedding in the old town, with the caterer and the band still to be booked, and has {} to deal with.",
    "The choir of the school goes on tour next week, the bus is late, and {} is left with {}.",
    "After the flood in the cellar the insurance wants papers; {} sits in the kitchen with {}.",
    "For the annual meeting of the gardening club {} has been handed {}.",
    "{} moves house on Friday, half the boxes are packed, and now there is {}.",
    "The bakery opens a second shop by the harbour, and {}, who runs it, was sent {}.",
    "On the night train to the mountains {} remembers {} that cannot wait.",
    "Before the marathon the team doctor, {}, still has {} on the desk.",
    "The museum hangs its summer exhibition; {} from the office brings {}.",
    "At the animal shelter, between two phone calls, {} comes across {}.",
)

PLAIN = ("{} needs help with {}.", "{} has {} to deal with.", "{} was sent {}.", "{} asks about {}.")

NAMES = ("Ana", "Bruno", "Clara", "Dmitri", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas")


@scenario
def working(
    stream: str | Stream = "cases",
    experiences: Annotated[int, Field(ge=1, le=200, description="how many experiences")] = 8,
    tasks: Annotated[int, Field(ge=1, le=1000, description="tasks in each")] = 40,
    success: Annotated[float, Field(ge=0, le=1, description="the chance that what was tried is right")] = 0.5,
    drift: Annotated[float, Field(ge=0, le=1, description="the share of rules that change half way")] = 0.0,
    distraction: Annotated[float, Field(ge=0, le=1, description="the share of tasks that tell of a setting")] = 1.0,
    k: Annotated[int, Field(ge=1, description="cases that an answer may name")] = 1,
    *,
    seed: Seed = 0,
) -> Stream:
    """Tasks arrive with what was done and whether it worked; asked are new tasks, for a case that shows what to do.

    What a task is about (a spreadsheet, a map) decides what helps; most of its words tell of a setting that has
    nothing to do with it, so that the most similar case is often of no use. A record's metadata has ``action`` and
    ``reward`` (0 or 1). A case is evidence where its action is what the task needs by the rules at the end, and
    its reward was 1.

    Parameters
    ----------
    stream:
        The source ``cases``.
    experiences, tasks, success, drift:
        How much is tried, and how the rules change; see the ranges above.
    distraction:
        The share of tasks whose words tell mostly of a setting; the others say plainly what they are about.
    k:
        How many cases an answer may name; it is right if any of them is evidence.
    seed:
        From which everything is drawn.

    Example
    -------
    >>> stream = working("cases", experiences=2, tasks=10, seed=1)
    >>> [len(segment.examples) for segment in stream.segments], stream.task.metric
    ([10, 10], 'hit@1')
    """
    base = start(stream)
    options: dict[str, Any] = {
        "experiences": experiences,
        "tasks": tasks,
        "success": success,
        "drift": drift,
        "distraction": distraction,
        "seed": seed,
    }
    recipe = recorded(base, "working", {**options, "k": k})
    drawn = question_stream("cases/working", draw_cases(**options), f"hit@{k}", recipe or {})
    return replace(drawn, recipe=recipe)


def draw_cases(
    experiences: int, tasks: int, success: float, drift: float, distraction: float, seed: int
) -> list[Chapter]:
    """The cases in order, and questions that come with the last of them."""
    draw = random.Random(derive(seed, "cases"))
    objects = list(OBJECTS)
    changed = set(draw.sample(objects, round(drift * len(objects))))
    chapters, worked, number = [], dict[str, list[int]](), 0
    for experience in range(experiences):
        late = 2 * experience >= experiences
        records = []
        for _ in range(tasks):
            about = draw.choice(objects)
            right = OBJECTS[about][late and about in changed]
            wrong = [action for actions in OBJECTS.values() for action in actions if action != right]
            action = right if draw.random() < success else draw.choice(wrong)
            outcome = {"action": action, "reward": int(action == right)}
            records.append(
                (number, {"text": _description(draw, about, distraction), "kind": "case", "metadata": outcome})
            )
            if action == right:
                worked.setdefault(action, []).append(number)
            number += 1
        chapters.append(Chapter(f"experience {experience + 1}", records, []))
    questions = []
    for _ in range(2 * tasks):
        about = draw.choice(objects)
        right = OBJECTS[about][experiences > 1 and about in changed]
        if right in worked:
            questions.append(Question(_description(draw, about, distraction), tuple(worked[right]), kind=about))
    return [*chapters[:-1], Chapter("new tasks", chapters[-1].records, questions)]


def _description(draw: random.Random, about: str, distraction: float) -> str:
    plain = draw.random() >= distraction
    return draw.choice(PLAIN if plain else SITTINGS).format(draw.choice(NAMES), about)
