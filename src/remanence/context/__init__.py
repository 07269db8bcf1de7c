"""Memory in activations: caches that hold less, and layers that hold on."""
