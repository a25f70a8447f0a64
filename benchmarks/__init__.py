"""Numbers: how fast relayd is beside nginx (`run`), and whether it changes a byte (`fidelity`)."""
