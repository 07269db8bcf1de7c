"""A bank of cases, and a policy that learns which of them help with a task.

Every task is kept with what was done and whether it worked; a small network beside the store, trained online on
which retrieved cases would have helped, gives each case its value for a task. It costs a vector for each case and the
network, and no gradient of a language model.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.store.memories.base import Memory
from remanence.store.memories.value import ValueNetwork
from remanence.store.record import Hit, Record
from remanence.store.where import Filter

_REWARDED = {"metadata.reward": {">": 0}}


@system(
    "agentfly",
    paper=Paper(
        "AgentFly: Fine-tuning LLM Agents without Fine-tuning LLMs",
        "Zhou, Chen, Guo, Yan, Lee et al.",
        2025,
        "2508.16153",
        438,
    ),
    place="store",
    baseline="agentfly#similar",
    variant="one-step case selection with a learned value, as in the paper's experiments",
)
class AgentFly(Memory):
    """Case-based reasoning with a learned retrieval policy.

    The value Q(s, c) of a case c for a task s is the probability that what was done in c works for s: a network of
    one hidden layer over the pair of vectors, trained by cross entropy on the cases that were retrieved. A case
    that was not tried again gets a label where the outcome tells: it is right if its action is the one that
    worked, wrong if that action failed, or if another worked.

    Parameters
    ----------
    policy:
        ``learned`` (by value) or ``similar`` (by cosine, the paper's non-parametric memory).
    retrieved:
        Cases that a task calls to mind, and that the network learns from (1 or more).
    candidates:
        The most similar cases whose value is asked when answering (1 or more).
    hidden:
        Units of the network (1 or more).
    lr:
        Learning rate of Adam (above 0).
    steps:
        Updates after every task, each on a batch of 32 pairs drawn from the last `kept` (0 or more).
    kept:
        Pairs that are remembered for training (32 or more).
    soft:
        The temperature at which training draws cases in proportion to exp(Q / temperature); 0 for the best.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.working("cases", experiences=1, tasks=5, seed=0)
    >>> learner = rm.make("agentfly", stream)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> learner.predict(stream.tests[0].x[:2]).records.shape
    torch.Size([1, 1])

    References
    ----------
    Zhou et al., AgentFly: Fine-tuning LLM Agents without Fine-tuning LLMs, 2025, arXiv:2508.16153.

    Departures
    ----------
    The paper's encoder of pairs is a fine-tuned language model; here vectors of the store's frozen encoder are
    compared by a small network. No planner acts on the cases: the stream is a log of what was tried. Only cases that
    worked are returned, by either policy; the paper shows both kinds to its planner. A linear term on the product
    of the vectors, equal to the cosine at first, starts the policy where similarity stands.
    """

    encodes: ClassVar[str] = "every task as one case, with what was done and whether it worked"
    stores: ClassVar[str] = "cases in one scope; a value network beside them"
    retrieves: ClassVar[str] = "the most similar cases, by the value that the network gives them for the task"
    manages: ClassVar[str] = "the network learns online from which cases would have helped"
    small: ClassVar[dict[str, Any]] = {
        "stream": {"source": "cases", "scenarios": [["working", {"experiences": 5, "tasks": 12, "seed": 0}]]}
    }

    @validated
    def __init__(
        self,
        policy: Annotated[str, Field(pattern="^(learned|similar)$", description="learned or similar")] = "learned",
        retrieved: Annotated[int, Field(ge=1, description="cases that a task calls to mind")] = 8,
        candidates: Annotated[int, Field(ge=1, description="most similar cases whose value is asked")] = 100,
        hidden: Annotated[int, Field(ge=1, description="units of the network")] = 32,
        lr: Annotated[float, Field(gt=0, description="learning rate of Adam")] = 0.003,
        steps: Annotated[int, Field(ge=0, description="updates after every task")] = 4,
        kept: Annotated[int, Field(ge=32, description="pairs remembered for training")] = 2000,
        soft: Annotated[float, Field(ge=0, description="temperature of drawing cases in training")] = 0.1,
    ) -> None:
        super().__init__()
        self.policy, self.retrieved, self.candidates = policy, retrieved, candidates
        self.steps, self.kept, self.soft = steps, kept, soft
        self.network = ValueNetwork(hidden, lr)
        self._tasks = 0
        self._pairs: list[tuple[int, int, int]] = []

    def write(self, given: Mapping[str, Any]) -> list[str]:
        outcome = given.get("metadata", {})
        scope = given.get("scope", "")
        known = len(self.store) > 0 and (not scope or scope in self.store.scopes())
        seen = self._recalled(str(given["text"]), scope) if known and self.policy == "learned" else []
        made = self.store.write(**{**given, "kind": "case"})
        if seen and "action" in outcome:
            self._learn(made, seen, outcome)
        return [made.id]

    def read(self, question: str, k: int, scope: str = "") -> Sequence[Hit]:
        if self.policy == "similar":
            return self.store.read(question, k, scope=scope, where=_REWARDED, mode="dense")
        found = self._near(question, max(k, self.candidates), scope)
        if not found:
            return []
        values = self._values(question, [hit.record for hit in found])
        best = np.argsort(-values, kind="stable")[:k].tolist()
        return [
            Hit(
                found[place].record,
                float(values[place]),
                {"value": float(values[place]), "meaning": found[place].score},
            )
            for place in best
        ]

    def _near(self, text: str, k: int, scope: str) -> Sequence[Hit]:
        return self.store.read(text, k, scope=scope, where=_REWARDED, mode="dense")

    def _values(self, text: str, records: Sequence[Record]) -> NDArray[np.float32]:
        return self.network.values(self._vector(text), self._vectors([record.row for record in records]))

    def _recalled(self, text: str, scope: str) -> list[Record]:
        """The cases that a task calls to mind while learning: drawn by their value, so that others get their chance."""
        found = [hit.record for hit in self._near(text, self.candidates, scope)]
        if len(found) <= self.retrieved:
            return found
        values = self._values(text, found)
        if self.soft:
            noise = np.random.default_rng(self._tasks).gumbel(size=len(values))
            values = (values / self.soft + noise).astype(np.float32)
        return [found[place] for place in np.argsort(-values, kind="stable")[: self.retrieved].tolist()]

    def _learn(self, made: Record, seen: Sequence[Record], outcome: Mapping[str, Any]) -> None:
        self._tasks += 1
        for record in seen:
            label = helps(record.metadata["action"], outcome["action"], bool(outcome["reward"]))
            if label is not None:
                self._pairs.append((made.row, record.row, label))
        del self._pairs[: -self.kept]
        if not self._pairs:
            return
        draw = random.Random(self._tasks)
        self.store.encode()
        for _ in range(self.steps):
            batch = [self._pairs[draw.randrange(len(self._pairs))] for _ in range(min(32, len(self._pairs)))]
            tasks, cases = self._vectors([pair[0] for pair in batch]), self._vectors([pair[1] for pair in batch])
            self.network.learn(tasks, cases, np.array([pair[2] for pair in batch], dtype=np.float32))

    def _vector(self, text: str) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.store.encoding.texts([text])[0]
        return found

    def _vectors(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """The vectors of rows in order, zeros for what was forgotten."""
        space = self.store.encoding.serving
        if space is None or not rows:
            return np.zeros((len(rows), 0), dtype=np.float32)
        held, vectors = self.store.database.vectors(space, np.unique(np.array(rows, dtype=np.int64)))
        place = {row: number for number, row in enumerate(held.tolist())}
        blank = np.zeros(space.dimension, dtype=np.float32)
        return np.stack([vectors[place[row]] if row in place else blank for row in rows])

    def state(self) -> dict[str, Any]:
        rows = self.store.database.matching(Filter(scope=None, history=True)).tolist()
        number = {row: place for place, row in enumerate(rows)}
        kept = [[number[a], number[b], label] for a, b, label in self._pairs if a in number and b in number]
        return {"tasks": self._tasks, "pairs": kept, "updates": self.network.updates}

    def set_state(self, state: Mapping[str, Any]) -> None:
        rows = self.store.database.matching(Filter(scope=None, history=True)).tolist()
        self._tasks = int(state["tasks"])
        self._pairs = [(rows[a], rows[b], label) for a, b, label in state["pairs"]]
        self.network.updates = int(state["updates"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        return self.network.arrays()

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.network.set_arrays(arrays)


def helps(action: str, tried: str, worked: bool) -> int | None:
    """Whether an action would have worked, as far as the outcome of what was tried tells; None where it does not.

    >>> helps("plan_route", "plan_route", True), helps("edit_image", "plan_route", True)
    (1, 0)
    >>> helps("plan_route", "plan_route", False), helps("edit_image", "plan_route", False)
    (0, None)
    """
    if action == tried:
        return int(worked)
    return 0 if worked else None
