"""Fine-tuning of a language model: a step against one made by hand, what is counted, and that it learns by heart."""

import pytest
import torch
from torch import nn

import remanence as rm
from remanence.errors import BudgetError, Unsupported, UsageError
from remanence.models.reader import reader
from remanence.models.tiny_lm import language_model
from remanence.streams.examples import InMemory
from remanence.streams.experience import Experience
from remanence.streams.text_rows import pack
from remanence.weights.fine_tuning import FineTuning, trained
from small_language_model import folder as small_model

SGD = {"optimizer": "sgd", "epochs": 1}


@pytest.fixture(scope="module")
def stream():
    return rm.streams.planted("recall", experiences=4, tokens=500, facts=2, filler="talk")


def lines(*texts):
    rows = pack([{"text": text} for text in texts])
    return Experience(0, InMemory(rows, torch.zeros(len(rows), dtype=torch.int64), ordered=True))


def test_a_step_against_one_made_by_hand():
    texts = ["To be, or not to be:", "that is the question.\n", "Whether"]
    learner = FineTuning(reader(small_model()), batch_size=3, lr=0.05)
    [update] = learner.steps(lines(*texts))
    model = language_model(small_model()).model
    tokens = torch.tensor([[257, *b"To be, or not to be:\nthat is the question.\n\nWhether\n"]])
    loss = nn.functional.cross_entropy(model(tokens).logits[0, :-1], tokens[0, 1:])
    loss.backward()
    assert update.loss == pytest.approx(loss.item(), rel=1e-5)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(learner.weights[name].detach(), (weight - 0.05 * weight.grad).detach())


def test_a_text_longer_than_the_model_reads_is_read_in_pieces():
    text = "so long as men can breathe " * 20
    learner = FineTuning(reader(small_model()), batch_size=1, lr=0.05)
    [update] = learner.steps(lines(text))
    model = language_model(small_model()).model
    tokens = torch.tensor([257, *text.encode(), 10])
    with torch.no_grad():
        pieces = [tokens[:256], tokens[256:512], tokens[512:]]
        losses = [nn.functional.cross_entropy(model(p[None]).logits[0, :-1], p[1:], reduction="sum") for p in pieces]
    assert update.loss == pytest.approx(float(sum(losses)) / (len(tokens) - 1), rel=1e-5)


def test_what_it_is_told_again_and_again_it_knows_by_heart():
    learner = FineTuning(reader(small_model()), batch_size=2, epochs=150, optimizer="adamw", lr=0.01)
    learner.learn(lines("The key of sisok is 9933.", "The key of bedar is 0412."))
    asked = pack([{"question": "The key of sisok is ", "length": 4}, {"question": "The key of bedar is ", "length": 4}])
    # An update is one text: what stands first in it has nothing before it, what stands second is asked alone
    assert learner.predict(asked).texts[0] == "9933"
    assert learner.predict(asked).scores[0] > -1


def test_only_what_changes_is_counted_and_the_shared_model_never_changes(stream):
    shared = reader(small_model()).model
    before = [weight.clone() for weight in shared.parameters()]
    last = rm.make("fine-tuning", stream, language_model=small_model(), **SGD, layers=1)
    whole = rm.make("fine-tuning", stream, language_model=small_model(), **SGD)
    heavy = rm.make("fine-tuning", stream, language_model=small_model(), optimizer="adamw", epochs=1)
    for learner in (last, whole, heavy):
        learner.learn(next(stream.experiences()))
    block = sum(weight.nbytes for name, weight in shared.named_parameters() if name.startswith("model.layers.1."))
    assert last.footprint().as_dict() == {"parameters": block, "total": block}
    everything = sum(weight.nbytes for weight in shared.parameters())
    assert whole.footprint().total == everything
    assert heavy.footprint().bytes["optimizer"] == 2 * everything + 4 * len(before)
    assert all(torch.equal(a, b) for a, b in zip(before, shared.parameters(), strict=True))


def test_a_budget_decides_how_many_blocks_are_trained(stream):
    sizes = {
        layers: sum(w.nbytes for w in trained(reader(small_model()).model, layers).values()) for layers in (1, 2, None)
    }
    for layers, size in sizes.items():
        assert rm.make("fine-tuning", stream, language_model=small_model(), **SGD, budget=size).layers == layers
    assert rm.make("fine-tuning", stream, language_model=small_model(), **SGD, budget=sizes[None] - 4).layers == 2
    small = rm.make("fine-tuning", stream, language_model=small_model(), **SGD, budget=sizes[1] - 4)
    with pytest.raises(BudgetError, match=r"fine-tuning holds .* more than the budget of"):
        rm.run(small, stream)


def test_adamw_stays_within_its_budget_from_the_first_step(stream):
    size = 3 * sum(w.nbytes + 4 for w in trained(reader(small_model()).model, 1).values())
    learner = rm.make("fine-tuning", stream, language_model=small_model(), budget=size, optimizer="adamw", epochs=1)
    for experience in stream.experiences():
        for _ in learner.steps(experience):
            assert learner.footprint().total <= size


def test_what_cannot_be_is_said(stream):
    for wrong, says in (
        ({"layers": 3}, "the language model has 2 blocks"),
        ({"layers": 0}, "layers must be"),
        ({"language_model": "no-such-model"}, "could not be read as a causal language model"),
        ({"schedule": "none"}, "schedule must be"),
    ):
        with pytest.raises(UsageError, match=says):
            rm.make("fine-tuning", stream, **{"language_model": small_model(), **wrong})
    with pytest.raises(Unsupported, match="by its folder"):
        rm.make("fine-tuning", stream, model=nn.Linear(2, 2))
    with pytest.raises(UsageError, match="does answering"):
        rm.make("fine-tuning", rm.streams.split("digits"))
