"""The scaling law of data mixtures: fit it, and know how far to trust it."""

from voxmix.law.fit import fit
from voxmix.law.fitted import FitQuality, FittedLaw, ParameterStatus
from voxmix.law.forms import LAWS, LawParameters

__all__ = ["LAWS", "FitQuality", "FittedLaw", "LawParameters", "ParameterStatus", "fit"]
