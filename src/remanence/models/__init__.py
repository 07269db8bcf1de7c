"""Small networks and encoders to learn with."""

from remanence.models.heads import CosineHead, Head, LinearHead
from remanence.models.model import Frozen, Model, split
from remanence.models.networks import build
from remanence.models.sequence import Recurrent, SequenceModel

__all__ = ["CosineHead", "Frozen", "Head", "LinearHead", "Model", "Recurrent", "SequenceModel", "build", "split"]
