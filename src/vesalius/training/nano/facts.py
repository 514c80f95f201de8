"""What is known of a case: its findings, and the kind of its image."""

from __future__ import annotations

from vesalius.cases import Case
from vesalius.text.vocabulary import meaning

#: A label whose absence is a finding of its own, worth captions.
OPPOSITE = {"melanoma": "not melanoma"}


def kind_of(case: Case) -> str:
    """Modality and closest body part of a case's first image, as its set names them."""
    image = case.images[0]
    return f"{image.modality} {image.meta.get('anatomy') or image.body_part}"


def facts_of(case: Case) -> dict[str, bool]:
    """Findings known to be there or not: labels 0/1, classes, cell kinds; uncertain and numeric ones are left out.

    A class says what its name means: `no fracture` denies one, `glioma` is a brain tumour too, `HeadCT` is no finding.
    That the other classes of its set are not there is known to the captions, not to a case.
    """
    facts: dict[str, bool] = {}
    for name, label in case.labels.items():
        if label.unit:
            continue
        if isinstance(label.value, str):
            facts |= meaning(label.value).facts
        elif label.value in (0, 1):
            facts[name] = bool(label.value)
    for region in case.regions:
        # One normal cell does not make a normal smear, and "uncategorised" is no finding.
        if region.granularity == "cell" and region.label not in ("", "normal", "uncategorised"):
            facts[region.label] = True
    for name, opposite in OPPOSITE.items():
        if name in facts:
            facts[opposite] = not facts[name]
    return facts


def case_view(case: Case) -> int:
    """0 for PA, 1 for AP (also supine), -1 for anything else."""
    view = case.images[0].view
    return 1 if view.startswith("AP") else 0 if view == "PA" else -1
