"""A folder of images, one subfolder a class, as a class-incremental stream or a whole dataset."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from remanence.errors import MissingExtra, UsageError
from remanence.randomness import generator
from remanence.streams.examples import Examples, InMemory, Rows
from remanence.streams.experience import CLASSIFICATION, Segment, Stream, TestSet
from remanence.streams.scenarios import split

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
HELD = 256 << 20
"""Decoded images up to this many bytes are held in memory; larger folders are decoded as they are cut."""
LARGEST_SIDE = 96
DEFAULTS: dict[str, object] = {"model": "cnn", "batch_size": 10, "epochs": 1, "size": 200}


def folder(
    path: str | os.PathLike[str],
    experiences: int | None = None,
    hold_out: float = 0.2,
    *,
    size: int | None = None,
    seed: int = 0,
) -> Stream:
    """Images by class as a class-incremental stream, or with one experience as a whole dataset.

    The subfolders of `path` are the classes, numbered by name. Where it holds ``train`` and ``test``
    (or ``val``) folders with the classes below them, those are the split; otherwise a share of every
    class is drawn as the test set.

    Parameters
    ----------
    path:
        The folder.
    experiences:
        Groups of classes that come one after another (1 to the number of classes; by default 5, or as
        many as there are classes where they are fewer). With 1 it is a whole dataset, from which
        scenarios start: ``blur(folder("photos", experiences=1))``.
    hold_out:
        Share of each class that is kept for testing (above 0, below 1), where there is no test folder.
    size:
        Images are scaled to this many pixels a side; None keeps their size where all have the same, of
        at most 96 pixels, and scales to 32 otherwise.
    seed:
        Seeds the drawing of the test set.

    Raises
    ------
    UsageError
        If there are no class subfolders, a class has too few images, or an image cannot be decoded.
    MissingExtra
        If pillow is not installed.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> photos = Path(tempfile.mkdtemp())
    >>> for name, colour in (("cat", 40), ("dog", 200)):
    ...     (photos / name).mkdir()
    ...     for k in range(5):
    ...         Image.new("RGB", (16, 16), (colour, k, k)).save(photos / name / f"{k}.png")
    >>> stream = folder(photos)
    >>> stream.class_names, stream.shape, stream.segment_ends, [len(test.y) for test in stream.tests]
    (('cat', 'dog'), (3, 16, 16), [4, 8], [1, 1])
    """
    if not 0 < hold_out < 1:
        raise UsageError(f"hold_out is {hold_out}, expected a share above 0 and below 1")
    if size is not None and size < 1:
        raise UsageError(f"size is {size}, expected 1 pixel or more")
    root = Path(path).absolute()
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder: give one with a subfolder of images for each class")
    train_at = root / "train" if (root / "train").is_dir() else None
    test_at = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    given_split = train_at is not None and test_at is not None
    names, files, labels = _listed(train_at if given_split and train_at else root)
    if given_split and test_at:
        other, test_files, test_labels = _listed(test_at)
        strange = sorted(set(other) - set(names))
        if strange:
            raise UsageError(f"{test_at} has the class {strange[0]!r}, which {train_at} lacks: use the same classes")
        place = torch.tensor([names.index(name) for name in other])
        test_labels = place[test_labels]
    else:
        asked = _drawn(names, labels, hold_out, seed, root)
        test_files = [files[k] for k in asked.nonzero().squeeze(1).tolist()]
        test_labels = labels[asked]
        files = [files[k] for k in (~asked).nonzero().squeeze(1).tolist()]
        labels = labels[~asked]
    shape = _shape([*files, *test_files], size)
    train: Examples = ImageFiles(files, labels, shape)
    if len(files) * shape[0] * shape[1] * shape[2] <= HELD:
        train = InMemory(*train.cut(torch.arange(len(files))))
    test = ImageFiles(test_files, test_labels, shape).cut(torch.arange(len(test_files)))
    classes = tuple(range(len(names)))
    options = {"experiences": 1, "hold_out": hold_out, "size": size, "seed": seed}
    stream = Stream(
        root.name,
        [Segment(train, classes, name=root.name)],
        [TestSet(root.name, test.x, test.y, classes=classes)],
        CLASSIFICATION,
        shape,
        class_names=tuple(names),
        recipe={"source": "folder", "path": str(root), "options": options, "scenarios": []},
        defaults=dict(DEFAULTS),
        notes={"images": len(files) + len(test_files), "held out": len(test_files)},
    )
    if experiences == 1:
        return stream
    return split(stream, min(5, len(names)) if experiences is None else experiences)


class ImageFiles(Examples):
    """Images that are decoded when they are cut."""

    def __init__(self, files: Sequence[Path], labels: Tensor, shape: tuple[int, int, int]) -> None:
        self.files, self._labels, self.shape = list(files), labels, shape

    def __len__(self) -> int:
        return len(self.files)

    def cut(self, index: Tensor) -> Rows:
        images = torch.empty((len(index), *self.shape), dtype=torch.uint8)
        for row, place in enumerate(index.tolist()):
            images[row] = decoded(self.files[place], self.shape)
        return Rows(images, self._labels[index], index.clone())

    def labels(self) -> Tensor:
        return self._labels


def decoded(file: Path, shape: tuple[int, int, int]) -> Tensor:
    """One image as ``uint8`` of a shape (channels, height, width)."""
    import numpy
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            fitted = image.convert("L" if shape[0] == 1 else "RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise _undecodable(file) from None
    if fitted.size != (shape[2], shape[1]):
        fitted = fitted.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(numpy.array(fitted))
    return pixels.unsqueeze(0) if pixels.dim() == 2 else pixels.permute(2, 0, 1)


def _listed(root: Path) -> tuple[list[str], list[Path], Tensor]:
    """Names of the classes, the images in order of their names, and the label of each."""
    names = sorted(child.name for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))
    if not names:
        raise UsageError(f"{root} has no subfolders: put the images of each class into a subfolder named after it")
    if len(names) < 2:
        raise UsageError(f"{root} has the single class {names[0]!r}: give two subfolders or more")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        mine = sorted(file for file in (root / name).rglob("*") if file.suffix.lower() in ENDINGS)
        if not mine:
            raise UsageError(f"{root / name} has no images: add some, or remove the folder")
        files += mine
        labels += [label] * len(mine)
    return names, files, torch.tensor(labels)


def _drawn(names: list[str], labels: Tensor, hold_out: float, seed: int, root: Path) -> Tensor:
    """Which images (n,) are kept for testing: a share of every class, at least one."""
    asked = torch.zeros(len(labels), dtype=torch.bool)
    for label, name in enumerate(names):
        mine = (labels == label).nonzero().squeeze(1)
        if len(mine) < 2:
            raise UsageError(f"{root / name} has one image: give two or more, one to learn and one to test")
        many = min(len(mine) - 1, max(1, round(len(mine) * hold_out)))
        asked[mine[torch.randperm(len(mine), generator=generator(seed, "hold out", label))[:many]]] = True
    return asked


def _shape(files: Sequence[Path], size: int | None) -> tuple[int, int, int]:
    """The common shape of the images, from their headers alone."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingExtra("pillow", "data", "reading images") from None
    sizes, modes = set(), set()
    for file in files:
        try:
            with Image.open(file) as image:
                sizes.add(image.size)
                modes.add(image.mode)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            raise _undecodable(file) from None
    channels = 1 if modes <= {"1", "L", "I", "I;16", "F"} else 3
    if size is not None:
        return channels, size, size
    width, height = next(iter(sizes))
    if len(sizes) == 1 and max(width, height) <= LARGEST_SIDE:
        return channels, height, width
    return channels, 32, 32


def _undecodable(file: Path) -> UsageError:
    return UsageError(f"the image {file} cannot be decoded: remove or replace it")
