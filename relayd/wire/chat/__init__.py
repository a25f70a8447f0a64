"""OpenAI Chat Completions: its requests, its whole replies, its streams."""
