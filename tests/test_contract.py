"""What holds for every registered system, whatever it is."""

import hashlib
import importlib
import itertools
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

import remanence as rm
from remanence.composition import compose
from remanence.errors import Unsupported, UsageError
from remanence.factory import build, recipe_for
from remanence.registry import all_systems

# Cache policies share one learner and layers another, and what they keep is tested for each of them in its own file:
# some stand for all
STAND_FOR_ALL = ("attention-sinks", "sirllm", "em-llm", "based", "titans")


def stood_for(card):
    return card.runner.kind in ("cache policy", "memory layer") and card.name not in STAND_FOR_ALL


NAMES = [
    pytest.param(card.composed_name, marks=pytest.mark.soak if stood_for(card) else ())
    for card in all_systems().values()
    if card.runs_on_streams
]
FOLDER = Path(os.environ["REMANENCE_TEST_MODELS"])


def stream_for(name):
    return rm.streams.build(compose(name).small(FOLDER).stream)


def make(name, seed=0):
    composed = compose(name)
    small = composed.small(FOLDER)
    stream = rm.streams.build(small.stream)
    recipe = recipe_for(composed, stream, model=small.model, seed=seed, settings=small.settings)
    return build(recipe, composed=composed), stream


def advance(learner, stream, updates):
    """Run this many updates, across experiences; give back where that is."""
    at = (0, 0)
    for experience in stream.experiences():
        for k, _ in enumerate(learner.steps(experience), 1):
            at = (experience.index, k)
            updates -= 1
            if updates == 0:
                return at
    return at


def go_on(learner, stream, at, updates=10**9):
    index, k = at
    for experience in itertools.islice(stream.experiences(), index, None):
        for _ in learner.steps(experience, k):
            updates -= 1
            if updates == 0:
                return
        k = 0


def fingerprint(learner):
    digest = hashlib.sha256()
    for name, tensor in sorted(learner._state()[0].items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    digest.update(str(learner.structure()).encode())
    return digest.hexdigest()


def modes(learner):
    return [module.training for module in learner.modules()]


@pytest.mark.parametrize("name", NAMES)
def test_predict_changes_nothing(name):
    learner, stream = make(name)
    advance(learner, stream, 40)
    before, mode, noise = fingerprint(learner), modes(learner), torch.get_rng_state()
    first = learner.predict(stream.tests[0].x, 0 if stream.disclosure.test_task_ids else None)
    again = learner.predict(stream.tests[0].x, 0 if stream.disclosure.test_task_ids else None)
    assert torch.equal(first.scores, again.scores)
    assert first.texts == again.texts
    assert fingerprint(learner) == before
    assert modes(learner) == mode
    assert torch.equal(torch.get_rng_state(), noise)


@pytest.mark.parametrize("name", NAMES)
def test_a_session_goes_its_own_way(name):
    learner, stream = make(name)
    at = advance(learner, stream, 40 if stream.task.kind == "classification" else 8)
    task = 0 if stream.disclosure.test_task_ids else None
    before, x = fingerprint(learner), stream.tests[0].x[:40]
    session, other = learner.session(), learner.session()
    assert fingerprint(session) == before
    assert torch.equal(session.adapt(x, task).scores, learner.predict(x, task).scores)
    go_on(session, stream, at, 5)
    assert fingerprint(learner) == before
    go_on(learner, stream, at, 5)
    go_on(other, stream, at, 5)
    assert fingerprint(other) == fingerprint(learner) != before


@pytest.mark.parametrize("name", NAMES)
def test_an_experience_without_labels_teaches_no_label(name, tmp_path):
    learner, stream = make(name)
    if stream.task.about_records:
        with pytest.raises(UsageError, match="no labels"):
            rm.streams.unlabelled(stream)
        return
    hidden = rm.streams.unlabelled(stream, after=2)
    experiences = list(hidden.experiences())
    for experience in experiences[:2]:
        learner.learn(experience)
    labels = set(learner.predict(stream.tests[0].x[:1]).classes)
    path = tmp_path / "learner.safetensors"
    updates = learner.steps(experiences[2])
    seen = [next(updates), next(updates)]
    learner.save(path)
    resumed = rm.load(path)
    seen += updates
    assert sum(update.examples for update in seen) == len(experiences[2].examples)
    assert set(learner.predict(stream.tests[0].x[:1]).classes) == labels
    for _ in resumed.steps(experiences[2], 2):
        pass
    assert fingerprint(resumed) == fingerprint(learner)


@pytest.mark.parametrize("name", NAMES)
def test_answers_before_anything_was_learned(name):
    learner, stream = make(name)
    answer = learner.predict(stream.tests[0].x[:3])
    assert len(answer.labels) == 3
    assert (answer.labels == -1).all()


def load_what_takes_seconds():
    for module in ("transformers.models.llama.modeling_llama", "sklearn.datasets", "torch._dynamo"):
        importlib.import_module(module)
    torch.set_num_threads(1)


def resume(name, path, at, updates):
    learner = rm.load(path)
    go_on(learner, stream_for(name), at, updates)
    return fingerprint(learner)


def in_a_child(*given):
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as child:
        return child.submit(resume, *given).result()


@pytest.fixture(scope="module")
def elsewhere():
    """A process begun anew that only loads code; whatever it is asked runs in a child, which has learned nothing yet."""
    begun_anew = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=begun_anew, initializer=load_what_takes_seconds) as process:
        yield process


