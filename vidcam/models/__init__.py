"""Models: a network, how to feed it, which layer to explain, and how to read that layer."""
