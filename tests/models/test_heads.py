"""Heads on vectors whose truth is known: no leak between patients, exact operating points, the same anywhere."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tests.tolerance import FLOAT32, close
from vesalius.cases import Case, Image, Label
from vesalius.cases.targets import guess_task, target_value
from vesalius.errors import BadInputError, MissingError, UsageError, VesaliusError
from vesalius.models.calibrators import Calibrator, fit_calibrator, probabilities
from vesalius.models.fitting import fit, fit_vectors, mean_by_case
from vesalius.models.heads import Head
from vesalius.models.probes import KNN_TAU, Neighbours, draw_shots, fit_probe


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def separable(n=60, dim=16, classes=2, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    centre = np.eye(classes, dim)
    return unit(centre[y] + noise / np.sqrt(dim) * rng.normal(size=(n, dim))), y


def head_of(x, values, groups=None, **options):
    n = len(x)
    return fit_vectors(
        x,
        values,
        ids=[f"c{i}" for i in range(n)],
        groups=groups or [f"p{i}" for i in range(n)],
        target="t",
        model="toy",
        fingerprint="f" * 64,
        **options,
    )


@pytest.mark.parametrize("kind", ["logistic", "prototype", "knn"])
@pytest.mark.parametrize("classes", [2, 3])
def test_separable_classes_are_learned(kind, classes):
    x, y = separable(classes=classes)
    head = head_of(x, [int(v) for v in y], kind=kind)
    truth = y == 1
    # The figure reported is that of the held-out probabilities, by scikit-learn's count.
    measures = [m for m in head.evaluation.measures if m.name == "auroc" and m.about == "1"]
    assert measures[0].value == pytest.approx(roc_auc_score(truth, head.held_out[:, 1]))
    assert measures[0].value > 0.95
    fresh, truth = separable(classes=classes, seed=1)
    p = head.predict_vectors(fresh)
    close(p.sum(1), 1)
    assert (p.argmax(1) == truth).mean() > 0.9
    assert head.classes == tuple(str(c) for c in range(classes))


def test_noise_is_not_learned():
    rng = np.random.default_rng(5)
    head = head_of(unit(rng.normal(size=(80, 16))), list(rng.permutation(np.arange(80) % 2)))
    interval = head.evaluation["auroc"]
    assert interval.low < 0.5 < interval.high


@pytest.mark.parametrize("kind", ["logistic", "knn", "prototype"])
def test_knowing_the_patient_does_not_help(kind):
    """Labels drawn per patient, vectors that name the patient: by case it looks perfect, by patient it is chance."""
    rng = np.random.default_rng(11)
    patients, visits = 40, 4
    who = np.repeat(np.arange(patients), visits)
    label = rng.permutation(np.arange(patients) % 2)[who]
    centre = rng.normal(size=(patients, 64))
    x = unit(centre[who] + 0.05 * rng.normal(size=(len(who), 64)))
    order = rng.permutation(len(who))
    x, who, label = x[order], who[order], label[order]
    leaky = head_of(x, [int(v) for v in label], kind=kind)
    honest = head_of(x, [int(v) for v in label], [f"p{w}" for w in who], kind=kind)
    if kind != "prototype":
        assert leaky.evaluation["auroc"].value > 0.9  # the trap is real
    interval = honest.evaluation["auroc"]
    assert interval.low < 0.5
    assert honest.evaluation["auroc"].value < 0.7
    assert honest.evaluation.patients == patients


RELOAD = """
import json, sys
import numpy as np
from vesalius.models.heads import Head
head = Head.load(sys.argv[1])
x = np.load(sys.argv[2])
out = {"p": head.predict_vectors(x).tobytes().hex()}
out["one"] = b"".join(head.predict_vectors(x[i : i + 1]).tobytes() for i in range(len(x))).hex()
if head.task == "classification":
    again = head.operating_point(sensitivity=0.9)
    out["point"] = head.points["screen"].to_dict() == again.to_dict()
    y, score = head.held_out_scores()
    stored = head.points["screen"]
    called = stored.apply(score)
    out["counts"] = [int(called[y == 1].sum()), int((~called)[y == 0].sum())]
    out["threshold"] = stored.threshold.hex()
