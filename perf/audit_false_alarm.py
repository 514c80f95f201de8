"""Does the audit find planted faults, and how often does it cry wolf? An experiment on phantoms, with stored results.

One classifier (logistic regression on 16 x 16 pixels) is trained on a clean phantom set and audited on `sets` fresh
clean sets: dermoscopy, where neither sex nor age nor site changes the picture, no shortcut, one kind of device. Another
is trained and audited on chest films with a planted marker that follows the effusion and with effusions that cannot be
seen in women. (Chest films are no clean sets for this purpose: a man's and a woman's do look different.) Run it with

    python -m perf.audit_false_alarm --sets 20 --out docs/explanation/audit-false-alarm.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from perf.pixel_probe import PixelProbe
from vesalius.audit.run import AuditReport, audit
from vesalius.cases import CaseSet
from vesalius.metrics.statistics.intervals import clopper_pearson
from vesalius.sources.phantom import Phantom, PhantomConfig, Shortcut, Subgroup

TARGET = "melanoma"
BASE = PhantomConfig(
    studies={"dermoscopy": 1.0}, size=64, prevalence={TARGET: 0.5}, device_shift=0.0, degraded=0.0, questions=False,
    organs=False, polygenic=0, risk_polygenic=0.0, risk_ehr=0.0, geometries=("box",),
)  # fmt: skip
PLANTED_TARGET = "pleural effusion"
PLANTED = PhantomConfig(
    studies={"chest_film": 1.0}, size=64, prevalence={PLANTED_TARGET: 0.5}, views=("PA",), device_shift=0.0,
    degraded=0.0, questions=False, organs=False, polygenic=0, risk_polygenic=0.0, risk_ehr=0.0, geometries=("box",),
)  # fmt: skip
SECTIONS = ("performance", "subgroups", "shortcuts")


def draw(config: PhantomConfig, n: int) -> CaseSet:
    phantom = Phantom(config)
    return CaseSet([phantom.case(i) for i in range(n)], name=config.name)


def look(cases: CaseSet, model: PixelProbe, seed: int, alpha: float, target: str = TARGET) -> AuditReport:
    return audit(
        cases, model, target, sections=SECTIONS, seed=seed, alpha=alpha, resamples=500, most_pictures=len(cases)
    )


def summary(report: AuditReport) -> dict[str, Any]:
    return {
        "auroc": round(report.values["performance.auroc"].value, 4),
        "tests": sum(f.p is not None for f in report.findings),
        "smallest_p_adjusted": round(min(f.p_adjusted for f in report.findings if f.p_adjusted is not None), 5),
        "alarms": [f.name for f in report.alarms()],
    }


def clean_sets(which: range, n: int, n_train: int, alpha: float, first_seed: int = 1000) -> list[dict[str, Any]]:
    """Audit fresh sets in which nothing is wrong."""
    model = PixelProbe.train(draw(BASE.replace(name="train", seed=first_seed), n_train), TARGET)
    out = []
    for k in which:
        cases = draw(BASE.replace(name=f"clean{k}", seed=first_seed + 1 + k), n)
        out.append(summary(look(cases, model, k, alpha)))
        print(f"clean set {k}: {out[-1]}", file=sys.stderr, flush=True)
    return out


def planted_sets(n: int, n_train: int, alpha: float, repeats: int, first_seed: int = 1700) -> dict[str, Any]:
    """Audit chest films with a marker that follows the effusion, with effusions unseen in women, and with both."""
    group = (Subgroup("sex", "F", contrast=0.0),)
    marker = Shortcut(PLANTED_TARGET, "marker", 0.5)
    faults: dict[str, dict[str, Any]] = {
        "shortcut_and_group_shift": {"shortcut": marker, "subgroups": group},
        "group_shift": {"subgroups": group},
        "shortcut": {"shortcut": marker},
    }
    out: dict[str, Any] = {}
    for name, fault in faults.items():
        runs = []
        for k in range(repeats):
            config = PLANTED.replace(**fault)
            train = draw(config.replace(name="train", seed=first_seed + 2 * k), n_train)
            model = PixelProbe.train(train, PLANTED_TARGET)
            cases = draw(config.replace(name=name, seed=first_seed + 2 * k + 1), n)
            runs.append(summary(look(cases, model, k, alpha, PLANTED_TARGET)))
            print(f"{name} {k}: {runs[-1]}", file=sys.stderr, flush=True)
        out[name] = {
            "n": n,
            "repeats": repeats,
            "border_alarms": sum("border" in r["alarms"] for r in runs),
            "group_alarms": sum(any("sex" in a for a in r["alarms"]) for r in runs),
            "runs": runs,
        }
    return out


def joined(clean: list[dict[str, Any]], planted: dict[str, Any], n: int, n_train: int, alpha: float) -> dict[str, Any]:
    """The stored record."""
    false = sum(bool(c["alarms"]) for c in clean)
    return {
        "what": "false alarms of the audit on clean phantom sets, and what it says of planted faults",
        "data": "phantom, dermoscopy, 64 px",
        "model": "logistic regression on 16 x 16 pixels",
        "alpha": alpha,
        "n_each": n,
        "n_train": n_train,
        "clean_sets": len(clean),
        "false_alarms": false,
        "false_alarm_rate": false / len(clean),
        "interval": clopper_pearson(false, len(clean)).to_dict(),
        "clean": clean,
        "planted": planted,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=6, help="planted sets of each kind")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--train", type=int, default=500)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    n, n_train, alpha = arguments.n, arguments.train, arguments.alpha
    planted = planted_sets(3 * n, n_train, alpha, arguments.repeats)
    record = joined(clean_sets(range(arguments.sets), n, n_train, alpha), planted, n, n_train, alpha)
    text = json.dumps(record, indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
