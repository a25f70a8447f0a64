"""OpenAI Responses: its requests, its whole replies, its streams."""
