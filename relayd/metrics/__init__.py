"""What Prometheus sees of relayd: one catalogue, plain numbers, families when somebody scrapes."""
