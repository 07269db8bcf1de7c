"""Memory outside the network."""
