"""The rest phase of a store."""
