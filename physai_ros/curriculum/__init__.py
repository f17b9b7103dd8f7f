"""Which scenario to run next."""
