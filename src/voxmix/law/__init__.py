"""The scaling law of data mixtures: fit it, and know how far to trust it."""

from voxmix.law.compare import Candidate, LawComparison, compare_laws
from voxmix.law.fit import fit
from voxmix.law.fitted import FittedLaw
from voxmix.law.forms import LAWS, LawParameters
from voxmix.law.holdout import Holdout
from voxmix.law.profile import Profile, profile
from voxmix.law.quality import FitQuality
from voxmix.law.status import ParameterStatus

__all__ = [
    "LAWS",
    "Candidate",
    "FitQuality",
    "FittedLaw",
    "Holdout",
    "LawComparison",
    "LawParameters",
    "ParameterStatus",
    "Profile",
    "compare_laws",
    "fit",
    "profile",
]
