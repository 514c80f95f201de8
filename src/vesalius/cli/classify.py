"""`vesalius classify SRC [--labels A,B | --head DIR]`: probabilities, decisions, evidence, figures against truth."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cli.common import Run, add_flags
from vesalius.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("source", type=Path, help="a file, a folder, a case set or a data set")
    parser.add_argument(
        "--labels", help="class names, separated by commas: zero-shot (default: the classes of --model)"
    )
    parser.add_argument("--head", type=Path, help="folder of a head made by `vesalius fit`")
    parser.add_argument("--modality", help="DICOM code of the images, sharpens the prompts of --labels")
    parser.add_argument("--body-part", help="body part, sharpens the prompts of --labels")
    parser.add_argument("--operating-point", metavar="NAME", help="stored point of --head (default: the first one)")
    parser.add_argument(
        "--evidence", type=int, default=0, metavar="K", help="show K nearest labelled cases (with --head)"
    )
    parser.add_argument("--target", help="label or attribute that holds the truth: adds figures with intervals")
    parser.add_argument("--layout", default="", help="layout of SRC (default: found out; `files` for plain files)")
    parser.add_argument("--plot", action="store_true", help="write a contact sheet into --out")
    add_flags(parser, "--model", "--device", "--workers", "--batch-size", "--limit", "--seed", "--online")


def run(options: argparse.Namespace, run: Run) -> None:
    """Classify every case; a bad one is named and the rest goes on."""
    if options.labels is not None and options.head is not None:
        raise UsageError("classify with which?", fix="give one of --labels and --head, or neither")
    if options.head is None and (options.operating_point or options.evidence):
        raise UsageError("--operating-point and --evidence belong to a head", fix="give --head DIR")
    if options.plot and options.out is None:
        raise UsageError("--plot needs a folder", fix="give --out DIR")
    from vesalius.cases.targets import target_value
    from vesalius.cli.classifying import method
    from vesalius.cli.sources import open_cases

    how = method(options, run)
    head = how.head
    cases = open_cases(options.source, options, run, layout=options.layout)
    results: list[dict[str, Any]] = []
    truth: list[Any] = []
    sheet: list[tuple[npt.NDArray[Any], str]] = []
    for answer in how.answers(cases):
        result: dict[str, Any] = {"id": answer.case.id}
        if head is not None and head.task == "regression":
            result["value"] = float(answer.row[0])
        else:
            result["probabilities"] = {c: float(p) for c, p in zip(how.classes, answer.row, strict=True)}
            result["class"] = how.classes[int(answer.row.argmax())]
        if how.point is not None:
            result["positive"] = bool(how.point.apply(answer.row[how.column]))
        if head is not None and options.evidence:
            near = head.evidence(answer.vector, options.evidence, exclude_group=answer.case.patient)
            result["evidence"] = [e.to_dict() for e in near]
        results.append(result)
        _say(run, result)
        if options.target:
            truth.append((target_value(answer.case, options.target), answer.case.group))
        if options.plot and len(sheet) < 36:
            sheet.append((answer.view(), f"{answer.case.id[-24:]}\n{result.get('class', result.get('value'))}"))
    run.result = {"classes": list(how.classes), "cases": results}
    if options.target:
        run.result["figures"] = _figures(run, results, truth, how.classes, options.target, options.seed)
    if run.out is not None:
        _write(run, results, how.classes)
        if options.plot and sheet:
            from vesalius.render.charts import contact_sheet

            pictures = [np.clip(v.transpose(1, 2, 0), 0, 255).astype(np.uint8) for v, _ in sheet]
            contact_sheet(pictures, [c for _, c in sheet]).savefig(run.out / "contact-sheet.png")


def _say(run: Run, result: dict[str, Any]) -> None:
    if "value" in result:
        run.say(f"{result['id']}  {result['value']:.4g}")
    else:
        top = sorted(result["probabilities"].items(), key=lambda kv: -kv[1])[:3]
        call = "" if "positive" not in result else ("  POSITIVE" if result["positive"] else "  negative")
        run.say(f"{result['id']}  " + "  ".join(f"{c} {p:.3f}" for c, p in top) + call)
    for near in result.get("evidence", ()):
        run.say(f"      like {near['id']} ({near['value']}), cosine {near['similarity']:.3f}")


def _figures(
    run: Run, results: list[dict[str, Any]], truth: list[Any], classes: tuple[str, ...], target: str, seed: int
) -> dict[str, Any]:
    """What the predictions are worth where the truth is known."""
    from vesalius.metrics.evaluation import evaluate_classes, evaluate_numbers

    known = [(r, v, g) for r, (v, g) in zip(results, truth, strict=True) if v is not None]
    if results and "value" in results[0]:
        y = np.asarray([float(v) for _, v, _ in known])
        evaluation = evaluate_numbers(y, np.asarray([r["value"] for r, _, _ in known]), [g for _, _, g in known])
    else:
        lower = [c.lower() for c in classes]
        if len(lower) == 2 and target.lower() in lower:  # a finding and its absence, by name: 1 and 0 in the truth
            one = lower.index(target.lower())
            known = [
                (r, classes[one if str(v) == "1" else 1 - one] if str(v) in ("0", "1") else v, g) for r, v, g in known
            ]
        usable = [(r, lower.index(str(v).lower()), g) for r, v, g in known if str(v).lower() in lower]
        if len({y for _, y, _ in usable}) < 2:
            raise UsageError(
                "cannot measure against the truth",
                why=f"its values ({', '.join(sorted({str(v) for _, v, _ in known})[:6])}) are not two of the classes",
                fix="use the truth's own values as --labels",
            )
        p = np.asarray([[r["probabilities"][c] for c in classes] for r, _, _ in usable])
        y = np.asarray([y for _, y, _ in usable])
        present = sorted(set(y.tolist()))
        remap = {c: i for i, c in enumerate(present)}
        evaluation = evaluate_classes(
            np.asarray([remap[c] for c in y.tolist()]),
            p[:, present] / p[:, present].sum(1, keepdims=True),
            [classes[c] for c in present],
            [g for _, _, g in usable],
            seed=seed,
        )
    run.say(f"against the truth, {evaluation.n} cases of {evaluation.patients} patients:")
    for measure in evaluation.measures:
        run.say(f"  {measure}")
    return evaluation.to_dict()


def _write(run: Run, results: list[dict[str, Any]], classes: tuple[str, ...]) -> None:
    if run.out is None:
        return
    with (run.out / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "class", "positive", "value", *(f"p:{c}" for c in classes)])
        for r in results:
            p = r.get("probabilities", {})
            writer.writerow(
                [_cell(r["id"]), _cell(str(r.get("class", ""))), r.get("positive", ""), r.get("value", "")]
                + [p.get(c, "") for c in classes]
            )
    (run.out / "predictions.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _cell(text: str) -> str:
    """Text that a spreadsheet will not run as a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
