"""What holds for every system, a check each: a function of a walk that raises where it does not hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open

from remanence.composition import compose
from remanence.errors import RemanenceError, Unsupported, UsageError
from remanence.factory import load
from remanence.learner import Learner
from remanence.registry import names
from remanence.request import Request
from remanence.streams import Stream, unlabelled
from remanence.testing.elsewhere import elsewhere
from remanence.testing.walk import Walk, go_on, made, models, walk

PLAIN = "naive"
"""The learner that has no part, which every part is compared with."""
CHANCE_MARGIN = 4.0
"""How many standard deviations above chance a score must lie; the questions of a small stream are few."""


class ContractError(RemanenceError, AssertionError):
    """A system does not keep the contract."""


def learns(taken: Walk) -> None:
    """It is clearly better than chance at what it was taught, and better than before it was taught."""
    kind = taken.stream.task.kind
    if kind == "answering":
        _reads(taken)
        return
    rows = [len(test.y) for test in taken.stream.tests]
    first, last = taken.before[0], taken.after[0] if kind == "classification" else taken.end[0]
    _require(taken, last > first, f"it was scored {first:.3f} before it was taught and {last:.3f} after it")
    if kind == "classification":
        two = len(set(taken.stream.tests[0].y.tolist()))
        _above(taken, "right after it the first experience", taken.after[0], 1 / two, rows[0])
        classes = len({label for test in taken.stream.tests for label in test.y.tolist()})
        everything = sum(r * value for r, value in zip(rows, taken.end, strict=True)) / sum(rows)
        _above(taken, "at the end the whole stream", everything, 1 / classes, sum(rows))
    else:
        mean = sum(taken.end) / len(taken.end)
        _above(taken, "at the end the whole stream", mean, _found_by_chance(taken.stream), sum(rows))


def _found_by_chance(stream: Stream) -> float:
    """The mean score of answers that name records at random."""
    records, k = sum(len(segment.examples) for segment in stream.segments), stream.task.k
    evidence = torch.cat([(test.y >= 0).sum(1) for test in stream.tests]).double()
    wanted = evidence if stream.task.metric.startswith("hit") else evidence.clamp(max=1)
    return float((1 - (1 - wanted / records).clamp(min=0) ** k).mean())


def _reads(taken: Walk) -> None:
    """A language model that knows nothing answers nothing rightly; but what it says must follow from what it read."""
    fresh, stream = made(taken.system)
    x = stream.tests[-1].x
    _require(
        taken,
        not torch.equal(fresh.predict(x).scores, taken.learner.predict(x).scores),
        "its answers after the stream are those that it gave before it",
    )


def _above(taken: Walk, what: str, score: float, chance: float, rows: int) -> None:
    bound = chance + CHANCE_MARGIN * math.sqrt(chance * (1 - chance) / rows)
    _require(taken, score > bound, f"{what} was scored {score:.3f}, with chance at {chance:.3f} ({rows} questions)")


def exercises_its_mechanism(taken: Walk) -> None:
    """Every hook of its own is reached, and learning ends elsewhere than without it."""
    idle = taken.exercise.idle
    _require(taken, not idle, f"on its small stream nothing ever reached, or came of, {', '.join(idle)}")
    if not taken.system.runner.composes or taken.name == PLAIN:
        return
    plain = compose("+".join(names(taken.name)[:-1]) or PLAIN)
    learner, stream = made(plain, taken.system.small(models()))
    go_on(learner, stream, (0, 0))
    x = stream.tests[0].x
    same = torch.equal(learner.predict(x, taken.task).scores, taken.learner.predict(x, taken.task).scores)
    _require(taken, not same, f"it answers, to the bit, as {plain.name} does")


def answers_before_it_learned(taken: Walk) -> None:
    """Asked before anything was learned, it names no class."""
    _require(taken, set(taken.untaught) == {-1}, f"before it learned it answered {taken.untaught}")


def asking_changes_nothing(taken: Walk) -> None:
    """`predict` leaves state, modes and random numbers as they are, and answers the same again."""
    _all(taken, taken.asked)


def a_session_goes_its_own_way(taken: Walk) -> None:
    """What a session learns stays with it."""
    _all(taken, taken.sessions)


def resumes_to_the_bit(taken: Walk) -> None:
    """Every state saved on the way goes on, in another process, to the same end; and so does a beginning anew."""
    begun, ends = elsewhere().run(
        _resumed, taken.name, [(p.path, p.experience, p.k) for p in taken.places], taken.places[0].k
    )
    _require(taken, begun == taken.places[0].fingerprint, "begun again with the same seed, it learned something else")
    for place, found in zip(taken.places, ends, strict=True):
        _require(
            taken,
            found == taken.whole,
            f"saved after update {place.k} of experience {place.experience} and resumed in a new process, it ends elsewhere",
        )


def _resumed(name: str, places: list[tuple[str, int, int]], k: int) -> tuple[str, list[str]]:
    torch.rand(7)  # whatever else draws numbers must not matter
    learner, stream = made(compose(name))
    go_on(learner, stream, (0, 0), k)
    begun, ends = learner.fingerprint(), []
    for path, experience, at in places:
        learner = load(path)
        go_on(learner, stream, (experience, at))
        ends.append(learner.fingerprint())
    return begun, ends


def comes_back_to_a_snapshot(taken: Walk) -> None:
    """`restore` goes back to the bit, also from a file, and what follows is learned again as it was."""
    learner = load(taken.path)
    _require(taken, learner.fingerprint() == taken.whole, "loaded, it holds something else than was saved")
    _require(taken, learner.footprint().bytes.get("snapshots", 0) > 0, "its snapshot is not counted")
    learner.restore("then")
    _require(taken, learner.fingerprint() == taken.then, "restored, it is not as it was")
    go_on(learner, taken.stream, (1, 0))
    _require(taken, learner.fingerprint() == taken.whole, "after a restore it learned something else than before")
    try:
        learner.restore("never")
    except UsageError:
        return
    _require(taken, False, "a snapshot that was never taken was restored")


def weighs_what_it_counts(taken: Walk) -> None:
    """The footprint is what the saved state weighs, to the byte."""
    counted, weighed, names = taken.learner.footprint().total, 0, 0
    with safe_open(taken.path, "pt") as file:
        for name in file.keys():  # noqa: SIM118
            weighed, names = weighed + file.get_tensor(name).nbytes, names + 1
    _require(taken, counted == weighed, f"it counts {counted} bytes, and its saved state has {weighed}")
    disk = Path(taken.path).stat().st_size
    _require(
        taken,
        counted <= disk <= counted + 400 * names + 8000,
        f"it counts {counted} bytes, and its file of {names} tensors has {disk}",
    )


def learns_no_label_where_there_is_none(taken: Walk) -> None:
    """An experience without labels teaches no class, is counted whole, and can be stopped in the middle."""
    if taken.stream.task.about_records:
        try:
            unlabelled(taken.stream)
        except UsageError:
            return
        _require(taken, False, "a stream of records without labels was not refused")
    hidden = list(unlabelled(taken.stream, after=2).experiences())[2]
    learner = load(taken.places[-1].path)
    x = taken.stream.tests[0].x[:1]
    labels = set(learner.predict(x).classes)
    path = f"{taken.path}.hidden"
    updates = learner.steps(hidden)
    seen = [next(updates), next(updates)]
    learner.save(path)
    seen += updates
    resumed = load(path)
    for _ in resumed.steps(hidden, 2):
        pass
    rows = sum(update.examples for update in seen)
    _require(taken, rows == len(hidden.examples), f"of {len(hidden.examples)} rows without labels it counted {rows}")
    _require(taken, set(learner.predict(x).classes) == labels, "rows without labels taught it classes")
    _require(
        taken, resumed.fingerprint() == learner.fingerprint(), "stopped among rows without labels, it ends elsewhere"
    )


def forgets_what_the_receipt_says(taken: Walk) -> None:
    """Where a receipt says removed, nothing is left; where nothing can be removed, that is said."""
    learner = load(taken.path)
    rows = taken.stream.segments[1].examples.span(0, 20)
    try:
        receipt = learner.forget(Request(ids=tuple(rows.ids.tolist()), x=rows.x, y=rows.y))
    except Unsupported as refusal:
        _require(taken, "weights" in str(refusal) or "state" in str(refusal), f"it refuses without a reason: {refusal}")
        return
    _require(
        taken, receipt.places.get("snapshots") == "removed", "a snapshot stayed that could bring back what is gone"
    )
    try:
        learner.restore("then")
    except UsageError:
        pass
    else:
        _require(taken, False, "a snapshot from before the forgetting was restored")
    if receipt.places.get("rehearsal") == "removed":
        _require(taken, not _held(learner, rows.ids), "the receipt says removed, and ids of those rows are held")


def _held(learner: Learner, ids: torch.Tensor) -> bool:
    for buffer, tensor in learner.named_buffers():
        if buffer.endswith("ids"):
            memory = learner.get_submodule(buffer.rpartition(".")[0])
            if torch.isin(tensor[: len(memory)], ids).any():  # type: ignore[arg-type]
                return True
    return False


CHECKS: tuple[Callable[[Walk], None], ...] = (
    learns,
    exercises_its_mechanism,
    answers_before_it_learned,
    asking_changes_nothing,
    a_session_goes_its_own_way,
    resumes_to_the_bit,
    comes_back_to_a_snapshot,
    weighs_what_it_counts,
    learns_no_label_where_there_is_none,
    forgets_what_the_receipt_says,
)


def check(name: str) -> None:
    """Run every check on a system.

    Raises
    ------
    ContractError
        With the first thing that does not hold.
    """
    taken = walk(name)
    for one in CHECKS:
        one(taken)


def _require(taken: Walk, holds: bool, otherwise: str) -> None:
    if not holds:
        raise ContractError(f"{taken.name}: {otherwise}")


def _all(taken: Walk, found: dict[str, bool]) -> None:
    for otherwise, holds in found.items():
        _require(taken, holds, otherwise)
