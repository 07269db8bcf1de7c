"""A memory layer as a learner: it holds its state and nothing else, and answers from that."""

import pytest
import torch

import remanence as rm
import small_recurrent_model
from remanence.context import tree
from remanence.context.recurrent import recurrent_lm
from remanence.errors import BudgetError, StateError, Unsupported, UsageError
from remanence.request import Request
from remanence.streams.text_rows import unpack


def stream(experiences=3):
    return rm.streams.planted("recall", experiences=experiences, tokens=300, facts=2, filler="talk", seed=0)


def made(name="based", **settings):
    return rm.make(name, stream(), language_model=small_recurrent_model.folder(name), **settings)


@pytest.mark.parametrize("name", ["based", "titans", "ntm"])
def test_what_it_holds_is_the_state_of_the_lines_read_so_far(name):
    learner, given = made(name), stream()
    text = ""
    for experience in given.experiences():
        learner.learn(experience)
        rows = experience.examples.learn(torch.arange(len(experience.examples)))
        text += "".join(f"{row['text'].rstrip()}\n" for row in unpack(rows.x))
    model = recurrent_lm(small_recurrent_model.folder(name), name)
    with torch.no_grad():
        _, state = model(torch.tensor([[257, *text.encode()]]))
    assert learner.seen == 1 + len(text.encode())
    for (place, one), (_, other) in zip(tree.leaves(learner.state), tree.leaves(state), strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=1e-3, atol=1e-4), place
    assert learner.footprint().total == tree.nbytes(model.initial(1))
    assert {kind for kind, _ in learner._held()} == {"activations"}


def test_the_answer_is_what_the_model_goes_on_with():
    learner, given = made(), stream()
    learner.learn(next(given.experiences()))
    answer = learner.predict(given.tests[0].x)
    question = unpack(given.tests[0].x)[0]["question"]
    tokens, state, text = torch.tensor([list(question.encode())]), learner.state, b""
    with torch.no_grad():
        for _ in range(4):
            scores, state = learner.reader.model(tokens, state)
            token = int(scores[0, -1].argmax())
            if token > 255 or token == 10:
                break
            text, tokens = text + bytes([token]), torch.tensor([[token]])
    assert answer.texts[0] == text.decode(errors="replace")[:4]


def test_a_budget_that_the_state_does_not_fit_is_refused_with_both_sizes():
    with pytest.raises(BudgetError, match=r"the state of based takes .*, more than the budget of 100 B"):
        made(budget=100)
    assert made(budget="1MB").footprint().total <= 1_000_000


def test_single_rows_cannot_be_forgotten():
    learner = made().learn(next(stream().experiences()))
    with pytest.raises(Unsupported, match="cannot be removed from the state of a layer"):
        learner.forget(Request(ids=(0,)))


def test_settings_of_the_layer_are_settled_before():
    with pytest.raises(UsageError, match="window of based is settled when a language model around it is trained"):
        made(window=4)


def test_without_a_trained_model_it_says_how_to_have_one(tmp_path, monkeypatch):
    monkeypatch.setenv("REMANENCE_CACHE", str(tmp_path))
    with pytest.raises(StateError, match="run `remanence prepare tiny-based`"):
        rm.make("based", stream())


def test_a_state_of_another_shape_is_refused():
    state = {"memory": (torch.zeros(2), torch.zeros(3))}
    good = {"state.memory.0": torch.ones(2), "state.memory.1": torch.ones(3)}
    assert tree.filled(state, good)["memory"][1].tolist() == [1, 1, 1]
    with pytest.raises(StateError, match=r"state\.memory\.1 is \(4,\), expected \(3,\)"):
        tree.filled(state, {**good, "state.memory.1": torch.ones(4)})
    with pytest.raises(StateError, match=r"state\.memory\.0 is missing"):
        tree.filled(state, {"state.memory.1": torch.ones(3)})
