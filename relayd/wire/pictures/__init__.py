"""Pictures on request: OpenAI's image endpoints, to and from the hub."""
