"""DICOM: folders, zips and enhanced files of one or many series to volumes."""
