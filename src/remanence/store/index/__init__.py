"""Search over vectors: derived from the database, addressed by row, and rebuilt from it."""
