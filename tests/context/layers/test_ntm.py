"""The neural Turing machine: however a sequence is cut it is read alike, and a machine set by hand copies."""

import pytest
import torch

from remanence.context import tree
from remanence.context.layers.addressing import addressed, read, written
from remanence.context.layers.ntm import NTM
from remanence.errors import StateError, UsageError

BATCH, LENGTH, WIDTH = 2, 9, 5
KINDS = [
    {},
    {"controller": "feed-forward"},
    {"read_heads": 2, "write_heads": 3, "reach": 2},
    {"read_heads": 3, "reach": 0, "controller": "feed-forward"},
]


def make(dtype=torch.float64, **settings):
    torch.manual_seed(3)
    return NTM(WIDTH, **{"locations": 6, "size": 4, "units": 7, **settings}).to(dtype)


def sequence(length=LENGTH):
    return torch.randn(BATCH, length, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def same(state, other):
    pairs = zip(tree.leaves(state), tree.leaves(other), strict=True)
    return all(name == also and torch.allclose(a, b, atol=1e-10) for (name, a), (also, b) in pairs)


@pytest.mark.parametrize("settings", KINDS)
@pytest.mark.parametrize("cuts", [[1], [4], [8], [0, 9], [2, 3, 7], list(range(1, LENGTH))])
def test_pieces_give_what_the_whole_gives(settings, cuts):
    layer, x = make(**settings), sequence()
    whole, after = layer(x)
    state, read_ = None, []
    for piece in x.tensor_split(cuts, 1):
        y, state = layer(piece, state)
        read_.append(y)
    assert torch.allclose(torch.cat(read_, 1), whole, atol=1e-10)
    assert same(state, after)


@pytest.mark.parametrize("settings", KINDS)
def test_steps_give_what_the_whole_gives(settings):
    layer, x = make(**settings), sequence()
    whole, after = layer(x)
    state, read_ = None, []
    for at in range(LENGTH):
        y, state = layer.step(x[:, at], state)
        read_.append(y)
    assert torch.allclose(torch.stack(read_, 1), whole, atol=1e-10)
    assert same(state, after)


@pytest.mark.parametrize("settings", KINDS)
def test_a_state_can_be_cut_saved_and_taken_back(settings, tmp_path):
    layer, x = make(**settings), sequence()
    _, state = layer(x[:, :5])
    cut = tree.detach(state)
    assert not any(tensor.requires_grad for _, tensor in tree.leaves(cut))
    tree.save(cut, tmp_path / "state.safetensors")
    wanted, _ = layer(x[:, 5:], state)
    got, _ = layer(x[:, 5:], tree.load(tmp_path / "state.safetensors"))
    assert torch.equal(got, wanted)


def test_the_state_is_as_large_as_its_shapes_say():
    layer = make(torch.float32, read_heads=2, write_heads=3)
    numbers = 6 * 4 + 5 * 6 + 2 * 4 + 2 * 7
    assert layer.state_bytes == 4 * numbers
    _, state = layer(sequence().float()[:1])
    assert tree.nbytes(state) == 4 * numbers
    assert make(torch.float32, controller="feed-forward").state_bytes == 4 * (6 * 4 + 2 * 6 + 4)


def test_sequences_of_a_batch_do_not_touch_each_other():
    layer, x = make(), sequence()
    both, _ = layer(x)
    for row in range(BATCH):
        alone, _ = layer(x[row : row + 1])
        assert torch.allclose(alone[0], both[row], atol=1e-10)


def test_a_position_sees_nothing_of_what_follows():
    layer, x = make(), sequence()
    before, _ = layer(x)
    x[:, 6:] += 1
    after, _ = layer(x)
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_one_position_is_the_equations_of_the_paper():
    """Against the same machine with torch's own LSTM cell, one head of each kind, and every block named apart."""
    layer, x = make(), sequence()
    cell = torch.nn.LSTMCell(WIDTH + 4, 7).double()
    i, f, o, c = layer.of_input.weight.chunk(4)  # torch has the candidate before the output gate
    ri, rf, ro, rc = layer.of_memory.weight.chunk(4)
    bi, bf, bo, bc = layer.of_input.bias.chunk(4)
    with torch.no_grad():
        cell.weight_ih.copy_(torch.cat([torch.cat([i, f, c, o]), torch.cat([ri, rf, rc, ro])[:, :4]], 1))
        cell.weight_hh.copy_(torch.cat([ri, rf, rc, ro])[:, 4:])
        cell.bias_ih.copy_(torch.cat([bi, bf, bc, bo]))
        cell.bias_hh.zero_()
    _, state = layer(x[:, :4])
    memory, weights, reads = state["memory"], state["weights"], state["reads"]
    hidden, carried = cell(torch.cat([x[:, 4], reads[:, 0]], 1), state["controller"])
    beta, gamma, g, erase, shift, key, add = layer.emit(hidden).split([2, 2, 2, 4, 6, 8, 4], 1)
    new = addressed(
        memory,
        weights,
        key=key.reshape(BATCH, 2, 4),
        strength=torch.log1p(beta.exp()),
        gate=1 / (1 + torch.exp(-g)),
        shift=torch.softmax(shift.reshape(BATCH, 2, 3), -1),
        sharpness=1 + torch.log1p(gamma.exp()),
    )
    seen = read(memory, new[:, :1])
    stored = written(memory, new[:, 1:], 1 / (1 + torch.exp(-erase)).unsqueeze(1), add.unsqueeze(1))
    y, after = layer.step(x[:, 4], state)
    assert torch.allclose(y, layer.out(torch.cat([hidden, seen[:, 0]], 1)), atol=1e-10)
    wanted = {"memory": stored, "weights": new, "reads": seen, "controller": (hidden, carried)}
    assert same(after, wanted)


def test_gradients_reach_every_parameter_and_are_right():
    layer = make(locations=4, size=2, units=2)
    parameters = dict(layer.named_parameters())
    x = sequence(3)

    def loss(*values):
        y, state = torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), (x,))
        return y, state["memory"]

    values = [p.detach().clone().requires_grad_() for p in parameters.values()]
    assert torch.autograd.gradcheck(loss, values)
    sum(part.square().sum() for part in loss(*values)).backward()
    assert all(bool((value.grad != 0).any()) for value in values)


