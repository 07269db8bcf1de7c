"""Domain-incremental scenarios: the same classes in every experience, the inputs transformed anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.examples import Transformed
from remanence.streams.experience import Disclosure, Stream, TestSet
from remanence.streams.scenarios import Seed, recorded, scenario, start

Transform = Callable[[Tensor], Tensor]
HowMany = Annotated[
    int | None, Field(ge=1, description="how many; 10 for a whole dataset, else as many as the stream has")
]


class Permutation:
    """Puts the values of each input at other places, the same places for every input."""

    def __init__(self, places: Tensor) -> None:
        self.places = places

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1).index_select(1, self.places).view(x.shape)


class Rotation:
    """Turns images (n, channels, height, width) anticlockwise by some degrees; corners become black."""

    def __init__(self, degrees: float) -> None:
        angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
        cos, sin, nil = angle.cos(), angle.sin(), torch.zeros((), dtype=torch.float64)
        self.matrix = torch.stack([torch.stack([cos, -sin, nil]), torch.stack([sin, cos, nil])])
        self._grids: dict[tuple[int, int], Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if (height, width) not in self._grids:
            # On a grid in pixels, so that a turned image that is not square keeps its proportions.
            scale = torch.tensor([width / 2, height / 2], dtype=torch.float64)
            matrix = self.matrix.clone()
            matrix[:, :2] = scale.reciprocal().diag() @ matrix[:, :2] @ scale.diag()
            grid = functional.affine_grid(matrix.unsqueeze(0), [1, 1, height, width], align_corners=False)
            self._grids[height, width] = grid.float()
        grid = self._grids[height, width].expand(len(x), -1, -1, -1)
        turned = functional.grid_sample(x.float(), grid, align_corners=False)
        return turned.round().to(torch.uint8) if x.dtype == torch.uint8 else turned


@scenario
def permute(stream: str | Stream, experiences: HowMany = None, *, seed: Seed = 0) -> Stream:
    """Domain-incremental: the values of the inputs change places, anew in every experience.

    Experience 0 is as it was. A whole dataset is repeated `experiences` times, each time with all its
    examples and a test set permuted in the same way; a stream of several experiences gets one
    permutation for each of them.

    Parameters
    ----------
    stream:
        A stream, or the name of a source.
    experiences:
        How many (10 for a whole dataset).
    seed:
        Seeds the permutations.

    Raises
    ------
    UsageError
        If the stream has another number of experiences already.

    Example
    -------
    >>> stream = permute("digits", experiences=3)
    >>> [len(segment.examples) for segment in stream.segments]
    [1438, 1438, 1438]

    References
    ----------
    Goodfellow, Mirza, Xiao, Courville, Bengio: An Empirical Investigation of Catastrophic Forgetting in
    Gradient-Based Neural Networks, 2013, arXiv 1312.6211.
    """
    base = start(stream)
    count = _count(base, experiences, "permute")
    values = int(torch.tensor(base.shape).prod())
    transforms: list[Transform | None] = [None]
    for k in range(1, count):
        transforms.append(Permutation(torch.randperm(values, generator=generator(seed, "permutation", k))))
    names = ["as it was", *(f"permutation {k}" for k in range(1, count))]
    return _transformed(base, "permute", transforms, names, {"experiences": count, "seed": seed})


@scenario
def rotate(
    stream: str | Stream,
    experiences: HowMany = None,
    *,
    degrees: Annotated[float, Field(gt=0, le=360, description="the largest angle")] = 180.0,
    order: Annotated[Literal["ascending", "shuffled"], Field(description="of the angles")] = "ascending",
    seed: Seed = 0,
) -> Stream:
    """Domain-incremental: the images are turned, further in every experience.

    The angles lie evenly between 0 and `degrees`, both included (360 itself is left out, being 0 again).

    Parameters
    ----------
    stream:
        A stream of images, or the name of a source.
    experiences:
        How many (10 for a whole dataset).
    degrees:
        The largest angle, anticlockwise (0 to 360).
    order:
        ``ascending``, or ``shuffled`` by the seed.
    seed:
        Seeds the shuffling.

    Raises
    ------
    UsageError
        If the inputs are no images, or the stream has another number of experiences already.

    Example
    -------
    >>> [segment.name for segment in rotate("digits", experiences=3, degrees=90).segments]
    ['0°', '45°', '90°']

    References
    ----------
    Lopez-Paz, Ranzato: Gradient Episodic Memory for Continual Learning, 2017, arXiv 1706.08840.
    """
    base = start(stream)
    if len(base.shape) != 3:
        raise UsageError(f"rotate needs images, the inputs of {base.name} have the shape {base.shape}: use permute")
    count = _count(base, experiences, "rotate")
    steps = count if degrees == 360 else max(count - 1, 1)
    angles = [degrees * k / steps for k in range(count)]
    if order == "shuffled":
        angles = [angles[k] for k in torch.randperm(count, generator=generator(seed, "angles")).tolist()]
    transforms: list[Transform | None] = [Rotation(angle) if angle else None for angle in angles]
    options = {"experiences": count, "degrees": degrees, "order": order, "seed": seed}
    return _transformed(base, "rotate", transforms, [f"{angle:g}°" for angle in angles], options)


def _count(base: Stream, experiences: int | None, name: str) -> int:
    if len(base) == 1:
        return experiences or 10
    if experiences not in (None, len(base)):
        raise UsageError(
            f"{name} was asked for {experiences} experiences, {base.name} has {len(base)} already: leave the number out"
        )
    if len(base.tests) not in (1, len(base)):
        raise UsageError(
            f"{base.name} has {len(base)} experiences and {len(base.tests)} test sets: {name} needs one for each"
        )
    return len(base)


def _transformed(
    base: Stream, name: str, transforms: Sequence[Transform | None], names: Sequence[str], options: dict[str, Any]
) -> Stream:
    repeated = len(base) == 1
    segments, tests = [], []
    for k, (transform, label) in enumerate(zip(transforms, names, strict=True)):
        segment = base.segments[0 if repeated else k]
        test = base.tests[0 if len(base.tests) == 1 else k]
        title = label if repeated else f"{segment.name}, {label}"
        examples, asked = segment.examples, test.x
        if transform is not None:
            examples = Transformed(examples, transform)
            asked = torch.cat([transform(part) for part in torch.split(asked, 4096)])
        segments.append(replace(segment, examples=examples, task=k, name=title))
        tests.append(TestSet(title, asked, test.y, k, test.classes))
    return replace(
        base,
        name=f"{base.name}/{name}",
        segments=segments,
        tests=tests,
        disclosure=Disclosure() if repeated else base.disclosure,
        recipe=recorded(base, name, options),
    )
