"""Who the patients are, when they come, and what they have at each visit.

Presence follows the liability-threshold model (Falconer 1965): a standard normal liability, of which the polygenic
vector and the record table explain set shares, exceeds the threshold that gives the set prevalence. Between visits a
finding comes and goes as a two-state Markov chain whose stationary share is that prevalence, and its size takes
symmetric steps that are reflected at the ends, so growth and shrinking are equally common at any time.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from vesalius.sources.phantom.catalogue import FINDINGS, STUDIES, FindingSpec
from vesalius.sources.phantom.config import PhantomConfig
from vesalius.sources.phantom.model import Device, Finding, Patient, Scalar
from vesalius.sources.phantom.seeding import stream

_NORMAL = NormalDist()
#: name, mean, standard deviation, digits, lowest value; the latent z behind it is part of the liability.
_TABLE = (
    ("bmi", 26.5, 4.5, 1, 16.0),
    ("systolic_bp", 128.0, 16.0, 0, 85.0),
    ("hba1c", 5.9, 0.9, 1, 4.0),
    ("ldl", 3.1, 0.9, 1, 0.8),
    ("creatinine", 84.0, 20.0, 0, 35.0),
    ("crp", 9.0, 7.0, 1, 0.2),
)
_LATENTS = len(_TABLE) + 2  # and age, smoking


@dataclass(frozen=True)
class State:
    """What is true of one patient at one visit.

    Args:
        days: Since the first visit.
        findings: What is there.
        resolved: Names of what was there at the prior visit and is gone.
        treated: Whether treatment was given since the prior visit.
    """

    days: float
    findings: tuple[Finding, ...]
    resolved: tuple[str, ...]
    treated: bool


def locate(config: PhantomConfig, index: int) -> tuple[int, int]:
    """(patient number, visit number) of a case; a patient's number is the index of its first case."""
    low, high = config.visits
    if low == high:
        return index - index % high, index % high
    block = 4 * high
    start = index - index % block
    rng = stream(config.seed, "visits", start)
    first = start
    while True:
        n = min(int(rng.integers(low, high + 1)), start + block - first)
        # The rest of a block must not be shorter than the fewest visits.
        if 0 < start + block - first - n < low:
            n = start + block - first if start + block - first <= high else n - low
        if index < first + n:
            return first, index - first
        first += n


@functools.lru_cache(maxsize=64)
def make_device(number: int, shift: float) -> Device:
    """The machine of one site: the same for every seed, so that sets of other seeds share their devices."""
    rng = stream(0, "device", number)
    z = rng.uniform(-1, 1, 7) * shift
    tint = 1 + 0.18 * z[4:7]
    return Device(
        name=f"device-{chr(65 + number)}",
        gamma=float(np.exp(0.35 * z[0])),
        noise=float(np.exp(0.7 * z[1])),
        blur=float(max(0.0, 0.9 * z[2])),
        gain=float(np.exp(0.15 * z[3])),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
    )


def make_patient(config: PhantomConfig, number: int) -> tuple[Patient, Mapping[str, float]]:
    """One patient and the explained part of each finding's liability (standard normal parts, weighted)."""
    rng = stream(config.seed, "patient", number)
    names = list(config.studies)
    share = np.asarray([config.studies[n] for n in names], float)
    study = names[int(rng.choice(len(names), p=share / share.sum()))]
    sex = STUDIES[study].sex or ("F" if rng.random() < 0.5 else "M")
    latent = rng.standard_normal(_LATENTS)
    age = float(np.clip(round(55 + 17 * latent[0]), 18, 95))
    ehr: dict[str, Scalar] = {}
    for (name, mean, sd, digits, low), z in zip(_TABLE, latent[2:], strict=True):
        ehr[name] = round(max(low, mean + sd * float(z)), digits)
    bmi = float(ehr["bmi"] or 26.5)
    ehr["smoker"] = bool(latent[1] > 0.6)
    ehr["diabetes"] = bool(float(ehr["hba1c"] or 0) >= 6.5)
    ehr["hypertension"] = bool(float(ehr["systolic_bp"] or 0) >= 140)
    genes = rng.standard_normal(config.polygenic) if config.polygenic else np.zeros(0)
    site = int(rng.integers(config.sites))
    height = float(np.clip(rng.normal(178 if sex == "M" else 165, 6.5), 145, 205))
    for name in list(ehr):
        if rng.random() < config.missing_ehr:
            ehr[name] = None
    patient = Patient(
        number=number,
        study=study,
        sex=sex,
        age=age,
        bmi=bmi,
        height=height,
        site=f"site-{chr(65 + site)}",
        device=make_device(site, config.device_shift),
        ehr=ehr,
        polygenic=tuple(round(float(g), 4) for g in genes),
    )
    explained = {}
    for name in STUDIES[study].findings:
        w_gene, w_ehr = _loads(name, config.polygenic)
        explained[name] = float(np.sqrt(config.risk_ehr) * (w_ehr @ latent))
        if config.polygenic:
            explained[name] += float(np.sqrt(config.risk_polygenic) * (w_gene @ genes))
    return patient, explained


