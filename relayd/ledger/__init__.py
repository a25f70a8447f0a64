"""The way of a finished request's row into the store."""
