"""What the arm is to do: scenario, goal, success test, failure evidence, scripted expert. No physics, no ROS."""
