"""The digits are scikit-learn's, in one shuffled order, and test digits are no training digits."""

import pytest
import torch

from remanence.errors import UsageError
from remanence.streams.recall.permuted_digits import permuted_digits


def numbered(drawn):
    return [(*row, int(answer)) for row, answer in zip(drawn.tokens.tolist(), drawn.targets[:, -1], strict=True)]


@pytest.mark.parametrize(("split", "rows"), [("train", 1438), ("test", 359)])
def test_one_round_is_the_whole_split_with_its_classes(split, rows):
    # Within the test: collecting the tests would wait a second for it in every worker
    from sklearn.datasets import load_digits

    digits = load_digits()
    held_out = torch.arange(len(digits.target)) % 5 == 4
    wanted = sorted(
        (*(int(value) for value in image.flatten()), 17, 18 + int(label))
        for image, label, out in zip(digits.images, digits.target, held_out, strict=True)
        if bool(out) == (split == "test")
    )
    drawn = permuted_digits(rows, 3, split=split, levels=17, permutation=None)
    assert sorted(numbered(drawn)) == wanted
    assert drawn.vocabulary == 28
    assert drawn.asked[:, -1].all()
    assert drawn.asked.sum() == rows
    assert (drawn.distance[:, -1] == 64).all()
    assert not drawn.distance[:, :-1].any()


def test_all_sequences_have_the_order_of_their_permutation():
    plain, one, same, other = (permuted_digits(20, 0, permutation=order) for order in (None, 5, 5, 6))
    assert sorted(one.tokens.T.tolist()) == sorted(plain.tokens.T.tolist())
    assert not torch.equal(one.tokens, plain.tokens)
    assert torch.equal(one.tokens, same.tokens)
    assert not torch.equal(one.tokens, other.tokens)
    assert torch.equal(plain.targets, one.targets)


def test_more_rows_than_digits_go_round_again():
    drawn = permuted_digits(2 * 359, 0, split="test")
    assert sorted(numbered(drawn.rows(slice(359)))) == sorted(numbered(drawn.rows(slice(359, None))))
    assert not torch.equal(drawn.tokens[:359], drawn.tokens[359:])
    assert permuted_digits(0, 0).tokens.shape == (0, 65)


def test_two_levels_are_black_and_white():
    grey, two = permuted_digits(9, 0, levels=16), permuted_digits(9, 0, levels=2)
    assert torch.equal(two.tokens[:, :-1], (grey.tokens[:, :-1] >= 8).long())


@pytest.mark.parametrize("wrong", [{"split": "dev"}, {"levels": 1}, {"levels": 18}])
def test_what_there_is_not_is_refused(wrong):
    with pytest.raises(UsageError, match="'train' or 'test', and 2 to 17"):
        permuted_digits(1, 0, **wrong)
