"""The story of one realtime session, which is `realtime`: a tunnel with books."""
