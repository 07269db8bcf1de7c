"""A decode step with every cache policy beside transformers' ``DynamicCache``, and kvpress beside ours.

The decode step: a Llama of four layers (256 features, eight heads over four key-value heads) with random weights on
one thread. A policy may hold 2,048 entries of a layer and has been full for a while; ``recent`` is made small where
a policy has it, everything else is its default. The peer holds as many entries on average: it is cropped after
every turn. A turn is as many steps as a full policy lets go of at once, so that choosing is paid for in every turn;
both sides take turns in one process, processor time is compared, and the median of the paired ratios is given. At
most 1.10 is wanted of a policy that needs keys and values only, and 1.5 of one that needs more.

The length from which a small cache pays: a policy of 512 entries beside the whole text in a ``DynamicCache``, at
rising lengths; the first is given at which the median of the paired ratios is below 1.

kvpress: see `bench.peers.kvpress_run`.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from typing import Any

import torch

import remanence as rm
from bench.peers import kvpress_run

ENTRIES, SMALL, RECENT, PIECE = 2048, 512, 32, 256
WANTED, WANTED_WITH_MORE = 1.10, 1.5
LENGTHS = (512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384)
TURNS, CROSSING_TURNS = 11, 5


def model() -> Any:
    """The model that reads."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=1 << 17,
    )
    return LlamaForCausalLM(config).eval()


class Bounded:
    """A policy's cache, full for a while."""

    def __init__(self, net: Any, name: str, entries: int) -> None:
        known = {one.name for one in rm.context.policies()[name].hyperparameters}
        self.net, self.slack = net, entries // 32
        self.cache = rm.context.cache(
            name, model=net, tokens=entries, **({"recent": RECENT} if "recent" in known else {})
        )
        text = torch.randint(256, (1, entries + entries // 4), generator=torch.Generator().manual_seed(1))
        with self.cache.attach(net):
            for piece in text.split(PIECE, 1):
                net(piece, past_key_values=self.cache)
            held = [self._step() for _ in range(2 * self.slack)][self.slack :]
        self.level = statistics.mean(held)

    def _step(self) -> float:
        self.net(torch.tensor([[7]]), past_key_values=self.cache)
        return sum(self.cache.counts) / len(self.cache.counts)

    def turn(self) -> float:
        """Processor seconds of one step, over as many as are let go at once."""
        with self.cache.attach(self.net):
            return _timed(self.net, self.cache, self.slack)


class Whole:
    """``DynamicCache`` with random keys and values, cropped to the same length after every turn."""

    def __init__(self, net: Any, length: int, steps: int) -> None:
        from transformers import DynamicCache

        self.net, self.steps = net, steps
        self.cache = DynamicCache()
        draw = torch.Generator().manual_seed(2)
        for layer in range(net.config.num_hidden_layers):
            self.cache.update(*(torch.randn(1, 4, length - steps // 2, 32, generator=draw) for _ in range(2)), layer)
        self.turn()

    def turn(self) -> float:
        """Processor seconds of one step."""
        taken = _timed(self.net, self.cache, self.steps)
        self.cache.crop(-self.steps)
        return taken


def _timed(net: Any, cache: Any, steps: int) -> float:
    token = torch.tensor([[7]])
    began = time.process_time()
    for _ in range(steps):
        net(token, past_key_values=cache)
    return (time.process_time() - began) / steps


def _paired(ours: Bounded, theirs: Whole, turns: int) -> tuple[float, float, float]:
    """The median ratio, and the median microseconds of a step of both."""
    mine, their = [], []
    for turn in range(turns):
        for side, times in ((ours, mine), (theirs, their))[:: 1 if turn % 2 else -1]:
            times.append(side.turn() * 1e6)
    ratio = statistics.median(a / b for a, b in zip(mine, their, strict=True))
    return ratio, statistics.median(mine), statistics.median(their)


def decode(net: Any, name: str, turns: int) -> dict[str, Any]:
    """A step with a full policy, and with as many entries in a plain cache."""
    ours = Bounded(net, name, ENTRIES)
    figures = _paired(ours, Whole(net, round(ours.level), ours.slack), turns)
    target = WANTED_WITH_MORE if ours.cache.policy.sees else WANTED
    return _row(f"decode step, {name} / DynamicCache of as many entries", *figures, "µs", turns, target)


def crossing(net: Any, name: str, turns: int) -> dict[str, Any]:
    """The first length at which a small cache decodes faster than a plain one of the whole text."""
    ours = Bounded(net, name, SMALL)
    for length in LENGTHS:
        ratio, *figures = _paired(ours, Whole(net, length, ours.slack), turns)
        if ratio < 1:
            what = f"length from which {SMALL} entries decode faster, {name}"
            return _row(what, length, *figures, "tokens; µs there", turns, None)
    what = f"decode step at {LENGTHS[-1]} tokens, never faster with {SMALL} entries before, {name}"
    return _row(what, ratio, *figures, "µs", turns, None)


def _row(
    what: str, ratio: float, ours: float, theirs: float, unit: str, turns: int, target: float | None
) -> dict[str, Any]:
    load = f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"
    return {
        "what": what,
        "ratio": round(ratio, 3),
        "ours": round(ours, 1),
        "theirs": round(theirs, 1),
        "unit": f"{unit} of processor time a step; {load}",
        "turns": turns,
        "target": target,
    }


@torch.inference_mode()
def run(turns: int = TURNS, names: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    net = model()
    chosen = names or tuple(rm.context.policies())
    rows = []
    for measured in (decode, crossing):
        for name in chosen:
            rows.append(measured(net, name, turns if measured is decode else min(turns, CROSSING_TURNS)))
            print(rows[-1], file=sys.stderr, flush=True)
    return rows + kvpress_run.rows()


if __name__ == "__main__":
    run(int(sys.argv[1]), tuple(sys.argv[2:])) if sys.argv[1:] else run()
