"""How each source that is no plain pair of image or text splits becomes a whole stream."""

from __future__ import annotations

from importlib.metadata import version

import torch

from remanence.streams import decoded_cache, dialogues, passages
from remanence.streams.dataset_table import checked, images_and_labels
from remanence.streams.experience import Stream, Task
from remanence.streams.hub import columns_of, labels_as_numbers, split_tables
from remanence.streams.source import (
    IMAGE_DEFAULTS,
    TEXT_DEFAULTS,
    Columns,
    Source,
    encoded,
    needed_file,
    read_columns,
    whole_stream,
)


def digits(source: Source) -> Stream:
    """The handwritten digits that scikit-learn ships; every fifth is the test."""
    # To load scikit-learn takes seconds, in every process that reads these few images
    key = f"digits-scikit-learn-{version('scikit-learn')}"
    kept = decoded_cache.recall(key)
    if kept is None:
        from sklearn.datasets import load_digits

        found = load_digits()
        images = torch.from_numpy(found.images * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
        kept = {"images": images, "labels": torch.from_numpy(found.target).long()}
        decoded_cache.keep(key, kept)
    images, labels = kept["images"], kept["labels"]
    held_out = torch.arange(len(labels)) % 5 == 4
    return whole_stream(source, (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out]))


def omniglot(source: Source) -> Stream:
    """Of the 20 drawings of a character the last 5 are the test; strokes are bright on dark, as in MNIST."""
    x, y = read_columns(source, "train")
    x = 255 - x
    order = torch.argsort(y, stable=True)
    number = torch.empty_like(order)
    counts = torch.bincount(y)
    number[order] = torch.arange(len(y)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    asked = number >= 15
    return whole_stream(source, (x[~asked], y[~asked]), (x[asked], y[asked]))


def locomo(source: Source) -> Stream:
    """Long conversations with questions about them."""
    path = needed_file(source, source.files["train"])
    checked(path, source.sums["train"], source.name)
    return dialogues.load(path)


def musique(source: Source) -> Stream:
    """Passages of Wikipedia with questions of several hops."""
    folders = {needed_file(source, file).parent for file in source.files.values()}
    return passages.load(folders.pop())


def empty(source: Source) -> Stream:
    """Nothing yet: the source's scenario draws what there is."""
    return Stream(
        source.name, [], [], Task("retrieval", "hit@1"), (1,), recipe={"source": source.name, "scenarios": []}
    )


def hub_set(source: Source) -> Stream:
    """Any image- or text-classification set: its columns are found by their types."""
    train, test = split_tables(source.hub, source.config, source.name)
    kind, inputs, label = columns_of(train, source.name)
    halves: list[Columns] = []
    notes: dict[str, object] = {}
    names: tuple[str, ...] = train.classes
    for split, table in (("train", train), ("test", test)):
        if table is None:
            continue
        if kind == "image":
            x, values = images_and_labels(table, inputs, label, 32 if halves and halves[0][0].shape[-1] == 32 else None)
        else:
            texts, values = [], []
            for some, labels in table.batches(inputs, label):
                texts += some
                values += labels
            x = encoded(texts)
        if not names:
            names = tuple(map(str, sorted(set(values))))
        numbers = values if train.classes else [str(value) for value in values]
        y = torch.tensor(values, dtype=torch.int64) if train.classes else labels_as_numbers(numbers, names)
        halves.append((x, y))
        notes[split] = len(y)
    if len(halves) == 1:
        x, y = halves[0]
        asked = torch.arange(len(y)) % 5 == 4
        halves = [(x[~asked], y[~asked]), (x[asked], y[asked])]
        notes["train"] = len(halves[0][1])
        notes["test"] = "every fifth training example, as there is no test split"
    defaults = IMAGE_DEFAULTS if kind == "image" else TEXT_DEFAULTS
    found = Source(source.name, source.hub, kind=kind, class_names=names, licence=source.licence, defaults=defaults)
    return whole_stream(found, halves[0], halves[1], notes)
