"""A state comes back as it was saved, and its bytes are counted once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from remanence.context import tree
from remanence.errors import StateError

STATES = st.recursive(
    st.builds(lambda n: torch.arange(n, dtype=torch.float32), st.integers(1, 4)) | st.none(),
    lambda parts: st.lists(parts, max_size=3).map(tuple) | st.dictionaries(st.sampled_from("abc"), parts, max_size=3),
    max_leaves=8,
)


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return one is other


@given(STATES)
def test_a_state_comes_back_as_it_was_saved(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    tree.save(state, path)
    assert equal(tree.load(path), state)


@given(STATES)
def test_bytes_are_those_of_the_tensors(state):
    assert tree.nbytes(state) == sum(4 * tensor.numel() for _, tensor in tree.leaves(state))


def test_shared_storage_is_counted_once():
    tensor = torch.ones(6)
    assert tree.nbytes((tensor[:2], tensor[2:])) == 24


def test_detached_states_have_no_graph():
    weight = torch.ones(2, requires_grad=True)
    assert tree.detach({"memory": weight * 2})["memory"].grad_fn is None


def test_what_is_no_state_is_refused():
    with pytest.raises(StateError, match=r"state\.0 is a list"):
        list(tree.leaves(([1.0],)))
