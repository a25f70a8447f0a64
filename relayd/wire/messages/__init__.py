"""Anthropic Messages: its requests, its whole replies, its streams."""