def test_a_machine_set_by_hand_writes_place_after_place():
    layer = make(controller="feed-forward", locations=6, size=4, units=WIDTH)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.of_input.weight.copy_(torch.eye(WIDTH))
        # Everything keeps to the weighting of before (g = 0), moves on by one place and erases all.
        strength_and_sharpness, gate, erase, shift, _, add = layer.emit.bias.split([4, 2, 4, 6, 8, 4])
        strength_and_sharpness[2:] = 50
        gate.fill_(-50)
        erase.fill_(50)
        shift.view(2, 3)[:, 2] = 50
        layer.emit.weight[-4:, :4] = torch.eye(4)
        layer.first_weights[:, 5] = 50
    assert not add.any()
    x = torch.zeros(1, 6, WIDTH, dtype=torch.float64)
    x[0, :, :4] = torch.rand(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5
    _, state = layer(x)
    assert torch.allclose(state["memory"], torch.tanh(x[..., :4]), atol=1e-6)
    # From the last place it goes on to the first, and reads there what was written first.
    _, state = layer.step(torch.zeros(1, WIDTH, dtype=torch.float64), state)
    assert torch.allclose(state["reads"][:, 0], torch.tanh(x[:, 0, :4]), atol=1e-6)


def test_nothing_to_read_gives_nothing_and_keeps_the_state():
    layer = make()
    y, state = layer(sequence(0))
    assert y.shape == (BATCH, 0, WIDTH)
    assert same(state, layer.initial(BATCH))


def test_the_defaults_are_those_of_the_paper():
    layer = NTM(8)
    state = layer.initial(3)
    assert (state["memory"].shape, state["weights"].shape) == ((3, 128, 20), (3, 2, 128))
    assert [part.shape for part in state["controller"]] == [(3, 100), (3, 100)]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"locations": 0}, "locations must be greater than or equal to 1, got 0"),
        ({"controller": "gru"}, "controller must be 'lstm' or 'feed-forward', got 'gru'"),
        ({"reach": -1}, "reach must be"),
        ({"heads": 2}, "has no hyperparameter 'heads'"),
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
    with pytest.raises(StateError, match=r"the state's memory is of shape \(2, 8, 4\), expected \(2, 6, 4\)"):
        layer(sequence(), make(locations=8).initial(BATCH))
    with pytest.raises(StateError, match=r"the state's memory is of shape \(1, 6, 4\), expected \(2, 6, 4\)"):
        layer(sequence(), layer.initial(1))
    with pytest.raises(StateError, match="another controller"):
        layer(sequence(), make(controller="feed-forward").initial(BATCH))
    with pytest.raises(StateError, match="the state's memory is of none"):
        layer(sequence(), torch.zeros(1))
