"""Is the new policy better: protocol, statistics, promotion."""
