"""A neural long-term memory: the weights of a small network are the state, and reading trains them.

Source: Behrouz, Zhong and Mirrokni, Titans: Learning to Memorize at Test Time, 2025, arXiv:2501.00663, section 3.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize, sigmoid, silu

from remanence.context.layers.convolution import Convolved
from remanence.context.layers.layer import MemoryLayer
from remanence.context.layers.linear_attention import decays
from remanence.context.tree import State
from remanence.errors import StateError
from remanence.hyperparameters import validated

Weights = tuple[Tensor, ...]
"""One matrix (batch, width, width) a layer of the memory."""


class Rates(NamedTuple):
    """What the tokens decide about their own learning, (batch, length) each."""

    log_kept: Tensor
    """log(1 - α), the decay of the weights."""
    log_carried: Tensor
    """log η, the decay of the momentum, which is past surprise."""
    step: Tensor
    """θ, the weight of the momentary surprise."""


def recall(weights: Weights, q: Tensor) -> Tensor:
    """The memory's answer to queries (batch, length, width): linear layers with SiLU between."""
    for place, weight in enumerate(weights):
        q = (silu(q) if place else q) @ weight
    return q


def surprise(weights: Weights, k: Tensor, v: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The gradients of ||M(k) - v||² for each token by itself: what layer l read and its error, as factors.

    The gradient of layer l at token t is the outer product of row t of the two.
    """
    inputs, sums = [k], []
    for place, weight in enumerate(weights):
        sums.append(inputs[-1] @ weight)
        if place < len(weights) - 1:
            inputs.append(silu(sums[-1]))
    error = 2 * (sums[-1] - v)
    errors = [error]
    for place in range(len(weights) - 1, 0, -1):
        slope = sigmoid(sums[place - 1])
        slope = slope * (1 + sums[place - 1] * (1 - slope))
        error = (error @ weights[place].transpose(1, 2)) * slope
        errors.append(error)
    return list(zip(inputs, reversed(errors), strict=True))


def memorise(
    start: Weights, weights: Weights, momentum: Weights, q: Tensor, k: Tensor, v: Tensor, rates: Rates
) -> tuple[Tensor, Weights, Weights]:
    """Read tokens of one chunk: S_t = η_t S_{t-1} - θ_t ∇ℓ(M_start; k_t, v_t), M_t = (1 - α_t) M_{t-1} + S_t.

    The recurrences of momentum and weights are linear in the gradients, and a gradient is an outer product, so
    M_t(q_t) is computed from scores of pairs of tokens and no M_t but the last is ever made.

    Parameters
    ----------
    start:
        The weights at the start of the chunk, at which all gradients are taken.
    weights, momentum:
        M and S before these tokens.
    q, k, v:
        Queries, keys and values (batch, length, width).
    rates:
        α, η and θ of each token.

    Returns
    -------
    tuple
        M_t(q_t) for every token, and M and S after the last.
    """
    kept, carried = decays(rates.log_kept), decays(rates.log_carried)
    since = rates.log_kept.cumsum(-1).exp().unsqueeze(-1)
    carried_since = rates.log_carried.cumsum(-1).exp().unsqueeze(-1)
    surprises = carried * rates.step.unsqueeze(-2)
    # How much of the momentum before the chunk, and of each token's gradient, is in M_t.
    from_momentum, from_surprise = kept @ carried_since, kept @ surprises
    after, momentum_after = [], []
    y = q
    factors = surprise(start, k, v)
    for place, ((read, error), weight, speed) in enumerate(zip(factors, weights, momentum, strict=True)):
        h = silu(y) if place else y
        scores = from_surprise * (h @ read.transpose(1, 2))
        y = since * (h @ weight) + from_momentum * (h @ speed) - scores @ error
        last_read = read.transpose(1, 2)
        after.append(
            since[:, -1:] * weight + from_momentum[:, -1:] * speed - (last_read * from_surprise[:, -1:]) @ error
        )
        momentum_after.append(carried_since[:, -1:] * speed - (last_read * surprises[:, -1:]) @ error)
    return y, tuple(after), tuple(momentum_after)


class NeuralMemory(MemoryLayer):
    """The long-term memory module of Titans (LMM): an MLP that is trained while it reads.

    Keys, values and queries are projected from the input, behind short convolutions and SiLU, keys and queries of
    length one. α, η and θ are functions of the token. The answer is normalised and gated in front of the last
    projection.

    Parameters
    ----------
    width:
        Features of input and output (1 or more).
    memory_width:
        Width of keys and values, so that a layer of the memory has its square of weights; that of the input if None.
    memory_layers:
        Layers L_M of the memory (1 to 4).
    chunk:
        Tokens whose gradients are taken at the same weights (1 or more); 1 is the rule token by token.
    largest_step:
        The bound of θ (above 0).
    momentum:
        Whether past surprise is carried on; without, η is 0 and no momentum is kept.
    decay:
        Whether the weights decay; without, α is 0.
    convolution:
        Positions of the short convolutions (2 or more); 0 for none.

    Shapes
    ------
    ``x`` (batch, length, width). The state holds tuples of one (batch, memory_width, memory_width) a layer:
    ``weights``, ``momentum``, and where a chunk is longer than 1 the weights at its ``start`` and the ``position`` in
    it; and the ``recent`` inputs (batch, convolution - 1, width).

    Example
    -------
    >>> layer = NeuralMemory(8, memory_layers=2, chunk=4)
    >>> y, state = layer(torch.zeros(1, 10, 8))
    >>> tuple(y.shape), [tuple(weight.shape) for weight in state["weights"]]
    ((1, 10, 8), [(1, 8, 8), (1, 8, 8)])
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of input and output")],
        memory_width: Annotated[int | None, Field(ge=1, description="width of keys and values")] = None,
        memory_layers: Annotated[int, Field(ge=1, le=4, description="layers of the memory")] = 2,
        chunk: Annotated[int, Field(ge=1, description="tokens whose gradients are taken together")] = 16,
        largest_step: Annotated[float, Field(gt=0, description="bound of the step θ")] = 0.3,
        momentum: Annotated[bool, Field(description="carry past surprise on")] = True,
        decay: Annotated[bool, Field(description="let the weights decay")] = True,
        convolution: Annotated[int, Field(ge=0, description="positions of the short convolutions, 0: none")] = 4,
    ) -> None:
        super().__init__(width)
        inner = memory_width or width
        self.memory_width, self.memory_layers, self.chunk = inner, memory_layers, chunk
        self.largest_step, self.momentum, self.decay = largest_step, momentum, decay
        self.queries, self.keys, self.values = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.rates = nn.Linear(width, 3)
        with torch.no_grad():
            # At first weights decay by a fiftieth a token, momentum is short, and steps are small: gradients of a chunk
            # are taken at the same weights, so like tokens would otherwise overshoot together.
            self.rates.bias.copy_(torch.tensor([4.0, 0.0, -3.0]))
        self.memory = nn.ParameterList(torch.randn(inner, inner) * inner**-0.5 for _ in range(memory_layers))
        nn.init.zeros_(self.memory[-1])
        self.norm = nn.RMSNorm(inner, eps=1e-6)
        self.gate = nn.Linear(width, inner)
        # A gate that starts open: around zero SiLU changes its sign from token to token, and little would be learned.
        nn.init.ones_(self.gate.bias)
        self.out = nn.Linear(inner, width, bias=False)
        self.before = Convolved(width, convolution)

    def initial(self, batch: int) -> State:
        weights = tuple(weight.expand(batch, -1, -1).clone() for weight in self.memory)
        state: dict[str, State] = {"weights": weights}
        if self.momentum:
            state["momentum"] = tuple(torch.zeros_like(weight) for weight in weights)
        if self.chunk > 1:
            state["start"] = tuple(weight.clone() for weight in weights)
            state["position"] = torch.zeros((), dtype=torch.int64, device=self.out.weight.device)
        return {**state, **self.before.initial(batch)}

    def forward(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        state = self.begin(x, state)
        if not isinstance(state, dict):
            raise StateError("the state of a neural memory is a mapping with weights: give the one that it returned")
        inputs, recent = self.before(x, state)
        q = normalize(silu(self.queries(inputs[0])), dim=-1)
        k = normalize(silu(self.keys(inputs[1])), dim=-1)
        v = silu(self.values(inputs[2]))
        y, changed = self._memorise(state, q, k, v, self._rates(x))
        return self._answer(x, y), {**changed, **recent}

    def recall(self, x: Tensor, state: State) -> Tensor:
        """What the memory answers to inputs (batch, length, width) as it is, changing nothing.

        Queries here see no neighbours: the short convolution goes with the tokens that are written.
        """
        if not isinstance(state, dict):
            raise StateError("the state of a neural memory is a mapping with weights: give the one that it returned")
        q = normalize(silu(self.queries(x)), dim=-1)
        return self._answer(x, recall(_weights(state["weights"]), q))

    def _answer(self, x: Tensor, y: Tensor) -> Tensor:
        answer: Tensor = self.out(self.norm(y) * silu(self.gate(x)))
        return answer

    def _rates(self, x: Tensor) -> Rates:
        kept, carried, step = self.rates(x).unbind(-1)
        log_kept = logsigmoid(kept) if self.decay else torch.zeros_like(kept)
        # No momentum is one that has decayed to nothing; a finite logarithm keeps sums of them finite.
        log_carried = logsigmoid(carried) if self.momentum else torch.full_like(carried, -1e4)
        return Rates(log_kept, log_carried, self.largest_step * sigmoid(step))

    def _memorise(
        self, state: dict[str, State], q: Tensor, k: Tensor, v: Tensor, rates: Rates
    ) -> tuple[Tensor, dict[str, State]]:
        """Read tokens chunk by chunk, the first chunk from where the state stands in it."""
        weights = _weights(state["weights"])
        momentum = _weights(state["momentum"]) if self.momentum else tuple(torch.zeros_like(w) for w in weights)
        start, position = weights, 0
        if self.chunk > 1:
            start, position = _weights(state["start"]), int(state["position"])  # type: ignore[arg-type]
        read, at = [], 0
        while at < q.shape[1]:
            size = min(self.chunk - position, q.shape[1] - at)
            here = slice(at, at + size)
            cut = Rates(*(rate[:, here] for rate in rates))
            y, weights, momentum = memorise(start, weights, momentum, q[:, here], k[:, here], v[:, here], cut)
            read.append(y)
            at, position = at + size, (position + size) % self.chunk
            if position == 0:
                start = weights
        after: dict[str, State] = {"weights": weights}
        if self.momentum:
            after["momentum"] = momentum
        if self.chunk > 1:
            after["start"] = tuple(weight.clone() for weight in start) if start is weights else start
            after["position"] = torch.full((), position, dtype=torch.int64, device=q.device)
        return (torch.cat(read, 1) if read else q), after


def _weights(state: State) -> Weights:
    if not isinstance(state, tuple):
        raise StateError("the weights of a neural memory are a tuple of matrices: give the state that it returned")
    return tuple(weight for weight in state if isinstance(weight, Tensor))