print(json.dumps(out))
"""


@pytest.mark.parametrize(
    ("kind", "calibration"),
    [("logistic", "temperature"), ("logistic", "isotonic"), ("knn", "temperature"), ("prototype", "none")],
)
def test_a_head_is_the_same_in_another_process(tmp_path, kind, calibration):
    x, y = separable(noise=2.5, dim=48)
    head = head_of(x, [int(v) for v in y], kind=kind, calibration=calibration)
    point = head.operating_point(sensitivity=0.9)
    head = head.with_point("screen", point)
    head.save(tmp_path / "head")
    fresh = separable(n=33, noise=2.5, dim=48, seed=9)[0]
    np.save(tmp_path / "x.npy", fresh)
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, str(tmp_path / "head"), str(tmp_path / "x.npy")],
        check=True,
        capture_output=True,
        text=True,
    )
    got = json.loads(done.stdout)
    here = head.predict_vectors(fresh)
    assert got["p"] == here.tobytes().hex()
    assert got["one"] == here.tobytes().hex()
    truth, score = head.held_out_scores()
    called = score >= point.threshold
    assert got["point"] is True
    assert got["threshold"] == point.threshold.hex()
    assert got["counts"] == [int(called[truth == 1].sum()), int((~called)[truth == 0].sum())]
    assert called[truth == 1].mean() >= 0.9
    assert point.sensitivity.value == called[truth == 1].mean()
    assert Head.load(tmp_path / "head").to_dict() == head.to_dict()


@pytest.mark.parametrize("kind", ["logistic", "knn", "prototype", "ridge"])
@pytest.mark.parametrize("dim", [7, 384])
def test_predictions_do_not_depend_on_the_batch(kind, dim):
    x, y = separable(n=40, dim=dim, noise=2.0)
    values = [float(v) + i / 100 for i, v in enumerate(y)] if kind == "ridge" else [int(v) for v in y]
    head = head_of(x, values, kind=kind)
    whole = head.predict_vectors(x)
    for size in (1, 2, 3, 17):
        parts = np.concatenate([head.predict_vectors(x[i : i + size]) for i in range(0, len(x), size)])
        assert parts.tobytes() == whole.tobytes()
    # Nor on how the array lies in memory.
    assert head.predict_vectors(np.asfortranarray(x)).tobytes() == whole.tobytes()
    assert head.predict_vectors(np.repeat(x, 2, axis=1)[:, ::2]).tobytes() == whole.tobytes()


def test_knn_votes_as_written():
    x, y = separable(n=20, classes=3, noise=1.5)
    got = Neighbours(x.astype(float), y, 3, 5).scores(x[:4])
    for row, vector in zip(got, x[:4], strict=True):
        near = sorted(range(20), key=lambda i: -float(x[i].astype(float) @ vector.astype(float)))[:5]
        weights = [np.exp((float(x[i].astype(float) @ vector.astype(float)) - 1) / KNN_TAU) for i in near]
        doubt = np.mean(weights)
        votes = [sum(w for w, i in zip(weights, near, strict=True) if y[i] == c) for c in range(3)]
        share = [(v + doubt / 3) / (sum(weights) + doubt) for v in votes]
        close(np.exp(row), share)


def test_prototypes_are_class_means():
    x, y = separable(classes=3)
    probe = fit_probe("prototype", x.astype(float), y, [str(i) for i in range(len(y))], classes=3)
    for c in range(3):
        mean = x[y == c].astype(float).mean(0)
        close(probe.scores(x)[:, c], 10 * x @ (mean / np.linalg.norm(mean)))


def test_regression_finds_a_line():
    rng = np.random.default_rng(3)
    x = unit(rng.normal(size=(120, 8)))
    value = 50 + 20 * x[:, 0] + 0.5 * rng.normal(size=120)
    head = head_of(x, [float(v) for v in value])
    assert (head.task, head.kind) == ("regression", "ridge")
    assert head.evaluation["mae"].value == pytest.approx(np.abs(head.held_out[:, 0] - value).mean())
    assert head.evaluation["mae"].value < 1 < head.evaluation["mae_of_the_mean"].value
    assert head.evaluation["r2"].value > 0.9
    assert np.corrcoef(head.predict_vectors(x)[:, 0], value)[0, 1] > 0.98
    with pytest.raises(UsageError, match="needs classes"):
        head.operating_point(sensitivity=0.9)


# --- calibration ---


@pytest.mark.parametrize("kind", ["temperature", "isotonic"])
@pytest.mark.parametrize("classes", [2, 3])
def test_calibration_tames_overconfidence(kind, classes):
    rng = np.random.default_rng(2)
    true = rng.normal(size=(600, classes))
    y = np.asarray([rng.choice(classes, p=p) for p in probabilities(true)])
    loud = 6 * true
    fitted = fit_calibrator(kind, loud[:400], y[:400])
    before = log_loss(y[400:], probabilities(loud[400:]))
    shown = np.clip(fitted(loud[400:]), 1e-6, None)
    after = log_loss(y[400:], shown / shown.sum(1, keepdims=True))
    assert after < before
    close(fitted(loud).sum(1), 1)
    if kind == "temperature":
        assert fitted.temperature == pytest.approx(6, rel=0.25)
        for scores in (loud, true, 0.1 * true):  # on its own data it never does worse than leaving scores alone
            own = fit_calibrator(kind, scores, y)
            assert log_loss(y, own(scores)) <= log_loss(y, probabilities(scores)) + 1e-6
    assert Calibrator.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


def test_isotonic_is_monotone():
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(200, 2))
    y = (rng.random(200) < probabilities(scores)[:, 1]).astype(int)
    fitted = fit_calibrator("isotonic", scores, y)
    grid = np.stack([np.zeros(500), np.linspace(-9, 9, 500)], 1)
    p = fitted(grid)
    assert (np.diff(p[:, 1]) >= -1e-12).all()
    close(p.sum(1), 1)
    assert ((p >= 0) & (p <= 1)).all()


def test_no_calibration_leaves_the_softmax():
    scores = np.asarray([[0.0, 1.0], [2.0, 2.0]])
    close(fit_calibrator("none", scores, np.asarray([0, 1]))(scores), [[0.2689414, 0.7310586], [0.5, 0.5]])


# --- refusals ---


def test_one_class_is_refused():
    x, _ = separable()
    with pytest.raises(BadInputError, match="only one class"):
        head_of(x, [1] * len(x))


def test_one_patient_of_a_class_is_refused():
    x, y = separable(n=20)
    groups = [f"p{i}" if v == 0 else "same" for i, v in enumerate(y)]
    with pytest.raises(BadInputError, match="too few patients"):
        head_of(x, [int(v) for v in y], groups)


@pytest.mark.parametrize("seed", range(40))
def test_mixed_patients_fit_or_are_named(seed):
    """Patients with several classes can leave a training fold without one: that is handled, never a crash."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 30))
    groups = [f"p{p}" for p in rng.integers(0, 6, n)]
    values = [str(v) for v in rng.choice(4, n, p=[0.6, 0.2, 0.1, 0.1])]
    try:
        head = head_of(unit(rng.normal(size=(n, 6))), values, groups, kind="prototype")
    except VesaliusError as error:
        assert "class" in str(error)  # noqa: PT017 # either outcome is right, and a refusal must name the cause
    else:
        assert head.held_out.shape == (n, len(set(values)))


