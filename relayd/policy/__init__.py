"""Decisions over state in memory: no waiting, no clock, no input or output."""
