"""Each dial has the strength it is set to, within a binomial interval."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom, pearsonr

from vesalius.cases import Case, Mask
from vesalius.sources.phantom import Phantom, PhantomConfig, Reader, Shortcut, Subgroup
from vesalius.sources.phantom.catalogue import FINDINGS, STUDIES
from vesalius.sources.phantom.dials import DEGRADATIONS, degrade
from vesalius.sources.phantom.patients import course, locate, make_patient
from vesalius.sources.phantom.reports import PLURALS

SMALL = {"studies": {"dermoscopy": 1.0}, "size": 32, "questions": False}


def within(k: int, n: int, p: float) -> bool:
    """Whether k of n is inside the central 99.99 % of the binomial distribution."""
    return bool(binom.ppf(5e-5, n, p) <= k <= binom.ppf(1 - 5e-5, n, p))


def states(config: PhantomConfig, n: int, visit: int = 0) -> list[tuple[object, object]]:
    step = config.visits[1]
    out = []
    for i in range(visit, n * step, step):
        first, v = locate(config, i)
        patient, explained = make_patient(config, first)
        out.append((patient, course(config, patient, explained, v)[-1]))
    return out


@pytest.mark.parametrize("visit", [0, 3])
def test_prevalence_is_what_was_set_at_the_first_and_at_later_visits(visit: int) -> None:
    config = PhantomConfig(seed=1, studies={"chest_film": 1}, prevalence={"nodule": 0.1, "mass": 0.7}, visits=(4, 4))
    seen = states(config, 1200, visit)
    count = Counter(f.name for _, s in seen for f in s.findings)  # type: ignore[attr-defined]
    for name in STUDIES["chest_film"].findings:
        p = {"nodule": 0.1, "mass": 0.7}.get(name, FINDINGS[name].prevalence)
        assert within(count[name], len(seen), p), (name, count[name])


def test_a_subgroup_has_its_own_prevalence() -> None:
    config = PhantomConfig(seed=2, studies={"oct": 1}, subgroups=(Subgroup("sex", "F", prevalence=0.4),))
    seen = states(config, 1500)
    for sex, factor in (("F", 0.4), ("M", 1.0)):
        group = [s for p, s in seen if p.sex == sex]  # type: ignore[attr-defined]
        k = sum(any(f.name == "subretinal fluid" for f in s.findings) for s in group)  # type: ignore[attr-defined]
        assert within(k, len(group), 0.3 * factor)


def test_growth_and_shrinking_are_equally_common() -> None:
    config = PhantomConfig(seed=3, studies={"chest_film": 1}, visits=(4, 4))
    for visit in (1, 3):
        change = Counter(f.change for _, s in states(config, 1000, visit) for f in s.findings)  # type: ignore[attr-defined]
        n = change["larger"] + change["smaller"]
        assert within(change["larger"], n, 0.5)
        assert within(change["unchanged"], n + change["unchanged"], 1 / 3)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_polygenic_vector_explains_its_share(share: float) -> None:
    config = PhantomConfig(seed=4, studies={"ct": 1}, risk_polygenic=share, risk_ehr=0.0, prevalence={"nodule": 0.5})
    seen = states(config, 2400)
    x = np.asarray([p.polygenic for p, _ in seen])  # type: ignore[attr-defined]
    y = np.asarray([any(f.name == "nodule" for f in s.findings) for _, s in seen], float)  # type: ignore[attr-defined]
    half = len(x) // 2
    w, *_ = np.linalg.lstsq(x[:half], y[:half] - y[:half].mean(), rcond=None)
    r, p = pearsonr(x[half:] @ w, y[half:])
    # A threshold at the median turns a liability correlation rho into rho * sqrt(2 / pi) with the label.
    if share:
        assert r == pytest.approx(np.sqrt(share * 2 / np.pi), abs=0.07)
    else:
        assert p > 1e-4


def test_the_record_table_explains_some_risk() -> None:
    seen = states(
        PhantomConfig(seed=5, studies={"ct": 1}, risk_ehr=0.5, risk_polygenic=0, prevalence={"nodule": 0.5}), 2000
    )
    names = ("bmi", "systolic_bp", "hba1c", "ldl", "creatinine", "crp", "smoker")
    x = np.asarray([[float(p.ehr[k]) for k in names] + [p.age] for p, _ in seen])  # type: ignore[attr-defined]
    y = np.asarray([any(f.name == "nodule" for f in s.findings) for _, s in seen], float)  # type: ignore[attr-defined]
    x = (x - x.mean(0)) / x.std(0)
    w, *_ = np.linalg.lstsq(x[:1000], y[:1000] - y[:1000].mean(), rcond=None)
    assert pearsonr(x[1000:] @ w, y[1000:])[0] > 0.35


@pytest.mark.parametrize("correlation", [0.8, 0.0, -1.0])
def test_a_planted_shortcut_goes_along_with_its_finding_as_set(correlation: float) -> None:
    config = PhantomConfig(
        seed=6, **SMALL, shortcut=Shortcut("melanoma", "marker", correlation), prevalence={"melanoma": 0.5}, degraded=0
    )  # type: ignore[arg-type]
    cases = list(Phantom(config).cases(160))
    for value in (0, 1):
        group = [c for c in cases if c.label("melanoma") == value]
        k = sum(bool(c.attributes["shortcut"]) for c in group)
        rate = (1 + correlation) / 2 if value else (1 - correlation) / 2
        assert within(k, len(group), rate)
    for c in cases:
        marked = [r for r in c.regions if r.granularity == "shortcut"]
        assert bool(marked) == c.attributes["shortcut"]
        white = bool((c.images[0].pixels()[1:3, 1:3] == 255).all())
        assert white == c.attributes["shortcut"]


@pytest.mark.parametrize("kind", ["marker", "tube", "token", "border"])
@pytest.mark.parametrize("study", ["chest_film", "ct", "panoramic", "fundus"])
def test_shortcuts_change_only_their_box(kind: str, study: str) -> None:
    common = {"seed": 7, "studies": {study: 1.0}, "size": 64, "size_3d": 24, "degraded": 0.0, "questions": False}
    name = STUDIES[study].findings[0]
    plain = Phantom(PhantomConfig.from_dict(common)).case(0)
    rate = 1.0 if plain.label(name) == 1 else -1.0
    marked = Phantom(
        PhantomConfig.from_dict({**common, "shortcut": {"finding": name, "kind": kind, "correlation": rate}})
    ).case(0)
    changed = plain.images[0].pixels() != marked.images[0].pixels()
    assert changed.any()
    box = next(r.geometry for r in marked.regions if r.granularity == "shortcut")
    flat = changed.any(-1) if study == "fundus" else changed.any(0) if study == "ct" else changed
    rows, cols = np.nonzero(flat)
    assert rows.min() >= box.y0  # type: ignore[union-attr]
    assert cols.min() >= box.x0  # type: ignore[union-attr]
    assert rows.max() < box.y1  # type: ignore[union-attr]
    assert cols.max() < box.x1  # type: ignore[union-attr]


def test_label_noise_flips_the_set_share_and_keeps_the_truth() -> None:
    cases = list(Phantom(PhantomConfig(seed=8, **SMALL, label_noise=0.2)).cases(150))  # type: ignore[arg-type]
    names = STUDIES["dermoscopy"].findings
    flips = sum(c.label(n) != c.label(f"true/{n}") for c in cases for n in names)
    assert within(flips, len(cases) * len(names), 0.2)
    clean = list(Phantom(PhantomConfig(seed=8, **SMALL)).cases(150))  # type: ignore[arg-type]
    assert [c.label(f"true/{n}") for c in cases for n in names] == [c.label(n) for c in clean for n in names]


def test_degraded_images_are_graded_and_change_more_with_the_grade() -> None:
    cases = list(Phantom(PhantomConfig(seed=9, **SMALL, degraded=0.5)).cases(200))  # type: ignore[arg-type]
    clean = Phantom(PhantomConfig(seed=9, **SMALL, degraded=0.0))  # type: ignore[arg-type]
    bad = [c for c in cases if c.attributes["quality_grade"]]
    assert within(len(bad), len(cases), 0.5)
    for c in cases:
        reference = clean.case(int(c.id.split("-")[-1])).images[0].pixels().astype(float)
        change = float(np.abs(c.images[0].pixels() - reference).mean())
        assert (change > 0) == (int(c.attributes["quality_grade"] or 0) > 0)
    film = Phantom(seed=9, studies={"chest_film": 1.0}, size=64, degraded=0.0).case(0).images[0].pixels()
    for kind in DEGRADATIONS:
        change = [
            float(np.abs(degrade(film, kind, g, np.random.default_rng(0), colour=False) - film.astype(float)).mean())
            for g in (1, 2, 3)
        ]
        assert 0 < change[0] < change[1] < change[2], kind


def test_missing_images_and_record_values_are_missing_as_often_as_set() -> None:
    common = {"seed": 10, "studies": {"body_mr": 1.0}, "size_3d": 16, "questions": False}
    cases = list(Phantom(PhantomConfig.from_dict({**common, "missing": 0.5, "missing_ehr": 0.25})).cases(80))
    # Both gone (one is put back) or one gone: three quarters of two-image studies are left with one.
    assert within(sum(len(c.images) == 1 for c in cases), len(cases), 0.75)
    values = [v for c in cases for k, v in c.attributes.items() if k.startswith("ehr_")]
    assert within(sum(v is None for v in values), len(values), 0.25)
    for c in cases:
        assert all(r.image < len(c.images) for r in c.regions)
        assert any(r.label == "liver" for r in c.regions)


def test_readers_have_their_skill_and_bias() -> None:
    readers = (Reader("good", 0.95), Reader("wide", 0.9, 3.0), Reader("poor", 0.6))
    config = PhantomConfig.from_dict({**SMALL, "size": 64, "seed": 11, "prevalence": {"melanoma": 1.0}})
    cases = list(Phantom(config.replace(readers=readers)).cases(120))
    names = STUDIES["dermoscopy"].findings
    for reader in readers:
        right = sum(c.label(f"{n}@{reader.name}") == c.label(n) for c in cases for n in names)
        assert within(right, len(cases) * len(names), reader.skill)
    dice: dict[str, list[float]] = {r.name: [] for r in readers}
    growth = []
    for c in cases:
        own = {r.annotator: r.geometry for r in c.regions if r.label == "melanoma" and isinstance(r.geometry, Mask)}
        true = own[""].to_array()
        for r in readers:
            if r.name in own:
                a = own[r.name].to_array()
                dice[r.name].append(2 * (a & true).sum() / (a.sum() + true.sum()))
        if "wide" in own:
            growth.append(own["wide"].area / own[""].area)
    assert within(len(dice["poor"]), len(cases), 0.6)
    assert np.mean(dice["good"]) > np.mean(dice["poor"]) + 0.005
    assert np.mean(growth) > 1.05


def test_difficulty_lowers_the_contrast_of_findings() -> None:
    """The same lesion at the same place stands out less from its surround."""

    def contrast(difficulty: float) -> float:
        config = PhantomConfig.from_dict(
            {
                "seed": 12,
                "studies": {"ultrasound": 1},
                "size": 64,
                "difficulty": difficulty,
                "degraded": 0,
                "prevalence": {"simple cyst": 1},
            }
        )
        out = []
        for c in Phantom(config).cases(12):
            m = next(
                r.geometry for r in c.regions if r.label == "simple cyst" and isinstance(r.geometry, Mask)
            ).to_array()
            a = c.images[0].pixels().astype(float)
            out.append(abs(a[m].mean() - a[~m].mean()))
        return float(np.mean(out))

    assert contrast(0.0) > 1.2 * contrast(1.0)


def test_devices_differ_when_shifted_and_not_otherwise() -> None:
    def spread(shift: float) -> float:
        config = PhantomConfig.from_dict({**SMALL, "seed": 13, "sites": 4, "device_shift": shift, "degraded": 0.0})
        by_site: dict[object, list[float]] = {}
        cases: list[Case] = list(Phantom(config).cases(80))
        for c in cases:
            by_site.setdefault(c.attributes["site"], []).append(float(c.images[0].pixels().mean()))
        return float(np.std([np.mean(v) for v in by_site.values()]))

    assert spread(1.0) > 2 * spread(0.0)


def test_names_that_are_plurals_are_in_the_catalogue() -> None:
    assert set(FINDINGS) >= PLURALS


def cyst_contrast(case: Case) -> float:
    """How far the echo inside a cyst is from its surround's, in grey values."""
    m = next(r.geometry for r in case.regions if r.label == "simple cyst" and isinstance(r.geometry, Mask)).to_array()
    a = case.images[0].pixels().astype(float)
    return float(abs(a[m].mean() - a[~m].mean()))


