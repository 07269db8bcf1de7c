"""Sparse storage: nothing is lost, and bytes are those of what is held."""

import pytest
import torch
from torch import nn

from remanence.errors import UsageError
from remanence.footprint import measure
from remanence.weights.part import Part
from remanence.weights.sparse import PackedMask, SparseTensor
from remanence.weights.trainer import Trainer


@pytest.mark.parametrize("shape", [(0,), (1,), (8,), (9,), (3, 5, 7), ()])
def test_a_packed_mask_comes_back_whole_in_an_eighth_of_the_bytes(shape):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.4
    packed = PackedMask()
    packed.put(mask)
    assert torch.equal(packed.unpacked(), mask)
    assert packed.bits.nbytes == -(-mask.numel() // 8)
    with pytest.raises(UsageError, match=r"expected torch\.bool"):
        packed.put(mask.float())


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_a_pruned_tensor_comes_back_whole_and_weighs_its_entries(share):
    draw = torch.Generator().manual_seed(1)
    dense = torch.randn(40, 50, generator=draw) * (torch.rand(40, 50, generator=draw) < share)
    pruned = SparseTensor()
    pruned.put(dense)
    assert torch.equal(pruned.dense(), dense)
    left = int((dense != 0).sum())
    held = sum(buffer.nbytes for buffer in pruned.buffers())
    assert held == 4 * left + min(4 * left, 250)


class Masked(Part):
    def __init__(self):
        super().__init__()
        self.kept = SparseTensor("snapshots")


def test_a_part_that_keeps_one_is_measured_and_saved_with_it(tmp_path):
    def learner():
        return Trainer(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), [Masked()])

    first = learner()
    dense = torch.zeros(64, 10)
    dense[3, 4] = 2.5
    first.parts[0].kept.put(dense)
    assert first.footprint().bytes["snapshots"] == 8
    assert measure([("snapshots", buffer) for buffer in first.parts[0].buffers()]).total == 8
    first.save(tmp_path / "it.safetensors")
    second = learner()
    second.load_state(tmp_path / "it.safetensors")
    assert torch.equal(second.parts[0].kept.dense(), dense)
