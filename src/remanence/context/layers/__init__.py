"""Recurrent and associative memory layers, ``forward(x, state) -> (y, state)``."""
