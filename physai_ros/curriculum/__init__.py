"""Scenario significance: which episode to run next."""
