"""The eighteen MedMNIST sets: what each shows, its task and the names of its classes, in the order of their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Task = Literal["class", "labels", "grade"]


@dataclass(frozen=True, slots=True)
class MedMnistSet:
    """One set of MedMNIST v2.

    Args:
        modality: DICOM modality code.
        body_part: What is shown.
        classes: Names of the classes, number 0 first.
        task: One class each, several labels each, or an ordered grade.
        view: Plane or projection, where it is the same for all.
        grade: Name of the graded finding.
    """

    modality: str
    body_part: str
    classes: tuple[str, ...]
    task: Task = "class"
    view: str = ""
    grade: str = ""


_ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left", "lung-right",
    "pancreas", "spleen",
)  # fmt: skip

SETS: dict[str, MedMnistSet] = {
    "pathmnist": MedMnistSet(
        "SM",
        "colon",
        (
            "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
            "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
        ),
    ),
    "chestmnist": MedMnistSet(
        "DX",
        "chest",
        (
            "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
            "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia",
        ),
        "labels",
        "FRONTAL",
    ),
    "dermamnist": MedMnistSet(
        "DMS",
        "skin",
        (
            "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions",
            "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions",
        ),
    ),
    "octmnist": MedMnistSet(
        "OPT", "retina", ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal")
    ),
    "pneumoniamnist": MedMnistSet("DX", "chest", ("normal", "pneumonia"), view="FRONTAL"),
    "retinamnist": MedMnistSet("OP", "retina", ("0", "1", "2", "3", "4"), "grade", grade="diabetic retinopathy grade"),
    "breastmnist": MedMnistSet("US", "breast", ("malignant", "normal, benign")),
    "bloodmnist": MedMnistSet(
        "GM",
        "blood",
        (
            "basophil", "eosinophil", "erythroblast",
            "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)", "lymphocyte", "monocyte",
            "neutrophil", "platelet",
        ),
    ),
    "tissuemnist": MedMnistSet(
        "GM",
        "kidney",
        (
            "Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule", "Glomerular endothelial cells",
            "Interstitial endothelial cells", "Leukocytes", "Podocytes", "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ),
    ),
    "organamnist": MedMnistSet("CT", "abdomen", _ORGANS, view="AXIAL"),
    "organcmnist": MedMnistSet("CT", "abdomen", _ORGANS, view="CORONAL"),
    "organsmnist": MedMnistSet("CT", "abdomen", _ORGANS, view="SAGITTAL"),
    "organmnist3d": MedMnistSet(
        "CT",
        "abdomen",
        (
            "liver", "kidney-right", "kidney-left", "femur-right", "femur-left", "bladder", "heart", "lung-right",
            "lung-left", "spleen", "pancreas",
        ),
    ),
    "nodulemnist3d": MedMnistSet("CT", "chest", ("benign", "malignant")),
    "adrenalmnist3d": MedMnistSet("CT", "adrenal gland", ("normal", "hyperplasia")),
    "fracturemnist3d": MedMnistSet(
        "CT", "rib", ("buckle rib fracture", "nondisplaced rib fracture", "displaced rib fracture")
    ),
    "vesselmnist3d": MedMnistSet("MR", "brain", ("vessel", "aneurysm")),
    "synapsemnist3d": MedMnistSet("GM", "brain", ("inhibitory synapse", "excitatory synapse")),
}  # fmt: skip


def set_of(stem: str) -> tuple[str, MedMnistSet | None]:
    """The set a file belongs to by its stem (`organmnist3d_64`), and what is known of it."""
    name = stem.lower()
    base = name.rpartition("_")[0] if name.rpartition("_")[2].isdigit() else name
    return base, SETS.get(base)
