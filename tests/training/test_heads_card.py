"""The card says what stands beside the heads, and nothing when there is none."""

from __future__ import annotations

import json

from vesalius.models.nano.detect import FIGURES
from vesalius.training.nano.heads_card import GROUND_FIGURES, SEGMENT_FIGURES, capabilities_of, heads_section


def test_no_heads_no_section(tmp_path):
    assert heads_section(tmp_path) == []
    assert capabilities_of(tmp_path) == ()


def test_figures_come_with_n_and_interval(tmp_path):
    row = {"n": 60, "patients": 19, "mean_iou": [0.77, 0.73, 0.81], "accuracy_50": [0.98, 0.94, 1.0], "mean_box": 0.69}
    held = {
        "ct": {"all": row, "presence": {"auroc": [0.96, 0.94, 0.98]}},
        "covid-cc-by": {"all": row},
        "nih-cxr14": {
            "pleural effusion": {"n": 138, "present": 12, "auroc": [0.63, 0.45, 0.81]},
            "nodule": {"n": 138, "present": 1},
        },
    }
    (tmp_path / GROUND_FIGURES).write_text(json.dumps({"phantoms": 5, "real_cases": 3, "held_out": held}))
    scores = {k: [0.5, 0.4, 0.6] for k in ("name", "box", "click 1", "click 3", "click 5")}
    (tmp_path / SEGMENT_FIGURES).write_text(
        json.dumps({"held_out": {"busi: lesion": {"n": 4, "patients": 2, **scores}}})
    )
    text = "\n".join(heads_section(tmp_path))
    assert "| covid-cc-by | 60 (19) | 0.77 [0.73, 0.81] | 0.98 [0.94, 1.00] | 0.69 | not measured |" in text
    assert text.index("| covid-cc-by") < text.index("| phantom ct")  # real cases first
    assert "pleural effusion 0.63 [0.45, 0.81] (12 of 138)" in text
    assert "nodule" not in text  # one case is no figure
    assert "| busi: lesion | 4 (2) | 0.50 [0.40, 0.60]" in text


def test_boxes_of_every_instance_say_on_which_part_they_were_measured(tmp_path):
    row = {
        "n": 60, "patients": 19, "instances": 120, "iou": [0.77, 0.73, 0.81], "mean_box": 0.69, "ap50": 0.9,
        "count_error": [0.5, 0.4, 0.6], "constant_error": 1.25, "absent": {"n": 20, "called": 3},
    }  # fmt: skip
    names = {"lungs": {"boxes": True, "threshold": 0.3}, "aorta": {"boxes": False, "threshold": 0.3}}
    held = {"aorta": {**row, "n": 4}, "lungs": {**row, "one_box": [0.6, 0.5, 0.7]}}
    figures = {"pictures": 5, "steps": 7, "names": names, "validation": held}
    (tmp_path / FIGURES).write_text(json.dumps(figures))
    text = "\n".join(heads_section(tmp_path))
    line = "| lungs | yes | 60 (19) | 120 | 0.77 [0.73, 0.81] | 0.69 | 0.60 [0.50, 0.70] | 0.90 | 0.50 [0.40, 0.60] "
    assert line + "| 1.25 | 3 of 20 |" in text
    assert text.index("| lungs") < text.index("| aorta | no | 4 (19)")  # most pictures first
    assert "which flatters them" in text
    (tmp_path / FIGURES).write_text(json.dumps({**figures, "held_out": {"aorta": row}}))
    text = "\n".join(heads_section(tmp_path))
    assert "figures on part `test`" in text
    assert "flatters" not in text
    assert "| lungs" not in text


def test_a_head_that_was_trained_again_is_recorded(tmp_path):
    import shutil

    import pytest

    from vesalius.errors import MissingError
    from vesalius.models.nano.head_tower import tower_of
    from vesalius.models.nano.model import Nano
    from vesalius.models.nano.segment import FILE, new_head, save_head
    from vesalius.models.store import SHIPPED
    from vesalius.training.nano.heads_card import record

    folder = tmp_path / "nano"
    shutil.copytree(SHIPPED / "nano", folder)
    save_head(new_head(), folder / FILE, tower_of(folder, Nano(folder)))
    (folder / "run.json").write_text("{}")  # an earlier command with this --out
    with pytest.raises(MissingError, match="SHA-256"):
        Nano(folder)
    before = Nano(SHIPPED / "nano").fingerprint
    record(folder)
    assert Nano(folder).fingerprint == before
    (folder / "run.json").write_text('{"seed": 1}')  # and the command that trained the head
    assert callable(Nano(folder).segment)
