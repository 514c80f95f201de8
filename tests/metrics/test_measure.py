import json
import math

import numpy as np
import pytest

from vesalius.errors import BadInputError
from vesalius.metrics.measure import Measure
from vesalius.metrics.statistics.bootstrap import bootstrap_mean
from vesalius.metrics.statistics.inference import delong


def test_a_line_says_name_value_interval_unit_and_what_it_rests_on():
    full = Measure(3.25, 2.5, 4.0, 0.9, "t", 12, 1, "mae", "left", "mm", False)
    assert str(full) == "mae (left) 3.250 [2.500, 4.000] mm, n = 12 of 1 patient"
    assert str(Measure(0.5)) == "0.500"
    assert f"{full:.1f}" == "3.2 [2.5, 4.0]"
    assert f"{Measure(0.5):.0%}" == "50%"


def test_plain_data_come_back_as_they_were():
    some = Measure(0.2, 0.1, 0.4, 0.95, "wilson", 20, 18, "auroc", "yes", higher_is_better=True, definition="area")
    for measure in (some, Measure(0.3, n=4), Measure(math.nan)):
        text = json.dumps(measure.to_dict(), allow_nan=False)
        assert Measure.from_dict(json.loads(text)) == measure
    with pytest.raises(BadInputError, match="level"):
        Measure.from_dict({k: v for k, v in some.to_dict().items() if k != "level"})


def test_limits_come_in_pairs_and_in_order():
    for low, high in ((0.1, math.nan), (math.nan, 0.1), (0.4, 0.1)):
        with pytest.raises(BadInputError, match="interval"):
            Measure(0.2, low, high)
    assert 0.2 in Measure(0.2, 0.1, 0.4)
    assert 0.5 not in Measure(0.2, 0.1, 0.4)
    assert 0.2 not in Measure(0.2)
    assert math.isnan(Measure(0.2).width)


def test_records_that_add_to_it_are_plain_data_without_what_they_add():
    drawn = bootstrap_mean([0.0, 1.0, 1.0, 1.0], groups=["a", "a", "b", "c"], resamples=50)
    assert (drawn.n, drawn.patients, float(drawn)) == (4, 3, 0.75)
    assert Measure.from_dict(drawn.to_dict()) == drawn.named("")
    area = delong([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.8])
    assert set(area.to_dict()) == set(Measure(0.0).to_dict())
    assert area.moved(-0.5).low == pytest.approx(area.low - 0.5)
    assert np.asarray([area], dtype=float) == pytest.approx([0.75])
