"""The learner's own promises: predict beside training, receipts, files."""

import threading

import pytest
import torch
from safetensors.torch import save_file

import remanence as rm
from remanence.errors import StateError, UsageError
from remanence.update import Update, total


def test_predict_beside_steps_answers_from_a_finished_update(digits):
    learner = rm.make("er", digits, size=30, lr=0.1)
    x = digits.tests[0].x
    finished, seen, stop = set(), [], threading.Event()

    def ask():
        while not stop.is_set():
            seen.append(learner.predict(x).scores)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        finished.add(learner.predict(x).scores.numpy().tobytes())
        for experience in digits.experiences():
            for _ in learner.steps(experience):
                finished.add(learner.predict(x).scores.numpy().tobytes())
    finally:
        stop.set()
        thread.join()
    assert len(seen) > 3
    # growth of the head happens within the first update of an experience, so every answer is a finished one
    assert all(scores.numpy().tobytes() in finished for scores in seen)


def test_own_model_comes_back_with_its_weights_when_it_is_handed_over(digits, tmp_path):
    def net():
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10)
        )

    learner = rm.make("er", digits, model=net(), size=10)
    learner.learn(next(digits.experiences()))
    learner.save(tmp_path / "own.safetensors")
    with pytest.raises(StateError, match="hand one over as model"):
        rm.load(tmp_path / "own.safetensors")
    loaded = rm.load(tmp_path / "own.safetensors", model=net())
    x = digits.tests[0].x
    assert torch.equal(loaded.predict(x).scores, learner.predict(x).scores)


def test_foreign_and_missing_files_are_refused(tmp_path):
    with pytest.raises(StateError, match="no saved state"):
        rm.load(tmp_path / "missing.safetensors")
    save_file({"a": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(StateError, match="was not saved by remanence"):
        rm.load(tmp_path / "foreign.safetensors")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(StateError, match="truncated or not a safetensors file"):
        rm.load(tmp_path / "text")


def test_a_model_whose_head_another_learner_took_is_refused(digits):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))
    rm.make("er", digits, model=net)
    with pytest.raises(UsageError, match=r"built around this model before, and took its layer '3' off"):
        rm.make("naive", digits, model=net)


def test_a_budget_may_be_written_as_on_the_command_line(digits):
    assert rm.make("er", digits, budget="200KB").budget == rm.make("er", digits, budget=200_000).budget == 200_000
    with pytest.raises(UsageError, match="the budget '200 bananas' is not a number of bytes"):
        rm.make("er", digits, budget="200 bananas")


@pytest.mark.parametrize("name", ["naive", "joint"])
def test_several_epochs_are_refused_where_a_stream_is_read_once(digits, name):
    stream = rm.streams.online(rm.streams.limit(digits, examples=20))
    learner = rm.make(name, stream, epochs=2)
    if name == "joint":  # which keeps the rows itself
        learner.learn(next(stream.experiences()))
    else:
        with pytest.raises(UsageError, match="read once only: use epochs 1"):
            learner.learn(next(stream.experiences()))


def test_a_request_names_something():
    with pytest.raises(UsageError, match="nothing was named"):
        rm.Request()
    with pytest.raises(UsageError, match="x was given without y"):
        rm.Request(x=torch.zeros(1, 2))


def test_er_forgets_ids_in_its_memory_and_says_that_weights_remain(digits):
    learner = rm.make("er", digits, size=40)
    for experience in digits.experiences():
        learner.learn(experience)
    ids = tuple(learner.memory.ids[:5].tolist())
    receipt = learner.forget(rm.Request(ids=ids))
    assert receipt.places == {"rehearsal": "removed", "weights": "remains"}
    assert receipt.count == 5
    assert not receipt.complete
    assert not torch.isin(learner.memory.ids[: len(learner.memory)], torch.tensor(ids)).any()
    assert (learner.memory.x[len(learner.memory) :] == 0).all()


def test_updates_add_up():
    assert total([Update(1, 2, 3, 4, 5), Update(1, 1, 1, 1, 1)]) == Update(2, 3, 4, 5, 6)


def test_a_session_of_a_module_of_ones_own_shares_nothing_with_it(digits):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 7), torch.nn.ReLU(), torch.nn.Linear(7, 10))
    learner = rm.make("er", digits, model=net, size=20)
    first, second, *_ = digits.experiences()
    learner.learn(first).snapshot("then")
    session = learner.session()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    assert "snapshots" not in session.footprint().bytes
    session.learn(second)
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())
    assert set(session.predict(digits.tests[0].x).classes) == {0, 1, 2, 3}
    learner.restore("then")
