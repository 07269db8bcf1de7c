"""Facts to learn by heart: what they are, what a model costs, and that a claim compares like with like."""

import torch

from remanence.claims.engine.experiment import Measured
from remanence.claims.experiments.weights.modules import memory_layers, product_key_memory
from remanence.claims.measures.associations import NAMES, OBJECTS, VOCABULARY, dense, facts, flops, learn, recalled
from remanence.streams.recall.sequence_batch import IGNORE


def test_facts_have_one_object_for_each_subject():
    given = facts(500, 3, "facts")
    assert len({tuple(row) for row in given.tokens.tolist()}) == 500
    assert (given.tokens[:, 0] < NAMES).all() and (given.tokens[:, 1] // NAMES == 1).all()
    assert (given.targets[:, 0] == IGNORE).all() and (given.targets[:, 1] >= VOCABULARY - OBJECTS).all()
    assert not torch.equal(given.targets, facts(500, 3, "searched facts").targets)
    assert torch.equal(given.tokens, facts(500, 3, "facts").tokens)


def test_operations_of_a_dense_model_are_those_of_its_matrices():
    gate_products, feed, head = 6 * 8 * 16 + 2 * 8 * 8, 2 * 2 * 8 * 32, 2 * 8 * VOCABULARY
    assert flops(dense(8, 3)) == 3 * (gate_products + feed) + head


def test_memories_cost_no_more_operations_than_the_baseline():
    for claim, sides in (
        (product_key_memory, ["product-key-memory"]),
        (memory_layers, ["memory-layers", "product-key-memory"]),
    ):
        for side in sides:
            assert 0.9 * flops(claim.build("dense")) < flops(claim.build(side)) <= flops(claim.build("dense"))
    deeper = product_key_memory.build("dense#deeper"), memory_layers.build("dense#double")
    assert all(
        flops(model) > 1.7 * flops(claim.build("dense"))
        for model, claim in zip(deeper, (product_key_memory, memory_layers), strict=True)
    )


def test_a_few_facts_are_learned():
    torch.manual_seed(0)
    model, given = dense(16, 1), facts(32, 0, "facts")
    before = recalled(model, given)
    assert learn(model, given, 0, lr=0.03, values=1.0, times=60, rows=32) == 60
    assert recalled(model, given) > 0.9 > 0.1 > before


def test_a_measure_tells_usage_and_operations(monkeypatch):
    monkeypatch.setattr(product_key_memory, "FACTS", 256)
    monkeypatch.setattr(product_key_memory, "TIMES", 1)
    one: Measured = product_key_memory.measure("product-key-memory", 0, True, lr=0.01)
    assert one == product_key_memory.measure("product-key-memory", 0, True, lr=0.01)
    assert set(one.figures) == {"recalled", "keys used", "divergence"}
    assert one.counts["updates"] == 1 and one.counts["operations a token"] > 0
