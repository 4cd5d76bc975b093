"""Odometry: where a network says the camera went, how good that is, and training for it."""
