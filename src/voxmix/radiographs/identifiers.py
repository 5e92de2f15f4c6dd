"""Made-up identifiers in reports, each marked so that its place in the text is known.

Nobody of these names is meant; telephone numbers are of the range kept for films and books (555-01xx).
"""

import re
from dataclasses import dataclass

import numpy as np

KINDS = ("name", "physician", "date", "accession", "record", "phone")
"""What can name a person in a report: the patient, a physician, a day, the numbers of exam, person and telephone."""

_GIVEN = [
    "James",
    "Mary",
    "Robert",
    "Patricia",
    "John",
    "Jennifer",
    "Michael",
    "Linda",
    "David",
    "Elizabeth",
    "William",
    "Barbara",
    "Richard",
    "Susan",
    "Joseph",
    "Jessica",
    "Thomas",
    "Karen",
    "Carlos",
    "Maria",
    "Ahmed",
    "Fatima",
    "Wei",
    "Mei",
    "Hiroshi",
    "Yuki",
    "Olga",
    "Ivan",
    "Kwame",
    "Ama",
    "Priya",
    "Arjun",
    "Lars",
    "Ingrid",
    "Sean",
    "Aoife",
    "Grace",
    "Rose",
    "Mark",
    "Dawn",
]
_FAMILY = [
    "Smith",
    "Johnson",
    "Williams",
    "Brown",
    "Jones",
    "Garcia",
    "Miller",
    "Davis",
    "Rodriguez",
    "Martinez",
    "Hernandez",
    "Lopez",
    "Gonzalez",
    "Wilson",
    "Anderson",
    "Taylor",
    "Moore",
    "Jackson",
    "Martin",
    "Lee",
    "Thompson",
    "White",
    "Harris",
    "Clark",
    "Young",
    "King",
    "Wright",
    "Hill",
    "Long",
    "Price",
    "Rivers",
    "Stone",
    "Bell",
    "Gray",
    "Small",
    "Park",
    "Nguyen",
    "Kim",
    "Patel",
    "Khan",
    "Okafor",
    "Mensah",
    "Schmidt",
    "Novak",
    "Ivanova",
    "Tanaka",
    "O'Brien",
    "McDonald",
    "Smith-Jones",
    "Dubois",
]
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]

_MARK = re.compile("\x01([a-z]+)\x02([^\x03]*)\x03")


@dataclass(frozen=True, slots=True)
class Span:
    """Where an identifier stands in a text: its kind, first character, and the one after its last."""

    kind: str
    start: int
    end: int


def marked(kind: str, text: str) -> str:
    """Return a text marked as an identifier until ``unmark`` takes the marks off."""
    return f"\x01{kind}\x02{text}\x03"


def unmark(text: str) -> tuple[str, tuple[Span, ...]]:
    """Return the text without marks, and where the marked identifiers stand in it."""
    plain, spans, last, length = [], [], 0, 0
    for found in _MARK.finditer(text):
        plain.append(text[last : found.start()])
        length += found.start() - last
        spans.append(Span(found[1], length, length + len(found[2])))
        plain.append(found[2])
        length += len(found[2])
        last = found.end()
    return "".join([*plain, text[last:]]), tuple(spans)


def _pick(rng: np.random.Generator, words: list[str]) -> str:
    return words[int(rng.integers(len(words)))]


def name(rng: np.random.Generator) -> str:
    """Return a patient's name, as headers and sentences spell it."""
    given, family = _pick(rng, _GIVEN), _pick(rng, _FAMILY)
    return marked(
        "name",
        _pick(
            rng,
            [
                f"{given} {family}",
                f"{family}, {given}",
                f"{family.upper()}, {given.upper()}",
                f"{given} {given[0]}. {family}",
            ],
        ),
    )


def family(rng: np.random.Generator) -> str:
    """Return a family name, to stand behind Mr. or Ms."""
    return marked("name", _pick(rng, _FAMILY))


def physician(rng: np.random.Generator) -> str:
    """Return a physician's name behind its title."""
    given, last = _pick(rng, _GIVEN), _pick(rng, _FAMILY)
    return "Dr. " + marked("physician", _pick(rng, [last, f"{given} {last}", f"{given[0]}. {last}"]))


def date(rng: np.random.Generator) -> str:
    """Return a day of 2015 to 2024."""
    year, month, day = int(rng.integers(2015, 2025)), int(rng.integers(1, 13)), int(rng.integers(1, 29))
    spelled = [
        f"{month}/{day}/{year}", f"{month:02d}/{day:02d}/{year}", f"{year}-{month:02d}-{day:02d}", f"{month}/{day}/{year % 100:02d}",
        f"{_MONTHS[month - 1]} {day}, {year}", f"{day} {_MONTHS[month - 1][:3]} {year}", f"{day:02d}.{month:02d}.{year}",
    ]  # fmt: skip
    return marked("date", _pick(rng, spelled))


def accession(rng: np.random.Generator) -> str:
    """Return the number of an exam."""
    number = int(rng.integers(10**6, 10**7))
    return marked(
        "accession",
        _pick(rng, [str(number), f"A{number}", f"CR-{number}", f"XR{number % 100:02d}-{number // 100}"]),
    )


def record(rng: np.random.Generator) -> str:
    """Return the number of a person's record."""
    number = int(rng.integers(10**5, 10**8))
    return marked(
        "record", _pick(rng, [f"{number:08d}", str(number), f"{number:09d}"[:3] + f"-{number % 10**6:06d}"])
    )


def phone(rng: np.random.Generator) -> str:
    """Return a telephone number of the range 555-01xx."""
    area, last = int(rng.integers(201, 990)), int(rng.integers(100))
    return marked(
        "phone",
        _pick(
            rng,
            [
                f"{area}-555-01{last:02d}",
                f"({area}) 555-01{last:02d}",
                f"555-01{last:02d}",
                f"{area}.555.01{last:02d}",
            ],
        ),
    )