CYSTS = {
    "seed": 14,
    "studies": {"ultrasound": 1},
    "size": 64,
    "degraded": 0,
    "prevalence": {"simple cyst": 1.0},
    "questions": False,
    "sites": 4,
    "device_shift": 0.0,
}


@pytest.mark.parametrize(
    ("attribute", "value"), [("site", "site-B"), ("age_group", "old"), ("device", "device-B"), ("sex", "F")]
)
def test_a_subgroup_has_its_own_contrast_and_others_keep_theirs(attribute: str, value: str) -> None:
    """The same case drawn with and without the dial: its findings are fainter in the group, and equal outside it."""
    plain = Phantom(PhantomConfig.from_dict(CYSTS))
    group = {"attribute": attribute, "value": value, "contrast": 0.4}
    faint = Phantom(PhantomConfig.from_dict({**CYSTS, "subgroups": [group]}))
    inside, outside = [], 0
    for i in range(24):
        a, b = plain.case(i), faint.case(i)
        if a.attributes[attribute] == value:
            inside.append(cyst_contrast(b) / cyst_contrast(a))
        else:
            assert np.array_equal(a.images[0].pixels(), b.images[0].pixels())
            outside += 1
    assert len(inside) > 2
    assert outside > 2 or attribute == "sex"
    assert np.mean(inside) < 0.75


