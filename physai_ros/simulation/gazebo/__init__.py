"""The same arm and tasks for Gazebo: SDF from the URDF, and the list of what is bridged to ROS."""
