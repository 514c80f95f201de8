"""DICOM: headers, pixels, series, segmentations, de-identification."""
