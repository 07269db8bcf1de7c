"""Parts attached to a plain loop do what they do in a trainer."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import remanence as rm
from remanence.errors import Unsupported, UsageError
from remanence.streams.examples import InMemory
from remanence.streams.experience import Experience
from remanence.weights.batch import Batch, BatchSampler
from remanence.weights.context import Context, Step
from remanence.weights.custom_model import view
from remanence.weights.part import Part
from remanence.weights.penalties.ewc import EWC
from remanence.weights.per_parameter import PerParameter
from remanence.weights.replay.er import ER
from remanence.weights.trainer import Trainer

LR, SIZE = 0.1, 8


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 4))


def data(seed: int, rows: int = 48) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 6, generator=draw)
    return x, (x[:, :4] + 0.3 * seed * x[:, 2:]).argmax(1)


EXPERIENCES = [data(seed) for seed in range(3)]


def by_trainer(parts: list[Part], **training: Any) -> tuple[nn.Module, Trainer]:
    model = network()
    trainer = Trainer(view(model, None, 0), parts, seed=5, lr=LR, batch_size=SIZE, **training)
    for index, (x, y) in enumerate(EXPERIENCES):
        trainer.learn(Experience(index, InMemory(x, y, torch.arange(len(y)) + 48 * index, ordered=True)))
    return model, trainer


def by_hand(
    parts: list[Part], *, own_loss: bool = True, closure: bool = False, momentum: float = 0.0
) -> tuple[nn.Module, Any]:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=momentum)
    with rm.attach(model, optimizer, parts, seed=5, batch_size=SIZE) as attached:
        for index, (xs, ys) in enumerate(EXPERIENCES):
            for start in range(0, len(ys), SIZE):
                place = slice(start, start + SIZE)
                given = xs[place], ys[place]

                def backward(given: tuple[Tensor, Tensor] = given) -> Tensor:
                    x, y = attached.rehearse(*given)
                    optimizer.zero_grad()
                    scores = model(x)
                    loss = cross_entropy(scores, y) if own_loss else attached.loss()
                    loss.backward()
                    return loss

                if closure:
                    optimizer.step(backward)
                else:
                    backward()
                    optimizer.step()
            if index < len(EXPERIENCES) - 1:
                attached.boundary((xs, ys))
    return model, attached


class Shrink(Part):
    """A term on the batch, a projection, a change of the change, and a count."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = 0

    def loss(self, step: Step) -> Tensor:
        return 0.1 * step.features.square().mean() + 0.01 * step.scores.square().mean()

    def on_gradient(self, step: Step) -> None:
        for parameter in step.context.trainable().values():
            if parameter.grad is not None:
                parameter.grad.clamp_(-0.05, 0.05)

    def on_change(self, step: Step) -> None:
        for change in step.change.values():
            change.mul_(0.7)

    def after_step(self, step: Step) -> None:
        self.counted += step.batch.fresh


class FarFromStart(Part):
    """A penalty that looks at parameters only, and at the model before."""

    uses = frozenset({"previous"})

    def __init__(self) -> None:
        super().__init__()
        self.kept = PerParameter("snapshots")

    def after_experience(self, context: Context, experience: Experience) -> Iterator[Any] | None:
        self.kept.put({name: p.clone() for name, p in context.trainable().items()})
        return None

    def loss(self, step: Step) -> Tensor | None:
        if not len(self.kept):
            return None
        return sum(
            ((p - self.kept[name]).square().sum() for name, p in step.context.trainable().items()), torch.zeros(())
        )


class Matching(Part):
    """Distils the previous model on the batch, as a replacement of the objective."""

    uses = frozenset({"previous"})

    def objective(self, step: Step) -> Tensor:
        plain = cross_entropy(step.scores, step.columns)  # type: ignore[arg-type]
        previous = step.context.previous
        return plain if previous is None else plain + (step.scores - previous(step.batch.x)).square().mean()


class Weighing(Part):
    def rehearse(self, batch: Batch, context: Context) -> Batch:
        return Batch(batch.x, batch.y, batch.ids, batch.fresh, weight=torch.linspace(0.5, 1.5, len(batch)))


class Reordering(Part):
    def batch_sampler(self, sampler: BatchSampler, context: Context, experience: Experience) -> BatchSampler:
        return sampler


class Slow(Part):
    def lr_multiplier(self, name: str) -> float:
        return 0.5


class Knowing(Part):
    needs = frozenset({"classes"})


class Growing(Part):
    def setup(self, context: Context) -> None:
        context.grow(lambda model: None)


def same(a: nn.Module, b: nn.Module) -> None:
    for mine, theirs in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        list,
        lambda: [ER(size=20)],
        lambda: [EWC(strength=5.0)],
        lambda: [EWC(strength=5.0, variant="online", fisher="empirical")],
        lambda: [Shrink()],
        lambda: [FarFromStart(), ER(size=10), Shrink()],
    ],
    ids=["none", "er", "ewc", "online ewc", "shrink", "three"],
)
def test_equals_a_trainer(make: Any, closure: bool) -> None:
    expected, trainer = by_trainer(make())
    found, attached = by_hand(make(), closure=closure)
    same(found, expected)
    if trainer.memory is not None:
        assert torch.equal(trainer.memory.ids[: len(trainer.memory)], attached.memory.ids[: len(attached.memory)])
    assert attached.seen == trainer.seen == 144


@pytest.mark.parametrize("make", [lambda: [Matching()], lambda: [Weighing()], lambda: [ER(size=9), Shrink()]])
def test_the_loss_of_the_parts_equals_a_trainer(make: Any) -> None:
    expected, _ = by_trainer(make(), momentum=0.5)
    found, _ = by_hand(make(), own_loss=False, momentum=0.5)
    same(found, expected)


