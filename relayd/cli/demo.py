"""`relayd demo`: the whole daemon with its fake provider, shown at work.

It makes a throw-away folder with a configuration and a database, starts the daemon, creates a key,
prints one curl per format, and sends the very same requests itself, so that what is printed is what
works.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click
import orjson

from relayd.config.config import Config, ConfigProblems, load
from relayd.daemon.daemon import Daemon
from relayd.model import Secret
from relayd.store.questions import NewKey

KEY_NAME = "demo"
# The defaults of the shipped configuration: the fake provider answers for any model.
_CONFIG = """\
demo: "on"
drain_timeout: 5s
defaults:
  chat: {model: gemini-2.5-flash}
  image: {model: gpt-image-2}
  moderation: {model: omni-moderation-latest}
"""
TEXT_PATHS = {
    "chat": ("choices", 0, "delta", "content"),
    "responses": ("delta",),
    "messages": ("delta", "text"),
    "gemini": ("candidates", 0, "content", "parts", 0, "text"),
}


class Sample(NamedTuple):
    """One request to show: its format, path, how the key travels, the body, one more header."""

    format: str
    path: str
    key_header: str
    body: dict[str, object]
    also: str = ""


HI = [{"role": "user", "content": "Hi"}]
SAMPLES = (
    Sample(
        "chat",
        "/v1/chat/completions",
        "Authorization: Bearer",
        {"model": "gpt-5.4", "stream": True, "messages": HI},
    ),
    Sample(
        "responses",
        "/v1/responses",
        "Authorization: Bearer",
        {"model": "gpt-5.4", "stream": True, "input": "Hi"},
    ),
    Sample(
        "messages",
        "/v1/messages",
        "x-api-key:",
        {"model": "claude-sonnet-4-6", "max_tokens": 1024, "stream": True, "messages": HI},
        "anthropic-version: 2023-06-01",
    ),
    Sample(
        "gemini",
        "/v1beta/models/gemini-3-pro-preview:streamGenerateContent?alt=sse",
        "x-goog-api-key:",
        {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    ),
)


async def run(listen: str, *, as_json: bool, once: bool) -> None:
    """Start, show, and serve until SIGTERM or Ctrl-C.

    Arguments:
        listen: host and port.
        as_json: print one line for scripts instead of the show.
        once: end after the show.
    """
    with tempfile.TemporaryDirectory(prefix="relayd-demo-") as folder:
        config_path = Path(folder) / "config.yaml"
        config_path.write_text(f'listen: "{listen}"\n{_CONFIG}')
        admin_token = secrets.token_urlsafe(32)
        daemon = Daemon(_config(config_path, listen), None, os.environ, Secret(admin_token))
        await _start(daemon, listen)
        try:
            _, secret = await daemon.books.store.create_key(
                NewKey(KEY_NAME, KEY_NAME), now=time.time(), actor="demo"
            )
            await daemon.refresh_keys()
            base_url = daemon.addresses[0]
            if as_json:
                line = {"base_url": base_url, "key": secret, "admin_token": admin_token}
                click.echo(orjson.dumps(line))
                sys.stdout.flush()
            else:
                await _show(base_url, secret)
                if not once:
                    _say_how_to_go_on(config_path, base_url, secret)
        except BaseException:  # a reader that went away, say: nothing may stay behind
            await daemon.close()
            raise
        if once:
            await daemon.close()
        else:
            await daemon.run()


def _config(path: Path, listen: str) -> Config:
    try:
        return load(path, os.environ)
    except ConfigProblems:
        message = f"--listen wants HOST:PORT, such as 127.0.0.1:8080, not {listen!r}"
        raise click.UsageError(message) from None


async def _start(daemon: Daemon, listen: str) -> None:
    try:
        await daemon.start()
    except OSError as exc:
        text = exc.strerror or str(exc)
        if exc.errno == errno.EADDRINUSE:
            text = "already in use; try another: relayd demo --listen 127.0.0.1:8081"
            text += '  (make demo ARGS="--listen 127.0.0.1:8081")'
        click.echo(f"relayd: {listen}: {text}", err=True)
        sys.exit(1)


async def _show(base_url: str, key: str) -> None:
    click.echo()
    click.secho("relayd is running, with a fake provider behind it.", bold=True)
    click.echo(f"\n  base URL   {base_url}\n  key        {key}\n")
    for sample in SAMPLES:
        click.secho(f"# {sample.format}", fg="cyan")
        click.echo(_curl(sample, base_url, key) + "\n")
    click.secho("The same requests, sent and answered:\n", bold=True)
    for sample in SAMPLES:
        text, seconds = await _ask(sample, base_url, key)
        click.echo(f"  {sample.format:<10} {text}  ({seconds * 1000:.1f} ms to the last byte)")


def _say_how_to_go_on(config_path: Path, base_url: str, key: str) -> None:
    show = f"{sys.argv[0]} clients show claude-code --base {base_url} --key {key}"
    click.echo(f"\nPoint a program at it:  {show}")
    click.echo(f"Watch it at work:       {sys.argv[0]} top --config {config_path}")
    click.echo(f"What was used:          {sys.argv[0]} usage --by model --config {config_path}")
    click.echo(f"What Prometheus sees:   curl {base_url}/metrics")
    click.echo(f"What everybody sees:    curl {base_url}/api/status")
    click.echo(
        "Model names that misbehave (demo-stall, demo-cut, demo-429, demo-garbage and more):"
    )
    click.echo(f"                {sys.executable} -m relayd.demo --names")
    click.echo("Press Ctrl-C to stop.")
    sys.stdout.flush()


def _curl(sample: Sample, base_url: str, key: str) -> str:
    body = orjson.dumps(sample.body).decode()
    headers = [f"{sample.key_header} {key}", "Content-Type: application/json", sample.also]
    lines = [f"curl -sN '{base_url}{sample.path}'"]
    lines += [f"  -H '{header}'" for header in headers if header]
    return " \\\n".join([*lines, f"  -d '{body}'"])


async def _ask(sample: Sample, base_url: str, key: str) -> tuple[str, float]:
    """Send a sample as its curl would, and collect the text of the stream."""
    from aiohttp import ClientSession

    name, _, scheme = sample.key_header.partition(":")
    headers = {name: f"{scheme.strip()} {key}".strip()}
    if sample.also:
        also, _, value = sample.also.partition(": ")
        headers[also] = value
    started = time.perf_counter()
    async with ClientSession() as session:
        url = base_url + sample.path
        async with session.post(url, json=sample.body, headers=headers) as response:
            if response.status != 200:
                return f"status {response.status}: {await response.text()}", 0.0
            raw = await response.read()
    text = "".join(_texts(raw, sample.format))
    return text, time.perf_counter() - started


def _texts(raw: bytes, format_name: str) -> list[str]:
    found: list[str] = []
    for line in raw.splitlines():
        if line.startswith(b"data: {"):
            value: object = orjson.loads(line[6:])
            for step in TEXT_PATHS[format_name]:
                value = _step(value, step)
            if isinstance(value, str):
                found.append(value)
    return found


def _step(value: object, step: str | int) -> object:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and isinstance(step, int) and len(value) > step:
        return value[step]
    return None
