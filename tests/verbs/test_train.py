"""`vesalius train NAME`: settings of a system, a chat server on this machine, and a folder that other verbs take."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vesalius.cases import CaseSet
from vesalius.systems import open_system


class Chat(BaseHTTPRequestHandler):
    """Answers every question with three phrases, one of which a bottleneck must not use."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        text = "Features:\n1. blunted costophrenic angle\n2. elderly patient\n3. homogeneous white opacity\n"
        body = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def films(tmp_path):
    CaseSet(open_system("cbm-robust").example(24, 101)).write(tmp_path / "films")
    return tmp_path / "films"


def test_concepts_from_a_chat_server_make_a_classifier_that_audit_takes(films, tmp_path, run, run_json):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        code, _, said = run(
            "train", "cbm-robust", "--data", films, "--target", "pleural effusion", "--steps", 5, "--out",
            tmp_path / "model", "--set", f"concepts=openai:http://127.0.0.1:{server.server_port}/v1#any",
        )  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
    assert code == 0, said
    config = json.loads((tmp_path / "model" / "config.json").read_text("utf-8"))
    assert config["concepts"] == ["blunted costophrenic angle", "homogeneous white opacity"]
    code, done = run_json(
        "audit", films, "--target", "pleural effusion", "--model", f"dir:{tmp_path / 'model'}",
        "--sections", "performance",
    )  # fmt: skip
    assert code == 0
    assert done["result"]["n"] == 24


@pytest.mark.parametrize("setting", ["concepts", "concepts=", "colour=red"])
def test_settings_that_a_system_does_not_take(setting, films, tmp_path, run):
    code, _, said = run("train", "cbm-robust", "--data", films, "--out", tmp_path / "m", "--set", setting)
    assert code == 2
    assert "--set" in said or "concepts:" in said


def test_a_unified_model_searches_and_classifies(films, tmp_path, run, run_json):
    code, _, said = run("train", "ptunifier", "--data", films, "--steps", 2, "--out", tmp_path / "model")
    assert code == 0, said
    code, done = run_json(
        "classify", films, "--labels", "pleural effusion,no finding", "--model", f"dir:{tmp_path / 'model'}"
    )
    assert code == 0
    assert len(done["result"]["cases"]) == 24


def test_the_recipe_of_nano_boxes_can_be_read_and_shortened(run_json, tmp_path):
    code, done = run_json(
        "train", "nano-boxes", "--data", tmp_path, "--out", tmp_path / "m", "--steps", "7", "--dry-run"
    )
    assert code == 0
    assert done["result"]["recipe"]["steps"] == 7
    code, done = run_json("train", "nano-boxes", "--data", tmp_path, "--out", tmp_path / "m", "--card-only")
    assert code == 4
    assert "--card-only" in done["fix"]
