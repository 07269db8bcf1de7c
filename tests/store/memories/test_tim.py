"""Think-in-Memory: the hash against what is known of it, and what happens in a bucket."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import remanence as rm
import remanence.store as store
from remanence.errors import UsageError
from remanence.store.language import Rules
from remanence.store.memories.tim import TIM, bucket_of


class Letters:
    """Texts as counts of letters: near where they share them."""

    name, dimension = "letters", 26

    def encode(self, texts):
        counts = np.array([[text.lower().count(chr(97 + k)) for k in range(26)] for text in texts], dtype=np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


@pytest.fixture
def opened(tmp_path):
    with store.open(tmp_path / "memory.db", encoder=Letters()) as memory:
        yield memory


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 8), st.floats(0.1, 100))
def test_a_hash_sees_directions_and_opposites(seed, half, scale):
    draw = np.random.default_rng(seed)
    rotation = draw.standard_normal((12, half)).astype(np.float32)
    x = draw.standard_normal(12).astype(np.float32)
    place = bucket_of(x, rotation)
    assert 0 <= place < 2 * half
    assert bucket_of(np.float32(scale) * x, rotation) == place
    assert bucket_of(-x, rotation) == (place + half) % (2 * half)


def test_near_vectors_collide_more_often_than_far_ones():
    draw = np.random.default_rng(0)
    rotations = draw.standard_normal((400, 20, 4)).astype(np.float32)
    x = draw.standard_normal(20).astype(np.float32)
    rates = []
    for noise in (0.1, 0.5, 2.0):
        y = x + noise * draw.standard_normal(20).astype(np.float32)
        rates.append(np.mean([bucket_of(x, rotation) == bucket_of(y, rotation) for rotation in rotations]))
    assert rates[0] > rates[1] > rates[2]


def test_two_buckets_halve_as_often_as_the_angle_says():
    """With one direction the chance that two vectors part is their angle over pi."""
    draw = np.random.default_rng(1)
    x, y = np.array([1, 0], dtype=np.float32), np.array([np.cos(1.0), np.sin(1.0)], dtype=np.float32)
    parted = [bucket_of(x, r) != bucket_of(y, r) for r in draw.standard_normal((20_000, 2, 1)).astype(np.float32)]
    assert np.mean(parted) == pytest.approx(1.0 / np.pi, abs=0.015)


def tell(memory, *texts, speaker="Ana", **fields):
    return [one for text in texts for one in memory.write({"text": text, "speaker": speaker, **fields})]


def test_thoughts_lie_where_they_hash(opened):
    memory = TIM(buckets=8, similar=2.0).bind(opened)
    tell(memory, "I live in Porto.", "I like tea and I have a dog.", "Nice weather!")
    records = opened.list()
    assert {record.text for record in records} >= {"Ana lives in Porto.", "Ana: Nice weather!"}
    assert all(record.metadata["bucket"] == memory.bucket(record.text) for record in records)


def test_a_question_looks_into_its_bucket_alone(opened):
    memory = TIM(buckets=8, similar=2.0, forgets=False).bind(opened)
    tell(memory, *(f"I like {food}." for food in ("tea", "jazz", "quiz", "fudge", "lynx", "kiwi", "opal", "brie")))
    for question in ("tea", "fudge", "quizzes"):
        hits = memory.read(question, 10)
        mine = [r for r in opened.list() if r.metadata["bucket"] == memory.bucket(question)]
        assert {hit.id for hit in hits} == {record.id for record in mine}
    assert len({record.metadata["bucket"] for record in opened.list()}) > 1


def test_contradictions_of_one_head_in_one_bucket_go(opened):
    memory = TIM(buckets=2, similar=2.0).bind(opened)
    first = tell(memory, "I live in Porto.")
    second = tell(memory, "I live in Torpo.")  # the same letters: the same bucket
    assert [record.text for record in opened.list()] == ["Ana lives in Torpo."]
    assert first == second and len(opened.history(first[0])) == 2
    tell(memory, "I live in Porto.", speaker="Ben")
    assert {record.text for record in opened.list()} == {"Ana lives in Torpo.", "Ben lives in Porto."}


def test_what_hashes_elsewhere_is_not_seen(opened):
    memory = TIM(buckets=64, similar=2.0).bind(opened)
    home = memory.bucket("Ana lives in Porto.")
    cities = ("Kyzyl", "Zzyzx", "Qaqortoq", "Mississippi", "Wagga Wagga", "Xixi", "Bubblewell")
    far = next(city for city in cities if memory.bucket(f"Ana lives in {city}.") != home)
    tell(memory, "I live in Porto.", f"I moved to {far}.")
    assert len(opened) == 2


def test_what_is_repeated_is_not_kept_twice(opened):
    memory = TIM().bind(opened)
    tell(memory, "I like tea.", "I like tea.")
    assert len(opened) == 1


def test_what_is_over_is_forgotten(opened):
    memory = TIM(buckets=2).bind(opened)
    tell(memory, "I like tea.")
    if memory.bucket("Ana likes tea.") == memory.bucket("Ana no longer likes tea."):
        assert tell(memory, "I stopped liking tea. I no longer like tea.") == []
        assert len(opened) == 0


def test_merging_keeps_the_words_and_the_rows(opened):
    class Joining(Rules):
        def relation(self, old, new):
            return "append"

        def merge(self, texts):
            return " / ".join(texts)

    memory = TIM(buckets=2, similar=0.5).bind(opened, Joining())
    tell(memory, "I like tea.", metadata={"rows": [1]})
    tell(memory, "I like teas.", metadata={"rows": [2]})
    (record,) = opened.list()
    assert record.text == "Ana likes tea. / Ana likes teas."
    assert record.metadata["rows"] == [2, 1] and record.metadata["bucket"] == memory.bucket(record.text)


def test_without_forgetting_nothing_goes(opened):
    memory = TIM(buckets=2, forgets=False, similar=2.0).bind(opened)
    tell(memory, "I live in Porto.", "I live in Porto.", "I live in Torpo.")
    assert len(opened) == 3


def test_the_hash_follows_from_the_seed(opened):
    texts = [f"thought number {number} about {chr(97 + number)}" for number in range(20)]
    places = [[TIM(buckets=16, seed=seed).bind(opened).bucket(text) for text in texts] for seed in (1, 1, 2)]
    assert places[0] == places[1] != places[2]


def test_mistakes(tmp_path):
    with pytest.raises(UsageError, match="buckets must be even"):
        TIM(buckets=3)
    with store.open(tmp_path / "words.db", encoder=None) as words, pytest.raises(UsageError, match="no encoder"):
        TIM().bind(words).write({"text": "I like tea.", "speaker": "Ana"})


def test_as_a_learner_it_comes_back_the_same(tmp_path):
    stream = rm.streams.changing("facts", sessions=4, people=2, seed=1)
    learner = rm.make("tim[rules]", stream)
    for experience in stream.experiences():
        learner.learn(experience)
    learner.save(tmp_path / "saved")
    again = rm.load(tmp_path / "saved")
    x = stream.tests[0].x
    assert (again.predict(x).records == learner.predict(x).records).all()
