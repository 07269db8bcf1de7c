"""Encoders whose vectors stay comparable with those that an older encoder stored.

A store that changes its encoder has to re-encode what it holds, unless queries by the new one can be brought
into the space of the old vectors. The modules here train such encoders, and load torch; nothing of the store
imports them unless it is given one.
"""
