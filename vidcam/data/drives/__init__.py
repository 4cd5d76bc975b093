"""Drives: a camera's pictures with what is known of its motion."""
