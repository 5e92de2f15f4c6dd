"""What the tissues of the phantoms look like to a scanner: HU, relaxation times, FDG uptake."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Tissue(NamedTuple):
    """HU without contrast agent and what full portal-venous contrast adds; proton density (water 1),
    T1 and T2 in ms at 1.5 T; FDG uptake as SUV; texture as the standard deviation of HU inside.

    Rounded values of textbooks and reviews (e.g. Bojorquez et al. 2017 for relaxation times). They are
    meant to be plausible, not to be cited.
    """

    hu: float
    contrast: float
    density: float
    t1: float
    t2: float
    suv: float
    texture: float


TISSUES: dict[str, Tissue] = {
    "air": Tissue(-1000, 0, 0.0, 1000, 50, 0.0, 0),
    "fat": Tissue(-105, 0, 0.80, 270, 85, 0.25, 9),
    "skin": Tissue(10, 5, 0.70, 800, 40, 0.5, 10),
    "muscle": Tissue(52, 8, 0.80, 950, 38, 0.65, 9),
    "bone": Tissue(950, 0, 0.06, 400, 8, 0.5, 120),
    "rib": Tissue(480, 0, 0.30, 380, 40, 0.8, 90),
    "marrow": Tissue(190, 10, 0.72, 420, 62, 1.2, 45),
    "skull_marrow": Tissue(450, 0, 0.50, 380, 55, 0.8, 90),
    "disk": Tissue(75, 0, 0.72, 1000, 85, 0.6, 8),
    "cartilage": Tissue(140, 10, 0.60, 1000, 35, 0.9, 30),
    "tooth": Tissue(2200, 0, 0.01, 500, 5, 0.2, 150),
    "lung": Tissue(-830, 20, 0.14, 1100, 35, 0.45, 45),
    "blood": Tissue(42, 150, 0.35, 1350, 120, 1.7, 3),
    "heart": Tissue(45, 85, 0.80, 1000, 48, 3.0, 8),
    "liver": Tissue(56, 52, 0.80, 590, 46, 2.2, 6),
    "spleen": Tissue(48, 70, 0.86, 1050, 82, 1.8, 6),
    "kidney_cortex": Tissue(34, 145, 0.86, 950, 85, 2.6, 8),
    "kidney_medulla": Tissue(32, 95, 0.90, 1400, 110, 3.2, 8),
    "urine": Tissue(8, 20, 1.00, 3300, 500, 12.0, 2),
    "bile": Tissue(8, 0, 1.00, 2800, 380, 0.6, 2),
    "pancreas": Tissue(40, 55, 0.80, 600, 50, 1.6, 12),
    "gut_wall": Tissue(42, 42, 0.80, 1000, 60, 1.5, 8),
    "gut_content": Tissue(22, 0, 0.85, 1900, 170, 0.5, 22),
    "gas": Tissue(-930, 0, 0.02, 1000, 30, 0.0, 15),
    "metastasis": Tissue(38, 20, 0.86, 1150, 115, 6.5, 8),
    "cyst": Tissue(6, 0, 1.00, 3300, 550, 0.3, 2),
    "csf": Tissue(8, 0, 1.00, 3600, 750, 0.4, 2),
    "gray": Tissue(38, 4, 0.86, 1120, 98, 8.5, 2),
    "white": Tissue(29, 2, 0.72, 680, 76, 4.2, 2),
    "deep_gray": Tissue(40, 4, 0.82, 930, 82, 9.0, 2),
    "cerebellum": Tissue(36, 4, 0.82, 950, 90, 7.0, 3),
    "cord": Tissue(35, 3, 0.74, 780, 78, 2.2, 2),
    "vitreous": Tissue(10, 0, 1.00, 3700, 800, 0.5, 1),
    "lens": Tissue(85, 0, 0.65, 900, 35, 0.6, 3),
    "edema": Tissue(20, 2, 0.92, 1500, 170, 3.4, 3),
    "necrosis": Tissue(18, 0, 0.96, 2300, 260, 1.0, 3),
    "brain_tumor": Tissue(40, 35, 0.86, 1250, 115, 8.0, 5),
    "mucosa": Tissue(42, 30, 0.86, 1100, 105, 1.6, 8),
    "gland": Tissue(18, 28, 0.82, 620, 66, 2.3, 14),
    "thyroid": Tissue(105, 55, 0.84, 900, 85, 1.7, 10),
    "tonsil": Tissue(45, 30, 0.86, 1100, 105, 4.0, 8),
    "head_neck_tumor": Tissue(42, 38, 0.86, 1250, 100, 11.0, 9),
    "couch": Tissue(-250, 0, 0.0, 1000, 50, 0.0, 10),
}

CODE: dict[str, int] = {name: code for code, name in enumerate(TISSUES)}
"""Code of a tissue in a phantom's tissue map."""


def column(name: str) -> Float[np.ndarray, " tissue"]:
    """Return one property of all tissues, ordered by code."""
    return np.array([getattr(tissue, name) for tissue in TISSUES.values()], dtype=np.float32)
