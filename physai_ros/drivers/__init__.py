"""Robot interfaces that need no ROS."""
