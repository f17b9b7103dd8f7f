"""What an episode taught: metrics, failure modes, learning health."""
