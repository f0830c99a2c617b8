"""A Hugging Face hub on 127.0.0.1 that speaks what the real client asks.

It answers model information, tree listings and `resolve` with the hub's own headers, keeps large
files behind a redirect as the hub does, honours Range, and can misbehave on request: cut a
connection, refuse a token, move a branch, disappear.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_loopback"


@dataclass
class HubRepo:
    """One model: its commits, what branches and tags point to, and who may read it."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    licence_accepted: bool = False

    def push(self, files: Mapping[str, bytes], *, branch: str = "main") -> str:
        """Commit files, move the branch there and return the commit."""
        text = json.dumps([sorted(files), len(self.commits), branch])
        commit = hashlib.sha1(text.encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.refs[branch] = commit
        return commit


@dataclass(frozen=True)
class Seen:
    """A request that the hub answered."""

    method: str
    path: str
    range: str | None
    authorized: bool
    user_agent: str


@dataclass
class LoopbackHub:
    """The hub's content, what was asked, and which downloads break off once."""

    endpoint: str = ""
    repos: dict[str, HubRepo] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    cuts: dict[str, int] = field(default_factory=dict)
    missing_repo_status: int = 404
    #: Large files that were uploaded, by sha256; repositories that are for their owner alone.
    large: dict[str, bytes] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)

    def repo(self, repo_id: str) -> HubRepo:
        """Return a repository, made when it is first named."""
        return self.repos.setdefault(repo_id, HubRepo())

    def cut_once(self, name: str, *, after_bytes: int) -> None:
        """Close the connection inside the next download of a file."""
        self.cuts[name] = after_bytes

    def downloads(self, name: str) -> list[Seen]:
        """Return the GET requests that carried a file's content."""
        return [
            request
            for request in self.seen
            if request.method == "GET" and request.path.endswith(name)
        ]


@contextmanager
def loopback_hub() -> Iterator[LoopbackHub]:
    """Run a hub for a test."""
    hub = LoopbackHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(hub: LoopbackHub) -> type[BaseHTTPRequestHandler]:
    class Handler(_HubHandler):
        content = hub

    return Handler


