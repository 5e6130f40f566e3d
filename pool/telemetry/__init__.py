"""What a process tells of itself: metrics and their catalogue, health, logs."""
