"""`vesalius data get|import|validate|stats|deid|split|convert|phantom|layouts`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from vesalius.cases import Case, CaseSet, Image
from vesalius.cases.caseset import CASES_FILE
from vesalius.cli.common import Run, add_flags
from vesalius.errors import ExitCode, UsageError, VesaliusError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    importing = actions.add_parser("import", help="read scans or a public data set into a case set")
    importing.add_argument("source", type=Path, help="file, folder, DICOMDIR, archive or data set")
    importing.add_argument("--to", type=Path, required=True, help="folder of the new case set")
    importing.add_argument("--layout", default="", help="layout of SRC (default: found out; see `data layouts`)")
    importing.add_argument("--link", action="store_true", help="point at the files instead of copying their pixels")
    add_flags(importing, "--workers", "--limit", "--dry-run")
    getting = actions.add_parser("get", help="fetch a MedMNIST or MedMNIST+ archive (needs --online)")
    getting.add_argument("name", help="pathmnist, chestmnist, organmnist3d ...")
    getting.add_argument("--to", type=Path, required=True, help="folder for the archive; read it with `data import`")
    getting.add_argument("--size", type=int, default=28, help="edge: 28, 64, 128, 224, in 3-d 28, 64 (default: 28)")
    add_flags(getting, "--online", "--dry-run")
    validating = actions.add_parser("validate", help="what is wrong with a case set")
    validating.add_argument("source", type=Path, help="folder of a case set")
    validating.add_argument("--pixels", action="store_true", help="also read every image")
    validating.add_argument("--schema", action="store_true", help="print the JSON schema of a case and stop")
    add_flags(validating, "--limit")
    stats = actions.add_parser("stats", help="counts of cases, patients, modalities, labels")
    stats.add_argument("source", type=Path, help="a file, a folder, a case set or a data set")
    stats.add_argument("--layout", default="", help="layout of SRC (default: found out)")
    add_flags(stats, "--workers", "--limit")
    deid = actions.add_parser("deid", help="de-identify DICOM files (PS3.15 Annex E basic profile)")
    deid.add_argument("source", type=Path, help="a DICOM file or a folder of them")
    deid.add_argument("--to", type=Path, required=True, help="folder of the de-identified files")
    deid.add_argument("--key-file", type=Path, help="file with the secret that new UIDs and date shifts come from")
    deid.add_argument("--ocr", action="store_true", help="look for burned-in text (needs the ocr extra)")
    deid.add_argument(
        "--allow-burned-in",
        action="store_true",
        help="also write files that may hold burned-in text (named in the report)",
    )
    add_flags(deid, "--limit", "--dry-run")
    splitting = actions.add_parser("split", help="divide a case set by patient")
    splitting.add_argument("source", type=Path, help="a case set or a data set")
    splitting.add_argument("--to", type=Path, required=True, help="folder for the parts, one case set each")
    splitting.add_argument("--parts", default="train=0.7,val=0.1,test=0.2", help="default: train=0.7,val=0.1,test=0.2")
    splitting.add_argument("--stratify", help="label to spread evenly")
    add_flags(splitting, "--seed", "--limit", "--dry-run")
    converting = actions.add_parser("convert", help="write a case set in a public layout")
    converting.add_argument("source", type=Path, help="a case set or a data set")
    converting.add_argument("--to", type=Path, required=True, help="folder of the result")
    converting.add_argument("--as", dest="layout_out", required=True, help="layout to write; see `data layouts`")
    converting.add_argument("--label", help="which label is the class (folder-per-class, medmnist)")
    converting.add_argument("--layout", default="", help="layout of SRC (default: found out)")
    add_flags(converting, "--workers", "--limit")
    phantom = actions.add_parser("phantom", help="draw cases whose whole truth is known")
    phantom.add_argument("--to", type=Path, required=True, help="folder of the new case set")
    phantom.add_argument("--n", type=int, required=True, help="how many cases")
    phantom.add_argument("--config", type=Path, help="JSON or TOML with the dials; see docs/explanation/phantom.md")
    phantom.add_argument("--studies", help="kinds of study, separated by commas (default: the configuration's)")
    add_flags(phantom, "--seed", "--workers", "--dry-run")
    layouts = actions.add_parser("layouts", help="the layouts that can be read and written")
    add_flags(layouts)


def run(options: argparse.Namespace, run: Run) -> None:
    """Do one of the actions."""
    _ACTIONS[options.action](options, run)


def _import(options: argparse.Namespace, run: Run) -> None:
    from vesalius.cli.sources import open_cases

    if (options.to / CASES_FILE).exists():
        raise UsageError("will not overwrite a case set", item=str(options.to), fix="choose another folder")
    cases = open_cases(options.source, options, run, layout=options.layout)
    if options.source.is_dir() and "layout" not in run.facts:
        run.note(f"{options.source}: read as plain files, not as a data set; see `vesalius data layouts`")
    if options.dry_run:
        run.result = cases.stats()
        _say_stats(run, run.result)
        return
    if options.link:
        written = cases.write(options.to, copy_images=False)
    else:
        written = CaseSet(lambda: _held(cases, run)).write(options.to)
    run.result = written.stats()
    run.say(f"case set written to {options.to}")
    _say_stats(run, run.result)


def _held(cases: CaseSet, run: Run) -> Iterator[Case]:
    """Cases with their pixels in memory, one at a time, decoded in a bounded child; a bad one costs itself alone."""
    from vesalius.io.pixels import with_pixels
    from vesalius.io.pool.pool import DecodePool

    with DecodePool(run.options.workers or 1) as pool:
        for case in run.progress(cases, what="reading"):
            images: list[Image] = []
            for _, result in pool.map(with_pixels, case.images):
                if isinstance(result, VesaliusError):
                    run.refuse(case.id, result)
                    break
                images.append(result)
            else:
                yield case.replace(images=tuple(images))


def _get(options: argparse.Namespace, run: Run) -> None:
    from vesalius.sources.layouts import medmnist_get

    file = medmnist_get.file_name(options.name, options.size)
    run.result = {"file": str(options.to / file), "md5": medmnist_get.sums()[options.name][options.size]}
    if options.dry_run:
        run.say(f"would fetch {medmnist_get.RECORD}/{file} to {options.to / file}")
        return
    target = medmnist_get.get(options.name, options.to, size=options.size, online=run.online)
    run.say(f"{target} is there, and its sum is right")


def _validate(options: argparse.Namespace, run: Run) -> None:
    from vesalius.cases.validate import schema, validate

    if options.schema:
        run.result = schema()
        run.say(json.dumps(schema(), indent=1))
        return
    faults = list(validate(CaseSet.read(options.source).limit(options.limit), pixels=options.pixels))
    run.result = {"faults": [f.to_dict() for f in faults]}
    for fault in faults:
        run.say(f"{fault.severity}: {fault.case}: {fault.what}")
    errors = sum(f.severity == "error" for f in faults)
    run.say(f"{errors} error(s), {len(faults) - errors} warning(s)")
    if errors:
        run.exit_code = ExitCode.BAD_INPUT


def _stats(options: argparse.Namespace, run: Run) -> None:
    from vesalius.cli.sources import open_cases

    run.result = open_cases(options.source, options, run, layout=options.layout).stats()
    _say_stats(run, run.result)


def _deid(options: argparse.Namespace, run: Run) -> None:
    from vesalius.cli.deid import deidentify_folder

    deidentify_folder(options, run)


def _split(options: argparse.Namespace, run: Run) -> None:
    from vesalius.cli.sources import open_cases

    shares: dict[str, float] = {}
    for part in options.parts.split(","):
        name, _, share = part.partition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError:
            raise UsageError("cannot read --parts", item=part, fix="write train=0.7,val=0.1,test=0.2") from None
        if not name.strip().replace("-", "").replace("_", "").isalnum():
            raise UsageError("not a name for a part", item=name)
    cases = open_cases(options.source, options, run)
    divided = cases.split(shares, seed=options.seed, stratify=options.stratify)
    run.result = {name: part.stats() for name, part in divided.items()}
    for name, part in divided.items():
        counts = run.result[name]
        run.say(f"{name}: {counts['cases']} cases of {counts['patients']} patients")
        if options.stratify and options.stratify in counts["labels"]:
            run.say(f"  {options.stratify}: {counts['labels'][options.stratify]}")
        if not options.dry_run and counts["cases"]:
            part.map(partial(_in_split, name)).write(options.to / name, copy_images=False)


def _in_split(name: str, case: Case) -> Case:
    return case.replace(source=dataclasses.replace(case.source, split=name))


def _convert(options: argparse.Namespace, run: Run) -> None:
    from vesalius.cli.sources import open_cases
    from vesalius.sources.layouts.convert import convert

    cases = open_cases(options.source, options, run, layout=options.layout)
    extra = {"label": options.label} if options.label else {}
    report = convert(cases, options.layout_out, options.to, **extra)
    run.result = report.to_dict()
    run.say(f"{report.written} cases written as {options.layout_out} to {options.to}")
    for what, why, count in report.lost:
        run.say(f"  left out: {what} ({count}): {why}")
    for item, why in report.refused:
        run.refuse(item, why)


def _phantom(options: argparse.Namespace, run: Run) -> None:
    from vesalius.io.pool.pool import default_workers
    from vesalius.sources.phantom import Phantom, PhantomConfig

    if options.n < 1:
        raise UsageError("number is too small", item=f"--n {options.n}", fix="give 1 or more")
    config = PhantomConfig.read(options.config) if options.config else PhantomConfig()
    config = config.replace(seed=options.seed)
    if options.studies:
        names = [s.strip() for s in options.studies.split(",") if s.strip()]
        config = config.replace(studies=dict.fromkeys(names, 1.0))
    if options.dry_run:
        run.result = config.to_dict()
        run.say(config.to_toml())
        return
    workers = default_workers() if options.workers is None else options.workers
    cases = Phantom(config).cases(options.n, workers=workers)
    drawn = CaseSet(lambda: run.progress(cases, total=options.n, what="drawing"))
    run.result = drawn.write(options.to).stats()
    run.facts["config"] = config.to_dict()
    run.say(f"{options.n} phantom cases written to {options.to}")
    _say_stats(run, run.result)


def _layouts(_options: argparse.Namespace, run: Run) -> None:
    from vesalius.sources.layouts.registry import layouts

    run.result = [{"name": i.name, "title": i.title, "written": bool(i.writer), "url": i.url} for i in layouts()]
    rows = [(r["name"], "read, write" if r["written"] else "read", r["title"]) for r in run.result]
    run.table(rows, ("layout", "can be", "what"))


def _say_stats(run: Run, stats: dict[str, Any]) -> None:
    keys = ("cases", "patients", "images", "regions", "questions", "reports", "with_prior")
    run.say("  ".join(f"{k.replace('_', ' ')} {stats[k]}" for k in keys))
    for key in ("modality", "kind"):
        run.say(f"{key}: {', '.join(f'{k} {v}' for k, v in stats[key].items())}")
    for name, values in stats["labels"].items():
        run.say(f"  {name}: {', '.join(f'{k} {v}' for k, v in values.items())}")


_ACTIONS = {
    "get": _get,
    "import": _import,
    "validate": _validate,
    "stats": _stats,
    "deid": _deid,
    "split": _split,
    "convert": _convert,
    "layouts": _layouts,
    "phantom": _phantom,
}
