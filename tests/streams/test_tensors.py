"""Tensors, arrays and torch datasets as streams."""

from __future__ import annotations

import numpy
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

import remanence as rm
from remanence.errors import UsageError

X, Y = torch.arange(40.0).reshape(20, 2), torch.arange(20) % 3


class Pairs(Dataset):
    """A dataset that counts how often it was asked."""

    def __init__(self, x=X, y=Y, targets=None):
        self.x, self.y, self.asked = x, y, 0
        if targets is not None:
            self.targets = targets

    def __len__(self):
        return len(self.y)

    def __getitem__(self, place):
        self.asked += 1
        return self.x[place], int(self.y[place])


def test_slices_in_order_are_prequential():
    stream = rm.streams.tensors(X, Y, experiences=4)
    assert stream.prequential
    assert stream.recipe is None
    assert [s.examples.span(0, 9).ids.tolist() for s in stream.segments] == [
        list(range(k, k + 5)) for k in (0, 5, 10, 15)
    ]
    assert all(s.examples.ordered for s in stream.segments)
    assert stream.segments[0].classes == (0, 1, 2)


def test_a_share_is_held_out():
    stream = rm.streams.tensors(X, Y, experiences=2, hold_out=0.2)
    assert [len(s.examples) for s in stream.segments] == [8, 8]
    assert torch.equal(stream.tests[1].x, X[18:])


def test_with_a_test_set_scenarios_start_from_it():
    stream = rm.streams.split(rm.streams.tensors(X, Y, test=(X[:6], Y[:6])), experiences=3)
    assert [s.classes for s in stream.segments] == [(0,), (1,), (2,)]
    assert not stream.segments[0].examples.ordered
    assert [t.y.tolist() for t in stream.tests] == [[0, 0], [1, 1], [2, 2]]


def test_arrays_values_and_images():
    stream = rm.streams.tensors(X.numpy().astype(numpy.float64), numpy.linspace(0, 1, 20), experiences=2)
    assert stream.task.kind == "regression"
    assert stream.segments[0].examples.span(0, 2).x.dtype == torch.float32
    images = torch.randint(0, 256, (20, 3, 16, 16), dtype=torch.uint8)
    stream = rm.streams.tensors(images, Y.bool())
    assert stream.segments[0].examples.span(0, 2).x.dtype == torch.uint8
    assert stream.defaults["model"] == "cnn"


def test_a_dataset_is_read_as_it_is_cut():
    data = Pairs(targets=Y.tolist())
    stream = rm.streams.tensors(data, experiences=2)
    assert data.asked <= 3
    rows = stream.segments[1].examples.cut(torch.tensor([3, 0]))
    assert torch.equal(rows.x, X[[13, 10]])
    assert rows.ids.tolist() == [13, 10]
    plain = rm.streams.tensors(TensorDataset(X, Y), experiences=2, test=None)
    assert torch.equal(plain.segments[1].examples.labels(), Y[10:])
    tested = rm.streams.tensors(Pairs(), test=Pairs())
    assert torch.equal(tested.tests[0].y, Y)


@pytest.mark.parametrize("data", [(X, Y), (Pairs(),)])
def test_a_learner_learns_them(data):
    stream = rm.streams.tensors(*data, experiences=2)
    learner = rm.make("er", stream, size=5)
    for experience in stream.experiences():
        learner.learn(experience)
    assert sorted(learner.model.classes) == [0, 1, 2]


NAN = X.clone()
NAN[7, 1] = float("nan")


@pytest.mark.parametrize(
    ("given", "options", "sentence"),
    [
        ((NAN, Y), {}, "row 7 of the inputs holds NaN"),
        ((Pairs(NAN),), {}, "row 7 of the inputs holds NaN"),
        ((X, torch.tensor([0.5, float("inf")] * 10)), {}, "target 1 is NaN or infinite"),
        ((X, Y - 1), {}, "a label is -1"),
        ((X, Y[:-1]), {}, "20 inputs and 19 targets"),
        ((X[:0], Y[:0]), {}, "no rows"),
        ((X,), {}, "without y"),
        ((X[:, 0], Y), {}, "add a dimension"),
        ((X, X), {}, "one per row"),
        ((7,), {}, "neither tensors nor a map-style dataset"),
        ((["a", "b"],), {}, "not pairs"),
        ((X, Y), {"experiences": 21}, "21 experiences"),
        ((X, Y), {"experiences": 0}, "0 experiences"),
        ((X, Y), {"experiences": 20, "hold_out": 0.5}, "too few to hold out"),
        ((X, Y), {"hold_out": -0.1}, "hold_out is -0.1"),
        ((X, Y), {"test": (X, Y), "experiences": 2}, "test was given together"),
        ((X, Y), {"test": (X[:, :1], Y)}, "test inputs have the shape"),
        ((X, Y), {"test": (X, Y.float())}, "different kinds"),
    ],
)
def test_bad_input_is_told_in_one_sentence(given, options, sentence):
    with pytest.raises(UsageError, match=sentence) as caught:
        rm.streams.tensors(*given, **options)
    assert "\n" not in str(caught.value)
