"""The heart: a video through a network, and its heat laid on the source's frames."""
