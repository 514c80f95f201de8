"""Opening: what is refused, by name and with advice."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.library.fakes import FakeEmbedder, make_cases
from vesalius.errors import BadInputError, MissingError, ResourceError, UsageError, VesaliusError
from vesalius.library import Library


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (FakeEmbedder("rival"), "another model"),
        (FakeEmbedder(version="p2"), "another preprocessing"),
        (FakeEmbedder(dim=8), "another"),
        (FakeEmbedder(weights=1), "another version of the model"),
    ],
)
def test_another_model_or_preprocessing_is_refused_by_name(lib, tmp_path, other, says):
    with pytest.raises(UsageError, match=says) as caught:
        Library.open(tmp_path / "lib", other)
    assert "`fake`" in str(caught.value)
    assert f"`{other.name}`" in str(caught.value)


def test_the_same_model_by_another_name_is_accepted(lib, tmp_path, model):
    renamed = FakeEmbedder()
    renamed.name = "alias"
    with Library.open(tmp_path / "lib", renamed) as again:
        assert len(again) == 60


def test_without_a_model_words_still_find(lib, tmp_path, monkeypatch):
    with Library.open(tmp_path / "lib") as again:
        assert again.search("token17", mode="text")[0].id == "c17"
        with pytest.raises(VesaliusError):  # there is no model `fake` in the store
            again.search("words")
    loaded = []

    def load(name, **_):
        loaded.append(name)
        return FakeEmbedder()

    monkeypatch.setattr("vesalius.models.load", load)
    with Library.open(tmp_path / "lib") as again:
        assert again.search("words")
    with Library.open(tmp_path / "lib", "by name") as again:
        assert len(again) == 60
    assert loaded == ["fake", "by name"]
    monkeypatch.setattr("vesalius.models.load", lambda *_, **__: FakeEmbedder(weights=3))
    with Library.open(tmp_path / "lib") as again, pytest.raises(UsageError, match="another version"):
        again.search("words that no search has embedded yet")


def test_missing_and_foreign_folders(tmp_path, model):
    with pytest.raises(MissingError, match="no library"):
        Library.open(tmp_path / "no")
    with pytest.raises(MissingError, match="no library"):
        Library.open(tmp_path / "no", model, create=False)
    with pytest.raises(MissingError, match="no library"):
        Library.open(tmp_path / "no", model, readonly=True)
    assert not (tmp_path / "no").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"a\.jpg"):
        Library.open(tmp_path / "photos", model)
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["a.jpg"]
    for name, data in (("junk", b"not a database at all" * 99), ("other", None)):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "library.sqlite"
        if data is None:
            c = sqlite3.connect(file)
            c.execute("CREATE TABLE t (a)")
            c.close()
        else:
            file.write_bytes(data)
        for readonly in (False, True):
            with pytest.raises(BadInputError, match="not a vesalius library"):
                Library.open(tmp_path / name, model, readonly=readonly)


@pytest.mark.parametrize(("version", "says"), [(2, "too new"), (99, "Upgrade vesalius"), (0, "too old")])
def test_another_schema_version_is_refused_with_advice(lib, tmp_path, version, says):
    lib.close()
    c = sqlite3.connect(tmp_path / "lib" / "library.sqlite")
    c.execute(f"PRAGMA user_version = {version}")
    c.close()
    with pytest.raises(BadInputError, match=says):
        Library.open(tmp_path / "lib", FakeEmbedder())


def test_a_creation_that_was_cut_off_is_completed(tmp_path, model):
    (tmp_path / "l").mkdir()
    (tmp_path / "l" / "library.sqlite").touch()
    with pytest.raises(MissingError, match="empty"):
        Library.open(tmp_path / "l")
    with Library.open(tmp_path / "l", model) as lib:
        assert lib.add(make_cases(3)).added == 3


def test_readonly_never_writes(lib, tmp_path, model):
    lib.close()
    with Library.open(tmp_path / "lib", model, readonly=True) as again:
        assert len(again.search("new words", k=50)) == 40
        for call in (lambda: again.add(make_cases(50)), lambda: again.delete("c1"), again.compact, again.build_index):
            with pytest.raises(UsageError, match="reading only"):
                call()
        assert len(again) == 60
    with pytest.raises(VesaliusError):
        lib.search("x")  # closed


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to become a user without rights")
def test_a_library_of_someone_else_can_be_searched_but_not_written(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("theirs")
    for parent in (folder, *folder.parents):
        if parent.name.startswith(("pytest", "popen", "theirs")):  # however deep the runner's own folders are
            parent.chmod(0o755)
    with Library.open(folder / "l", model) as lib:
        lib.add(make_cases(4))
    here = Path(__file__).parent
    script = textwrap.dedent("""
        import fcntl, os, sys
        from vesalius.errors import ResourceError
        from vesalius.library import Library
        from tests.library.fakes import FakeEmbedder, make_cases
        model, cases = FakeEmbedder(), make_cases(9)
        for user in (0, 65534):  # once as root, so that everything is imported: the interpreter may be root's alone
            os.setgid(user)
            os.setuid(user)
            with Library.open(sys.argv[1], model, readonly=True) as lib:
                lib.search("x")
        with Library.open(sys.argv[1], model, readonly=True) as lib:
            print(len(lib), len(lib.search("x")), lib.search("token2", mode="text")[0].id, lib.check().ok)
        try:
            Library.open(sys.argv[1], model).add(cases)
        except ResourceError as error:
            print(error.fix)
    """)
    out = subprocess.run(
        [sys.executable, "-c", script, str(folder / "l")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parents[1]), *sys.path])},
        check=False,
    )
    assert out.stdout.splitlines()[:1] == ["6 4 c2 True"], out.stderr
    assert "readonly=True" in out.stdout, out.stderr
    assert os.listdir(folder / "l")  # noqa: PTH208 # nothing was removed on the way


def test_an_unwritable_place_is_a_clear_error(tmp_path, model):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises((ResourceError, MissingError, UsageError)):
        Library.open(tmp_path / "file" / "lib", model)
