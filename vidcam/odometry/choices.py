"""What can be chosen in an evaluation, known without loading what computes it."""

ALIGNMENTS = ("none", "scale", "6dof", "7dof")
"""What is fitted to the true path first."""
