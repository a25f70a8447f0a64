"""`python -m relayd.demo`: the demo provider alone, for benchmarks and for trying clients."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time

from relayd.demo.names import KNOBS, MISBEHAVIOURS
from relayd.demo.provider import DemoProvider


def main() -> None:
    """Parse the arguments, serve until SIGTERM or SIGINT."""
    options = _parser().parse_args()
    if options.names:
        for name, what in {**KNOBS, **MISBEHAVIOURS}.items():
            print(f"{name:24} {what}")
        return
    host, _, port = options.listen.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        sys.exit(f"--listen wants HOST:PORT, such as 127.0.0.1:9000, not {options.listen!r}")
    serving = _serve(host.strip("[]"), int(port), options.key)
    try:
        if options.uvloop:
            import uvloop

            uvloop.run(serving)
        else:
            asyncio.run(serving)
    except OSError as exc:
        sys.exit(f"cannot listen on {options.listen}: {exc.strerror or exc}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m relayd.demo", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--key", help="the credential that every request must carry")
    parser.add_argument("--uvloop", action="store_true", help="run on uvloop")
    parser.add_argument("--names", action="store_true", help="print the model names, and exit")
    return parser


async def _serve(host: str, port: int, key: str | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    provider = DemoProvider(key, clock=time.time)
    await provider.start(host, port)
    print(provider.url)
    sys.stdout.flush()
    await stop.wait()
    await provider.close()


if __name__ == "__main__":
    main()
