"""What networks are fed: preprocessing, window sampling, synthetic clips."""
