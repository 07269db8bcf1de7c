"""Small networks and encoders to learn with."""

from remanence.models.heads import CosineHead, Head, LinearHead
from remanence.models.model import Frozen, Model, split
from remanence.models.networks import build
from remanence.models.sequence import Recurrent, SequenceModel
from remanence.models.tiny_lm import LanguageModel, language_model, tiny_lm

__all__ = [
    "CosineHead",
    "Frozen",
    "Head",
    "LanguageModel",
    "LinearHead",
    "Model",
    "Recurrent",
    "SequenceModel",
    "build",
    "language_model",
    "split",
    "tiny_lm",
]
