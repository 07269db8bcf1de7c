"""What tests share: the small stream, one thread, and where the real data lies."""

import os
import shutil
import tempfile
from pathlib import Path

# Before transformers is loaded: a model that is not there must not be looked for on a network, again and again
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from hypothesis import settings

import remanence as rm

# Where small models lie that several tests read: for one run and all of its processes, as another version of the code
# may write other models
_OWNER = "REMANENCE_TEST_MODELS" not in os.environ
if _OWNER:
    os.environ["REMANENCE_TEST_MODELS"] = tempfile.mkdtemp(prefix="remanence-test-")

torch.set_num_threads(1)
# A machine that does other work beside must not fail a test by its clock
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def digits():
    """Digits, two classes an experience."""
    return rm.streams.split("digits", experiences=5)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data; tests that need it are skipped without it."""
    folder = os.environ.get("REMANENCE_DATA")
    if not folder:
        pytest.skip("REMANENCE_DATA is not set")
    return Path(folder)


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    if _OWNER:
        shutil.rmtree(os.environ["REMANENCE_TEST_MODELS"], ignore_errors=True)
