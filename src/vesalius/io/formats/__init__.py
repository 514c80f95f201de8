"""Files other than DICOM: rasters, volumes, arrays, video, archives; and what a file is."""
