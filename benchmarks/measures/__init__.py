"""What the benchmark measures, one module each."""
