"""Files of saved state: their format is named, what is newer or foreign is refused, and the structure is read alone."""

import json

import pytest
import torch
from safetensors.torch import save_file

from remanence.errors import StateError
from remanence.state import FORMAT, read_state, read_structure, write_state


def test_what_was_written_is_read_and_the_structure_alone(tmp_path):
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([1, 2])}
    write_state(tmp_path / "state", tensors, {"classes": [3, 1]})
    found, structure = read_state(tmp_path / "state")
    assert structure == read_structure(tmp_path / "state") == {"classes": [3, 1]}
    assert found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            {"format": "remanence/2", "structure": "{}"},
            "newer version of remanence .format remanence/2, this one reads up to remanence/1",
        ),
        ({"format": "somebody/1", "structure": "{}"}, "was not saved by remanence .somebody/1"),
        ({"format": "remanence/x", "structure": "{}"}, "was not saved by remanence"),
        ({}, "it names no format"),
        ({"format": str(FORMAT)}, "structure in the header of .* cannot be read"),
        ({"format": str(FORMAT), "structure": "{"}, "structure in the header of .* cannot be read"),
        ({"format": str(FORMAT), "structure": json.dumps(7)}, "structure in the header of .* cannot be read"),
    ],
)
@pytest.mark.parametrize("read", [read_state, read_structure])
def test_what_is_newer_foreign_or_torn_is_refused(read, header, message, tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "state", metadata=header or None)
    with pytest.raises(StateError, match=message):
        read(tmp_path / "state")


def test_what_is_missing_or_no_such_file_is_said(tmp_path):
    (tmp_path / "torn").write_bytes(b"not tensors")
    for name, message in (("torn", "truncated or not a safetensors file"), ("none", "there is no saved state")):
        with pytest.raises(StateError, match=message):
            read_structure(tmp_path / name)
