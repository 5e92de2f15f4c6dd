"""How many of the identifiers in made reports are replaced, kind by kind, and what is replaced in real reports that name nobody.

Found: no word of two or more characters of the identifier is left in the text. The names, dates and numbers are made up by
the generator of radiographs, whose authors wrote its sentences without looking at the rules.

    python benchmarks/text_privacy.py [--reports 2000] [--real FOLDER]
"""

import argparse
import csv
import gzip
import re
from collections import Counter
from pathlib import Path

from voxmix.radiographs.films import film_facts
from voxmix.radiographs.persons import plan_film
from voxmix.radiographs.reports import Rates, write_report
from voxmix.texts.privacy import deidentify


def words(text: str) -> set[str]:
    """Return the words of two or more characters."""
    return {word for word in re.findall(r"[\w-]+", text) if len(word) > 1}


def recall(count: int, seed: int, *, show: int) -> tuple[Counter[str], Counter[str], int]:
    """Return how many identifiers there are and how many were replaced, by kind; and words lost besides."""
    there: Counter[str] = Counter()
    found: Counter[str] = Counter()
    lost = 0
    for number in range(count):
        plan = plan_film(number, seed=seed)
        facts = film_facts(plan, seed=seed, edge=32)
        report = write_report(plan, seed=seed, rates=Rates(), carina_mm=facts.carina_mm)
        left = words(deidentify(report.text).text)
        ours: set[str] = set()
        for span in report.identifiers:
            text = report.text[span.start : span.end]
            ours |= words(text)
            there[span.kind] += 1
            missed = words(text) & left
            found[span.kind] += not missed
            if missed and show > 0:
                show -= 1
                print("   missed:", span.kind, repr(report.text[max(0, span.start - 30) : span.end + 15]))
        lost += len(words(report.text) - left - ours)
    return there, found, lost


def real_texts(folder: Path) -> dict[str, list[str]]:
    """Return texts of published reports and notes, by set."""
    with gzip.open(folder / "openi_reports/reports.csv.gz", "rt", encoding="utf-8") as file:
        openi = ["\n".join((r["indication"], r["findings"], r["impression"])) for r in csv.DictReader(file)]
    with (folder / "covid_cxr/pairs.csv").open(encoding="utf-8") as file:
        covid = sorted({r["report"] for r in csv.DictReader(file) if r["report"]})
    return {"Open-i reports (anonymized by their authors)": openi, "covid notes (published cases)": covid}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--show", type=int, default=0, help="made identifiers that were missed, to be shown")
    parser.add_argument("--real", type=Path, help="folder with openi_reports and covid_cxr")
    given = parser.parse_args()
    there, found, lost = recall(given.reports, given.seed, show=given.show)
    for kind, count in sorted(there.items()):
        print(f"{kind:10} {found[kind]:6} of {count:6} replaced: {found[kind] / count:.1%}")
    print(f"all        {found.total()} of {there.total()}: {found.total() / max(1, there.total()):.1%}")
    print(f"words lost besides, in {given.reports} reports: {lost}")
    for name, texts in real_texts(given.real).items() if given.real else ():
        kinds: Counter[str] = Counter()
        for text in texts:
            kinds.update(deidentify(text).counts)
        total = sum(len(text.split()) for text in texts)
        print(f"{name}: {len(texts)} texts, {total} words, replaced {dict(kinds) or 'nothing'}")


if __name__ == "__main__":
    main()
