"""File names: which suffixes may be volumes, which are set aside, and which files systems leave on disks."""

IMAGE_SUFFIXES = (
    ".nii.gz", ".nii", ".hdr", ".hdr.gz", ".mgz", ".mgh", ".mgh.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".npy", ".npz",
)  # fmt: skip
"""Suffixes of files that hold a volume. Of a pair (.hdr/.img, .mhd/.raw) the header stands for both."""

PAIR_HEADERS, PAIR_VOXELS = (".hdr", ".hdr.gz"), (".img", ".img.gz")
"""The two files of a pair, each plain or packed, in capitals or not."""

DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")

ZIP_SUFFIX = ".zip"
"""A zip holds the DICOM files of one scan, as archives and PACS export them."""

UNREAD_SUFFIXES = (
    *(held + packed
      for held in (".nii", ".hdr", ".img", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd", ".npy", ".dcm", ".nii.gz")
      for packed in (".gz", ".bz2", ".xz", ".zst", ".lz4", ".z")
      if held + packed not in (*IMAGE_SUFFIXES, *PAIR_VOXELS)),
    ".mnc", ".par", ".rec", ".b2nd", ".tar", ".tar.gz", ".tgz", ".7z", ".rar", ".vtk", ".tif", ".tiff", ".gipl", ".mat", ".h5", ".hdf5", ".pt", ".pkl",
)  # fmt: skip
"""Suffixes of files that may hold volumes and are not read: such a file is set aside, not passed over."""
OTHER_SUFFIXES = (
    ".txt", ".json", ".csv", ".tsv", ".xml", ".html", ".pdf", ".png", ".jpg", ".jpeg", ".md", ".log", ".db", ".py",
    ".gz", ".raw", ".bval", ".bvec", ".xlsx", ".zip",
)  # fmt: skip
"""Suffixes of files that hold no DICOM: they are not opened to see."""

_JUNK = frozenset(
    ("thumbs.db", "desktop.ini", "@eadir", "__macosx", "$recycle.bin", "system volume information", "lost+found",
     "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "ehthumbs.db", "icon\r", "network trash folder")
)  # fmt: skip
"""Files and folders that systems leave on disks, in lower case; what starts with a dot is another."""


def split_suffix(name: str) -> tuple[str, str]:
    """Return (stem, suffix) of a file name; the suffix is "" when the file cannot be a volume.

    >>> split_suffix("case.1_t1.nii.gz")
    ('case.1_t1', '.nii.gz')
    """
    lower = name.lower()
    for suffix in (*IMAGE_SUFFIXES, *DICOM_SUFFIXES, ZIP_SUFFIX):
        if lower.endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)], suffix
    return name, ""


def is_junk(name: str) -> bool:
    """Return whether a file or folder is one that systems leave, never a volume or a subject: ``._a.nii``, ``@eaDir``."""
    return name.startswith((".", "~$")) or name.lower() in _JUNK