@pytest.mark.parametrize("name", NAMES)
def test_resumed_in_a_new_process_it_goes_on_to_the_bit(name, tmp_path, elsewhere):
    learner, stream = make(name)
    at = advance(learner, stream, 47)
    path = tmp_path / "learner.safetensors"
    learner.save(path)
    go_on(learner, stream, at, 20)
    assert elsewhere.submit(in_a_child, name, path, at, 20).result() == fingerprint(learner)


@pytest.mark.parametrize("name", NAMES)
def test_resumed_anywhere_it_ends_the_same(name, tmp_path):
    learner, stream = make(name)
    ends = [sum(1 for _ in learner.steps(experience)) for experience in stream.experiences()]
    whole = fingerprint(learner)
    stops = sorted({1, ends[0] - 1, ends[0], ends[0] + ends[1] - 1, sum(ends[:3]) + 2, sum(ends) - 1} - {0})
    stopped, done, there = make(name)[0], 0, []
    for experience in stream.experiences():
        for k, _ in enumerate(stopped.steps(experience), 1):
            done += 1
            if done in stops:
                stopped.save(tmp_path / f"{done}.safetensors")
                there.append((done, (experience.index, k), fingerprint(stopped)))
    assert fingerprint(stopped) == whole, "to save changed what was learned"
    # The first goes on to the end, and each other to where the next was stopped
    for number, (done, at, _) in enumerate(there):
        resumed = rm.load(tmp_path / f"{done}.safetensors")
        if 0 < number < len(there) - 1:
            after, _, expected = there[number + 1]
            go_on(resumed, stream, at, after - done)
        else:
            expected = whole
            go_on(resumed, stream, at)
        assert fingerprint(resumed) == expected, f"stopped after {done} of {sum(ends)} updates"


@pytest.mark.parametrize("name", NAMES)
def test_snapshot_and_restore_to_the_bit(name, tmp_path):
    learner, stream = make(name)
    at = advance(learner, stream, 35)
    learner.snapshot("then")
    before = fingerprint(learner)
    held = learner.footprint().bytes.get("snapshots", 0)
    assert held > 0
    go_on(learner, stream, at)
    after = fingerprint(learner)
    learner.save(tmp_path / "with.safetensors")
    learner.restore("then")
    assert fingerprint(learner) == before
    go_on(learner, stream, at)
    assert fingerprint(learner) == after
    loaded = rm.load(tmp_path / "with.safetensors")
    assert fingerprint(loaded) == after
    loaded.restore("then")
    assert fingerprint(loaded) == before
    with pytest.raises(UsageError, match="no snapshot 'never'"):
        learner.restore("never")


@pytest.mark.parametrize("name", NAMES)
def test_footprint_is_what_the_saved_state_weighs(name, tmp_path):
    learner, stream = make(name)
    advance(learner, stream, 60)
    learner.save(tmp_path / "learner.safetensors")
    weighed = sum(tensor.nbytes for tensor in learner._state()[0].values())
    counted = learner.footprint().total
    assert counted == weighed
    on_disk = (tmp_path / "learner.safetensors").stat().st_size
    assert counted <= on_disk <= counted + 400 * len(learner._state()[0]) + 8000


@pytest.mark.parametrize("name", NAMES)
def test_forgetting_leaves_no_trace_where_the_receipt_says_removed(name):
    learner, stream = make(name)
    go_on(learner, stream, (0, 0))
    rows = stream.segments[1].examples.span(0, 20)
    learner.snapshot("before")
    try:
        receipt = learner.forget(rm.Request(ids=tuple(rows.ids.tolist()), x=rows.x, y=rows.y))
    except Unsupported as refusal:
        assert "weights" in str(refusal) or "state" in str(refusal)
        return
    assert receipt.places
    assert receipt.places["snapshots"] == "removed"
    with pytest.raises(UsageError):
        learner.restore("before")
    for buffer, tensor in learner.named_buffers():
        if buffer.endswith("ids") and receipt.places.get("rehearsal") == "removed":
            held = learner.get_submodule(buffer.rpartition(".")[0])
            assert not torch.isin(tensor[: len(held)], rows.ids).any()


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bits_other_seed_other_bits(name):
    first, stream = make(name)
    second, _ = make(name)
    torch.rand(7)  # whatever else draws numbers must not matter
    advance(first, stream, 33)
    torch.rand(3)
    advance(second, stream, 33)
    assert fingerprint(first) == fingerprint(second)
