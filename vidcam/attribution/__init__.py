"""Attribution in pure torch: networks, tensors, layers and scores; no video file, no data set, no model by name."""
