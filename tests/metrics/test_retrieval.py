from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics import retrieval


def relevance(seed, queries=5, n=20, graded=False):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 4, (queries, n)).astype(float) if graded else (rng.random((queries, n)) < 0.3).astype(float)
    rows[:, rng.integers(0, n)] = 1
    return rows


@given(st.integers(0, 10**6), st.integers(1, 25))
def test_binary_metrics_equal_torchmetrics(seed, k):
    torch = pytest.importorskip("torch")
    from torchmetrics.functional import retrieval as tm

    rows = relevance(seed)
    order = torch.arange(20, 0, -1).float()
    peers = {
        "precision_at_k": lambda t: tm.retrieval_precision(order, t, top_k=k),
        "recall_at_k": lambda t: tm.retrieval_recall(order, t, top_k=k),
        "hit_at_k": lambda t: tm.retrieval_hit_rate(order, t, top_k=k),
    }
    for name, peer in peers.items():
        if name == "precision_at_k" and k > 20:
            continue  # the peer lowers k to the number of candidates
        expected = np.mean([float(peer(torch.tensor(row > 0))) for row in rows])
        assert getattr(retrieval, name)(list(rows), k) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    mrr = np.mean([float(tm.retrieval_reciprocal_rank(order, torch.tensor(row > 0))) for row in rows])
    assert retrieval.mean_reciprocal_rank(list(rows)) == pytest.approx(mrr, rel=1e-6, abs=1e-6)


@given(st.integers(0, 10**6), st.integers(1, 25))
def test_map_and_ndcg_equal_scikit_learn(seed, k):
    rows = relevance(seed)
    order = np.arange(20, 0, -1)
    expected = np.mean([sk.average_precision_score(row, order) for row in rows])
    assert retrieval.mean_average_precision(list(rows)) == pytest.approx(expected)
    graded = relevance(seed, graded=True)
    expected = sk.ndcg_score(graded, np.tile(order, (5, 1)), k=k)
    assert retrieval.ndcg(list(graded), k) == pytest.approx(expected)
    expected = sk.ndcg_score(2**graded - 1, np.tile(order, (5, 1)))
    assert retrieval.ndcg(list(graded), gain="exponential") == pytest.approx(expected)


def test_hand_worked_ranking():
    row = [0, 1, 0, 1, 1]
    assert retrieval.mean_average_precision([row]) == pytest.approx((1 / 2 + 2 / 4 + 3 / 5) / 3)
    assert retrieval.mean_average_precision([row], k=2) == pytest.approx((1 / 2) / 2)
    assert retrieval.precision_at_k([row], 10) == pytest.approx(0.3)
    assert retrieval.mean_reciprocal_rank([row]) == 0.5


@given(st.integers(0, 10**6))
def test_ranking_equals_brute_force_without_the_patient(seed):
    rng = np.random.default_rng(seed)
    similarity = rng.normal(size=(6, 15)).round(1)
    ql, gl = rng.integers(0, 3, 6), np.r_[0, 1, 2, rng.integers(0, 3, 12)]
    qp, gp = rng.integers(0, 4, 6), np.r_[9, 9, 9, rng.integers(0, 4, 12)]
    ranked = retrieval.rank(similarity, ql, gl, qp, gp)
    for row, got in zip(ranked.query, ranked.relevance, strict=True):
        order = sorted((j for j in range(15) if gp[j] != qp[row]), key=lambda j: (-similarity[row, j], j))
        assert got.tolist() == [float(gl[j] == ql[row]) for j in order]
    assert len(ranked) + len(ranked.without) == 6


def test_the_same_patient_never_counts():
    similarity = np.array([[9.0, 1.0, 2.0]])
    assert retrieval.evaluate(similarity, ["a"], ["a", "a", "b"], resamples=0).value["precision@1"].value == 1.0
    report = retrieval.evaluate(similarity, ["a"], ["a", "a", "b"], ["p1"], ["p1", "p2", "p3"], resamples=0)
    assert report.value["precision@1"].value == 0.0
    assert report.value["mrr"].value == 0.5
    with pytest.raises(BadInputError, match="no query can be measured"):
        retrieval.rank(similarity, ["a"], ["a", "b", "b"], ["p1"], ["p1", "p2", "p3"])


def test_findings_are_graded_by_overlap_and_broken_down():
    query = np.array([[1, 1, 0], [0, 0, 1]])
    gallery = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]])
    ranked = retrieval.rank([[3, 2, 1], [3, 2, 1]], query, gallery)
    assert ranked.relevance[0].tolist() == [0.5, 1.0, 0.0]
    assert ranked.without.tolist() == [1]
    report = retrieval.evaluate(
        [[3, 2, 1], [3, 2, 1]], query, gallery, findings=["x", "y", "z"], ks=(1,), resamples=200
    )
    assert set(report.per_finding) == {"x", "y"}
    assert report.per_finding["x"].value["precision@1"].value == 1.0
    assert report.per_finding["y"].value["precision@1"].value == 0.0
    assert (report.n, report.without) == (1, 1)
    assert json.loads(json.dumps(report.to_dict()))["per_finding"]["x"]["n"] == 1


def test_intervals_draw_patients_whole():
    rng = np.random.default_rng(0)
    similarity = rng.normal(size=(60, 200))
    ql, gl = rng.integers(0, 2, 60), rng.integers(0, 2, 200)
    report = retrieval.evaluate(similarity, ql, gl, list(range(60)), list(range(100, 300)))
    assert report.value["precision@10"].method.endswith("clustered")
    assert report.value["precision@10"].value in report.value["precision@10"]
    assert 0.5 in report.value["precision@10"]


def test_unusable_rankings_are_errors():
    with pytest.raises(BadInputError, match="no relevant"):
        retrieval.precision_at_k([[0, 0]], 1)
    with pytest.raises(BadInputError, match="k is 0"):
        retrieval.precision_at_k([[0, 1]], 0)
    with pytest.raises(BadInputError, match="no query"):
        retrieval.mean_reciprocal_rank([])
    with pytest.raises(BadInputError, match="one side"):
        retrieval.rank([[1.0]], ["a"], ["a"], ["p"])
    with pytest.raises(BadInputError, match="NaN"):
        retrieval.rank([[np.nan]], ["a"], ["a"])
    with pytest.raises(BadInputError, match="length"):
        retrieval.rank([[1.0, 2.0]], ["a"], ["a"])
    with pytest.raises(BadInputError, match="compare labels"):
        retrieval.rank([[1.0]], [[1, 0]], ["a"])
    with pytest.raises(UsageError):
        retrieval.ndcg([[1, 0]], gain="cubic")
