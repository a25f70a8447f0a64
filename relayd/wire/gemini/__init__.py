"""Gemini generateContent: its requests, its whole replies, its streams."""
