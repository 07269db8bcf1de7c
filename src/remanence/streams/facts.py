"""Facts that change: people tell about themselves over many sessions, and what is true now is known exactly."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from remanence.randomness import derive
from remanence.streams.experience import Stream
from remanence.streams.scenarios import Seed, recorded, scenario, start
from remanence.streams.text_rows import Chapter, Question, question_stream

NAMES = [
    "Ana",
    "Bruno",
    "Clara",
    "Dmitri",
    "Elif",
    "Farid",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Kira",
    "Luca",
    "Mina",
    "Nils",
    "Olga",
    "Pavel",
    "Quinn",
    "Rosa",
    "Sami",
    "Tara",
    "Uma",
    "Viktor",
    "Wanda",
    "Xenia",
    "Yusuf",
    "Zoe",
]


@dataclass(frozen=True)
class Attribute:
    """Something that is true of a person: its values, how people say it (first, changed, again), how it is asked."""

    name: str
    values: tuple[str, ...]
    first: tuple[str, ...]
    changed: tuple[str, ...]
    again: tuple[str, ...]
    asked: tuple[str, ...]


ATTRIBUTES = (
    Attribute(
        "city",
        ("Lisbon", "Oslo", "Kyoto", "Quito", "Dublin", "Prague", "Nairobi", "Tallinn", "Montreal", "Seville"),
        ("I live in {}.", "My home is in {}.", "I have a flat in {}."),
        ("I moved to {} last week.", "I have just settled in {}.", "I gave up my old place and now live in {}."),
        ("{} is a good place to live, the rain aside.", "My street here in {} is noisy today."),
        ("Where does {} live?", "In which city is {}'s home?"),
    ),
    Attribute(
        "job",
        ("nurse", "carpenter", "teacher", "pilot", "baker", "translator", "gardener", "plumber", "lawyer", "dentist"),
        ("I work as a {}.", "I earn my living as a {}."),
        ("I changed jobs, I am a {} now.", "I quit, and have started as a {}."),
        ("Being a {} is hard work these days.", "As a {} I get up early."),
        ("What is {}'s job?", "What does {} work as?"),
    ),
    Attribute(
        "pet",
        ("parrot", "tortoise", "cat", "greyhound", "hamster", "rabbit", "gecko", "pony", "ferret", "goldfish"),
        ("I keep a {} at home.", "My pet is a {}."),
        ("My old pet went to my sister, I have a {} now.", "I have adopted a {}, the only animal in the house."),
        ("My {} woke me up at five.", "The {} is asleep on the sofa."),
        ("What pet does {} have?", "Which animal does {} keep?"),
    ),
    Attribute(
        "sport",
        ("rowing", "judo", "tennis", "climbing", "fencing", "archery", "swimming", "badminton", "curling", "handball"),
        ("On weekends I do {}.", "My sport is {}."),
        ("I stopped my old sport and took up {}.", "These days I do {} instead."),
        ("My arms hurt from {}.", "There was a long queue before {} today."),
        ("What sport does {} do?", "Which sport does {} practise?"),
    ),
    Attribute(
        "food",
        ("dumplings", "risotto", "tacos", "ramen", "goulash", "falafel", "paella", "pancakes", "curry", "lasagne"),
        ("My favourite food is {}.", "Nothing tastes better to me than {}."),
        ("I have gone off my old favourite, now it is {}.", "My new favourite food is {}."),
        ("I cooked {} yesterday.", "We had {} again."),
        ("What is {}'s favourite food?", "What does {} like to eat most?"),
    ),
    Attribute(
        "car",
        ("a red van", "an old pickup", "a blue estate", "an electric scooter", "a cargo bike", "a white convertible",
         "a green minibus", "a black motorbike", "a silver coupe", "a yellow hatchback"),
        ("I get around in {}.", "I drive {}."),
        ("I sold mine and got {}.", "From now on I go by {}."),
        ("Someone scratched {} in the car park.", "It was too cold to start {}."),
        ("What does {} drive?", "How does {} get around?"),
    ),
)  # fmt: skip

SMALL_TALK = (
    "What a long week this has been.",
    "Did you see the game last night?",
    "I slept badly, the neighbours had a party.",
    "The weather has been strange lately.",
    "I should call my mother more often.",
    "I am reading a book about lighthouses.",
    "My phone battery never lasts the day.",
    "We ought to meet for coffee soon.",
    "The train was late again this morning.",
    "I bought new curtains for the kitchen.",
    "There is a concert in the park on Sunday.",
    "I finally fixed the squeaky door.",
)


@scenario
def changing(
    stream: str | Stream = "facts",
    sessions: Annotated[int, Field(ge=1, le=500, description="how many sessions, each an experience")] = 12,
    people: Annotated[int, Field(ge=1, le=26, description="how many people talk")] = 8,
    changes: Annotated[float, Field(ge=0, le=1, description="the chance that a fact changes in a session")] = 0.12,
    mentions: Annotated[float, Field(ge=0, le=1, description="the chance that a fact is mentioned again")] = 0.08,
    chatter: Annotated[int, Field(ge=0, description="turns of small talk of each person in a session")] = 1,
    k: Annotated[int, Field(ge=1, description="records that an answer may name")] = 1,
    *,
    seed: Seed = 0,
) -> Stream:
    """People tell facts about themselves, some of which change; asked is what is true at the end.

    The evidence of a question is every turn that states the present value since it was last stated anew; a turn
    that states an earlier value is not.

    Parameters
    ----------
    stream:
        The source ``facts``.
    sessions, people, changes, mentions, chatter:
        The size of the talk; see the ranges above.
    k:
        How many records an answer may name; it is right if any of them is evidence.
    seed:
        From which everything is drawn.

    Example
    -------
    >>> stream = changing("facts", sessions=3, people=2, seed=1)
    >>> len(stream.segments), stream.task.metric
    (3, 'hit@1')
    """
    base = start(stream)
    options: dict[str, Any] = {
        "sessions": sessions,
        "people": people,
        "changes": changes,
        "mentions": mentions,
        "chatter": chatter,
        "seed": seed,
    }
    recipe = recorded(base, "changing", {**options, "k": k})
    drawn = question_stream("facts/changing", talk(**options), f"hit@{k}", recipe or {})
    return replace(drawn, recipe=recipe)


def talk(sessions: int, people: int, changes: float, mentions: float, chatter: int, seed: int) -> list[Chapter]:
    """The sessions: records with their numbers; the questions, on what is true at the end, come with the last."""
    draw = random.Random(derive(seed, "facts"))
    begin = datetime(2024, 1, 1, 9, tzinfo=UTC)
    value: dict[tuple[str, int], str] = {}
    stated: dict[tuple[str, int], list[int]] = {}
    told: list[list[tuple[int, dict[str, Any]]]] = []
    number = 0
    for session in range(sessions):
        lines: list[tuple[str, str, tuple[str, int] | None, bool]] = []
        for person in NAMES[:people]:
            for place, attribute in enumerate(ATTRIBUTES):
                fact = (person, place)
                if fact not in value:
                    # facts come out little by little, all of them by the middle of the talk
                    if draw.random() < 2 / max(sessions, 2) or session >= sessions // 2:
                        value[fact] = draw.choice(attribute.values)
                        lines.append((person, draw.choice(attribute.first).format(value[fact]), fact, True))
                elif draw.random() < changes:
                    value[fact] = draw.choice([one for one in attribute.values if one != value[fact]])
                    lines.append((person, draw.choice(attribute.changed).format(value[fact]), fact, True))
                elif draw.random() < mentions:
                    lines.append((person, draw.choice(attribute.again).format(value[fact]), fact, False))
            lines += [(person, draw.choice(SMALL_TALK), None, False) for _ in range(chatter)]
        draw.shuffle(lines)
        at = begin + timedelta(days=7 * session)
        told.append([])
        for minute, (person, text, stating, new) in enumerate(lines):
            said = (at + timedelta(minutes=minute)).isoformat()
            record = {"text": text, "speaker": person, "source": f"session {session + 1}", "said_at": said}
            told[-1].append((number, record))
            if stating is not None:
                if new:
                    stated[stating] = []
                stated[stating].append(number)
            number += 1
    asked = [
        Question(draw.choice(ATTRIBUTES[place].asked).format(person), tuple(numbers), kind=ATTRIBUTES[place].name)
        for (person, place), numbers in stated.items()
    ]
    chapters = [Chapter(f"session {k + 1}", records, []) for k, records in enumerate(told)]
    return [*chapters[:-1], Chapter("what is true now", told[-1], asked)]
