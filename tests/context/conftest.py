"""A model and a text to read."""

import pytest
import torch

from small_llama import VOCABULARY, small_llama


@pytest.fixture(scope="session")
def llama():
    return small_llama()


@pytest.fixture
def text():
    return torch.randint(VOCABULARY, (1, 90), generator=torch.Generator().manual_seed(1))
