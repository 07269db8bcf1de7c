"""MemoryBank: the forgetting curve against its closed form, recall, summaries and portraits."""

import math

import pytest

import remanence as rm
import remanence.store as store
from remanence.errors import UsageError
from remanence.store.memories.memorybank import MemoryBank

DAY = 86_400_000_000


@pytest.fixture
def clock():
    return [1_700_000_000_000_000]


@pytest.fixture
def opened(tmp_path, clock):
    with store.open(tmp_path / "memory.db", encoder=None) as memory:
        memory.clock = lambda: clock[0]
        yield memory


def write(memory, clock, *texts, **fields):
    ids = []
    for text in texts:
        clock[0] += 1
        ids += memory.write({"text": text, "speaker": "Ana", **fields})
    return ids


def test_retention_is_the_papers_formula(opened, clock):
    memory = MemoryBank(days=2.0, recalls=1).bind(opened)
    (one,) = write(memory, clock, "My dog is ill.")
    clock[0] += 3 * DAY
    assert memory.retention(opened.get(one)) == pytest.approx(math.exp(-1.5))
    write(memory, clock, "What a dog!")
    assert opened.get(one).uses == 1
    assert memory.retention(opened.get(one)) == pytest.approx(1.0)
    clock[0] += 3 * DAY
    assert memory.retention(opened.get(one)) == pytest.approx(math.exp(-1.5 / 2), rel=1e-6)


def test_a_stronger_memory_fades_more_slowly(opened, clock):
    memory = MemoryBank(days=5.0, recalls=0).bind(opened)
    weak, strong = write(memory, clock, "The train was late.", "My dog is ill.")
    for _ in range(3):
        opened.read("dog", 1, reinforce=True)
    clock[0] += 5 * DAY
    retained = [memory.retention(opened.get(one)) for one in (weak, strong)]
    assert retained == pytest.approx([math.exp(-1), math.exp(-1 / 4)], rel=1e-6)


def test_as_many_are_left_as_the_curve_says(opened, clock):
    memory = MemoryBank(days=1.0, recalls=0, summaries=False).bind(opened)
    ids = write(memory, clock, *(f"turn {number}" for number in range(250)))
    clock[0] += DAY
    memory.consolidate()
    left = len(opened)
    assert left == pytest.approx(250 * math.exp(-1), abs=4 * math.sqrt(250 * 0.37 * 0.63))
    # One draw a memory: looking again at the same time takes nothing more, and later takes from those left.
    memory.consolidate()
    assert len(opened) == left
    survivors = {record.id for record in opened.list(limit=1000)}
    clock[0] += DAY
    memory.consolidate()
    assert {record.id for record in opened.list(limit=1000)} < survivors <= set(ids)


def test_a_capacity_keeps_the_most_retained(opened, clock):
    memory = MemoryBank(capacity=2, recalls=1, summaries=False).bind(opened)
    dog, train, _ = write(memory, clock, "My dog is ill.", "The train was late.", "Poor dog.")
    clock[0] += DAY
    memory.consolidate()
    left = {record.id for record in opened.list()}
    assert len(left) == 2 and dog in left and train not in left


def test_by_age_alone_the_latest_are_kept(opened, clock):
    memory = MemoryBank(capacity=2, strengthen=False, summaries=False).bind(opened)
    ids = write(memory, clock, "My dog is ill.", "The train was late.", "Poor dog.", "Poor dog.")
    memory.consolidate()
    assert {record.id for record in opened.list()} == set(ids[-2:])


def test_reading_changes_nothing(opened, clock):
    memory = MemoryBank().bind(opened)
    (one,) = write(memory, clock, "My dog is ill.")
    before = opened.get(one)
    memory.read("the dog", 3)
    assert opened.get(one) == before


def test_days_are_summed_up_and_people_portrayed(opened, clock):
    memory = MemoryBank(days=1e6).bind(opened)
    write(memory, clock, "I love hiking.", "The hills were green.", source="1", metadata={"rows": [1]})
    write(memory, clock, "I am shy.", source="2", metadata={"rows": [2]})
    memory.session_end()
    days = opened.list(where={"kind": "note"}, newest=False)
    assert len(days) == 2 and all(day.text for day in days)
    assert days[0].metadata["rows"] == [1] and days[1].metadata["rows"] == [2]
    (portrait,) = opened.list(where={"kind": "fact"})
    assert portrait.text == "Ana likes hiking. Ana is shy." and set(portrait.metadata["rows"]) == {1, 2}
    found = {hit.record.kind for hit in memory.read("hiking in the green hills, shy", 10)}
    assert found == {"episode", "note"}
    memory.session_end()
    assert opened.count(where={"kind": "note"}) == 2


def test_scopes_stay_apart(opened, clock):
    memory = MemoryBank(recalls=3).bind(opened)
    (one,) = write(memory, clock, "My dog is ill.", scope="user/1")
    write(memory, clock, "The dog!", scope="user/2")
    memory.session_end("user/2")
    memory.session_end("user/3")
    assert opened.get(one).uses == 0
    assert opened.count(scope="user/1", where={"kind": "note"}) == 0


def test_as_a_learner_it_keeps_to_its_capacity_and_comes_back_the_same(tmp_path):
    stream = rm.streams.changing("facts", sessions=4, people=2, seed=1)
    learner = rm.make("memorybank[rules]", stream, capacity=6)
    for experience in stream.experiences():
        learner.learn(experience)
    assert learner.store.count(where={"kind": "episode"}) == 6
    learner.save(tmp_path / "saved")
    again = rm.load(tmp_path / "saved")
    x = stream.tests[0].x
    assert (again.predict(x).records == learner.predict(x).records).all()
    uses = [[record.uses for record in one.store.list(limit=100)] for one in (learner, again)]
    assert uses[0] == uses[1] and sum(uses[0]) > 0


def test_mistakes():
    with pytest.raises(UsageError, match="days must be greater than 0"):
        MemoryBank(days=0)
