"""deidentify(): names, dates, numbers and places in the text of a report are replaced by what they are, and counted.

The rules look for the forms in which identifiers stand in English radiology reports; a name without a title, a cue or a
usual first name is not found. What they find and miss is measured (docs/concepts/privacy-of-texts.md): a text after them
is safer, not safe.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["NAME", "DATE", "ID", "PHONE", "EMAIL", "ADDRESS", "PLACE", "AGE"]
MARKERS: tuple[str, ...] = tuple(f"[{kind}]" for kind in get_args(Kind))
"""What stands in a text in place of what was found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deidentified:
    """A text without what the rules found, and how often each kind was found."""

    text: str
    counts: Mapping[str, int]


def deidentify(text: str, *, known: Iterable[str] = ()) -> Deidentified:
    """Return a text in which names, dates, numbers of persons and places are replaced by [NAME], [DATE], [ID] ...

    ``known`` are names and numbers of the person, as a header or a table gives them: every word of theirs is replaced
    wherever it stands, but for words that are usual in reports (a person called Small keeps small nodules).

    Medical content that looks similar stays: vertebrae (T4, C5-C6), measures (3.5 cm), grades, eponyms of devices and
    signs (Swan-Ganz, Kerley B).

    >>> deidentify("Seen by Dr. J. Smith on 3/14/2019, ET tube tip 3.5 cm above the carina at T4.").text
    'Seen by Dr. [NAME] on [DATE], ET tube tip 3.5 cm above the carina at T4.'
    """
    counts: Counter[str] = Counter()
    for kind, pattern, accept, gate in _RULES:
        if not gate.search(text):
            continue
        parts, end = [], 0
        for match in pattern.finditer(text):
            if accept is None or accept(match):
                parts += [text[end : match.start("x")], f"[{kind}]"]
                end = match.end("x")
                counts[kind] += 1
        text = "".join((*parts, text[end:]))
    for word in known_words(known):
        kind = "ID" if any(c.isdigit() for c in word) else "NAME"
        text, found = re.subn(
            rf"(?<![\w\[]){re.escape(word)}(?![\w\]])", f"[{kind}]", text, flags=re.IGNORECASE
        )
        if found:
            counts[kind] += found
    return Deidentified(text=text, counts=counts)


_LEAST_LETTERS, _LEAST_OF_NUMBER = 3, 5


