"""From simulation to the arm and back."""