def test_a_class_hidden_in_one_fold():
    # Both patients of class C also have a rarer class, and the fold of the big patient pushes them together.
    rows = [("p1", "A"), *[("p1", "C")] * 5, ("p2", "B"), *[("p2", "C")] * 5, ("p3", "A"), ("p4", "B")]
    rows += [("p5", "A"), *[("p5", "D")] * 20, ("p6", "D")]
    x = unit(np.random.default_rng(0).normal(size=(len(rows), 6)))
    for seed in range(10):
        try:
            head_of(x, [v for _, v in rows], [g for g, _ in rows], seed=seed, kind="prototype")
        except VesaliusError as error:
            assert "class" in str(error)  # noqa: PT017 # see above


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"folds": 1}, UsageError),
        ({"kind": "ridge"}, UsageError),
        ({"kind": "logistic", "task": "regression"}, UsageError),
        ({"calibration": "platt"}, BadInputError),
        ({"kind": "forest"}, UsageError),
    ],
)
def test_options_that_do_not_fit_are_refused(options, error):
    x, y = separable(n=20)
    with pytest.raises(error):
        head_of(x, [int(v) for v in y], **options)


def test_words_are_no_numbers():
    x, _ = separable(n=20)
    with pytest.raises(BadInputError, match="not a number"):
        head_of(x, ["old", "young"] * 10, task="regression")