class _HubHandler(BaseHTTPRequestHandler):
    """Routes of the hub; an answer is written by `_send` and nowhere else."""

    content: LoopbackHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def do_PUT(self) -> None:
        """Take a large file, as the LFS protocol's basic transfer sends it."""
        self._note()
        body = self._body()
        self.content.large[hashlib.sha256(body).hexdigest()] = body
        self._send(200, b"", {})

    def do_POST(self) -> None:
        """Make a repository, or take the parts of a commit."""
        path = self._note()
        body = self._body()
        if not self._authorized:
            self._refuse(401, "Unauthorized")
        elif path == "api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif path == "api/repos/create":
            self._create(json.loads(body))
        elif path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif "/preupload/" in path:
            self._answer({"files": [_mode(file["path"]) for file in json.loads(body)["files"]]})
        else:
            self._commit_files("/".join(path.split("/")[2:4]), body)

    def _create(self, wanted: dict[str, Any]) -> None:
        name = "/".join(filter(None, (wanted.get("organization"), wanted["name"])))
        is_new = name not in self.content.repos
        if is_new:
            self.content.repo(name).push({".gitattributes": b""})
            self.content.private |= (
                {name} if wanted.get("visibility") == "private" or wanted.get("private") else set()
            )
        self._answer({"url": f"{self.content.endpoint}/{name}"}, 200 if is_new else 409)

    def _batch(self, wanted: dict[str, Any]) -> None:
        def action(one: dict[str, Any]) -> dict[str, Any]:
            upload = {"upload": {"href": f"{self.content.endpoint}/lfs/{one['oid']}"}}
            known = one["oid"] in self.content.large
            return {**one, **({} if known else {"actions": upload})}

        self._answer({"transfer": "basic", "objects": list(map(action, wanted["objects"]))})

    def _commit_files(self, repo_id: str, body: bytes) -> None:
        repo = self.content.repos[repo_id]
        files = dict(repo.commits[repo.refs["main"]])
        for row in map(json.loads, body.splitlines()):
            value = row["value"]
            if row["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif row["key"] == "lfsFile":
                files[value["path"]] = self.content.large[value["oid"]]
            elif row["key"] == "deletedFile":
                del files[value["path"]]
        commit = repo.push(files)
        url = f"{self.content.endpoint}/{repo_id}/commit/{commit}"
        self._answer({"success": True, "commitOid": commit, "commitUrl": url})

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, document: Any, status: int = 200) -> None:
        self._send(status, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep the test's output clean."""

    def _note(self) -> str:
        """Remember a request, and return its path."""
        path = unquote(urlsplit(self.path).path).strip("/")
        self.content.seen.append(
            Seen(
                method=self.command,
                path=path,
                range=self.headers.get("Range"),
                authorized=self._authorized,
                user_agent=self.headers.get("User-Agent", ""),
            )
        )
        return path

    def _route(self) -> None:
        path = self._note()
        parts = path.split("/")
        if parts[:2] == ["api", "models"]:
            self._api(parts[2:])
        elif parts[0] == "cdn":
            self._cdn("/".join(parts[1:3]), parts[3], "/".join(parts[4:]))
        elif len(parts) > 3 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._refuse(404, "EntryNotFound")

    @property
    def _authorized(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _api(self, parts: list[str]) -> None:
        repo_id, revision = "/".join(parts[:2]), "/".join(parts[3:]) or "main"
        found = self._commit(repo_id, revision)
        if found is None:
            return
        commit, files = found
        if parts[2:3] == ["tree"]:
            tree = [{"type": "file", "path": n, "size": len(c), "oid": n} for n, c in files.items()]
            self._send(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
            return
        facts = {"id": repo_id, "sha": commit, "siblings": [{"rfilename": n} for n in files]}
        self._send(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})

    def _commit(self, repo_id: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        repo = self.content.repos.get(repo_id)
        if repo is None:
            self._refuse(self.content.missing_repo_status, "RepoNotFound")
            return None
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            self._refuse(404, "RevisionNotFound")
            return None
        return commit, repo.commits[commit]

    def _resolve(self, repo_id: str, revision: str, name: str) -> None:
        found = self._commit(repo_id, revision)
        if found is None:
            return
        repo = self.content.repos[repo_id]
        if repo.gated and not (self._authorized and repo.licence_accepted):
            self._refuse(403 if self._authorized else 401, "GatedRepo")
            return
        commit, files = found
        if name not in files:
            self._refuse(404, "EntryNotFound")
            return
        body = files[name]
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if name.endswith((".safetensors", ".bin")):
            where = f"{self.content.endpoint}/cdn/{repo_id}/{commit}/{name}"
            tag = f'"{hashlib.sha256(body).hexdigest()}"'
            linked = {"Location": where, "X-Linked-Etag": tag, "X-Linked-Size": str(len(body))}
            self._send(302, b"", {**headers, **linked})
        else:
            self._send_file(name, body, {**headers, "ETag": f'"{hashlib.sha1(body).hexdigest()}"'})

    def _cdn(self, repo_id: str, commit: str, name: str) -> None:
        self._send_file(name, self.content.repos[repo_id].commits[commit][name], {})

    def _send_file(self, name: str, body: bytes, headers: dict[str, str]) -> None:
        start = _range_start(self.headers.get("Range"))
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        cut = self.content.cuts.pop(name, None) if self.command == "GET" else None
        self._send(206 if start else 200, body[start:], headers, cut=cut)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str], *, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True


def _mode(path: str) -> dict[str, Any]:
    large = path.endswith((".bin", ".safetensors"))
    return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}


def _range_start(header: str | None) -> int:
    return int(header.removeprefix("bytes=").split("-")[0]) if header else 0
