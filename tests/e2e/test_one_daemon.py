"""Two daemons on one database: the second says so and ends, the first does not notice."""

from __future__ import annotations

from pathlib import Path

from benchmarks.processes import free_port, is_listening
from tests.support.process import Process, command

CONFIG = """\
listen: 127.0.0.1:{port}
database: {folder}/relayd.db
demo: "on"
drain_timeout: 1s
"""


def configured(folder: Path, name: str) -> tuple[str, int]:
    """A configuration of its own port, on the one database."""
    port, path = free_port(), folder / name
    path.write_text(CONFIG.format(port=port, folder=folder))
    return str(path), port


def test_a_second_daemon_on_a_database_says_so_and_ends(tmp_path: Path) -> None:
    (first, port), (second, other_port) = configured(tmp_path, "a"), configured(tmp_path, "b")
    with Process("serve", "--config", first) as relay:
        relay.logged("listens on")
        before = sorted(path.name for path in tmp_path.iterdir())

        refused = command("serve", "--config", second)

        assert refused.returncode == 1
        assert refused.stderr.startswith(
            f"relayd: cannot start: relayd is running already on {tmp_path}/relayd.db (process "
        )
        assert refused.stderr.count("\n") == 1 and not is_listening(other_port)
        assert sorted(path.name for path in tmp_path.iterdir()) == before
        assert relay.running and is_listening(port)


def test_a_folder_that_is_none_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "relayd.db.journal").write_text("")
    path, _ = configured(tmp_path, "a")

    refused = command("serve", "--config", path)

    assert refused.returncode == 1
    assert refused.stderr.startswith("relayd: cannot start: ") and "relayd.db.journal" in (
        refused.stderr
    )
