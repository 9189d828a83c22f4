"""scMoGNN: one head a task."""
