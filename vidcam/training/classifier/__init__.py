"""Training and testing of classifiers."""
