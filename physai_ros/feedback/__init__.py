"""What an episode was worth: contact, smoothness, failure modes with evidence, statistics, learning health."""
