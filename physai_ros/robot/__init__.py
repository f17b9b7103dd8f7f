"""What an arm is and does: its state, its actions, its description and its kinematics."""