def test_a_subgroup_of_contrast_zero_has_invisible_findings() -> None:
    group = {"attribute": "sex", "value": "F", "contrast": 0.0}
    config = {**CYSTS, "studies": {"oct": 1}, "prevalence": {"intraretinal fluid": 1.0, "subretinal fluid": 0.0}}
    config |= {"prevalence_scale": 1.0}
    shown, hidden = (Phantom(PhantomConfig.from_dict({**config, "subgroups": g})) for g in ([], [group]))
    for i in range(10):
        a, b = shown.case(i), hidden.case(i)
        m = next(r.geometry for r in a.regions if r.label == "intraretinal fluid" and isinstance(r.geometry, Mask))
        inside = [float(c.images[0].pixels()[m.to_array()].mean()) for c in (a, b)]
        if a.attributes["sex"] == "F":
            # Not quite: a cyst keeps a tenth, so that a mask is never drawn over nothing at all.
            assert inside[1] > 1.5 * inside[0]
        else:
            assert inside[0] == inside[1]


def test_prevalence_scale_multiplies_every_prevalence() -> None:
    for scale in (0.0, 0.5, 1.5):
        seen = states(PhantomConfig(seed=15, studies={"endoscopy": 1}, prevalence_scale=scale), 800)
        count = Counter(f.name for _, s in seen for f in s.findings)  # type: ignore[attr-defined]
        for name in STUDIES["endoscopy"].findings:
            assert within(count[name], len(seen), scale * FINDINGS[name].prevalence), (name, scale)


