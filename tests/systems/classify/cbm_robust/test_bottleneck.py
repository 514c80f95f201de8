"""The bottleneck's scores and head against plain arithmetic and scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from tests.tolerance import close
from vesalius.errors import UsageError
from vesalius.systems.classify.cbm_robust.fitting import fit_sparse, open_bottleneck, train_bottleneck


def data(n=120, d=12, k=5):
    g = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(n, d, generator=g), dim=1)
    t = torch.nn.functional.normalize(torch.randn(k, d, generator=g), dim=1)
    return x, t, (x @ t[0] > 0).long().numpy()


def test_scores_are_standardised_on_the_training_set_only():
    x, t, _ = data()
    net = open_bottleneck(x[:80], t, 2)
    z = net.scores(x[:80])
    close(z.mean(0), torch.zeros(5), scale=1)
    close(z.std(0, correction=0), torch.ones(5))
    raw = (x @ t.T).numpy()
    expected = (raw[80:] - raw[:80].mean(0)) / raw[:80].std(0)
    close(net.scores(x[80:]).numpy(), expected)


def test_a_score_that_never_varies_says_nothing():
    x, t, _ = data()
    t[2] = 0
    z = open_bottleneck(x, t, 2).scores(x)
    assert torch.isfinite(z).all()
    assert (z[:, 2] == 0).all()


def test_largest_cell_counts():
    x, t, _ = data()
    net = open_bottleneck(x, t, 2)
    cells = x[:12].view(3, 4, 12)
    expected = torch.stack([torch.stack([cells[i] @ t[k] for k in range(5)], 1).max(0).values for i in range(3)])
    close(net.raw(cells), expected)


def test_training_moves_the_head_alone():
    x, t, y = data()
    net = train_bottleneck(x, y, t, 2, 400, 0)
    close(net.texts, t)
    assert [n for n, _ in net.named_parameters()] == ["head.weight", "head.bias"]
    assert (net(net.scores(x)).argmax(1).numpy() == y).mean() > 0.9


@pytest.mark.parametrize("classes", [2, 3])
def test_sparse_head_gives_the_probabilities_of_the_reference(classes):
    from sklearn.linear_model import LogisticRegression

    x, t, y = data()
    y = np.asarray(y if classes == 2 else (x @ t[:3].T).argmax(1))
    net = open_bottleneck(x, t, classes)
    z = net.scores(x)
    used = fit_sparse(net, z, y, 0.02, l1_ratio=1.0)
    assert 0 < used <= 5
    if classes == 2:
        ref = LogisticRegression(penalty="l1", solver="liblinear", C=1 / (0.02 * len(y)), intercept_scaling=1e4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # versions of scikit-learn disagree on how a penalty is named
            ref.fit(z.numpy(), y)
        np.testing.assert_allclose(
            net(z).softmax(1)[:, 1].detach().numpy(), ref.predict_proba(z.numpy())[:, 1], atol=5e-3
        )


def test_strength_must_be_above_zero():
    x, t, y = data()
    net = open_bottleneck(x, t, 2)
    with pytest.raises(UsageError):
        fit_sparse(net, net.scores(x), y, 0.0)
