"""What the experiments about stored vectors count: against loops, and with nothing reported that was searched on."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from remanence import registry
from remanence.claims.experiments.store.encode.compatible.xbt import HELD_OUT, LEARNT, REPORTED, hits, pictures
from remanence.claims.experiments.store.index.token_pooling import Dropping
from remanence.claims.measures.passages import collections, half, ndcg, part, recall
from remanence.claims.measures.upgrades import retrieval
from remanence.composition import compose
from remanence.errors import UsageError
from remanence.store.index.token_pooling import TokenPooling


def unit(rows, columns, seed):
    return functional.normalize(torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_retrieval_against_loops():
    queries, gallery, labels = unit(30, 4, 1), unit(30, 4, 2), torch.arange(30) % 5
    first, precisions = 0, []
    for row in range(30):
        others = sorted((k for k in range(30) if k != row), key=lambda k: -float(queries[row] @ gallery[k]))
        right = [labels[k] == labels[row] for k in others]
        first += bool(right[0])
        found = [sum(right[: place + 1]) / (place + 1) for place in range(29) if right[place]]
        precisions.append(float(sum(found)) / len(found))
    assert retrieval(queries, gallery, labels) == pytest.approx((first / 30, sum(precisions) / 30))


def test_a_row_is_never_its_own_answer():
    rows = unit(1200, 6, 3)  # more than one block
    assert retrieval(rows, rows, torch.arange(1200) // 2)[0] < 0.2


def test_gains_and_recalls():
    assert ndcg([5, 1, 7], frozenset({1}), 10) == pytest.approx(1 / np.log2(3))
    assert ndcg([1, 2], frozenset({1, 2, 3}), 2) == pytest.approx(1)
    assert ndcg([4], frozenset({1})) == 0
    assert recall([1, 2, 3], frozenset({3, 9}), 3) == 0.5 and recall([1, 2, 3], frozenset({3, 9}), 2) == 0


def test_dropping_keeps_as_many_of_what_there_was():
    for tokens in (1, 2, 7, 25):
        vectors = unit(tokens, 8, tokens).numpy()
        for factor in (1, 2, 3, 4):
            dropping, pooling = Dropping(factor=factor, protected=1), TokenPooling(factor=factor, protected=1)
            dropping.generator = np.random.default_rng(0)
            kept = dropping.reduce(vectors)
            assert len(kept) == len(pooling.reduce(vectors))
            assert {tuple(row) for row in kept} <= {tuple(row) for row in vectors}
            assert np.array_equal(kept[0], vectors[0])


def test_questions_that_are_searched_on_are_not_reported(data):
    asked = [text for known in collections() for text, _ in known.questions]
    assert len(asked) > 900
    assert 0.4 < sum(map(half, asked)) / len(asked) < 0.6
    assert {part(text, 5) for text in asked} == {0, 1, 2, 3, 4}
    for known in collections():
        assert all(min(relevant) >= 0 and max(relevant) < len(known.passages) for _, relevant in known.questions)


def test_pictures_show_the_pairs_they_say_and_templates_do_not_overlap():
    images = torch.arange(10)[:, None, None, None].expand(10, 1, 28, 28).to(torch.uint8) * 20
    shown = pictures(images, torch.arange(10), 50, seed=0)
    halves = (shown.x.view(50, 14, 28) * 255 / 20).round()
    assert torch.equal(halves[:, 0, 0].long() * 10 + halves[:, 0, 27].long(), shown.pair)
    assert not set(LEARNT) & set(REPORTED) and not set(HELD_OUT) & {*REPORTED, *LEARNT}
    assert hits(torch.eye(3), torch.tensor([4, 5, 6]), torch.eye(3), torch.tensor([4, 5, 0])) == pytest.approx(2 / 3)


def test_what_is_no_learner_says_so_when_it_is_run_as_one():
    for name in ("bt2", "oca", "xbt", "bct", "token-pooling"):
        assert not registry.get(name).runs_on_streams
        with pytest.raises(UsageError, match=f"'{name}' learns from no stream"):
            compose(name)


def test_what_has_no_claim_is_not_sent_to_prove():
    with pytest.raises(UsageError, match=r"'remanence show full-cache'$"):
        compose("full-cache")


def test_what_a_store_may_import_loads_no_torch():
    modules = "remanence.store.encode.tokens, remanence.store.encode.older, remanence.store.index.token_pooling"
    code = f"import sys, {modules}; print({{'torch', 'sklearn', 'pandas', 'scipy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
