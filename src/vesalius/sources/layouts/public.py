"""The public layouts: data sets in their official form, and the formats that many sets share."""

from __future__ import annotations

from vesalius.sources.layouts.layout import Column, Layout, RegionTable, Rule, Sign
from vesalius.sources.open_sets.readers import NIH_LABELS

CHEXPERT_LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip

HAM_CLASSES = {
    "akiec": "actinic keratosis or intraepithelial carcinoma",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}

_AGE, _SEX = Column("attr:age", "age"), Column("attr:sex", "sex")
_ROOM = "vesalius.sources.layouts"
_WRITE = f"{_ROOM}.writers"
_SKIN = {"modality": "DMS", "body_part": "skin", "granularity": "lesion"}


def _rule(kind: str, glob: str, *names: str) -> Rule:
    return Rule(kind, glob, names)  # type: ignore[arg-type] # the literals below are checked by a test


def _sign(confidence: float, *rules: Rule) -> Sign:
    return Sign(confidence, rules)


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "medmnist",
        "MedMNIST v2 and MedMNIST+ (npz, 2-d and 3-d, all sizes)",
        "CC-BY-4.0 (DermaMNIST CC-BY-NC-4.0)",
        "https://medmnist.com",
        (_sign(0.98, _rule("npz", "*.npz", "train_images.npy", "train_labels.npy", "test_images.npy")),),
        f"{_ROOM}.medmnist:read",
        writer=f"{_ROOM}.medmnist:write",
    ),
    Layout(
        "nih-official",
        "NIH ChestX-ray14, official tables",
        "NIH Clinical Center: free to use, name the provider and cite",
        "https://nihcc.app.box.com/v/ChestXray-NIHCC",
        (_sign(0.98, _rule("columns", "Data_Entry_2017*.csv", "Image Index", "Finding Labels", "Patient ID")),),
        f"{_ROOM}.chest:read_nih_official",
        "Data_Entry_2017*.csv",
        {
            "Image Index": Column("image"),
            "Finding Labels": Column("labels"),
            "Follow-up #": Column("attr:follow_up", "integer"),
            "Patient ID": Column("patient"),
            "Patient Age": _AGE,
            "Patient Gender": _SEX,
            "Patient Sex": _SEX,
            "View Position": Column("view", "view"),
        },
        (
            RegionTable(
                "BBox_List_2017*.csv",
                "Image Index",
                "Finding Label",
                ("Bbox [x", "y", "w", "h]"),
                "xywh",
                "lesion",
                "radiologist",
                rename={"Infiltrate": "Infiltration"},
            ),
        ),
        vocabulary=NIH_LABELS,
        label_source="mined",
        modality="DX",
        body_part="chest",
    ),
    Layout(
        "chexpert",
        "CheXpert (train.csv, valid.csv)",
        "Stanford University dataset research use agreement",
        "https://stanfordmlgroup.github.io/competitions/chexpert/",
        (_sign(0.98, _rule("columns", "*.csv", "Path", "Frontal/Lateral", "AP/PA", "Pleural Effusion")),),
        f"{_ROOM}.chest:read_chexpert",
        "*.csv",
        vocabulary=CHEXPERT_LABELS,
        label_source="report",
        modality="DX",
        body_part="chest",
    ),
    Layout(
        "mimic-cxr-jpg",
        "MIMIC-CXR-JPG, with the reports of MIMIC-CXR where they are beside",
        "PhysioNet credentialed health data license",
        "https://physionet.org/content/mimic-cxr-jpg/",
        (
            _sign(0.98, _rule("columns", "*metadata.csv*", "dicom_id", "subject_id", "study_id", "ViewPosition")),
            _sign(0.9, _rule("columns", "*chexpert.csv*", "subject_id", "study_id", "Pleural Effusion")),
        ),
        f"{_ROOM}.chest:read_mimic",
        "*metadata.csv*",
        vocabulary=CHEXPERT_LABELS,
        label_source="report",
        modality="DX",
        body_part="chest",
    ),
    Layout(
        "vqa-rad",
        "VQA-RAD (JSON with its image folder)",
        "CC0-1.0",
        "https://osf.io/89kps/",
        (_sign(0.97, _rule("json", "*.json", "image_name", "qid", "question", "answer", "phrase_type")),),
        f"{_ROOM}.vqa:read_vqa_rad",
    ),
    Layout(
        "slake",
        "SLAKE (English and Chinese, boxes, masks)",
        "CC-BY-SA-4.0",
        "https://www.med-vqa.com/slake/",
        (_sign(0.98, _rule("json", "*.json", "img_name", "q_lang", "question", "answer")),),
        f"{_ROOM}.vqa:read_slake",
        granularity="organ",
    ),
    Layout(
        "llava",
        "LLaVA conversations (JSON or JSON lines)",
        url="https://github.com/haotian-liu/LLaVA/blob/main/docs/Finetune_Custom_Data.md",
        signs=(_sign(0.95, _rule("json", "*.json*", "conversations", "from", "value")),),
        reader=f"{_ROOM}.vqa:read_llava",
        writer=f"{_WRITE}:write_llava",
    ),
    Layout(
        "ham10000",
        "HAM10000",
        "CC-BY-NC-4.0",
        "https://doi.org/10.7910/DVN/DBW86T",
        (_sign(0.97, _rule("columns", "HAM10000_metadata*", "lesion_id", "image_id", "dx", "localization")),),
        f"{_ROOM}.skin:read_ham",
        "HAM10000_metadata*",
        {
            "image_id": Column("image"),
            "lesion_id": Column("patient"),
            "dx": Column("class"),
            "dx_type": Column("attr:dx_type"),
            "age": _AGE,
            "sex": _SEX,
            "localization": Column("attr:site"),
        },
        image_roots=(".",),
        suffixes=(".jpg", ".png"),
        masks={"{stem}_segmentation.png": "lesion"},
        **_SKIN,  # type: ignore[arg-type] # mypy does not match a dict to keyword fields
    ),
    Layout(
        "isic2017-official",
        "ISIC 2017 challenge (ground truth csv, masks)",
        "CC0-1.0",
        "https://challenge.isic-archive.com/data/",
        (_sign(0.95, _rule("columns", "*.csv", "image_id", "melanoma", "seborrheic_keratosis")),),
        f"{_ROOM}.skin:read_isic",
        "*GroundTruth*.csv",
        {
            "image_id": Column("image"),
            "melanoma": Column("label:melanoma", "status"),
            "seborrheic_keratosis": Column("label:seborrheic keratosis", "status"),
        },
        suffixes=(".jpg", ".jpeg", ".png"),
        masks={"{stem}_segmentation.png": "lesion"},
        **_SKIN,  # type: ignore[arg-type] # as above
    ),
    Layout(
        "isic2018",
        "ISIC 2018 and 2019 challenges (one column a class)",
        "CC-BY-NC-4.0",
        "https://challenge.isic-archive.com/data/",
        (_sign(0.95, _rule("columns", "*.csv", "image", "MEL", "NV", "BCC")),),
        f"{_ROOM}.skin:read_isic",
        "*GroundTruth*.csv",
        {
            "image": Column("image"),
            "MEL": Column("onehot:melanoma", "number"),
            "NV": Column("onehot:melanocytic nevus", "number"),
            "BCC": Column("onehot:basal cell carcinoma", "number"),
            "AK": Column("onehot:actinic keratosis", "number"),
            "AKIEC": Column("onehot:actinic keratosis or intraepithelial carcinoma", "number"),
            "BKL": Column("onehot:benign keratosis", "number"),
            "DF": Column("onehot:dermatofibroma", "number"),
            "VASC": Column("onehot:vascular lesion", "number"),
            "SCC": Column("onehot:squamous cell carcinoma", "number"),
        },
        suffixes=(".jpg", ".png"),
        masks={"{stem}_segmentation.png": "lesion"},
        **_SKIN,  # type: ignore[arg-type] # as above
    ),
    Layout(
        "isic2020",
        "ISIC 2020 challenge",
        "CC-BY-NC-4.0",
        "https://challenge2020.isic-archive.com",
        (
            _sign(
                0.95, _rule("columns", "*.csv", "image_name", "patient_id", "anatom_site_general_challenge", "target")
            ),
        ),
        table="*.csv",
        columns={
            "image_name": Column("image"),
            "patient_id": Column("patient"),
            "sex": _SEX,
            "age_approx": _AGE,
            "anatom_site_general_challenge": Column("attr:site"),
            "diagnosis": Column("attr:diagnosis"),
            "target": Column("label:melanoma", "status"),
        },
        suffixes=(".jpg", ".dcm", ".png"),
        **_SKIN,  # type: ignore[arg-type] # as above
    ),
    Layout(
        "busi-official",
        "Breast ultrasound images (BUSI) with masks, as released",
        "CC-BY-4.0",
        "https://scholar.cu.edu.eg/?q=afahmy/pages/dataset",
        tuple(
            _sign(
                0.97,
                _rule("path", f"{above}benign/benign (*)_mask.png"),
                _rule("path", f"{above}malignant/malignant (*)_mask.png"),
            )
            for above in ("", "*/")
        ),
        f"{_ROOM}.folders:read_busi",
        modality="US",
        body_part="breast",
        granularity="lesion",
    ),
    Layout(
        "msd",
        "Medical Segmentation Decathlon (dataset.json)",
        "CC-BY-SA-4.0",
        "http://medicaldecathlon.com",
        (_sign(0.98, _rule("json", "dataset.json", "training", "modality", "labels")),),
        f"{_ROOM}.decathlon:read_msd",
        kind="3d",
    ),
    Layout(
        "nnunet",
        "nnU-Net raw data (dataset.json, imagesTr, labelsTr)",
        url="https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md",
        signs=(_sign(0.98, _rule("json", "dataset.json", "channel_names", "labels"), _rule("path", "imagesTr")),),
        reader=f"{_ROOM}.decathlon:read_nnunet",
        writer=f"{_ROOM}.decathlon:write_nnunet",
    ),
    Layout(
        "coco",
        "COCO (boxes, polygons, run lengths)",
        url="https://cocodataset.org/#format-data",
        signs=tuple(
            _sign(0.95, _rule("json", glob, "images", "annotations", "categories", "file_name"))
            for glob in ("*.json", "annotations/*.json", "*/*.json")
        ),
        reader=f"{_ROOM}.coco:read",
        writer=f"{_ROOM}.coco:write",
    ),
    Layout(
        "voc",
        "Pascal VOC (one XML an image)",
        url="http://host.robots.ox.ac.uk/pascal/VOC/",
        signs=tuple(
            _sign(0.95, _rule("xml", glob, "annotation")) for glob in ("Annotations/*.xml", "*.xml", "*/*.xml")
        ),
        reader=f"{_ROOM}.voc:read",
        writer=f"{_ROOM}.voc:write",
        options={"origin": "1"},
    ),
    Layout(
        "yolo",
        "YOLO (one text file an image, boxes or polygons as shares of the image)",
        url="https://docs.ultralytics.com/datasets/detect/",
        signs=(
            _sign(0.95, _rule("path", "data.yaml"), _rule("path", "**/labels/**/*.txt")),
            _sign(0.9, _rule("path", "*.y*ml"), _rule("path", "**/labels/**/*.txt")),
            _sign(0.85, _rule("path", "classes.txt"), _rule("path", "**/*.txt")),
        ),
        reader=f"{_ROOM}.yolo:read",
    ),
    Layout(
        "csv-images",
        "A CSV table with a column of image files",
        signs=(
            _sign(
                0.9,
                _rule("named_files", "*.csv", "file", "image", "filename", "file_name", "path", "image_path", "img"),
            ),
            _sign(0.6, _rule("columns", "*.csv", "file")),
            _sign(0.6, _rule("columns", "*.csv", "image")),
            _sign(0.55, _rule("columns", "*.csv", "filename")),
            _sign(0.55, _rule("columns", "*.csv", "path")),
            _sign(0.55, _rule("columns", "*.csv", "image_path")),
            _sign(0.5, _rule("columns", "*.csv", "image_id")),
        ),
        reader=f"{_ROOM}.folders:read_csv_images",
        writer=f"{_WRITE}:write_csv_images",
    ),
    Layout(
        "folder-per-class",
        "One folder of images for each class (with train/val/test above it, or not)",
        signs=(_sign(0.5, _rule("class_folders", ".")),),
        reader=f"{_ROOM}.folders:read_folder_per_class",
        writer=f"{_WRITE}:write_folder_per_class",
    ),
)
