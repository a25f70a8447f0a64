"""The inbound side: aiohttp's parser and connections, our routes, and the client's half of an
exchange."""