def known_words(names: Iterable[str]) -> tuple[str, ...]:
    """Return the words of names and numbers that tell a person, sorted: of three letters, or five characters with a digit.

    Left out are words that are usual in reports, and those that stand before a number in a table (person, case, film).
    """
    words = {word for name in names for word in re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", name)}
    parts = {part for word in words for part in re.split(r"['’-]", word)} | words
    return tuple(
        sorted(
            word
            for word in parts
            if word.lower() not in _NEVER_KNOWN
            and len(word) >= (_LEAST_OF_NUMBER if any(c.isdigit() for c in word) else _LEAST_LETTERS)
        )
    )


_UNITS = r"(?!\s*(?:mm|cm|ml|mL|cc|mg|kg|%|x\b|degrees?|HU\b|french|fr\b|F\b))"

_DIGIT = r"\d"

# Dates -------------------------------------------------------------------------------------------------------------

_MONTHS = (
    r"(?:(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)|May|MAY)\.?"
)
_DAY, _YEAR = r"(?:3[01]|[12]\d|0?[1-9])", r"(?:(?:19|20)\d\d|'\d\d)"
_ORDINAL = rf"{_DAY}(?:st|nd|rd|th)?"
_CLOCK = r"(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d)?"


def _is_day_and_month(match: re.Match[str]) -> bool:
    """Return whether two of three numbers can be a day and a month, in either order."""
    first, second = int(match["a"]), int(match["b"])
    return 1 <= min(first, second) <= 12 and 1 <= max(first, second) <= 31


# Names -------------------------------------------------------------------------------------------------------------

_NO_NAMES = """a about above acute adult after again all also an and anterior any apical approximately are as at attending aware basal before
    bed below best bilateral both by calcified called cardiac cardiology care chest clear clinical clinic communicated comparison
    compared conclusion consultant contacted ct department discussed doctor dr ed emergency er exam examination fellow female final
    finding findings for frontal from general had has have he heart her here him his history home hospital icu if image images
    impression in indication inferior informed intensive interpreted is it lateral left line lower lung lungs male may md me medical
    medicine mild moderate monday mr mrs ms name new no non none normal not note notified now nurse nursing of old on oncology or our
    outside over page paged patient per phone physician pleural pneumonia portable posterior preliminary prior pulmonary radiologist radiology
    read received recommend record regarding report requested resident result results reviewed right room same saturday see seen service she
    sister severe show shows signed since small stable staff study sunday superior surgery team technologist tel telephone than that the
    their there they this thoracic thursday time to today trauma tube tuesday two under unit unknown unremarkable upper verbally view views
    was wednesday were when which who will with without yesterday you xxxx friday
    he's covid afebrile admitted anonymous withheld redacted unavailable primary pediatric orthopedic clinician provider providers referring
    ordering verified dictated transcribed electronically via immediately am pm hrs hours"""
"""Words that are no part of a name: a name ends before them, and a cue that is followed by one names nobody."""

_NEVER_KNOWN = frozenset(_NO_NAMES.split()) | frozenset(
    ("person", "persons", "subject", "subjects", "participant", "case", "cases", "film", "films", "sample", "scan", "series",
     "number", "anon", "control", "test", "covid", "pat", "pid", "sub", "acute", "air", "apex", "arch", "base", "bone", "chest",
     "edema", "effusion", "heart", "hilar", "lobe", "mass", "nodule", "opacity", "pneumothorax", "rib", "ribs", "tip", "tube")
)  # fmt: skip
"""Words that are not taken for a name though a header or table has them where a name stands."""

_PARTICLE = r"(?:(?:van|von|de|del|della|der|den|di|da|la|le|el|al|bin|ibn|ter|st\.?|Van|Von|De|Del|La|Le|El|Al|Mc|Mac)[ -])"
_TITLE_CASE = r"(?:(?:O['’]|Mc|Mac|D['’])?[A-ZÀ-ÖØ-Þ][a-zà-öø-ÿ]+(?:['’\-][A-Za-zÀ-ÿ]+)*)"
_CAPITALS = r"(?:[A-ZÀ-ÖØ-Þ]{2,}(?:['’\-][A-ZÀ-Þ]+)*)"
_INITIAL = r"(?:[A-Z]\.(?:[ -]?[A-Z]\.)*|[A-Z](?=\s))"
_STOP = rf"(?!(?i:{'|'.join(sorted((re.escape(word) for word in _NO_NAMES.split()), key=len, reverse=True))})(?![\w]))"


def _names(more: str, count: str) -> str:
    """Return the pattern of a name whose parts are all spelled alike, in title case or in capitals; initials are both."""
    spelled = (rf"(?:{_INITIAL}|{_STOP}{_PARTICLE}*{word})" for word in (_TITLE_CASE, _CAPITALS))
    return "(?:" + "|".join(rf"{part}(?:{more}{part}){count}" for part in spelled) + ")"


_PART = _names("", "{0}")
_NAME = _names("[ ,]{1,2}", "{0,3}")
"""One to four parts, with a comma between them where the surname comes first."""

_FULL_NAME = _names(",? ", "{1,3}")
_TITLE = r"(?:(?i:dr|drs|doctor|miss|prof|professor|nurse|sister)\b\.?|(?:Mr|Mrs|Ms|Mx)\b\.?|(?:MR|MRS|MS)\.)"
_DEGREE = r"(?:M\.?D\.?|D\.O\.|Ph\.?D\.?|R\.?N\.?|FRCR|FACR|FRANZCR|MBBS|MBChB|D\.?M\.?D\.?|PA-C|CRNP|NP|DO)(?![\w])"
_BY = (
    r"(?i:(?:electronically |digitally )?(?:signed|dictated|read|interpreted|reviewed|reported|approved|verified|transcribed|typed|"
    r"authored|performed|ordered|requested|authenticated|finalized|prepared|edited|referred|entered|checked|co-?signed)(?: off)?"
    r"(?: and (?:signed|approved|verified|reviewed|read|interpreted|agreed))?(?: electronically)? by)"
)
_TO = (
    r"(?i:(?:discussed|communicated|conveyed|relayed|reported|called|spoke|spoken|given|conferred|reviewed)"
    r"(?: (?:directly|verbally|in person|by (?:tele)?phone|by telephone|via telephone|over the phone))?(?: in person)? (?:to|with)|notified|informed|paged)"
)
_ROLE = (
    r"(?i:(?:attending|referring|ordering|requesting|reading|primary|interpreting|consulting|staff|supervising|family)? ?"
    r"(?:radiologist|physician|doctor|resident|fellow|attending|consultant|technologist|technician|radiographer|surgeon|clinician|provider|gp))"
)
_PATIENT = r"(?i:(?:patient|pt|patient's|pt's) name|(?:(?<![\w] )(?<![\w]))name(?: of (?:the )?patient)?|patient|pt|attn|attention|cc|signature|signed|author|dictator|dictating|transcriptionist)"
_FAMILY = r"(?i:wife|husband|son|daughter|mother|father|brother|spouse|partner|guardian|next of kin)"
_FIRST = (
    "James|John|Robert|Michael|William|David|Richard|Joseph|Thomas|Charles|Christopher|Daniel|Matthew|Anthony|Donald|Steven|Paul|Andrew|"
    "Joshua|Kenneth|Kevin|Brian|George|Edward|Ronald|Timothy|Jason|Jeffrey|Ryan|Jacob|Gary|Nicholas|Eric|Jonathan|Stephen|Larry|Justin|"
    "Scott|Brandon|Benjamin|Samuel|Gregory|Raymond|Patrick|Alexander|Jack|Dennis|Jerry|Tyler|Aaron|Jose|Adam|Nathan|Henry|Peter|Kyle|"
    "Carlos|Juan|Luis|Walter|Harold|Arthur|Roger|Albert|Mary|Patricia|Jennifer|Linda|Elizabeth|Barbara|Susan|Jessica|Sarah|Karen|Lisa|Nancy|"
    "Betty|Margaret|Sandra|Ashley|Kimberly|Emily|Donna|Michelle|Carol|Amanda|Dorothy|Melissa|Deborah|Stephanie|Rebecca|Sharon|Laura|Cynthia|"
    "Kathleen|Amy|Angela|Shirley|Anna|Brenda|Pamela|Emma|Nicole|Helen|Samantha|Katherine|Christine|Debra|Rachel|Carolyn|Janet|Catherine|"
    "Maria|Heather|Diane|Ruth|Julie|Olivia|Joyce|Virginia|Victoria|Kelly|Lauren|Christina|Joan|Evelyn|Judith|Andrea|Hannah|Megan|Cheryl|"
    "Jacqueline|Martha|Ann|Anne|Jane|Alice|Jean|Theresa|Frances|Gloria|Ahmed|Mohammed|Fatima|Wei|Priya|Elena|Ivan|Hans|Klaus|Pierre|Sofia"
)

# Numbers -----------------------------------------------------------------------------------------------------------

_NUMBER_OF = (
    r"(?i:m\.?r\.?n\.?|med(?:ical)? rec(?:ord)?(?: (?:number|no\.?|#))?|accession(?: (?:number|no\.?|#))?|acc(?:ession|n)?\.?(?: (?:number|no\.?|#))?|"
    r"(?:patient|pt|hospital|record|study|exam(?:ination)?|order|case|account|acct|visit|encounter|unit|chart|claim|policy|insurance|requisition|"
    r"reference|ref|req|job|dictation|document|report|specimen|nhs|national|medicare|member|license|licence|badge|employee)\.? ?"
    r"(?:id(?:entifier)?|number|num|no|nr|#)\.?(?: number)?|ssn|social security(?: number)?|id|uid|npi|dea|nhs|csn|fin)"
)

_ROWS: tuple[tuple[Kind, str, Callable[[re.Match[str]], bool] | None, str], ...] = (
    ("EMAIL", r"(?<![\w.+-])(?P<x>[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]+){1,6})", None, "@"),
    ("EMAIL", r"(?P<x>(?:https?://|www\.)\S+[\w/])", None, ""),
    # Dates: in numbers, with a month's name, packed, then hours.
    ("DATE", rf"(?<![\w./-])(?P<x>{_YEAR}([-/.])(?:0?[1-9]|1[0-2])\2{_DAY}(?:[T ]+(?:at )?{_CLOCK}(?:Z|[+-]\d\d:?\d\d)?)?)(?![\w/-])", None, _DIGIT),
    ("DATE", rf"(?<![\w./-])(?P<x>(?P<a>\d\d?)(?P<s>[-/.])(?P<b>\d\d?)(?P=s)(?:(?:19|20)?\d\d))(?![\w/-]|\.\d){_UNITS}", _is_day_and_month, _DIGIT),
    ("DATE", r"(?i:\b(?:on|dated?|performed|obtained|done|acquired|dob)) ?:? ?(?P<x>(?P<a>\d\d?)/(?P<b>\d\d?))(?![\d/]|-\d|\.\d|\s*(?:mm|cm|weeks?|days?|hours?|images?|views?|ribs?))", _is_day_and_month, _DIGIT),
    ("DATE", rf"(?<![\w])(?P<x>{_ORDINAL}(?: of)?[ -]{_MONTHS}(?:,?[ -]+(?:{_YEAR}|\d\d))?)(?![\w]){_UNITS}", None, _DIGIT),
    ("DATE", rf"(?<![\w])(?P<x>{_MONTHS}[ -]*(?:the )?{_ORDINAL}(?:(?:,[ ]?|[ -]+){_YEAR})?)(?![\w.]\d|\w){_UNITS}", None, _DIGIT),
    ("DATE", rf"(?<![\w])(?P<x>{_MONTHS},?[ -]+(?:of )?(?:19|20)\d\d)(?![\w])", None, _DIGIT),
    ("DATE", r"(?<![\w.-])(?P<x>(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[T ]?[0-2]\d[0-5]\d(?:[0-5]\d)?)?)(?![\w-]|\.\d)", None, _DIGIT),
    ("DATE", rf"(?<![\w.:])(?P<x>{_CLOCK} ?(?i:[ap]\.?m\b\.?|hrs?\b|hours\b|h\b))", None, _DIGIT),
    ("DATE", rf"(?i:\b(?:at|@|time|around|approximately|about)) ?:? ?(?P<x>{_CLOCK})(?![\d:]|\s*(?:position|o'clock|in the|axis|location|left|right))", None, _DIGIT),
    ("DATE", r"(?<![\w.-])(?P<x>(?:[01]\d|2[0-4])[0-5]\d ?(?i:hrs|hours|h)\b)", None, _DIGIT),
    ("DATE", r"(?<![\w.:-])(?P<x>\d\d? ?(?i:a\.m\.|p\.m\.|am\b|pm\b))", None, _DIGIT),
    # Telephones.
    ("PHONE", r"(?<![\w.-])(?P<x>(?:\+?\d{1,3}[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?: ?(?:x|ext\.?) ?\d{1,6})?)(?![\w-])", None, _DIGIT),
    ("PHONE", r"(?<![\w.])(?P<x>\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{2,})(?![\w-])", None, _DIGIT),
    ("PHONE", r"(?i:\b(?:phone|tel|telephone|pager|page|fax|ext|extension|mobile|cell ?phone|beeper|callback|call back|call at|reached at)(?: (?:number|no\.?|#))?)(?: at| is)?[ .:#]{0,3}(?P<x>\+?\(?\d[\d ().-]{2,}\d)(?![\w.]\d)", None, _DIGIT),
    ("PHONE", r"(?<![\w.-])(?P<x>\d{3}-\d{4})(?![\w-])", None, _DIGIT),
    # Numbers that belong to a person or an examination.
    ("ID", rf"(?<![\w]){_NUMBER_OF}(?: is| was)?[ :#=.-]{{1,3}}(?P<x>[A-Z0-9][A-Z0-9._/-]*\d[A-Z0-9_/-]*)(?![\w])", lambda match: sum(c.isdigit() for c in match["x"]) >= 3, _DIGIT),
    ("ID", r"(?P<x>#\s?\d{4,})(?![\w])", None, _DIGIT),
    ("ID", r"(?<![\w.-])(?P<x>\d{3}-\d\d-\d{4})(?![\w-])", None, _DIGIT),
    ("ID", r"(?<![\w.,-])(?P<x>[A-Z]{1,5}[-_]?\d{5,}(?:[-_/]\d+)*)(?![\w])", None, _DIGIT),
    ("ID", r"(?<![\w.,-])(?P<x>\d{7,}(?:[-_/]\d+)*)(?![\w]|[.,]\d)", None, _DIGIT),
    ("ID", r"(?<![\w.,-])(?P<x>\d{2,}-\d{2,}-\d{3,})(?![\w-])", None, _DIGIT),
    ("ID", r"(?<![\w.,-])(?P<x>[A-Z]{1,4}\d{0,2}-\d{2,4}-\d{3,})(?![\w-])", None, _DIGIT),
    # Addresses and places.
    ("ADDRESS", r"(?<![\w.])(?P<x>\d{1,5}[A-Z]? (?:[NSEW]\.? )?(?:[A-Z0-9][\w'.-]+ ){1,3}(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Way|Place|Square|Terrace|Parkway|Highway)\b\.?"
                r"(?:,? (?:Apt|Suite|Unit|#)\.? ?\w+)?(?:,? [A-Z][a-z]+(?: [A-Z][a-z]+)?)?(?:,? [A-Z]{2})?(?: \d{5}(?:-\d{4})?)?)", None, ""),
    ("ADDRESS", r"(?P<x>(?:[A-Z][a-z]+(?: [A-Z][a-z]+)?, )[A-Z]{2} \d{5}(?:-\d{4})?)(?![\w])", None, ""),
    ("ADDRESS", r"(?P<x>(?i:p\.? ?o\.? box) \d+)", None, ""),
    ("PLACE", r"(?i:\b(?:room|rm|bed|ward|bay|cubicle|floor))\.? ?(?i:no\.?|number|#)? ?:? ?(?P<x>(?:[A-Z]{1,4}-?)?\d{1,4}[A-Z]?(?:[-/ ]?(?:bed )?[A-Z]?\d{1,3}[A-Z]?(?![\w]))?)(?![\w.]\d|\w)" + _UNITS, None, ""),
    ("PLACE", r"(?P<x>(?<![\w])(?:(?:St|Mt)\. )?(?:[A-Z][\w'’-]+ ){1,4}(?:Hospital|Medical Cent(?:er|re)|Clinic|Infirmary|Health Cent(?:er|re)|Healthcare|Health System)(?: of [A-Z]\w+)?)(?![\w])",
     lambda match: match["x"].split()[0].lower() not in ("outside", "the", "this", "our", "local", "another", "an", "a", "at", "from", "same", "in", "to") or len(match["x"].split()) > 2, ""),
    # Names: with a title, a degree, a cue; of patients and relatives; usual first names with a surname.
    ("NAME", rf"(?<![\w]){_TITLE} (?P<x>{_NAME})", None, ""),
    ("NAME", rf"(?<![\w])(?:dr\.?|mr\.|mrs\.|ms\.|prof\.) (?P<x>(?:[a-z]\. ?)?{_STOP}[a-z][a-z'-]+)(?![\w])", None, ""),
    ("NAME", rf"(?<![\w])(?P<x>{_FULL_NAME}),? (?={_DEGREE})", None, _DEGREE),
    ("NAME", rf"(?<![\w])(?P<x>{_PART}),? (?=(?:M\.?D\.?|RN|FRCR|MBBS)(?![\w]))", None, _DEGREE),
    ("NAME", rf"(?<![\w]){_BY}:? ?\(?(?:{_TITLE} )?(?P<x>{_NAME})", None, r"(?i:by)"),
    ("NAME", rf"(?<![\w]){_TO} (?:{_TITLE} )?(?P<x>{_FULL_NAME}|{_PART}(?= (?:at|on|by|via|from|of|who)\b))", None, ""),
    ("NAME", rf"(?<![\w]){_ROLE} ?: ?(?:{_TITLE} )?(?P<x>{_NAME})", None, ""),
    ("NAME", rf"(?<![\w])(?i:radiologist|physician|doctor|resident|technologist|radiographer|surgeon|nurse)(?:,|) (?P<x>{_FULL_NAME})", None, ""),
    ("NAME", rf"(?<![\w]){_PATIENT} ?: ?(?:{_TITLE} )?(?P<x>{_NAME})", None, ""),
    ("NAME", rf"(?<![\w])(?i:patient|pt),? (?P<x>{_FULL_NAME})(?=,| (?:is|was|has|with|presents|presented|dob)\b)", None, ""),
    ("NAME", rf"(?<![\w]){_FAMILY},? (?:is |named )?\(?(?P<x>{_STOP}(?:[A-Z][a-z]+)(?: {_STOP}[A-Z][a-z]+)?)(?![\w])", None, ""),
    ("NAME", rf"(?<![\w])(?P<x>{_FULL_NAME})(?=,? (?:is |was )?(?:an? )?\d{{1,3}}[ -]?(?:y\.?/?o\b|yo\b|year|yr))", None, r"\d[ -]?y"),
    ("NAME", rf"(?<![\w])(?P<x>(?:{_FIRST})(?: {_INITIAL})? {_STOP}{_PARTICLE}*[A-Z][a-zà-ÿ]+(?:-[A-Z][a-z]+)?)(?![\w])", None, ""),
    ("NAME", rf"(?<![\w])(?P<x>{_STOP}[A-Z][a-z]+, (?:{_FIRST})(?: [A-Z]\b\.?)?)(?![\w])", None, rf", (?:{_FIRST})"),
    ("NAME", r"(?P<x>\b[A-Z]{2,3}[:/][a-z]{2,3})\s*$", None, ""),
    # Ages of 90 and more are rare enough to tell a person.
    ("AGE", r"(?<![\w.])(?P<x>(?:9\d|1[01]\d))(?=[ -]?(?i:y\.?/?o\b|yo\b|years?[ -]old|year[ -]old|yrs?[ -]old|[ -]?years? of age))", None, _DIGIT),
    ("AGE", r"(?i:\bage[d]?):? (?P<x>9\d|1[01]\d)(?![\w.]\d|\w|%)", None, _DIGIT),
)  # fmt: skip
_RULES = tuple((kind, re.compile(pattern), accept, re.compile(gate)) for kind, pattern, accept, gate in _ROWS)
"""Kind, pattern whose group "x" is replaced, a second look at a match, and what a text must hold for the rule to be tried."""