def test_the_module_is_left_as_it_was() -> None:
    model, twin = network(), network()
    optimizer = torch.optim.Adam(model.parameters())
    names = list(model.state_dict())
    x = torch.randn(3, 6)
    with rm.attach(model, optimizer, [EWC()]) as attached:
        assert list(model.state_dict()) == names
        assert torch.equal(model(x), twin(x))
        assert torch.equal(attached.predict(x).scores, twin(x))
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())
    assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks
    copy.deepcopy(model)


def test_a_penalty_on_parameters_needs_no_word_about_the_batch() -> None:
    x, y = EXPERIENCES[0]
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    with rm.attach(model, optimizer, [EWC(strength=100.0)]) as attached:
        attached.boundary([(x[:20], y[:20]), (x[20:], y[20:])])
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1
        importances, anchors = attached.parts[0].importances[0], attached.parts[0].anchors[0]
        pulls = {n: 100.0 * importances[n] * (p - anchors[n]) for n, p in attached.model.named_parameters()}
        before = {name: p.detach().clone() for name, p in attached.model.named_parameters()}
        optimizer.zero_grad()
        optimizer.step()
        for name, parameter in attached.model.named_parameters():
            torch.testing.assert_close(parameter.detach(), before[name] - LR * pulls[name])


def test_gathered_gradients_count_every_row_once() -> None:
    x, y = EXPERIENCES[0]
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    counting = Shrink()
    with rm.attach(model, optimizer, [ER(size=100), counting]) as attached:
        for start in range(0, 48, 16):
            optimizer.zero_grad()
            for half in (start, start + 8):
                rows, labels = attached.rehearse(x[half : half + 8], y[half : half + 8])
                (cross_entropy(model(rows), labels) / 2).backward()
            optimizer.step()
    assert counting.counted == 48
    assert sorted(attached.memory.ids[: len(attached.memory)].tolist()) == list(range(48))


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Reordering(), ("Reordering", "batch_sampler")),
        (Slow(), ("Slow", "lr_multiplier")),
        (Knowing(), ("Knowing", "classes")),
        (Growing(), ("Growing", "growth")),
    ],
)
def test_what_cannot_be_served_is_named(part: Part, words: tuple[str, str]) -> None:
    model = network()
    with pytest.raises(Unsupported) as raised:
        rm.attach(model, torch.optim.SGD(model.parameters(), lr=LR), [part])
    assert all(word in str(raised.value) for word in words)


def test_what_the_loop_left_out_is_named() -> None:
    x, y = EXPERIENCES[0]

    def step(parts: list[Part], told: bool = False) -> None:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        with rm.attach(model, optimizer, parts) as attached:
            rows, labels = attached.rehearse(x, y) if told else (x, y)
            cross_entropy(model(rows), labels).backward()
            optimizer.step()

    with pytest.raises(UsageError, match=r"attached\.rehearse"):
        step([ER()])
    with pytest.raises(UsageError, match=r"attached\.rehearse"):
        step([Shrink()])
    with pytest.raises(UsageError, match=r"Matching .*attached\.loss"):
        step([Matching()], told=True)
    with pytest.raises(UsageError, match=r"Weighing .*attached\.loss"):
        step([Weighing()], told=True)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    with rm.attach(model, optimizer, [EWC(), ER(size=4)]) as attached:
        with pytest.raises(UsageError, match=r"attached.boundary\(loader\)"):
            attached.boundary()
        with pytest.raises(UsageError, match="pairs"):
            attached.boundary([x, y])
        with pytest.raises(Unsupported, match="a label is 9"):
            attached.rehearse(x[:1], torch.tensor([9]))
        with pytest.raises(UsageError, match="uint8"):
            attached.rehearse(x.byte(), y)
        attached.rehearse(x, y)
        with pytest.raises(UsageError, match="48 rows"):
            model(x[:3])
        with pytest.raises(UsageError, match="already"):
            attached.__enter__()
        with pytest.raises(Unsupported, match="own loop"):
            attached.learn(Experience(0, InMemory(x, y)))
    with pytest.raises(UsageError, match="no parameter"):
        rm.attach(network(), optimizer, [])
    with pytest.raises(Unsupported, match="LBFGS"):
        rm.attach(model, torch.optim.LBFGS(model.parameters()), [])
    with pytest.raises(UsageError, match="linear layer"):
        rm.attach(nn.Sequential(nn.Conv2d(1, 1, 1)), optimizer, [])


def test_saved_and_taken_up_again(tmp_path: Any) -> None:
    x, y = EXPERIENCES[0]

    def fresh() -> tuple[nn.Module, torch.optim.Optimizer, Any]:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
        return model, optimizer, rm.attach(model, optimizer, [ER(size=10), EWC(strength=1.0)])

    def some(model: nn.Module, optimizer: torch.optim.Optimizer, attached: Any, start: int) -> None:
        for k in range(start, start + 2):
            rows, labels = attached.rehearse(x[8 * k : 8 * k + 8], y[8 * k : 8 * k + 8])
            optimizer.zero_grad()
            cross_entropy(model(rows), labels).backward()
            optimizer.step()

    model, optimizer, attached = fresh()
    with attached:
        some(model, optimizer, attached, 0)
        attached.boundary((x, y))
        some(model, optimizer, attached, 2)
        attached.save(tmp_path / "memory.safetensors")
        some(model, optimizer, attached, 4)
    again, theirs, taken_up = fresh()
    taken_up.load_state(tmp_path / "memory.safetensors")
    with taken_up:
        some(again, theirs, taken_up, 4)
    for mine, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, other)
