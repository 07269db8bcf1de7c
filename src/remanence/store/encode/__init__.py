"""Text as unit float32 vectors: the packaged encoder made fast, any other by name, all behind one protocol."""

from remanence.store.encode.encoder import encoder, register, registered
from remanence.store.encode.protocol import Encoder

__all__ = ["Encoder", "encoder", "register", "registered"]