def test_one_and_one_point_zero_are_one_class():
    x, y = separable(n=20)
    head = head_of(x, [float(v) if i < 10 else int(v) for i, v in enumerate(y)])
    assert head.classes == ("0", "1")


def test_the_positive_class_must_be_clear():
    x, y = separable(classes=3)
    head = head_of(x, ["abc"[v] for v in y])
    with pytest.raises(UsageError, match="which class"):
        head.operating_point(sensitivity=0.9)
    with pytest.raises(UsageError, match="no such class"):
        head.operating_point(sensitivity=0.9, positive="d")
    assert head.operating_point(specificity=0.9, positive="b").specificity.value >= 0.9


def test_evidence_is_never_of_the_same_patient():
    x, y = separable(n=30)
    groups = [f"p{i // 3}" for i in range(30)]
    head = head_of(x, [int(v) for v in y], groups)
    for i in range(30):
        assert head.evidence(x[i])[0].id == f"c{i}"
        found = head.evidence(x[i], k=30, exclude_group=groups[i])
        assert len(found) == 27
        assert not {e.id for e in found} & {f"c{j}" for j in range(30) if groups[j] == groups[i]}
        similarity = [e.similarity for e in found]
        assert similarity == sorted(similarity, reverse=True)
        assert similarity[0] == pytest.approx(max(float(x[i] @ x[int(e.id[1:])]) for e in found), rel=FLOAT32)
        assert all(e.value == str(y[int(e.id[1:])]) for e in found)


# --- storing ---


def test_a_head_is_not_overwritten_and_its_files_belong_together(tmp_path):
    x, y = separable(n=20)
    a, b = (head_of(x, [int(v) for v in y], kind=k) for k in ("logistic", "prototype"))
    a.save(tmp_path / "a")
    b.save(tmp_path / "b")
    with pytest.raises(UsageError, match="overwrite"):
        a.save(tmp_path / "a")
    (tmp_path / "b/head.safetensors").replace(tmp_path / "a/head.safetensors")
    with pytest.raises(BadInputError, match="not the one"):
        Head.load(tmp_path / "a")
    with pytest.raises(BadInputError):
        Head.load(tmp_path / "b")
    with pytest.raises(MissingError):
        Head.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', "[" * 100_000, '{"schema": 2}'])
def test_a_broken_head_is_refused(tmp_path, text):
    (tmp_path / "head.json").write_text(text)
    (tmp_path / "head.safetensors").write_bytes(b"")
    with pytest.raises(BadInputError):
        Head.load(tmp_path)


# --- from cases ---


class Toy:
    """An embedder whose vector of an image is its first row."""

    name, fingerprint, dim, scale = "toy", "f" * 64, 4, 10.0

    def embed(self, images):
        return unit(np.stack([i.pixels()[0] for i in images]).astype(np.float64))

    def embed_text(self, texts):
        self.asked = [*getattr(self, "asked", []), *texts]
        return unit(np.stack([np.random.default_rng(list(t.encode())).normal(size=4) for t in texts]))


def _case(i, vector, **fields):
    images = tuple(Image(array=np.tile(np.asarray(v, float), (2, 1)), modality="CT") for v in vector)
    return Case(f"c{i}", patient=f"p{i}", images=images, **fields)


