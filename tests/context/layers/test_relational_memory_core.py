"""The relational memory core: against its equations as loops, and however a sequence is cut it is read alike."""

import math

import pytest
import torch

from remanence.claims.experiments.context.layers import relational_memory_core
from remanence.context import tree
from remanence.context.layers.relational_memory_core import RelationalMemoryCore
from remanence.errors import StateError, UsageError

BATCH, LENGTH, WIDTH = 2, 9, 5
KINDS = [
    {},
    {"gates": "memory", "blocks": 2, "mlp_layers": 3},
    {"gates": "none", "mlp_layers": 1},
    {"blocks": 3, "key_size": 5, "slots": 8, "heads": 1},
]


def make(dtype=torch.float64, **settings):
    torch.manual_seed(3)
    return RelationalMemoryCore(WIDTH, **{"slots": 3, "heads": 2, "head_size": 4, **settings}).to(dtype)


def sequence(length=LENGTH):
    return torch.randn(BATCH, length, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("settings", KINDS)
@pytest.mark.parametrize("cuts", [[1], [4], [0, 9], [2, 3, 7]])
def test_pieces_give_what_the_whole_gives(settings, cuts):
    layer, x = make(**settings), sequence()
    whole, after = layer(x)
    state, read = None, []
    for piece in x.tensor_split(cuts, 1):
        y, state = layer(piece, state)
        read.append(y)
    assert torch.allclose(torch.cat(read, 1), whole, atol=1e-10)
    assert torch.allclose(state, after, atol=1e-10)


@pytest.mark.parametrize("settings", KINDS)
def test_steps_give_what_the_whole_gives(settings):
    layer, x = make(**settings), sequence()
    whole, after = layer(x)
    state, read = None, []
    for at in range(LENGTH):
        y, state = layer.step(x[:, at], state)
        read.append(y)
    assert torch.allclose(torch.stack(read, 1), whole, atol=1e-10)
    assert torch.allclose(state, after, atol=1e-10)


@pytest.mark.parametrize("settings", KINDS)
def test_a_state_can_be_cut_saved_and_taken_back(settings, tmp_path):
    layer, x = make(**settings), sequence()
    _, state = layer(x[:, :5])
    cut = tree.detach(state)
    assert not cut.requires_grad
    tree.save(cut, tmp_path / "state.safetensors")
    wanted, _ = layer(x[:, 5:], state)
    got, _ = layer(x[:, 5:], tree.load(tmp_path / "state.safetensors"))
    assert torch.equal(got, wanted)


def test_the_state_is_as_large_as_its_shape_says():
    layer = make(torch.float32)
    assert layer.state_bytes == 4 * 3 * 8
    assert tree.nbytes(layer(sequence().float()[:1])[1]) == 4 * 3 * 8
    assert tree.nbytes(make(torch.float32, gates="none")(sequence().float()[:1])[1]) == 4 * 3 * 8


def dense(layer, row):
    return [
        sum(w * v for w, v in zip(weights, row, strict=True)) + bias
        for weights, bias in zip(
            layer.weight.tolist(),
            (0.0,) * layer.out_features if layer.bias is None else layer.bias.tolist(),
            strict=True,
        )
    ]


def normed(layer, row):
    mean = sum(row) / len(row)
    spread = math.sqrt(sum((v - mean) ** 2 for v in row) / len(row) + layer.eps)
    gain, bias = layer.weight.tolist(), layer.bias.tolist()
    return [(v - mean) / spread * g + b for v, g, b in zip(row, gain, bias, strict=True)]


def loop_step(layer, memory, x, *, slots, heads, head_size, key_size):
    """One position of one sequence, rows as lists of floats."""
    entering = dense(layer.enter, x)
    rows = [*memory, entering]
    for attention in [layer.first, *layer.further]:
        parts = []
        for row in rows:
            projected = normed(attention.project_norm, dense(attention.project, row))
            parts.append(
                (
                    projected[: heads * key_size],
                    projected[heads * key_size :][: heads * key_size],
                    projected[-heads * head_size :],
                )
            )
        after = []
        for place, row in enumerate(rows):
            found = []
            for h in range(heads):
                q = parts[place][0][h * key_size : (h + 1) * key_size]
                scores = [
                    sum(a * b for a, b in zip(q, k[h * key_size : (h + 1) * key_size], strict=True))
                    / math.sqrt(key_size)
                    for _, k, _ in parts
                ]
                total = sum(math.exp(s) for s in scores)
                for j in range(h * head_size, (h + 1) * head_size):
                    found.append(sum(math.exp(s) / total * v[j] for s, (_, _, v) in zip(scores, parts, strict=True)))
            row = normed(attention.attended_norm, [a + b for a, b in zip(row, found, strict=True)])
            through = dense(attention.mlp[0], row)
            for hidden in attention.mlp[2::2]:
                through = dense(hidden, [max(0.0, v) for v in through])
            after.append(normed(attention.mlp_norm, [a + b for a, b in zip(row, through, strict=True)]))
        rows = after
    rows = rows[:slots]
    if not layer.gate_size:
        return rows
    new, n = [], layer.gate_size
    of_input = dense(layer.gate_of_input, entering)
    for row, before in zip(rows, memory, strict=True):
        of_memory = dense(layer.gate_of_memory, [math.tanh(v) for v in before])
        gates = [1 / (1 + math.exp(-(a + b))) for a, b in zip(of_input, of_memory, strict=True)]
        new.append([gates[j % n] * math.tanh(row[j]) + gates[n + j % n] * before[j] for j in range(len(row))])
    return new


@pytest.mark.parametrize("settings", KINDS)
def test_the_update_is_the_equations_of_the_paper(settings):
    layer, x = make(**settings), sequence(3)
    numbers = {"slots": 3, "heads": 2, "head_size": 4, "key_size": 4} | settings
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "norm" in name:
                parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
    y, state = layer(x)
    for b in range(BATCH):
        memory = [[float(i == j) for j in range(layer.size)] for i in range(layer.slots)]
        for at in range(3):
            memory = loop_step(
                layer, memory, x[b, at].tolist(), **{k: numbers[k] for k in ("slots", "heads", "head_size", "key_size")}
            )
            wanted = dense(layer.out, [v for row in memory for v in row])
            assert y[b, at].tolist() == pytest.approx(wanted, abs=1e-10)
        for row, wanted in zip(state[b].tolist(), memory, strict=True):
            assert row == pytest.approx(wanted, abs=1e-10)


def test_gradients_reach_every_parameter_and_are_right():
    layer = make(slots=2, heads=1, head_size=2, blocks=2)
    parameters, x = dict(layer.named_parameters()), sequence(3)

    def loss(*values):
        return torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), (x,))

    values = [p.detach().clone().requires_grad_() for p in parameters.values()]
    assert torch.autograd.gradcheck(loss, values)
    sum(part.square().sum() for part in loss(*values)).backward()
    assert all(bool((value.grad != 0).any()) for value in values)


