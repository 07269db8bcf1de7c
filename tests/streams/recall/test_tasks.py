"""Every task can be drawn by its name, keeps to its vocabulary, and refuses options that it has not."""

import inspect

import pytest
import torch

from remanence.errors import UsageError
from remanence.streams.recall import TASKS, listing, task


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_draws_what_its_seed_says(name):
    draw = task(name)
    one, same, other = draw(5, 1), draw(5, 1), draw(5, 2)
    assert len(one.tokens) == 5
    for part in ("tokens", "targets", "distance"):
        assert torch.equal(getattr(one, part), getattr(same, part))
        assert getattr(one, part).dtype == torch.int64
    assert not torch.equal(one.tokens, other.tokens)
    assert 0 <= int(one.tokens.min()) <= int(one.tokens.max()) < one.vocabulary
    answers = one.targets[one.asked]
    assert 0 <= int(answers.min()) <= int(answers.max()) < one.vocabulary
    assert one.asked.any(1).all()
    assert torch.equal(one.distance > 0, one.asked)
    assert (one.distance <= torch.arange(one.tokens.shape[1])).all()


@pytest.mark.parametrize("name", sorted(TASKS))
def test_drawing_leaves_the_global_generator_alone(name):
    before = torch.get_rng_state()
    task(name)(2, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_listing_says_a_sentence_for_each():
    assert [name for name, _ in listing()] == list(TASKS)
    assert all(line.endswith(".") and len(line) < 120 for _, line in listing())


def test_options_are_set():
    assert task("copying", items=2, length=9)(3, 0).tokens.shape == (3, 9)
    assert all({"rows", "seed"} < set(inspect.signature(drawn).parameters) for drawn in TASKS.values())


def test_unknown_names_and_options_are_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"no recall task 'nback': did you mean 'n_back'"):
        task("nback")
    with pytest.raises(UsageError, match=r"no option 'lenght': did you mean 'length'\?"):
        task("copying", lenght=9)
    with pytest.raises(UsageError, match="no option 'seed'"):
        task("copying", seed=9)
