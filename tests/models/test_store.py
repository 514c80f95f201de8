"""The store, its manifests, the shipped model and the text tower, on copies that may be broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.tolerance import TRAINED, close
from vesalius.cases import Image
from vesalius.errors import BadInputError, ExitCode, MissingError, ResourceError, UsageError, VesaliusError
from vesalius.models import load, pick_device, store
from vesalius.models.manifest import External, Manifest, describe_files, sha256


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VESALIUS_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


def model_folder(folder, name="tiny", kind="nano", **fields):
    folder.mkdir(parents=True)
    save_file({"w": np.arange(6.0)}, folder / "w.safetensors")
    (folder / "card.md").write_text("A model.\n")
    Manifest(name, kind, dim=3, capabilities=("embed",), files=describe_files(folder), **fields).write(folder)
    return folder


def test_manifests_survive_their_file(tmp_path):
    folder = model_folder(tmp_path / "m", notes={"n": 1}, preprocess={"height": 5}, licence="MIT")
    made = Manifest.read(folder)
    made.write(folder)
    assert Manifest.read(folder) == made
    assert made.problems(folder) == []
    assert set(made.files) == {"w.safetensors", "card.md"}
    assert made.files["w.safetensors"]["sha256"] == sha256(folder / "w.safetensors")


def test_the_fingerprint_follows_what_changes_the_output():
    base = Manifest("m", "nano", files={"w": {"sha256": "a", "bytes": 1}}, preprocess={"height": 1})
    same = [
        Manifest("other", "nano", files=base.files, preprocess=base.preprocess, notes={"x": 1}, title="t"),
        Manifest("m", "nano", files={**base.files, "card.md": {"sha256": "c", "bytes": 1}}, preprocess={"height": 1}),
    ]
    external = {"text": External("a", "b", "c", "d")}
    changed = [
        Manifest("m", "vit", files=base.files, preprocess=base.preprocess),
        Manifest("m", "nano", files={"w": {"sha256": "b", "bytes": 1}}, preprocess=base.preprocess),
        Manifest("m", "nano", files=base.files, preprocess={"height": 2}),
        Manifest("m", "nano", files=base.files, preprocess=base.preprocess, external=external),
    ]
    assert {m.fingerprint for m in same} == {base.fingerprint}
    assert len({base.fingerprint, *(m.fingerprint for m in changed)}) == 5


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("schema"),
        lambda d: d.update(schema=9),
        lambda d: d.pop("name"),
        lambda d: d.update(colour="red"),
        lambda d: d.update(files=["w.safetensors"]),
        lambda d: d.update(files={"w.safetensors": "abc"}),
        lambda d: d.update(files={"w.safetensors": {"bytes": 3}}),
        lambda d: d.update(files={"../../etc/passwd": {"sha256": "", "bytes": 1}}),
        lambda d: d.update(files={"/etc/passwd": {"sha256": "", "bytes": 1}}),
        lambda d: d.update(files={"weights.BIN": {"sha256": "", "bytes": 1}}),
        lambda d: d.update(files={"run.py": {"sha256": "", "bytes": 1}}),
        lambda d: d.update(external={"text": {"module": "x"}}),
        lambda d: d.update(external=[1]),
    ],
)
def test_a_wrong_manifest_is_refused_and_listed_as_broken(home, change):
    folder = model_folder(home / "tiny")
    data = json.loads((folder / "model.json").read_text())
    change(data)
    (folder / "model.json").write_text(json.dumps(data))
    with pytest.raises(BadInputError):
        Manifest.read(folder)
    assert [name for name, _ in store.broken()] == [str(folder)]
    assert "tiny" not in [e.name for e in store.entries()]


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '"x"'])
def test_a_manifest_that_is_no_object_is_refused(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(BadInputError):
        Manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("module", "file"), [("os.path", "x"), ("numpy", "../secret"), ("numpy", "/etc/passwd"), ("", "x"), ("no way", "x")]
)
def test_an_external_file_stays_in_its_package(module, file):
    with pytest.raises(VesaliusError):
        External(module, file, "0", "req").path()


def test_an_absent_package_is_missing():
    with pytest.raises(MissingError, match="pip install nothing-like-it"):
        External("nothing_like_it", "x", "0", "nothing-like-it").path()
    with pytest.raises(MissingError, match="lacks a file"):
        External("numpy", "no-such-file", "0", "numpy").path()


def test_add_find_list_remove(home, tmp_path):
    assert not home.exists()
    source = model_folder(tmp_path / "src")
    entry = store.add(source, "mine")
    assert (entry.name, entry.origin, entry.folder) == ("mine", "added", home / "mine")
    assert entry.manifest.fingerprint == Manifest.read(source).fingerprint
    assert sorted(p.name for p in home.iterdir()) == ["mine"]  # no scratch left
    listed = {e.name: e.to_dict() for e in store.entries()}
    assert listed["mine"]["bytes"] == sum(p.stat().st_size for p in source.iterdir() if p.name != "model.json")
    with pytest.raises(UsageError, match="has a model of this name"):
        store.add(source, "mine")
    with pytest.raises(MissingError, match="Did you mean mine"):
        store.find("mien")
    with pytest.raises(MissingError, match="no such model"):
        load("qqqqqq")
    store.remove("mine")
    assert list(home.iterdir()) == []
    with pytest.raises(MissingError):
        store.remove("mine")


@pytest.mark.parametrize("name", ["", "..", "../x", "A", "a/b", "-a", ".a", "a b", "a" * 65, "ä", "a\n"])
def test_names_that_are_no_names_are_refused(home, tmp_path, name):
    source = model_folder(tmp_path / "src")
    with pytest.raises(UsageError, match="not a model name"):
        store.add(source, name)
    assert not home.exists()


def test_a_changed_byte_is_found(home, tmp_path):
    source = model_folder(tmp_path / "src")
    entry = store.add(source, "mine")
    assert entry.manifest.problems(entry.folder) == []
    file = entry.folder / "w.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert "SHA-256 differs" in entry.manifest.problems(entry.folder)[0]
    with pytest.raises(MissingError, match=r"w\.safetensors"):
        entry.manifest.require_whole(entry.folder)
    file.write_bytes(data + b"x")
    assert "bytes" in entry.manifest.problems(entry.folder)[0]
    file.unlink()
    assert "missing" in entry.manifest.problems(entry.folder)[0]
    (source / "w.safetensors").write_bytes(data)
    with pytest.raises(BadInputError, match="not whole"):
        store.add(source, "other")


def test_a_broken_folder_in_the_way_is_named(home, tmp_path):
    (home / "mine").mkdir(parents=True)
    (home / "mine" / "model.json").write_text("{")
    with pytest.raises(UsageError, match="broken"):
        store.add(model_folder(tmp_path / "src"), "mine")


def test_a_home_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VESALIUS_HOME", str(tmp_path / "file"))
    assert all(e.origin == "shipped" for e in store.entries())
    with pytest.raises(ResourceError, match="VESALIUS_HOME"):
        store.add(model_folder(tmp_path / "src"), "mine")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_home_is_named(home, tmp_path):
    home.mkdir(parents=True)
    home.chmod(0o500)
    with pytest.raises(ResourceError):
        store.add(model_folder(tmp_path / "src"), "mine")


def test_shipped_models_stay(home, tmp_path):
    shipped = [e.name for e in store.entries() if e.origin == "shipped"]
    if not shipped:
        pytest.skip("no model is shipped in this checkout")
    with pytest.raises(UsageError, match="shipped"):
        store.remove(shipped[0])
    with pytest.raises(UsageError, match="has a model of this name"):
        store.add(model_folder(tmp_path / "src"), shipped[0])


def test_import_writes_nothing_and_is_light(tmp_path):
    code = (
        "import sys, vesalius.models, vesalius.models.store as s; list(s.entries()); s.broken();"
        "print([m for m in ('torch', 'transformers', 'sklearn', 'scipy') if m in sys.modules])"
    )
    env = {
        **os.environ,
        "HOME": str(tmp_path / "h"),
        "VESALIUS_HOME": str(tmp_path / "v"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env)
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_the_home_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("VESALIUS_HOME", str(tmp_path / "v"))
    assert store.home() == tmp_path / "v" / "models"
    monkeypatch.delenv("VESALIUS_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "x"))
    assert store.home() == tmp_path / "x" / "vesalius" / "models"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "h"))
    assert store.home() == tmp_path / "h" / ".local" / "share" / "vesalius" / "models"


# --- load ---


def test_the_network_is_never_used_unasked(home):
    with pytest.raises(MissingError, match="unasked"):
        load("hf:owner/name")
    with pytest.raises(UsageError, match="unasked"):
        store.get("owner/name", "x", online=False)
    assert not home.exists()
    with pytest.raises(UsageError, match="cannot embed"):
        load("openai:http://127.0.0.1:8000/v1")


def test_a_kind_without_a_loader_is_refused(tmp_path):
    folder = model_folder(tmp_path / "m", kind="os.system")
    with pytest.raises(MissingError, match="no loader"):
        load(f"dir:{folder}")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", ""])
def test_devices_that_are_not_there_are_refused(device):
    with pytest.raises(UsageError) as caught:
        pick_device(device)
    assert caught.value.exit_code == ExitCode.USAGE
    assert pick_device("cpu") == "cpu"


# --- the text tower ---


def test_minilm_is_sentence_transformers(tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from vesalius.models.nano.minilm import MINILM, MiniLM

    folder = tmp_path / "minilm"
    with zipfile.ZipFile(MINILM.path()) as archive:
        archive.extractall(folder)  # its SHA-256 is fixed
    # A folder without pooling settings gets the mean over real tokens, which is the published model's.
    official = sentence_transformers.SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    official.max_seq_length = 128
    texts = [
        "chest x-ray with left pleural effusion",
        "no finding",
        "",
        "Dermoskopie: Melanom, 7 mm ☃",
        "blood smear " * 200,  # cut at 128 tokens by both
    ]
    got = MiniLM()(texts)
    close(got, official.encode(texts, normalize_embeddings=True), TRAINED)
    close(MiniLM()(texts, batch_size=1), got)
    close(np.linalg.norm(got, axis=1), 1)


def test_another_text_tower_is_refused():
    from vesalius.models.nano.minilm import MINILM, MiniLM

    with pytest.raises(MissingError, match="another file"):
        MiniLM(External(MINILM.module, MINILM.file, "0" * 64, MINILM.requirement))


# --- the shipped model ---


@pytest.fixture(scope="module")
def nano():
    if not (store.SHIPPED / "nano" / "model.json").is_file():
        pytest.skip("nano is not in this checkout")
    return load("nano", device="cpu")


def test_nano_embeds_everything_into_one_space(nano):
    rng = np.random.default_rng(0)
    images = [
        Image(array=rng.integers(0, 256, (80, 60), dtype=np.uint8), modality="DX"),
        Image(array=rng.integers(0, 4096, (80, 60), dtype=np.uint16), modality="CR"),
        Image(array=rng.integers(0, 256, (50, 60, 3), dtype=np.uint8), modality="DMS"),
        Image(array=rng.integers(-1000, 1000, (5, 40, 50), dtype=np.int16), modality="CT", kind="3d"),
        Image(array=rng.integers(0, 256, (6, 40, 50, 3), dtype=np.uint8), modality="ES", kind="video"),
    ]
    x, t = nano.embed(images), nano.embed_text(["a chest x-ray", "a skin photograph", "no finding"])
    assert (x.shape, t.shape) == ((5, nano.dim), (3, nano.dim))
    assert (x.dtype, t.dtype) == (np.float32, np.float32)
    close(np.linalg.norm(x, axis=1), 1)
    close(np.linalg.norm(t, axis=1), 1)
    close(nano.embed(images[::-1])[::-1], x)
    assert np.abs(x @ x.T - np.eye(5)).max() < 0.99999  # different images, different vectors
    assert nano.scale > 1
    views = nano.preprocess(images[0])
    maps = nano.patches(views)
    assert maps.tokens.shape == (1, 1280, 7, 7)


def test_nanos_fingerprint_is_stable_and_from_its_files(nano):
    manifest = Manifest.read(store.SHIPPED / "nano")
    assert manifest.problems(store.SHIPPED / "nano") == []
    assert nano.fingerprint == manifest.fingerprint
    code = "from vesalius.models import store; print(store.find('nano').manifest.fingerprint)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == nano.fingerprint


@pytest.mark.parametrize("how", ["byte", "cut", "gone", "preprocess"])
def test_a_tampered_copy_is_refused(nano, tmp_path, how):
    folder = tmp_path / "nano"
    shutil.copytree(store.SHIPPED / "nano", folder)
    weights = folder / "nano.safetensors"
    if how == "byte":
        with weights.open("r+b") as file:
            file.seek(-100, os.SEEK_END)
            old = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([old[0] ^ 255]))
    elif how == "cut":
        os.truncate(weights, weights.stat().st_size - 4)
    elif how == "gone":
        weights.unlink()
    else:  # not refused, but another model: an index made with the real one will not take it
        data = json.loads((folder / "model.json").read_text())
        data["preprocess"]["height"] = 160
        (folder / "model.json").write_text(json.dumps(data))
        assert load(f"dir:{folder}", device="cpu").fingerprint != nano.fingerprint
        return
    with pytest.raises(MissingError, match=r"nano\.safetensors"):
        load(f"dir:{folder}", device="cpu")


def test_no_home_is_an_error_and_never_a_shared_folder(monkeypatch):
    for name in ("VESALIUS_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(store.Path, "home", classmethod(lambda _: (_ for _ in ()).throw(RuntimeError("no home"))))
    with pytest.raises(UsageError, match="VESALIUS_HOME"):
        store.home()
    monkeypatch.undo()
    for name in ("VESALIUS_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(UsageError, match="no place"):
        store.home()
