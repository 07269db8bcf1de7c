"""The version, in one place, which any module may read."""

__version__ = "0.1.0"
