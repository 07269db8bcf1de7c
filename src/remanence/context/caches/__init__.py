"""Cache policies: each decides what of a stream stays in a cache of bounded size."""