def test_difficulty_raises_the_noise() -> None:
    def roughness(difficulty: float) -> float:
        config = {"seed": 16, "studies": {"brain_mr": 1}, "size_3d": 24, "degraded": 0, "questions": False}
        case = Phantom(PhantomConfig.from_dict({**config, "difficulty": difficulty, "prevalence_scale": 0.0})).case(0)
        a = case.images[0].pixels().astype(float)
        # The corners hold air, where there is nothing but noise.
        return float(a[:3, :3, :3].mean())

    assert roughness(1.0) > 1.8 * roughness(0.0)


def test_doubt_is_as_common_as_set_and_reaches_report_and_label() -> None:
    config = PhantomConfig.from_dict({**SMALL, "seed": 17, "uncertain": 0.4, "prevalence_scale": 1.5})
    seen = [f for _, s in states(config, 500) for f in s.findings]  # type: ignore[attr-defined]
    assert within(sum(f.certainty == "possible" for f in seen), len(seen), 0.4)
    for i in range(40):
        plain = Phantom(config).case(i)
        case = Phantom(config.replace(uncertain_labels=True)).case(i)
        assert case.report == plain.report
        for name in STUDIES["dermoscopy"].findings:
            certain = {r.attributes["certainty"] for r in case.regions if r.attributes.get("finding") == name}
            want = {frozenset(): 0, frozenset({"definite"}): 1, frozenset({"possible"}): -1}[frozenset(certain)]
            assert case.label(name) == want
            assert plain.label(name) == abs(want)


