"""Files and batches: as much of them as a relay's pass-through can be tried with.

A file comes back byte for byte. A batch is done as soon as it is made. A file whose name, without
its ending, is a misbehaving model's misbehaves as well: `demo-500.jsonl` when it is sent,
`demo-later-cut.jsonl` when it is asked for.
"""

from __future__ import annotations

import hashlib
from typing import Final

from relayd.demo.ask import Document, string
from relayd.demo.followups import listed
from relayd.demo.refusal import Refusal
from relayd.demo.script import LARGEST_WRITE, Script, Send
from relayd.demo.shelf import Kept
from relayd.demo.task import Task, Work


def _files(task: Task) -> Script:
    if not task.rest:
        return _upload(task) if task.method == "POST" else _list(task, "file")
    id, *tail = task.rest
    kept = _found(task, id, "file")
    match (task.method, tail):
        case ("GET", []):
            return task.whole(kept.what)
        case ("GET", ["content"]):
            return _content(task, kept)
        case ("DELETE", []):
            task.shelf.drop(task.owner, id)
            return task.whole({"id": id, "object": "file", "deleted": True})
    raise Refusal(405, f"Not allowed to {task.method} on this file.")


def _upload(task: Task) -> Script:
    file = next((upload for upload in task.files if upload.field == "file"), None)
    if file is None:
        raise Refusal(400, "Missing required parameter: 'file'.", param="file")
    purpose = task.demand("purpose")
    id = f"file-{hashlib.blake2b(file.data, digest_size=8).hexdigest()}{task.shelf.number():x}"
    made = {
        "id": id,
        "object": "file",
        "bytes": len(file.data),
        "created_at": int(task.moment),
        "filename": file.filename,
        "purpose": purpose,
        "status": "processed",
    }
    task.shelf.put(task.owner, id, Kept(made, file.data, len(file.data)))
    return task.whole(made)


def _list(task: Task, kind: str) -> Script:
    if task.method != "GET":
        raise Refusal(405, f"Not allowed to {task.method} here.")
    return task.whole(listed(list(task.shelf.of(task.owner, kind))))


def _found(task: Task, id: str, kind: str) -> Kept:
    kept = task.shelf.get(task.owner, id)
    if kept is None or kept.what.get("object") != kind:
        raise Refusal(404, f"No such {kind.capitalize()} object: {id}", param="id")
    return kept


def _content(task: Task, kept: Kept) -> Script:
    data: bytes = kept.data
    filename = string(kept.what["filename"]).replace('"', "")
    headers = [
        ("content-type", "application/octet-stream"),
        ("content-disposition", f'attachment; filename="{filename}"'),
        *task.headers,
    ]
    places = range(0, max(1, len(data)), LARGEST_WRITE)
    return Script(200, headers, [Send(data[at : at + LARGEST_WRITE]) for at in places])


def _batches(task: Task) -> Script:
    match (task.method, task.rest):
        case ("POST", ()):
            return _begin(task)
        case (_, ()):
            return _list(task, "batch")
        case ("GET", (id,)):
            return task.whole(_found(task, id, "batch").what)
        case ("POST", (id, "cancel")):
            kept = _found(task, id, "batch")
            kept.what = {**kept.what, "status": "cancelled"}
            return task.whole(kept.what)
    raise Refusal(405, f"Not allowed to {task.method} on this batch.")


def _begin(task: Task) -> Script:
    source = _found(task, task.demand("input_file_id"), "file")
    lines = len(source.data.splitlines())
    id = f"batch_{task.seed}{task.shelf.number():x}"
    made: Document = {
        "id": id,
        "object": "batch",
        "endpoint": task.demand("endpoint"),
        "input_file_id": source.what["id"],
        "completion_window": task.text("completion_window", "24h"),
        "created_at": int(task.moment),
        "status": "completed",
        "output_file_id": source.what["id"],
        "request_counts": {"total": lines, "completed": lines, "failed": 0},
    }
    task.shelf.put(task.owner, id, Kept(made))
    return task.whole(made)


TREES: Final[dict[str, Work]] = {"/v1/files": _files, "/v1/batches": _batches}
