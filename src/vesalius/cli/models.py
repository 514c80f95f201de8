"""`vesalius models list|info|add|get|verify|remove`."""

from __future__ import annotations

import argparse
from pathlib import Path

from vesalius.cli.common import Run, add_flags
from vesalius.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="models in the store")
    listing.add_argument("--capability", default="", help="only models that can do this (embed, text, ...)")
    info = actions.add_parser("info", help="everything about one model, with its card")
    info.add_argument("name", help="name in the store")
    add = actions.add_parser("add", help="copy a model folder or a transformers checkpoint into the store")
    add.add_argument("folder", type=Path, help="folder with all of the model's files")
    add.add_argument("--name", required=True, help="name in the store")
    get = actions.add_parser("get", help="fetch a checkpoint from the Hugging Face hub (needs --online)")
    get.add_argument("repository", help="hf:owner/name, with @revision if wanted")
    get.add_argument("--name", default="", help="name in the store (default: made from the repository)")
    verify = actions.add_parser("verify", help="hash every file of every (or one) model")
    verify.add_argument("name", nargs="?", default="", help="name in the store (default: every model)")
    remove = actions.add_parser("remove", help="delete an added model")
    remove.add_argument("name", help="name in the store")
    for action in (listing, info, add, verify, remove):
        add_flags(action)
    add_flags(get, "--online")


def run(options: argparse.Namespace, run: Run) -> None:
    """Do one of the actions."""
    from vesalius.models import store

    if options.action == "list":
        found = [e for e in store.entries() if not options.capability or options.capability in e.manifest.capabilities]
        run.result = [e.to_dict() for e in found]
        rows = [
            (
                r["name"],
                r["origin"],
                ",".join(r["capabilities"]),
                f"{r['bytes'] / 2**20:.1f} MB",
                r["licence"],
                r["title"],
            )
            for r in run.result
        ]
        run.table(rows, ("name", "origin", "can", "size", "licence", "what"))
        for folder, why in store.broken():
            run.refuse(folder, why)
    elif options.action == "info":
        entry = store.find(options.name)
        card = entry.folder / "card.md"
        run.result = {**entry.to_dict(), "manifest": entry.manifest.to_dict()}
        for key, value in entry.to_dict().items():
            run.say(f"{key:<14} {value}")
        if card.is_file():
            run.say()
            run.say(card.read_text("utf-8"))
    elif options.action == "add":
        entry = store.add(options.folder, options.name)
        run.result = entry.to_dict()
        run.say(f"added {entry.name} ({entry.manifest.fingerprint[:12]})")
    elif options.action == "get":
        repository = options.repository.removeprefix("hf:")
        name = options.name or repository.lower().replace("/", "--").replace("@", "--")
        entry = store.get(repository, name, online=run.online)
        run.result = entry.to_dict()
        run.say(f"got {entry.name} ({entry.manifest.fingerprint[:12]})")
    elif options.action == "verify":
        entries = [store.find(options.name)] if options.name else list(store.entries())
        run.result = {e.name: e.manifest.problems(e.folder) for e in entries}
        for name, problems in run.result.items():
            run.say(f"{name}: {'; '.join(problems) or 'whole'}")
        if any(run.result.values()) or store.broken():
            run.exit_code = ExitCode.MISSING
    elif options.action == "remove":
        store.remove(options.name)
        run.result = {"removed": options.name}
        run.say(f"removed {options.name}")
