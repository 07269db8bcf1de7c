"""Folders of images by class."""

from __future__ import annotations

import json

import numpy
import pytest
import torch
from PIL import Image

import remanence as rm
from remanence.errors import UsageError


def draw(path, colour, mode="RGB", size=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def photos(tmp_path):
    for label, name in enumerate(["ant", "bee", "cat"]):
        for k in range(10):
            draw(tmp_path / name / f"{k}.png", (80 * label, k, 0))
    (tmp_path / "ant" / "notes.txt").write_text("no image")
    return tmp_path


def test_classes_come_one_after_another(photos):
    stream = rm.streams.folder(photos)
    assert [s.classes for s in stream.segments] == [(0,), (1,), (2,)]
    assert stream.class_names == ("ant", "bee", "cat")
    assert [len(s.examples) for s in stream.segments] == [8, 8, 8]
    assert [t.y.tolist() for t in stream.tests] == [[0, 0], [1, 1], [2, 2]]
    rows = stream.segments[2].examples.span(0, 8)
    assert rows.x.dtype == torch.uint8
    assert rows.x.shape == (8, 3, 10, 12)
    assert set(rows.x[:, 0].flatten().tolist()) == {160}


def test_nothing_is_in_both_sets_and_every_image_in_one(photos):
    stream = rm.streams.folder(photos, experiences=1, hold_out=0.3)
    train = stream.segments[0].examples.span(0, 99).x
    seen = sorted(image[:2, 0, 0].tolist() for image in torch.cat([train, stream.tests[0].x]))
    assert seen == sorted([80 * label, k] for label in range(3) for k in range(10))


def test_a_recipe_gives_the_same_bits(photos):
    stream = rm.streams.folder(photos, experiences=3, hold_out=0.5, size=8, seed=3)
    twin = rm.streams.build(json.loads(json.dumps(stream.recipe)))
    for a, b in zip(stream.segments, twin.segments, strict=True):
        assert torch.equal(a.examples.span(0, 9).x, b.examples.span(0, 9).x)
    other = rm.streams.folder(photos, experiences=3, hold_out=0.5, size=8, seed=4)
    assert not torch.equal(stream.tests[0].x, other.tests[0].x)


def test_images_are_decoded_as_they_are_cut_where_they_are_many(photos, monkeypatch):
    held = rm.streams.folder(photos, experiences=1).segments[0].examples
    import sys

    monkeypatch.setattr(sys.modules["remanence.streams.folder"], "HELD", 0)
    lazy = rm.streams.folder(photos, experiences=1).segments[0].examples
    index = torch.tensor([3, 17, 0])
    assert type(lazy) is not type(held)
    assert all(torch.equal(a, b) for a, b in zip(lazy.cut(index), held.cut(index), strict=True))
    assert torch.equal(lazy.labels(), held.labels())


def test_sizes_and_modes_that_differ_are_made_equal(tmp_path):
    for k in range(4):
        draw(tmp_path / "a" / f"{k}.png", 30, "L", (20 + k, 16))
        draw(tmp_path / "b" / f"{k}.jpg", (200, 0, 0), "RGB", (50, 40))
    assert rm.streams.folder(tmp_path).shape == (3, 32, 32)
    assert rm.streams.folder(tmp_path, size=8).shape == (3, 8, 8)


def test_grey_images_have_one_channel(tmp_path):
    for name, grey in (("a", 3), ("b", 250)):
        for k in range(3):
            draw(tmp_path / name / f"{k}.png", grey, "L", (9, 9))
    stream = rm.streams.folder(tmp_path)
    assert stream.shape == (1, 9, 9)
    assert int(stream.tests[1].x.max()) == 250


def test_train_and_test_folders_are_the_split(tmp_path):
    for name in ("a", "b"):
        for k in range(4):
            draw(tmp_path / "train" / name / f"{k}.png", 10)
        draw(tmp_path / "test" / name / "0.png", 99 if name == "a" else 98)
    stream = rm.streams.folder(tmp_path)
    assert [len(s.examples) for s in stream.segments] == [4, 4]
    assert [int(t.x.max()) for t in stream.tests] == [99, 98]
    draw(tmp_path / "test" / "c" / "0.png", 1)
    with pytest.raises(UsageError, match="the class 'c'"):
        rm.streams.folder(tmp_path)


def test_a_learner_learns_a_folder(photos):
    stream = rm.streams.folder(photos, size=16)
    learner = rm.make("er", stream, size=20)
    for experience in stream.experiences():
        learner.learn(experience)
    assert learner.model.classes == [0, 1, 2]


def test_bad_folders_are_told_in_one_sentence(photos, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="has no subfolders"):
        rm.streams.folder(empty)
    with pytest.raises(UsageError, match="has no images"):
        rm.streams.folder(photos)
    empty.rmdir()
    with pytest.raises(UsageError, match="is not a folder"):
        rm.streams.folder(photos / "ant" / "0.png")
    with pytest.raises(UsageError, match="hold_out is 0"):
        rm.streams.folder(photos, hold_out=0)
    with pytest.raises(UsageError, match="4 experiences"):
        rm.streams.folder(photos, experiences=4)
    draw(photos / "dog" / "only.png", 1)
    with pytest.raises(UsageError, match="has one image"):
        rm.streams.folder(photos)


@pytest.mark.parametrize("content", [b"no image at all", None])
def test_an_image_that_cannot_be_decoded_is_named(photos, content):
    noise = Image.fromarray(numpy.random.default_rng(0).integers(0, 255, (10, 12, 3), dtype=numpy.uint8))
    noise.save(photos / "bee" / "broken.png")
    whole = (photos / "bee" / "broken.png").read_bytes()
    (photos / "bee" / "broken.png").write_bytes(content or whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"broken\.png cannot be decoded"):
        rm.streams.folder(photos)
