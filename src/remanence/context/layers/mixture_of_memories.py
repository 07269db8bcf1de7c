"""MoM: a router sends every token to few of many matrix memories, so that what differs does not interfere.

What is remembered are outer products of keys and values, in separate sums of which a token changes only those it was
sent to and one that all share, in activations. It costs (memories + 1) × heads × key_dim × value_dim numbers, however
long the text is, and reads no more of them for a token than those it was sent to.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize, silu, softplus

from remanence.context.layers.convolution import ShortConvolution
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
        Heads of a memory and the width of a key and of a value of each (1 or more); a value is twice as wide as a key
        if nothing is said.
    shared:
        Whether there is one more memory that every token changes and reads.
    rule:
        How a memory is changed: ``"gated delta"`` (Gated DeltaNet), ``"gated linear"`` (a sum that decays) or
        ``"linear"`` (a sum).
    convolution:
        Positions of the short convolutions behind queries, keys and values (2 or more); 0 for none. A convolution sees
        the tokens that were sent to a memory, one after another, as if there were no others.

    Shapes
    ------
    ``x`` (batch, length, width); the state holds ``memories`` (batch, memories + shared, heads, key_dim, value_dim)
    and the convolutions' ``recent`` inputs (batch, memories + shared, convolution - 1, heads × (2 key_dim + value_dim)).

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
    strength zero; the authors' program gathers each memory's tokens first, which is faster where memories are many, and
    may drop some beyond a capacity. What the convolutions see is gathered as theirs is. The paper has 4 heads of width 256
    at a width of 1,024; here there is one, as wide as the input, if nothing is said.
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of input and output")],
        memories: Annotated[int, Field(ge=1, description="memories to choose among")] = 4,
        topk: Annotated[int, Field(ge=1, description="memories a token is sent to")] = 2,
        heads: Annotated[int, Field(ge=1, description="heads of a memory")] = 1,
        key_dim: Annotated[int | None, Field(ge=1, description="width of a key, else that of the input")] = None,
        value_dim: Annotated[int | None, Field(ge=1, description="width of a value, else twice a key's")] = None,
        shared: Annotated[bool, Field(description="one more memory for all tokens")] = True,
        rule: Annotated[Rule, Field(description="how a memory is changed")] = "gated delta",
        convolution: Annotated[int, Field(ge=0, description="positions of the short convolutions, 0: none")] = 4,
    ) -> None:
        super().__init__(width)
        if topk > memories:
            raise UsageError(f"tokens were to be sent to {topk} of {memories} memories: choose topk of 1 to {memories}")
        self.memories, self.topk, self.heads, self.shared, self.rule = memories, topk, heads, shared, rule
        self.key_dim = key_dim or width
        self.value_dim = value_dim or 2 * self.key_dim
        self.all = memories + int(shared)
        self.router = nn.Linear(width, memories, bias=False)
        self.queries = nn.Linear(width, heads * self.key_dim, bias=False)
        self.keys = nn.Linear(width, self.all * heads * self.key_dim, bias=False)
        self.values = nn.Linear(width, self.all * heads * self.value_dim, bias=False)
        self.strength = nn.Linear(width, self.all * heads, bias=False)
        self.forgetting = nn.Linear(width, self.all * heads, bias=False)
        # As in Mamba2: rates that begin between 0 and 16, and steps between a thousandth and a tenth
        self.rate_log = nn.Parameter(torch.empty(heads).uniform_(1e-4, 16).log())
        step = torch.empty(heads).uniform_(math.log(1e-3), math.log(1e-1)).exp()
        self.step_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.norm = nn.RMSNorm(self.value_dim, eps=1e-5)
        self.gate = nn.Linear(width, heads * self.value_dim, bias=False)
        self.out = nn.Linear(heads * self.value_dim, width, bias=False)
        for part in (
            self.router,
            self.queries,
            self.keys,
            self.values,
            self.strength,
            self.forgetting,
            self.gate,
            self.out,
        ):
            nn.init.xavier_uniform_(part.weight, gain=2**-2.5)
        inner = heads * (2 * self.key_dim + self.value_dim)
        self.convolution = ShortConvolution(inner, convolution) if convolution else None

    def initial(self, batch: int) -> State:
        memories = self.out.weight.new_zeros(batch, self.all, self.heads, self.key_dim, self.value_dim)
        if self.convolution is None:
            return {"memories": memories}
        recent = self.convolution.initial(batch * self.all)
        return {"memories": memories, "recent": recent.reshape(batch, self.all, *recent.shape[1:])}

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
        _, weights = self.route(x)
        if self.shared:
            weights = torch.cat([weights, torch.ones_like(weights[..., :1])], -1)
        weights = weights.transpose(1, 2)
        chosen = weights > 0
        q = self.queries(x).unsqueeze(1).expand(-1, self.all, -1, -1)
        joined = torch.cat([q, self._split(self.keys(x)), self._split(self.values(x))], -1)
        found: dict[str, State] = {}
        if self.convolution is not None:
            joined, found["recent"] = self._convolved(self.convolution, joined, chosen, state["recent"])
        wide = self.heads * self.key_dim
        q, k, v = torch.split(silu(joined), [wide, wide, self.heads * self.value_dim], -1)
        q, k, v = (
            one.reshape(*one.shape[:3], self.heads, one.shape[3] // self.heads).transpose(2, 3) for one in (q, k, v)
        )
        q, k = normalize(q, dim=-1), normalize(k, dim=-1)
        read, found["memories"] = self._change(x, q, k, v, chosen.unsqueeze(2), state["memories"])
        mixed = self.norm((weights[:, :, None, :, None] * read).sum(1).transpose(1, 2)).flatten(2)
        return self.out(mixed * silu(self.gate(x))), found

    @staticmethod
    def _convolved(convolution: ShortConvolution, x: Tensor, chosen: Tensor, recent: State) -> tuple[Tensor, Tensor]:
        """Inputs of the memories (batch, memories, length, features), each behind those that came to the same memory."""
        if not isinstance(recent, Tensor):
            raise StateError("the state of a mixture is a mapping with recent: give the one that it returned")
        # What was sent to a memory first, in order; the rest is read after it and matters to nobody
        order = (~chosen).int().argsort(dim=-1, stable=True).unsqueeze(-1)
        gathered = x.gather(2, order.expand_as(x))
        y, _ = convolution(gathered.flatten(0, 1), recent.flatten(0, 1))
        last = chosen.sum(-1)[..., None, None] + torch.arange(recent.shape[2], device=x.device)[:, None]
        after = torch.cat([recent, gathered], 2).gather(2, last.expand_as(recent))
        return torch.zeros_like(x).scatter(2, order.expand_as(x), y.reshape(x.shape)), after

    def _change(
        self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, chosen: Tensor, memories: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Read and write every memory where it was chosen."""
        if self.rule == "linear":
            return linear_attention(q, k * chosen.unsqueeze(-1), v, memories, normalised=False)
        step = softplus(self._split(self.forgetting(x)).transpose(2, 3) + self.step_bias[:, None])
        log_decay = -self.rate_log.exp()[:, None] * step * chosen
        if self.rule == "gated linear":
            return linear_attention(q, k * chosen.unsqueeze(-1), v, memories, log_decay=log_decay, normalised=False)
        strength = self._split(self.strength(x)).transpose(2, 3).sigmoid() * chosen
        return delta_rule(q, k, v, strength, log_decay, memories)

    def _split(self, x: Tensor) -> Tensor:
        """From (batch, length, memories × features) to (batch, memories, length, features)."""
        return x.reshape(*x.shape[:2], self.all, x.shape[2] // self.all).transpose(1, 2)
