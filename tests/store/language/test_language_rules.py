"""The rules: what they see in plain English, and that any text is survived."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.store.language import Language, Rules, language
from remanence.store.language.comparing import compare
from remanence.store.language.rules import central
from remanence.store.language.statements import statements
from remanence.store.language.tasks import NoteAnnotation
from remanence.store.language.words import content, overlap, sentences

RULES = Rules()


def test_they_do_every_task():
    assert isinstance(RULES, Language)
    assert isinstance(language(), Rules)
    with pytest.raises(UsageError, match="no hyperparameter 'timeout'"):
        language("rules", timeout=3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I'm a nurse at St. Mary's.", ["Ben is a nurse at St. Mary's."]),
        (
            "I used to live in Oslo, but I moved to Bergen last year.",
            ["Ben no longer lives in Oslo.", "Ben lives in Bergen."],
        ),
        ("I've been living in Kyoto since 2020", ["Ben lives in Kyoto."]),
        (
            "I quit my job at Acme and started working at a bakery.",
            ["Ben no longer works at Acme.", "Ben works at a bakery."],
        ),
        ("My little sister is allergic to peanuts.", ["Ben's little sister is allergic to peanuts."]),
        ("Ana: I can't stand olives", ["Ana no longer likes olives."]),
        ("Ana is no longer a vegetarian", ["Ana is no longer a vegetarian."]),
        ("I stopped smoking.", ["Ben no longer smokes."]),
        ("My dog Rex died.", ["Ben's dog Rex died."]),
        ("We've got two cats.", ["Ben has two cats."]),
        ("Ana's favourite colour is blue.", ["Ana's favourite colour is blue."]),
        ("I got married to Lena in June", ["Ben is married to Lena."]),
        ("Where do you live? That sounds great!", []),
        ("Thanks, Mel!", []),
        ("", []),
    ],
)
def test_facts(text, expected):
    assert [str(fact) for fact in RULES.facts(text, "Ben")] == expected


@pytest.mark.parametrize(
    ("old", "new", "operation"),
    [
        ("Ben lives in Porto.", "Ben moved to Lisbon.", "replace"),
        ("Ben lives in Porto.", "Ben lives in Porto.", "pass"),
        ("Ben has a dog called Rex", "Ben has a dog", "pass"),
        ("Ben has a dog", "Ben has a dog called Rex", "replace"),
        ("Ben has a sore throat", "Ben's sore throat is gone", "delete"),
        ("Ben likes tea", "Ben no longer likes tea.", "delete"),
        ("Ben no longer likes tea.", "Ben likes tea", "replace"),
        ("Ben works at Bosch", "Ben quit his job at Bosch", "delete"),
        ("Ben is single", "Ben is dating Lena", "replace"),
        ("Ben is unemployed", "Ben works at Bosch", "replace"),
        ("Ana's favourite colour is blue", "Ana's favourite colour is green", "replace"),
        ("Ben likes tea", "Ben likes coffee", "append"),
        ("Ben lives in Porto.", "Ana lives in Lisbon.", "append"),
        ("Ben likes tea", "", "pass"),
        ("", "Ben likes tea", "append"),
    ],
)
def test_relations(old, new, operation):
    assert RULES.relation(old, new) == operation


def test_a_sentence_adds_nothing_to_itself():
    for text in ("Ana lives in Porto.", "The rain fell on the hills.", "I don't smoke."):
        assert compare(text, text) == "pass"


def test_keywords_tags_and_importance():
    text = "My sister Carla adopted a grey kitten in Lisbon; the kitten is called Tofu."
    assert RULES.keywords(text, most=4)[0] == "kitten"
    assert {"Carla", "Lisbon", "Tofu"} <= set(RULES.keywords(text))
    assert "animals" in RULES.tags(text) and "family" in RULES.tags(text)
    rising = ["Hi there!", "The weather is nice.", "I live in Porto.", "My father died in March 2020."]
    scores = [RULES.importance(each) for each in rising]
    assert scores == sorted(scores) and scores[0] < scores[-1]


def test_a_summary_takes_what_is_central_and_says_nothing_twice():
    texts = [
        "The trip to Rome was long.",
        "We took the train to Rome for the trip.",
        "I bought socks.",
        "The trip to Rome was long.",
    ]
    summary = RULES.summary(texts, sentences=2)
    assert "Rome" in summary and summary.count("The trip to Rome was long.") <= 1
    assert RULES.summary([]) == RULES.summary(["", "  "]) == ""


def test_merging_lets_the_later_one_stand():
    assert (
        RULES.merge(["Ana lives in Porto. Ana has a dog.", "Ana lives in Lisbon."])
        == "Ana has a dog. Ana lives in Lisbon."
    )
    assert RULES.merge(["Ben has a cold.", "Ben recovered from the cold."]) == ""


def test_same_event_and_related():
    a = "Ana ran the Lisbon marathon on Sunday."
    assert RULES.same_event(a, "On Sunday Ana finished the marathon in Lisbon.")
    assert not RULES.same_event(a, "Ana bakes bread.")
    assert not RULES.same_event("Ana ran the marathon in 2021.", "Ana ran the marathon in 2023.")
    assert RULES.related(a, ["Ana bought running shoes for the marathon.", "Ben bakes."]) == [0]


def test_notes_and_portraits():
    note = RULES.rewrite(
        NoteAnnotation(context="Ana moved.", tags=["home"]), "Ana moved.", ["Ana found a job at the hospital."]
    )
    assert note.tags[0] == "home" and "work" in note.tags and note.context
    assert RULES.portrait(["I love hiking.", "I am shy."], "Ana") == "Ana likes hiking. Ana is shy."


def test_when_memory_is_needed():
    assert RULES.needs_memory("What did I tell you about my trip?")
    assert not RULES.needs_memory("Hello!")
    assert not RULES.needs_memory("What is two plus two?")
    assert RULES.suffices("Where does Ana live?", "Ana lives in Porto.")
    assert not RULES.suffices("Where does Ana work?", "Ben has a dog.")


def test_lessons():
    found = RULES.lessons("Book a flight. The search form needs a date. Without it the page fails.", succeeded=False)
    assert found[0].when == "Book a flight." and found[0].do.startswith("Avoid")
    assert RULES.lessons("", succeeded=True) == []


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_is_survived(a, b):
    RULES.facts(a, "Ben")
    assert compare(a, b) in {"pass", "replace", "append", "delete"}
    assert 0.1 <= RULES.importance(a) <= 1.0
    RULES.keywords(a)
    RULES.tags(a)
    RULES.merge([a, b])
    assert RULES.same_event(a, b) == RULES.same_event(b, a)
    assert 0.0 <= overlap(content(a), content(b)) <= 1.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["Rain fell.", "Ana likes tea.", "Ana likes coffee.", "Ben runs far.", "!!"]), max_size=8),
    st.integers(0, 4),
)
def test_what_is_central_was_there_and_is_in_order(candidates, most):
    chosen = central(candidates, most)
    assert len(chosen) <= most
    rest = iter(candidates)
    assert all(any(sentence == other for other in rest) for sentence in chosen)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 2_000_000,
        "I am " * 100_000,
        "my " * 50_000 + "dog is red",
        "It is so. " * 100_000,
        "." * 100_000,
        ".)" * 50_000,
    ],
)
def test_long_texts_end(text):
    statements(text, "Ben")
    RULES.keywords(text)
    RULES.summary([text])


def test_sentences_keep_every_word():
    text = "Dr. Silva called at 5 p.m. today. She moved!\nNew line… and more"
    assert " ".join(sentences(text)).split() == text.split()


def test_importing_them_loads_no_client_and_no_framework():
    import subprocess
    import sys

    asked = "import sys, remanence.store.language; print({'openai', 'torch', 'sklearn', 'pandas'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True).stdout.strip() == "set()"
