"""From raw sensor samples to one aligned robot state."""
