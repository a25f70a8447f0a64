"""The command line: what an operator types, and the tables that answer; `main` is the way in."""