def test_fit_takes_cases_and_refuses_another_embedder():
    rng = np.random.default_rng(0)
    cases = [
        _case(
            i,
            [np.eye(4)[i % 2] + 0.1 * rng.normal(size=4)] * (1 + i % 3),
            labels={"Effusion": i % 2},
            attributes={"age": 30.0 + i},
        )
        for i in range(24)
    ]
    cases += [Case("no image", labels={"Effusion": 1}), _case(99, [[1, 0, 0, 0]], labels={"Effusion": -1})]
    toy = Toy()
    head = fit(cases, "effusion", model=toy)
    assert head.evaluation["auroc"].value == 1
    assert head.evaluation.n == 24
    assert fit(cases, "effusion", model=toy, shots=4).evaluation.counts == {"0": 4, "1": 4}
    assert fit(cases, "age", model=toy).task == "regression"
    images = [c.images[0] for c in cases[:5]]
    close(head.predict_proba(images, toy), head.predict_vectors(toy.embed(images)))
    other = Toy()
    other.fingerprint = "e" * 64
    with pytest.raises(BadInputError, match="another model"):
        head.predict_proba(images, other)
    with pytest.raises(BadInputError, match="no case has a usable value"):
        fit(cases, "colour", model=toy)
    with pytest.raises(UsageError, match="shots"):
        fit(cases, "effusion", model=toy, shots=0)


def test_target_values():
    case = _case(0, [[1, 0, 0, 0]], labels={"A": 1, "B": -1, "C": None, "T": Label(-1, "Cel")}, attributes={"sex": "F"})
    assert [target_value(case, t) for t in ("a", "b", "c", "T", "sex", "modality", "view", "x")] == [
        1, None, None, -1, "F", "CT", None, None,
    ]  # fmt: skip
    assert guess_task([1, 0, 1]) == "classification"
    assert guess_task(list(range(11))) == "regression"
    assert guess_task([str(i) for i in range(11)]) == "classification"


def test_shots_are_drawn_by_seed_from_each_class():
    values = ["a"] * 50 + ["b"] * 3
    drawn = draw_shots(values, 5, 0)
    assert [values[i] for i in drawn] == ["a"] * 5 + ["b"] * 3
    assert drawn == draw_shots(values, 5, 0) != draw_shots(values, 5, 1)


def test_case_vectors_are_means_and_never_nan():
    v = unit(np.asarray([[1.0, 0], [0, 1], [1, 1]]))
    got = mean_by_case(["a", "b", "a"], v, ["b", "a"])
    want = v[0] + v[2]
    close(got, [[0, 1], want / np.linalg.norm(want)])
    with pytest.raises(BadInputError, match="unusable"):
        mean_by_case(["a", "a"], np.asarray([[1, 0], [-1, 0]], np.float32), ["a"])


def test_zero_shot_asks_each_prompt_once_and_order_does_not_matter():
    from vesalius.models.zeroshot import zero_shot

    toy = Toy()
    labels = ["melanoma", "benign mole", "normal"]
    made = zero_shot(toy, labels, modality="DMS", body_part="skin")
    prompts = [p for label in labels for p in made.prompts[label]]
    assert toy.asked == prompts  # once, however many images follow
    x = unit(np.random.default_rng(0).normal(size=(9, 4)))
    p = made.predict_vectors(x)
    assert toy.asked == prompts
    close(p.sum(1), 1)
    # By hand: softmax of scale times cosine with the mean prompt of each class.
    mean = [toy.embed_text(made.prompts[label]).astype(float).mean(0) for label in labels]
    e = np.exp(10 * np.stack([x @ (m / np.linalg.norm(m)) for m in mean], 1))
    close(p, e / e.sum(1, keepdims=True))
    back = zero_shot(toy, labels[::-1], modality="DMS", body_part="skin").predict_vectors(x)
    close(back[:, ::-1], p)
    own = zero_shot(toy, labels, prompts={"normal": ["nothing here"]})
    assert own.prompts["normal"] == ("nothing here",)
    for wrong in (["one"], ["a", "a"], []):
        with pytest.raises(UsageError):
            zero_shot(toy, wrong)
