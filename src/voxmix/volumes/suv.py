"""SUV: from the Bq/ml of a DICOM PET to the standardized uptake value by body weight."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any


def suv_factor(headers: Sequence[Any]) -> tuple[float, tuple[str, ...]]:
    """Return the factor from stored PET values to SUV by body weight, and what to say about it.

    ``SUV = activity (Bq/ml) * weight (g) / dose (Bq)``, the dose decayed to the time to which the images
    are corrected (QIBA FDG-PET profile 1.14, appendix G): the start of the series for START, the injection
    for ADMIN.
    """
    header = headers[0]
    if header.get("Modality") != "PT":
        return 1.0, ()
    units = str(header.get("Units", ""))
    if units == "GML":
        return 1.0, ()
    if units != "BQML":
        return 1.0, ("PET kept in its own unit: it is not Bq/ml, so there is no SUV",)
    try:
        drug = header.RadiopharmaceuticalInformationSequence[0]
        weight_g = float(header.PatientWeight) * 1000
        dose = float(drug.RadionuclideTotalDose)
        correction = str(header.DecayCorrection)
        if correction == "START":
            waited = _seconds_after_injection(headers, drug)
            dose *= 2 ** (-waited / float(drug.RadionuclideHalfLife))
        elif correction != "ADMIN":
            return 1.0, ("PET kept in Bq/ml: it is not decay-corrected to a known time",)
        if not (weight_g > 0 and dose > 0):
            raise ValueError
    except (AttributeError, ValueError, TypeError, KeyError, IndexError):
        return 1.0, ("PET kept in Bq/ml: the header lacks weight, dose, half-life or a time",)
    return weight_g / dose, ("PET turned from Bq/ml into SUV by body weight",)


def _seconds_after_injection(headers: Sequence[Any], drug: Any) -> float:
    header = headers[0]
    series = _moment(header.get("SeriesDate"), header.SeriesTime)
    taken = [_moment(one.get("AcquisitionDate"), one.AcquisitionTime) for one in headers]
    # Post-processed series carry a later series time than their images.
    scan = min([series, *taken])
    if "RadiopharmaceuticalStartDateTime" in drug:
        injected = _moment(None, "", str(drug.RadiopharmaceuticalStartDateTime))
    else:
        injected = _moment(header.get("SeriesDate"), drug.RadiopharmaceuticalStartTime)
        if injected > scan:
            injected -= timedelta(days=1)
    seconds = (scan - injected).total_seconds()
    if not 0 <= seconds < 86400:
        raise ValueError(seconds)
    return seconds


def _moment(date: Any, time: Any, both: str = "") -> datetime:
    text = (both or f"{date or '19000101'}{time}").split("+")[0].split("&")[0].strip()
    digits = text.split(".")[0].ljust(14, "0")
    return datetime.strptime(digits[:14], "%Y%m%d%H%M%S")
