"""The simulation of outages: the relay's policy, a fake clock, providers that fail by script."""
