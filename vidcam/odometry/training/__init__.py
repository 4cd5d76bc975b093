"""Training of pose and depth networks on drives, without labels."""
