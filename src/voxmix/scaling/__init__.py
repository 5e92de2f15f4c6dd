"""Laws of scores: error of frozen encoders against the samples they learned from, by objective and task; NumPy and SciPy alone."""

from voxmix.scaling.fit import fit_score_laws
from voxmix.scaling.parts import Crossing, Limit, Line, Number, Pair, Reference, Series
from voxmix.scaling.results import Scored, ScoreLaws

__all__ = [
    "Crossing",
    "Limit",
    "Line",
    "Number",
    "Pair",
    "Reference",
    "ScoreLaws",
    "Scored",
    "Series",
    "fit_score_laws",
]