def test_views_laterals_and_languages_are_as_common_as_set() -> None:
    config = {"seed": 18, "studies": {"chest_film": 1}, "size": 32, "size_3d": 16, "questions": False}
    config |= {"views": ("PA", "AP", "AP", "AP"), "lateral": 0.3, "languages": ("en", "zh")}
    cases = list(Phantom(PhantomConfig.from_dict(config)).cases(120))
    assert within(sum(c.images[0].view == "AP" for c in cases), len(cases), 0.75)
    assert within(sum(c.images[-1].view == "LATERAL" for c in cases), len(cases), 0.3)
    reports = [c.report for c in cases if c.report is not None]
    assert within(sum(r.language == "zh" for r in reports), len(cases), 0.5)
    for c, r in zip(cases, reports, strict=True):
        assert all(i.view in r.technique for i in c.images)
    for view in ("PA", "AP"):
        only = Phantom(PhantomConfig.from_dict({**config, "views": (view,)}))
        assert {only.case(i).images[0].view for i in range(5)} == {view}


def test_visits_and_gaps_stay_in_their_range_and_every_number_of_visits_occurs() -> None:
    config = PhantomConfig.from_dict({**SMALL, "seed": 19, "visits": (1, 4), "gap_days": (30.0, 90.0)})
    visits: Counter[int] = Counter()
    gaps = []
    for i in range(400):
        first, visit = locate(config, i)
        visits[first] += 1
        if visit:
            patient, explained = make_patient(config, first)
            days = [s.days for s in course(config, patient, explained, visit)]
            gaps.append(days[-1] - days[-2])
    assert min(gaps) >= 29.9
    assert max(gaps) <= 90.1
    # Log-uniform: half of the gaps are below the geometric mean.
    assert within(sum(g < np.sqrt(30 * 90) for g in gaps), len(gaps), 0.5)
    assert set(visits.values()) == {1, 2, 3, 4}


def test_treatment_goes_along_with_improvement() -> None:
    config = PhantomConfig(seed=20, studies={"chest_film": 1}, visits=(2, 2))
    better: dict[bool, list[bool]] = {True: [], False: []}
    for _, s in states(config, 800, 1):
        improved = bool(s.resolved) or any(f.change == "smaller" for f in s.findings)  # type: ignore[attr-defined]
        better[s.treated].append(improved)  # type: ignore[attr-defined]
    assert np.mean(better[True]) > np.mean(better[False]) + 0.3


def test_studies_have_their_shares_and_sites_their_number() -> None:
    config = PhantomConfig(seed=21, studies={"ct": 3.0, "oct": 1.0, "blood": 0.0}, sites=5)
    seen = [make_patient(config, i)[0] for i in range(600)]
    count = Counter(p.study for p in seen)
    assert within(count["ct"], 600, 0.75)
    assert within(count["oct"], 600, 0.25)
    assert {p.site for p in seen} == {f"site-{c}" for c in "ABCDE"}
    assert len({p.device.name for p in seen}) == 5


def test_what_is_written_can_be_chosen() -> None:
    config = PhantomConfig.from_dict({**SMALL, "seed": 22, "prevalence": {"melanoma": 1.0}})
    for kinds in (("mask",), ("box", "point"), ("mask", "box", "point")):
        case = Phantom(config.replace(geometries=kinds)).case(0)
        assert {type(r.geometry).__name__.lower() for r in case.regions} == set(kinds)
    bare = Phantom(config.replace(organs=False, polygenic=0)).case(0)
    granularities = [
        {r.granularity for r in Phantom(c).case(0).regions} for c in (config, config.replace(organs=False))
    ]
    assert granularities[0] - granularities[1] == {"organ"}
    assert not any(k.startswith("prs_") for k in bare.attributes)
    full = Phantom(config.replace(polygenic=5, questions=True)).case(0)
    assert sum(k.startswith("prs_") for k in full.attributes) == 5
    assert full.questions
    assert not bare.questions
