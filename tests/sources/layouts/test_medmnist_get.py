"""Fetching MedMNIST: from a stand-in host on this machine, never from the real one."""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vesalius.errors import BadInputError, MissingError, ResourceError, UsageError
from vesalius.sources.layouts import medmnist_get
from vesalius.sources.layouts.medmnist_sets import SETS
from vesalius.sources.layouts.registry import import_folder


def archive() -> bytes:
    arrays = {}
    for split, n in (("train", 3), ("val", 1), ("test", 2)):
        arrays[f"{split}_images"] = np.zeros((n, 28, 28), np.uint8)
        arrays[f"{split}_labels"] = np.ones((n, 1), np.uint8)
    data = io.BytesIO()
    np.savez(data, **arrays)  # type: ignore[arg-type]
    return data.getvalue()


class Host:
    """A host that answers with what it was given, and remembers what was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut = False
        host = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append(self.path)
                data = host.files.get(self.path.split("?")[0].lstrip("/"))
                if data is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if host.cut else data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    made = Host()
    data = archive()
    made.files["pneumoniamnist.npz"] = data
    monkeypatch.setitem(medmnist_get.sums()["pneumoniamnist"], 28, hashlib.md5(data).hexdigest())  # noqa: S324 # as published
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_an_archive_is_fetched_checked_and_readable(host: Host, tmp_path: Path) -> None:
    file = medmnist_get.get("pneumoniamnist", tmp_path / "new", online=True, record=host.url)
    assert file == tmp_path / "new" / "pneumoniamnist.npz"
    assert file.read_bytes() == host.files["pneumoniamnist.npz"]
    assert [p.name for p in file.parent.iterdir()] == ["pneumoniamnist.npz"]
    cases = import_folder(file.parent)
    assert cases.name == "medmnist"
    assert [c.label("class") for c in cases] == ["pneumonia"] * 6
    # What is there and whole needs no network.
    assert medmnist_get.get("pneumoniamnist", file.parent, online=False) == file
    assert host.asked == ["/pneumoniamnist.npz?download=1"]


def test_the_network_is_not_used_unasked(host: Host, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--online"):
        medmnist_get.get("pneumoniamnist", tmp_path, online=False, record=host.url)
    assert host.asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_another_sum_is_not_kept(host: Host, tmp_path: Path) -> None:
    host.files["pneumoniamnist.npz"] += b"x"
    with pytest.raises(BadInputError, match="MD5"):
        medmnist_get.get("pneumoniamnist", tmp_path, online=True, record=host.url)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_on_disk_is_fetched_again(host: Host, tmp_path: Path) -> None:
    (tmp_path / "pneumoniamnist.npz").write_bytes(b"half")
    file = medmnist_get.get("pneumoniamnist", tmp_path, online=True, record=host.url)
    assert file.read_bytes() == host.files["pneumoniamnist.npz"]


def test_a_host_that_fails_is_named(host: Host, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="404"):
        medmnist_get.get("breastmnist", tmp_path, online=True, record=host.url)
    host.cut = True
    with pytest.raises((MissingError, BadInputError)):
        medmnist_get.get("pneumoniamnist", tmp_path, online=True, record=host.url)
    host.server.shutdown()
    host.server.server_close()
    with pytest.raises(MissingError, match="cannot get the archive"):
        medmnist_get.get("pneumoniamnist", tmp_path, online=True, record=host.url)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write"):
        medmnist_get.get("pneumoniamnist", tmp_path / "file", online=True, record=host.url)


@pytest.mark.parametrize(
    ("name", "size", "said"), [("pathmist", 28, "pathmnist"), ("organmnist3d", 224, "28, 64"), ("../x", 28, "Use one")]
)
def test_unknown_sets_and_sizes_are_refused(name: str, size: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        medmnist_get.get(name, tmp_path, size=size, online=True)


def test_a_mirror_without_https_is_refused(tmp_path: Path) -> None:
    for record in ("http://example.org", "file:///etc", "ftp://127.0.0.1"):
        with pytest.raises(UsageError, match="https"):
            medmnist_get.get("pathmnist", tmp_path, online=True, record=record)


def test_every_set_has_a_sum_for_every_published_size() -> None:
    assert set(medmnist_get.sums()) == set(SETS)
    for name, sizes in medmnist_get.sums().items():
        assert sorted(sizes) == ([28, 64] if name.endswith("3d") else [28, 64, 128, 224])
        assert all(len(md5) == 32 and int(md5, 16) for md5 in sizes.values())
    assert medmnist_get.file_name("pathmnist", 28) == "pathmnist.npz"
    assert medmnist_get.file_name("organmnist3d", 64) == "organmnist3d_64.npz"
