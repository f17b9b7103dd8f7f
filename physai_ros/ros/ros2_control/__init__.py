"""Arms that ros2_control brings up: their controllers as a driver."""
