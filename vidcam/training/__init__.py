"""Training: what every run has in common, and the training of classifiers. Importing this imports nothing heavy."""
