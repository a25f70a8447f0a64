"""`python -m relayd` is the command line."""

from __future__ import annotations

from relayd.cli.main import main

main()
