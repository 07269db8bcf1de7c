"""MoM: a router sends every token to few of many matrix memories, so that what differs does not interfere.

What is remembered are outer products of keys and values, in separate sums of which a token changes only those it was
sent to and one that all share, in activations. It costs (memories + 1) × heads × key_dim × value_dim numbers, however
long the text is, and reads no more of them for a token than those it was sent to.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize, silu, softplus

from remanence.context.layers.convolution import Convolved
from remanence.context.layers.delta import delta_rule
from remanence.context.layers.layer import MemoryLayer
from remanence.context.layers.linear_attention import linear_attention
from remanence.context.tree import State
from remanence.errors import StateError, UsageError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system

Rule = Literal["gated delta", "gated linear", "linear"]


@system(
    "mixture-of-memories",
    paper=Paper(
        "MoM: Linear Sequence Modeling with Mixture-of-Memories",
        "Du, Sun, Lan, Hu, Cheng",
        2025,
        "2502.13685",
        30,
    ),
    place="context",
    baseline="one-memory",
    variant="gated delta rule, with a shared memory",
)
class MixtureOfMemories(MemoryLayer):
    """Matrix memories behind a router.

    A token's scores softmax(W x) choose the `topk` best memories; their weights are made to add up to one. A chosen
    memory is changed by the update rule with keys and values of its own projections, the others stay as they are. A
    query reads the weighted sum of the chosen memories and the shared one.

    Parameters
    ----------
    width:
        Features of input and output (1 or more).
    memories:
        Memories that the router chooses among (1 or more).
    topk:
        Memories that a token is sent to (1 to `memories`).
    heads, key_dim, value_dim:
        Heads of a memory and the width of a key and of a value of each (1 or more).
    shared:
        Whether there is one more memory that every token changes and reads.
    rule:
        How a memory is changed: ``"gated delta"`` (Gated DeltaNet), ``"gated linear"`` (a sum that decays) or
        ``"linear"`` (a sum).
    convolution:
        Positions of the short convolutions in front of queries, keys and values (2 or more); 0 for none.

    Shapes
    ------
    ``x`` (batch, length, width); the state holds ``memories`` (batch, memories + shared, heads, key_dim, value_dim)
    and the convolutions' ``recent`` inputs (batch, convolution - 1, width).

    Raises
    ------
    UsageError
        If tokens are to be sent to more memories than there are.

    Example
    -------
    >>> layer = MixtureOfMemories(8, memories=4, topk=2, key_dim=4, value_dim=4)
    >>> y, state = layer(torch.zeros(1, 10, 8))
    >>> tuple(y.shape), tuple(state["memories"].shape)
    ((1, 10, 8), (1, 5, 1, 4, 4))

    References
    ----------
    Du et al., MoM: Linear Sequence Modeling with Mixture-of-Memories, 2025, arXiv:2502.13685.

    Departures
    ----------
    All memories are computed for all tokens, and a token leaves those it was not sent to as they are by a write of
    strength zero; the paper gathers each memory's tokens first, which is faster where memories are many, and may drop
    some beyond a capacity. The short convolutions come before the projections, not behind them, so that their state
    does not grow with the memories. The paper has 4 heads of width 256 at a width of 1,024; here there is one, as wide
    as the input, if nothing is said. The output gate has a bias, which starts at one.
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of input and output")],
        memories: Annotated[int, Field(ge=1, description="memories to choose among")] = 4,
        topk: Annotated[int, Field(ge=1, description="memories a token is sent to")] = 2,
        heads: Annotated[int, Field(ge=1, description="heads of a memory")] = 1,
        key_dim: Annotated[int | None, Field(ge=1, description="width of a key, else that of the input")] = None,
        value_dim: Annotated[int | None, Field(ge=1, description="width of a value, else that of the input")] = None,
        shared: Annotated[bool, Field(description="one more memory for all tokens")] = True,
        rule: Annotated[Rule, Field(description="how a memory is changed")] = "gated delta",
        convolution: Annotated[int, Field(ge=0, description="positions of the short convolutions, 0: none")] = 4,
    ) -> None:
        super().__init__(width)
        if topk > memories:
            raise UsageError(f"tokens were to be sent to {topk} of {memories} memories: choose topk of 1 to {memories}")
        self.memories, self.topk, self.heads, self.shared, self.rule = memories, topk, heads, shared, rule
        self.key_dim, self.value_dim = key_dim or width, value_dim or width
        self.all = memories + int(shared)
        self.router = nn.Linear(width, memories, bias=False)
        self.queries = nn.Linear(width, heads * self.key_dim, bias=False)
        self.keys = nn.Linear(width, self.all * heads * self.key_dim, bias=False)
        self.values = nn.Linear(width, self.all * heads * self.value_dim, bias=False)
        self.strength = nn.Linear(width, self.all * heads, bias=False)
        self.forgetting = nn.Linear(width, self.all * heads)
        nn.init.constant_(self.forgetting.bias, -4.0)
        self.norm = nn.RMSNorm(self.value_dim, eps=1e-6)
        self.gate = nn.Linear(width, heads * self.value_dim)
        # A gate that starts open: around zero SiLU changes its sign from token to token, and little would be learned.
        nn.init.ones_(self.gate.bias)
        self.out = nn.Linear(heads * self.value_dim, width, bias=False)
        self.before = Convolved(width, convolution)

    def initial(self, batch: int) -> State:
        memories = self.out.weight.new_zeros(batch, self.all, self.heads, self.key_dim, self.value_dim)
        return {"memories": memories, **self.before.initial(batch)}

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The router's probabilities and the weights of the chosen, both (batch, length, memories)."""
        probability = self.router(x).softmax(-1)
        best, chosen = probability.topk(self.topk, -1)
        weights = torch.zeros_like(probability).scatter(-1, chosen, best / best.sum(-1, keepdim=True))
        return probability, weights

    def balance_loss(self, x: Tensor) -> Tensor:
        """The auxiliary loss M Σ_m f_m p_m for inputs ``x``: 1 where tokens are spread evenly, up to M where not.

        f_m is the share of the choices that fell on memory m, p_m the mean probability that the router gave it.
        """
        probability, weights = self.route(x)
        share = (weights > 0).to(x.dtype).mean((0, 1)) / self.topk
        return self.memories * (share * probability.mean((0, 1))).sum()

    def forward(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        state = self.begin(x, state)
        if not isinstance(state, dict) or not isinstance(state["memories"], Tensor):
            raise StateError("the state of a mixture is a mapping with memories: give the one that it returned")
        inputs, recent = self.before(x, state)
        _, weights = self.route(x)
        if self.shared:
            weights = torch.cat([weights, torch.ones_like(weights[..., :1])], -1)
        weights = weights.transpose(1, 2).unsqueeze(2)
        q = normalize(silu(self._split(self.queries(inputs[0]), 1)), dim=-1)
        k = normalize(silu(self._split(self.keys(inputs[1]), self.all)), dim=-1)
        v = silu(self._split(self.values(inputs[2]), self.all))
        read, memories = self._change(x, q.expand_as(k), k, v, weights > 0, state["memories"])
        mixed = self.norm((weights.unsqueeze(-1) * read).sum(1)).transpose(1, 2).flatten(2)
        return self.out(mixed * silu(self.gate(x))), {"memories": memories, **recent}

    def _change(
        self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, chosen: Tensor, memories: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Read and write every memory where it was chosen."""
        if self.rule == "linear":
            return linear_attention(q, k * chosen.unsqueeze(-1), v, memories, normalised=False)
        log_decay = -softplus(self._split(self.forgetting(x), self.all).squeeze(-1)) * chosen
        if self.rule == "gated linear":
            return linear_attention(q, k * chosen.unsqueeze(-1), v, memories, log_decay=log_decay, normalised=False)
        strength = self._split(self.strength(x), self.all).squeeze(-1).sigmoid() * chosen
        return delta_rule(q, k, v, strength, log_decay, memories)

    def _split(self, x: Tensor, memories: int) -> Tensor:
        """From (batch, length, …) to (batch, memories, heads, length, width of a head)."""
        split = (*x.shape[:2], memories, self.heads, x.shape[2] // (memories * self.heads))
        return x.reshape(split).permute(0, 2, 3, 1, 4)
