"""The scaling law of data mixtures: fit it, and know how far to trust it."""

from voxmix.law.compare import Candidate, LawComparison, compare_laws
from voxmix.law.family import LAWS, LawForm, law_form, law_forms, register, unregister
from voxmix.law.fit import fit
from voxmix.law.fitted import FittedLaw
from voxmix.law.forms import LawParameters
from voxmix.law.holdout import Holdout
from voxmix.law.profile import Profile, profile
from voxmix.law.quality import FitQuality
from voxmix.law.reducible import Formula, FormulaNumber
from voxmix.law.regime import regime_check
from voxmix.law.regime_lines import Regime, TargetRegime
from voxmix.law.status import ParameterStatus

__all__ = [
    "LAWS",
    "Candidate",
    "FitQuality",
    "FittedLaw",
    "Formula",
    "FormulaNumber",
    "Holdout",
    "LawComparison",
    "LawForm",
    "LawParameters",
    "ParameterStatus",
    "Profile",
    "Regime",
    "TargetRegime",
    "compare_laws",
    "fit",
    "law_form",
    "law_forms",
    "profile",
    "regime_check",
    "register",
    "unregister",
]
