"""The process graph, described once and started two ways."""
