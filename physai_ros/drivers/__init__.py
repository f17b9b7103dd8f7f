"""Robots that need no ROS: one interface, one file a vendor."""
