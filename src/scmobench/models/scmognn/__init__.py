"""scMoGNN: a network for each task."""
