"""Gazebo over ROS topics and services: the arm there, and a stand-in for it."""
