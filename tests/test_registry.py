"""Systems by name: kinds and systems from outside the library, and what is refused."""

import subprocess
import sys
import textwrap
from typing import ClassVar

import pytest
import torch

import remanence as rm
from remanence import registry
from remanence.composition import compose
from remanence.errors import UsageError
from remanence.runner import Runner, Small


class Lookup(rm.Learner):
    """A learner of a kind that the library does not know: it wraps a table, which is no part and no learner itself."""

    def __init__(self, table, *, seed=0):
        super().__init__(seed=seed)
        self.table = table
        self.register_buffer("seen", torch.zeros(0, dtype=torch.int64))

    def _steps(self, experience, start):
        for first in range(start * self.batch_size, len(experience.examples), self.batch_size):
            rows = torch.arange(first, min(first + self.batch_size, len(experience.examples)))
            self.seen = torch.cat([self.seen, experience.examples.learn(rows).y])
            yield rm.Update(examples=len(rows))

    def _answer(self, x, task):
        classes = tuple(self.seen.unique().tolist())
        counts = torch.tensor([float((self.seen == label).sum()) for label in classes])
        return rm.Answer(counts.pow(self.table.power).expand(len(x), -1), classes)


class Table:
    """The base class of the new kind."""

    runner: ClassVar[str] = f"{__name__}:TABLE"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    def __init__(self, *, power: float = 1.0):
        self.power = power


class Tempered:
    """What all tables share."""

    def __init__(self, *, warmth: int = 1):
        self.warmth = warmth


TABLE = Runner(
    "table",
    lambda recipe, cards, settings, model: Lookup(cards[0].factory(**settings[0]), seed=recipe.seed),
    facts=lambda card: [("looks up", "the commonest label")],
    small=lambda cards, folder: Small({"source": "digits", "scenarios": [["split", {"experiences": 2}]]}, {}),
)


@pytest.fixture
def commonest():
    """The new kind's system, registered as a file of somebody else's would."""
    registry.system("commonest", place="elsewhere")(Table)
    yield registry.get("commonest")
    registry.withdraw("commonest")


def test_a_new_kind_from_outside_is_made_run_saved_and_shown(commonest, tmp_path):
    small = compose("commonest").small(tmp_path)
    stream = rm.streams.build(small.stream)
    learner = rm.make("commonest", stream, **small.settings)
    report = rm.run(learner, stream)
    assert report.results[0].status == "finished"
    learner.save(tmp_path / "table.safetensors")
    x = stream.tests[0].x
    loaded = rm.load(tmp_path / "table.safetensors")
    assert torch.equal(loaded.predict(x).scores, learner.predict(x).scores)
    assert torch.equal(learner.session().predict(x).scores, learner.predict(x).scores)
    assert commonest.runs_on_streams and commonest.runner.facts(commonest)[0][0] == "looks up"
    with pytest.raises(UsageError, match="'commonest' has no trainer to add parts to"):
        rm.make("commonest+er", stream)


def test_systems_of_two_kinds_that_compose_do_not_go_together(commonest, monkeypatch):
    from dataclasses import replace

    monkeypatch.setattr(sys.modules[__name__], "TABLE", replace(TABLE, composes=True))
    with pytest.raises(UsageError, match="'er' is a part and 'commonest' a table"):
        compose("er+commonest")


def test_a_class_without_a_runner_and_a_name_held_by_another_are_refused():
    with pytest.raises(UsageError, match="Nothing names no runner"):
        registry.system("nothing")(type("Nothing", (), {}))
    with pytest.raises(UsageError, match="'er' is registered for remanence"):
        registry.system("er")(Table)
    assert registry.get("er").factory is not Table


def test_a_composed_name_is_resolved_once(monkeypatch):
    asked = []
    known = registry.get
    monkeypatch.setattr("remanence.composition.get", lambda name: asked.append(name) or known(name))
    stream = rm.streams.split("digits", experiences=5)
    rm.make("er+fpf", stream)
    assert asked == ["er", "fpf"]


@pytest.fixture
def installed(tmp_path):
    """A distribution of somebody else's on the path, as pip would have left it."""
    (tmp_path / "theirs.py").write_text(
        textwrap.dedent(
            '''
            """Naive again: nothing is remembered but the weights."""

            import remanence as rm

            @rm.system("theirs", paper=rm.Paper("Of Theirs", "They", 2026))
            class Theirs(rm.Part):
                """Does nothing."""
            '''
        )
    )
    (tmp_path / "empty_handed.py").write_text("class Nothing: pass\n")
    info = tmp_path / "their_systems-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-systems\nVersion: 1.0\n")
    (info / "RECORD").write_text("")
    (info / "entry_points.txt").write_text(
        "[remanence.systems]\ntheirs = theirs:Theirs\nlost = not_there:Lost\nunsaid = empty_handed:Nothing\n"
    )
    return tmp_path


def within(folder, code):
    """What a process prints that has the distribution on its path, the last lines of its errors behind it."""
    given = f"import sys; sys.path.insert(0, {str(folder)!r})\n{textwrap.dedent(code)}"
    done = subprocess.run([sys.executable, "-c", given], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_systems_of_other_distributions_are_listed_unloaded_and_loaded_when_named(installed):
    said = within(
        installed,
        """
        import remanence as rm
        from remanence.cards import systems_table
        table = systems_table(None, "their-sys")
        print(list(table.columns[0].cells), list(table.columns[1].cells), "theirs" in sys.modules)
        stream = rm.streams.split("digits", experiences=5)
        print(rm.make("er+theirs", stream, size=10).parts[1].__class__.__name__, "theirs" in sys.modules)
        print("theirs" in rm.registry.outside(), rm.registry.get("theirs").room)
        for name in ("lost", "unsaid", "thers"):
            try:
                rm.make(name, stream)
            except rm.errors.UsageError as error:
                print(error)
        """,
    )
    assert said[0] == "['lost', 'theirs', 'unsaid'] ['of their-systems', 'of their-systems', 'of their-systems'] False"
    assert said[1:3] == ["Theirs True", "False theirs"]
    assert said[3].startswith("'lost' of their-systems cannot be loaded (No module named 'not_there')")
    assert said[4].startswith("their-systems names 'unsaid', but empty_handed:Nothing registers no system")
    assert said[5].startswith("there is no system 'thers': did you mean 'theirs'")