def test_gates_shut_keep_the_memory_for_ever():
    layer = make(forget_bias=60.0, input_bias=-60.0)
    _, state = layer(sequence(50))
    assert torch.allclose(state, layer.initial(BATCH), atol=1e-12)


def test_biases_stand_where_their_gates_are():
    forgetful, plain = make(forget_bias=5.0, input_bias=2.0), make(forget_bias=0.0, input_bias=0.0)
    given = forgetful.gate_of_input.bias - plain.gate_of_input.bias
    assert torch.allclose(given, torch.tensor([2.0] * 8 + [5.0] * 8, dtype=torch.float64))
    rows = (
        make(gates="memory", forget_bias=5.0).gate_of_input.bias
        - make(gates="memory", forget_bias=0.0).gate_of_input.bias
    )
    assert torch.allclose(rows, torch.tensor([0.0, 5.0], dtype=torch.float64))


def test_slots_are_told_apart_by_the_first_memory_alone():
    layer = make()
    swap = torch.tensor([2, 0, 1])
    _, state = layer(sequence())
    _, other = layer(sequence(), layer.initial(BATCH)[:, swap])
    assert torch.allclose(other, state[:, swap], atol=1e-10)


def test_a_position_sees_nothing_of_what_follows():
    layer, x = make(), sequence()
    before, _ = layer(x)
    x[:, 6:] += 1
    after, _ = layer(x)
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_nothing_to_read_gives_nothing_and_keeps_the_state():
    layer = make()
    y, state = layer(sequence(0))
    assert y.shape == (BATCH, 0, WIDTH)
    assert torch.equal(state, layer.initial(BATCH))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"slots": 0}, "slots must be greater than or equal to 1, got 0"),
        ({"gates": "lstm"}, "gates must be 'unit', 'memory' or 'none', got 'lstm'"),
        ({"blocks": 0}, "blocks must be"),
        ({"size": 2}, "has no hyperparameter 'size'"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_a_sentence(settings, says):
    with pytest.raises(UsageError, match=says) as caught:
        make(**settings)
    assert "\n" not in str(caught.value)


def test_an_input_of_another_width_and_a_state_of_another_layer_are_refused():
    layer = make()
    with pytest.raises(UsageError, match=r"\(2, 9, 4\), expected \(batch, length, 5\)"):
        layer(sequence()[..., :4])
    with pytest.raises(StateError, match=r"no tensor of shape \(2, 3, 8\)"):
        layer(sequence(), make(slots=4).initial(BATCH))
    with pytest.raises(StateError, match=r"no tensor of shape \(2, 3, 8\)"):
        layer(sequence(), {"memory": layer.initial(BATCH)})


def test_the_farthest_vector_of_the_claim_is_the_farthest():
    x, answer = relational_memory_core.draw(50, 0)
    for row, place in zip(x.tolist(), answer.tolist(), strict=True):
        vectors, asked = [position[:2] for position in row], row[0][6:].index(1.0)
        assert [position[2:6].index(1.0) for position in row] == [0, 1, 2, 3]
        distances = [math.dist(vector, vectors[asked]) for vector in vectors]
        assert distances[place] == max(distances)
    again, _ = relational_memory_core.draw(50, 0)
    assert torch.equal(x, again)
    assert sorted(set(answer.tolist())) == [0, 1, 2, 3]