@functools.lru_cache(maxsize=512)
def _loads(name: str, traits: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors: which traits (five of them) and which record values a finding's liability loads on."""
    rng = stream(0, "loads", name)
    ehr = np.abs(rng.standard_normal(_LATENTS))
    gene = np.zeros(traits)
    if traits:
        used = rng.permutation(traits)[:5]
        gene[used] = rng.uniform(0.5, 1.0, len(used)) * rng.choice((-1, 1), len(used))
        gene /= np.linalg.norm(gene)
    return gene, ehr / np.linalg.norm(ehr)


def in_group(patient: Patient, attribute: str, value: str) -> bool:
    """Whether a patient belongs to the group of a `Subgroup`."""
    found = {
        "sex": patient.sex,
        "site": patient.site,
        "device": patient.device.name,
        "age_group": age_group(patient.age),
    }
    return found[attribute] == value


def age_group(age: float) -> str:
    """`young` below 40, `middle` below 65, else `old`."""
    return "young" if age < 40 else "middle" if age < 65 else "old"


def prevalence(config: PhantomConfig, patient: Patient, name: str) -> float:
    """Probability that a finding is present in a patient of this group."""
    p = config.prevalence.get(name, FINDINGS[name].prevalence) * config.prevalence_scale
    for group in config.subgroups:
        if in_group(patient, group.attribute, group.value):
            p *= group.prevalence
    return float(min(1.0, max(0.0, p)))


def contrast(config: PhantomConfig, patient: Patient) -> float:
    """Factor on the contrast of findings: difficulty, and the patient's group."""
    factor = 1.15 - 0.75 * config.difficulty
    for group in config.subgroups:
        if in_group(patient, group.attribute, group.value):
            factor *= group.contrast
    return factor


@dataclass
class _Course:
    present: bool
    score: float


def course(config: PhantomConfig, patient: Patient, explained: Mapping[str, float], visit: int) -> list[State]:
    """The patient's states from the first visit up to `visit`."""
    specs = [FINDINGS[n] for n in STUDIES[patient.study].findings]
    share = {s.name: prevalence(config, patient, s.name) for s in specs}
    rest = config.risk_ehr + (config.risk_polygenic if config.polygenic else 0.0)
    now: dict[str, _Course] = {}
    place: dict[str, tuple[str, str]] = {}
    for s in specs:
        rng = stream(config.seed, "course", patient.number, s.name)
        p = share[s.name]
        liability = explained[s.name] + np.sqrt(1 - rest) * rng.standard_normal()
        present = p >= 1 or (p > 0 and bool(liability > _NORMAL.inv_cdf(1 - p)))
        now[s.name] = _Course(present, float(rng.uniform(0.02, 0.98)))
        place[s.name] = (
            s.sides[int(rng.integers(len(s.sides)))] if s.sides else "",
            s.zones[int(rng.integers(len(s.zones)))] if s.zones else "",
        )
    days, states = 0.0, []
    before: dict[str, Finding] = {}
    for v in range(visit + 1):
        rng = stream(config.seed, "step", patient.number, v)
        if v:
            low, high = config.gap_days
            gap = round(float(np.exp(rng.uniform(np.log(low), np.log(high)))), 1)
            days = round(days + gap, 1)
            better = 0
            for s in specs:
                better += _step(now[s.name], s, share[s.name], gap, rng)
            treated = bool(rng.random() < (0.8 if better > 0 else 0.2))
        else:
            treated = False
        found: dict[str, Finding] = {}
        for s in specs:
            doubt = rng.random()
            if now[s.name].present:
                certainty = "possible" if doubt < config.uncertain else "definite"
                found[s.name] = _finding(s, now[s.name].score, place[s.name], certainty, before.get(s.name), v)
        resolved = tuple(n for n in before if n not in found)
        states.append(State(days, tuple(found.values()), resolved, treated))
        before = found
    return states


def _step(c: _Course, s: FindingSpec, p: float, gap: float, rng: np.random.Generator) -> int:
    """Move one finding over a gap of days; returns 1 when it got better."""
    flip, kind, size = rng.random(), int(rng.integers(3)), float(rng.uniform(0.15, 0.4))
    fresh = float(rng.uniform(0.02, 0.98))
    q = s.turnover * (1 - np.exp(-gap / 120.0))
    if c.present:
        if flip < q * (1 - p):
            c.present = False
            return 1
        if kind == 0:
            return 0
        low, high = 0.02, 0.98
        if s.count is not None and s.size is None:
            # A step must change the number by one at least, or "unchanged" would be said too often.
            size, low, high = max(size, 1.0 / (s.count[1] - s.count[0])), 0.0, 1.0
        move = size if kind == 1 else -size
        if not low <= c.score + move <= high:
            move = -move
        c.score = min(1.0, max(0.0, c.score + move))
        return int(move < 0)
    if flip < q * p:
        c.present, c.score = True, fresh
    return 0


def _finding(
    s: FindingSpec, score: float, place: tuple[str, str], certainty: str, prior: Finding | None, visit: int
) -> Finding:
    size, count = 0.0, 1
    if s.size is not None:
        size = round(float(s.size[0] * (s.size[1] / s.size[0]) ** score), 1)
    if s.count is not None:
        count = round(s.count[0] + (s.count[1] - s.count[0]) * score)
    change = ""
    if visit:
        if prior is None:
            change = "new"
        else:
            old, now = (prior.count, count) if s.count is not None and s.size is None else (prior.score, score)
            change = "unchanged" if now == old else "larger" if now > old else "smaller"
    return Finding(s.name, score, place[0], place[1], size, count, certainty, change)
