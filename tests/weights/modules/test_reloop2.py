"""ReLoop2's error memory: hashing, reading and ageing against loops; how fast it corrects; what forgetting leaves."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot, softmax

import remanence as rm
from remanence.streams.examples import InMemory
from remanence.streams.experience import Experience
from remanence.weights.modules import reloop2
from remanence.weights.modules.reloop2 import ReLoop2
from remanence.weights.trainer import Trainer


def memory(width: int = 6, classes: int = 3, **settings: object) -> tuple[ReLoop2, Trainer]:
    part = ReLoop2(**{"arrays": 5, "bits": 3, **settings})
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(width, 3))
    trainer = Trainer(model, [part], lr=0.1)
    trainer.context.add_classes(list(range(classes)))
    return part, trainer


def rows(n: int, seed: int = 0, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (n,), generator=draw)
    base = softmax(torch.randn(n, classes, generator=draw), 1)
    return torch.randn(n, 6, generator=draw), one_hot(y, classes).float(), base


def test_alike_rows_share_a_bucket_as_often_as_signed_projections_say():
    part, _ = memory(arrays=4000, bits=1)
    one = torch.tensor([1.0, 0, 0, 0, 0, 0])
    for angle in (0.3, 1.2, 2.5):
        other = torch.tensor([math.cos(angle), math.sin(angle), 0, 0, 0, 0])
        first, second = part.buckets(torch.stack([one, 7 * other]))
        assert float((first == second).double().mean()) == pytest.approx(1 - angle / math.pi, abs=0.03)


@pytest.mark.parametrize(("gamma", "half_life"), [(1.0, 0), (0.0, 0), (0.3, 20)])
def test_the_error_equals_a_loop_over_all_rows(gamma: float, half_life: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reloop2, "LARGEST", 4.0)  # so that sums are scaled back on the way
    part, _ = memory(gamma=gamma, half_life=half_life, temperature=0.2)
    x, y, base = rows(90)
    for some in torch.arange(90).split(10):
        part.write(x[some], y[some], base[some])
    age = (89 - torch.arange(90)) // 10 * 10
    weights = 0.5 ** (age.double() / half_life) if half_life else torch.ones(90, dtype=torch.float64)
    queries, _, asked = rows(7, seed=5)
    found, held = part.error(queries, asked), part.buckets(x)
    for row, places in enumerate(part.buckets(queries)):
        shares, labels, answers = [], [], []
        for array in range(5):
            mine = (held[:, array] == places[array]).double() * weights
            if mine.sum() > 0:
                shares.append(mine.sum() / weights.sum())
                labels.append(mine @ y.double() / mine.sum())
                answers.append(mine @ base.double() / mine.sum())
        attention = torch.softmax(torch.stack(shares) / 0.2, 0)
        label, answer = attention @ torch.stack(labels), attention @ torch.stack(answers)
        expected = gamma * (label - asked[row]) + (1 - gamma) * (label - answer)
        assert torch.allclose(found[row].double(), expected, atol=1e-5)


def test_where_no_bucket_knows_anything_the_network_answers_alone():
    part, trainer = memory(weight=0.9, gamma=0.5)
    x, y, _ = rows(4)
    with torch.no_grad():
        plain = softmax(trainer.model(x), 1)
    assert torch.allclose(trainer.predict(x).scores.exp(), plain, atol=1e-6)
    part.write(x[:1], y[:1], plain[:1])
    assert not torch.allclose(trainer.predict(x[:1]).scores.exp(), plain[:1])


def test_a_weight_of_one_answers_with_the_labels_of_the_buckets():
    part, trainer = memory(weight=1.0, half_life=0)
    x, y, base = rows(1)
    part.write(trainer.context.features(x), y, base)
    assert torch.allclose(trainer.predict(x).scores.exp(), y, atol=1e-6)
    assert (trainer.predict(x).scores > -math.inf).all()


def test_what_arrives_is_written_with_the_answer_it_got_before_it_was_learned():
    part, trainer = memory(gamma=0.0)
    x, y, _ = rows(10)
    with torch.no_grad():
        scores = trainer.model(x)
    trainer.learn(Experience(0, InMemory(x, y.argmax(1), ordered=True)))
    assert part.counts.sum(1).tolist() == [10.0] * 5
    assert torch.allclose(part.labels.sum(1), y.sum(0).expand(5, 3))
    assert torch.allclose(part.answers.sum(1), softmax(scores, 1).sum(0).expand(5, 3), atol=1e-5)


def test_classes_that_appear_get_a_column(digits: rm.streams.Stream):
    learner = rm.make("reloop2", digits, arrays=2, bits=4, gamma=0.5)
    for seen, experience in enumerate(digits.experiences(), 1):
        learner.learn(experience)
        part = learner.parts[0]
        assert part.labels.shape == part.answers.shape == (2, 16, 2 * seen)
        # every row adds one to one column, whatever it weighs
        assert torch.allclose(part.labels.sum(2), part.counts, rtol=1e-4)


def test_values_are_corrected_too():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(400, 4, generator=draw)
    y = 3 + x[:, 0].sign()
    stream = rm.streams.tensors(x[:300], y[:300], test=(x[300:], y[300:]))
    error = {}
    for name, settings in (("naive", {}), ("reloop2", {"weight": 1.0, "bits": 4})):
        learner = rm.make(name, stream, model="linear", lr=1e-4, **settings)
        learner.learn(next(stream.experiences()))
        error[name] = float((learner.predict(stream.tests[0].x).values - stream.tests[0].y).square().mean())
    assert error["reloop2"] < 0.5 * error["naive"]


def test_after_a_shift_clicks_are_predicted_better_before_the_network_has_learned():
    """A stream of clicks whose users' tastes turn over once: log-loss of each batch before it is learned."""
    draw = torch.Generator().manual_seed(0)
    taste = torch.randn(8, generator=draw)
    x = torch.randn(4000, 8, generator=draw)
    turned = torch.where(torch.arange(4000) < 2000, 1.0, -1.0)
    clicked = (torch.rand(4000, generator=draw) < torch.sigmoid(3 * turned * (x @ taste))).long()
    loss = {}
    for name, part in (("naive", []), ("reloop2", [ReLoop2(weight=0.8, bits=6, half_life=200)])):
        network = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)
        )
        torch.nn.init.normal_(network[1].weight, generator=torch.Generator().manual_seed(1))
        learner = Trainer(network, part, lr=0.02, batch_size=20)
        losses = []
        for k, index in enumerate(torch.arange(4000).split(20)):
            if k:
                columns = learner.model.head.columns(clicked[index])
                losses.append(float(cross_entropy(learner.predict(x[index]).scores, columns)))
            learner.learn(Experience(k, InMemory(x[index], clicked[index]), boundary=False))
        loss[name] = sum(losses[110:140]) / 30  # from ten batches after the shift on
    assert loss["reloop2"] < 0.9 * loss["naive"]


def test_forgetting_empties_the_memory_and_says_that_the_network_remains(digits: rm.streams.Stream):
    learner = rm.make("reloop2", digits, arrays=2, bits=4).learn(next(digits.experiences()))
    receipt = learner.forget(rm.Request(ids=(0,)))
    part = learner.parts[0]
    assert receipt.places == {"indexes": "removed", "weights": "remains"}
    assert part.counts.sum() == part.labels.sum() == 0 and part.gain == 1.0
    assert part.labels.shape == (2, 16, 2)


def test_its_bytes_are_what_the_docstring_says(digits: rm.streams.Stream):
    learner = rm.make("reloop2", digits, arrays=3, bits=5)
    for experience in digits.experiences():
        learner.learn(experience)
    assert learner.footprint().bytes["indexes"] == 4 * (3 * 32 * (10 + 1) + 100 * 3 * 5)


def test_wrong_settings_are_one_sentence():
    for wrong in (
        {"weight": 1.1},
        {"gamma": -0.1},
        {"arrays": 0},
        {"bits": 21},
        {"temperature": 0.0},
        {"half_life": -1},
    ):
        with pytest.raises(rm.errors.UsageError, match=next(iter(wrong))):
            ReLoop2(**wrong)
