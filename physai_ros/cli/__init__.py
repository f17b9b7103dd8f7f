"""The physai command."""
