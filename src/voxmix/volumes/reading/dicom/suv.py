"""SUV: from the Bq/ml of a DICOM PET to the standardized uptake value by body weight."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

SUV_TAGS = (
    "Units", "SUVType", "DecayCorrection", "PatientWeight", "RadiopharmaceuticalInformationSequence", "SeriesDate",
    "SeriesTime", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "TimezoneOffsetFromUTC", (0x7053, 0x10), (0x7053, 0x1000), (0x7053, 0x1009),
)  # fmt: skip
"""What is read of a header."""

_PHILIPS = (0x7053, "Philips PET Private Group")
_MAX_HALF_LIVES = 6
_LEAST_DOSE_BQ = 1e4

BY_WEIGHT = "PET turned from Bq/ml into SUV by body weight"
BY_FACTOR = "PET turned from counts into SUV by the factor of its scanner"
BY_OTHER_TIME = BY_WEIGHT + "; check it: some dates and times of the header are missing or far apart"
_LACKS = "PET kept in Bq/ml: the header lacks weight, dose, half-life or a time"
_LATE = "PET kept in Bq/ml: the times of injection and scan in the header do not fit together"
_DOSE = "PET kept in Bq/ml: the dose of the header is no dose in Bq"
NEW_NOTES = (BY_FACTOR, BY_OTHER_TIME, _LATE, _DOSE)
"""Notes on values that an earlier voxmix gave otherwise."""


def suv_factor(headers: Sequence[Any]) -> tuple[float, tuple[str, ...]]:
    """Return the factor from stored PET values to SUV by body weight, and what to say about it.

    ``SUV = activity (Bq/ml) * weight (g) / dose (Bq)``, the dose decayed to the time to which the images
    are corrected (QIBA FDG-PET profile 1.14, appendix G): the start of the series for START, the injection
    for ADMIN. Philips gives a factor to SUV, or to Bq/ml, where it writes counts.
    """
    header = headers[0]
    if header.get("Modality") != "PT":
        return 1.0, ()
    units = str(header.get("Units", ""))
    if units == "GML":
        kind = str(header.get("SUVType") or "BW")
        return 1.0, () if kind == "BW" else ("PET kept as it is: its SUV is not by body weight",)
    gain = 1.0
    if units == "CNTS":
        if gain := _philips(header, 0x00):
            return gain, (BY_FACTOR,)
        gain = _philips(header, 0x09)
    if units != "BQML" and not (units == "CNTS" and gain):
        return 1.0, ("PET kept in its own unit: it is not Bq/ml, so there is no SUV",)
    factor, note = _by_weight(headers)
    if gain != 1 and note == BY_WEIGHT:
        note = BY_FACTOR
    return (gain if factor is None else gain * factor), (note,)


def _philips(header: Any, element: int) -> float:
    """Return a factor of a Philips PET, or 0."""
    try:
        found = float(header.private_block(*_PHILIPS)[element].value)
    except (KeyError, TypeError, ValueError, AttributeError):
        return 0.0
    return found if found > 0 else 0.0


def _by_weight(headers: Sequence[Any]) -> tuple[float | None, str]:
    """Return (factor from Bq/ml to SUV or None, what to say)."""
    header = headers[0]
    note = BY_WEIGHT
    try:
        drug = header.RadiopharmaceuticalInformationSequence[0]
        weight_g = float(header.PatientWeight) * 1000
        dose = float(drug.RadionuclideTotalDose)
        if not (weight_g > 0 and dose > 0):
            return None, _LACKS
        if dose < _LEAST_DOSE_BQ:
            return None, _DOSE
        correction = str(header.DecayCorrection)
        if correction == "START":
            half_life = float(drug.RadionuclideHalfLife)
            waits, odd = _waits(headers, drug)
            if not waits or not half_life > 0:
                return None, _LACKS
            fitting = [seconds for seconds in waits if 0 <= seconds <= _MAX_HALF_LIVES * half_life]
            if not fitting:
                return None, _LATE
            if odd or fitting[0] != waits[0] or fitting[0] >= 86400:
                note = BY_OTHER_TIME
            dose *= 2 ** (-fitting[0] / half_life)
        elif correction != "ADMIN":
            return None, "PET kept in Bq/ml: it is not decay-corrected to a known time"
    except (AttributeError, ValueError, TypeError, KeyError, IndexError):
        return None, _LACKS
    return weight_g / dose, note


def _waits(headers: Sequence[Any], drug: Any) -> tuple[list[float], bool]:
    """Return the seconds from injection to scan by each time of the header that says them, and if any is odd."""
    header = headers[0]
    date = header.get("SeriesDate")
    taken = [_acquired(one, date) for one in headers]
    acquired = min((one for one in taken if one is not None), default=None)
    series = _moment(date, header.get("SeriesTime"))
    odd = series is None or None in taken or any(not one.get("AcquisitionDate") for one in headers)
    if acquired is not None and series is not None:
        if _is_midnight(series) and not _is_midnight(acquired):
            series, odd = None, True  # A time that was taken out.
        elif abs(series - acquired) > timedelta(days=1):
            odd = True  # Made anew long after the scan; or one of the dates was changed.
            series = None if series > acquired else datetime.combine(acquired.date(), series.time())
    # Post-processed series carry a later series time than their images.
    scans = sorted({one for one in (series, acquired) if one is not None})
    text = str(drug.get("RadiopharmaceuticalStartDateTime") or "")
    both, zone, own = (
        _moment(None, None, text),
        _zone(text),
        _zone(str(header.get("TimezoneOffsetFromUTC") or "")),
    )
    if both is not None and zone is not None and own is not None and zone != own:
        both, odd = both + own - zone, True
    waits: list[float] = []
    for scan in scans:
        if both is not None:
            waits.append((scan - both).total_seconds())
        time = _moment(f"{scan:%Y%m%d}", drug.get("RadiopharmaceuticalStartTime"))
        # The time of day alone, where dates were changed.
        starts = [datetime.combine(scan.date(), start.time()) for start in (time, both) if start is not None]
        waits.extend((scan - start).total_seconds() % 86400 for start in starts)
    return waits, odd


def _acquired(header: Any, series_date: Any) -> datetime | None:
    both = str(header.get("AcquisitionDateTime") or "")
    time = _moment(header.get("AcquisitionDate") or series_date, header.get("AcquisitionTime"))
    return time if time is not None or not both else _moment(None, None, both)


def _zone(text: str) -> timedelta | None:
    """Return how far a time is ahead of UTC, where it says so."""
    found = re.search(r"([+-])(\d\d)(\d\d)\s*$", text)
    if found is None:
        return None
    ahead = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return ahead if found[1] == "+" else -ahead


def _is_midnight(moment: datetime) -> bool:
    return moment.time() == datetime.min.time()


def _moment(date: Any, time: Any, both: str = "") -> datetime | None:
    """Return a date and time of a header, in the zone of the scanner, or None."""
    text = both or (f"{date or '19000101'}{time}" if time else "")
    digits = re.match(r"\d{8,14}", text.replace(":", "").strip())
    if digits is None:
        return None
    try:
        return datetime.strptime(digits[0].ljust(14, "0"), "%Y%m%d%H%M%S")
    except ValueError:
        return None
