"""Adaptive Sparse Training: significance, gate, samplers, trainer."""
