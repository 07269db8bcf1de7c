"""What people get wrong first, from Python: each mistake is one sentence that says what to give instead."""

import numpy
import pytest
import torch
from torch import nn

import remanence as rm
from remanence.errors import RemanenceError

X, Y = torch.rand(60, 4), torch.arange(60) % 3


@pytest.fixture(scope="module")
def stream():
    return rm.streams.split("digits", experiences=5)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ([[1, 2], [3]], [0, 1], {}, "no plain numbers of one shape"),
        (X, list("ab" * 30), {}, "labels from 0 on"),
        (X, numpy.array(list("ab" * 30)), {}, "labels from 0 on"),
        (X, Y - 1, {}, "a label is -1"),
        (X, Y[:5], {}, "give as many of each"),
        (torch.full((5, 2), torch.nan), torch.zeros(5), {}, "row 0 of the inputs holds NaN"),
        (X, Y, {"experiences": "five"}, "expected a whole number"),
        (X, Y, {"experiences": 2.5}, "expected a whole number"),
        (X, Y, {"hold_out": "some"}, "expected a share"),
        (X, Y, {"test": (X, Y, Y)}, "expected a pair"),
        ([(numpy.zeros(4 + k % 2), 0) for k in range(8)], None, {}, "different shapes"),
        ([(numpy.zeros(4), "a")] * 8, None, {}, "a target of the dataset"),
        ([(object(), 1)] * 8, None, {}, "an input of the dataset"),
    ],
)
def test_data_that_cannot_be_a_stream(x, y, options, message):
    with pytest.raises(RemanenceError, match=message):
        rm.streams.tensors(x, y, **options)


@pytest.mark.parametrize(
    ("learners", "options", "message"),
    [
        (["er", "ncm"], {}, "expected a mapping"),
        ("er", {}, "expected a mapping"),
        ({}, {}, "expected a mapping"),
        ({"a": 3}, {}, "expected a system's name"),
        ({"a": nn.Linear}, {}, "expected a system's name"),
        ({"a": nn.Linear(2, 2)}, {}, "plain module"),
        ({"a": lambda seed: 3}, {}, "gave a int"),
        ({"a": "ncm"}, {"seeds": 0}, "how many"),
        ({"a": "ncm"}, {"seeds": "3"}, "how many"),
        ({"a": "ncm"}, {"probe_every": -1}, "number of updates"),
        ({"a": "ncm"}, {"loggers": "wandb"}, "remanence.arena.loggers"),
    ],
)
def test_what_cannot_be_compared(stream, learners, options, message):
    with pytest.raises(RemanenceError, match=message):
        rm.compare(learners, stream, **{"seeds": 1, **options})


@pytest.mark.parametrize("given", ["digits", (X, Y), X, None])
def test_what_is_no_stream(given):
    for use in (rm.make, rm.run):
        with pytest.raises(RemanenceError, match="given as the stream: make one"):
            use("ncm", given)


def test_what_cannot_be_made(stream):
    for name, options, message in (
        (["er"], {}, "no name of a system"),
        ("er", {"seed": "a"}, "expected a whole number"),
        ("er", {"model": 3}, "expected a network's name"),
        ("er", {"model": nn.Flatten()}, "linear"),
    ):
        with pytest.raises(RemanenceError, match=message):
            rm.make(name, stream, **options)
    with pytest.raises(RemanenceError, match="give the name of a source or a stream"):
        rm.streams.split(X, experiences=2)


@pytest.mark.parametrize("name", ["er", "ncm", "g-acil", "joint"])
def test_what_cannot_be_learned_or_asked_changes_nothing(stream, name):
    learner = rm.make(name, stream).learn(next(stream.experiences()))
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    other = next(rm.streams.tensors(X, Y, experiences=2).experiences())
    for mistake, message in (
        (lambda: learner.learn(other), r"the shape \(4,\), the learner was made for \(1, 8, 8\)"),
        (lambda: learner.learn(X), "expected an experience"),
        (lambda: learner.learn(stream), "expected an experience"),
        (lambda: learner.predict(X), r"expected \(n, 1, 8, 8\)"),
        (lambda: learner.predict([[1.0] * 64]), "expected a tensor"),
        (lambda: learner.forget("the first ten"), "expected a remanence.Request"),
    ):
        with pytest.raises(RemanenceError, match=message):
            mistake()
    after = learner.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_report_shows_itself_in_a_notebook(stream):
    report = rm.run("ncm", stream)
    assert report._repr_html_().startswith("<iframe srcdoc=")
    assert "ncm" in repr(report)
