"""The outbound side of the hot path: one lean HTTP/1.1 protocol, and a pool of connections per
upstream."""
