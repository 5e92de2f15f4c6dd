"""Report generation where the truth is known: made radiographs whose features are their labels, in part, or another film's.

    python benchmarks/reports_known.py [--count 800]

Prints, for each kind of features, label F1 of each report and over labels, BLEU-4 and ROUGE-L of the own decoder, of the commonest
training report and of the nearest film's report, with the loss per token and the seconds. Labels in the features must be said;
from features of another film nothing can be.
"""

import argparse
import csv
import tempfile
import time
from pathlib import Path

import numpy as np

from voxmix.generation.baselines import commonest, nearest
from voxmix.generation.write import write_reports
from voxmix.probe_tasks import ReportSettings
from voxmix.radiographs import make_radiographs
from voxmix.texts.report_text import TextRecipe, report_text
from voxmix.texts.scoring import score_texts
from voxmix.texts.tokenizer import fit_tokenizer

NAMES = ("label F1", "BLEU-4", "ROUGE-L")
NO_LABELS = ("image", "person", "domain", "view", "report", "masks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = make_radiographs(Path(folder), count=given.count, seed=given.seed, edge=32)
        with table.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    labels = [name for name in rows[0] if name not in NO_LABELS]
    recipe = TextRecipe()
    texts = [report_text(row["report"], recipe).text for row in rows]
    truth = np.array([[float(row[name] == "1") for name in labels] for row in rows])
    persons = sorted({row["person"] for row in rows})
    held_out = {person for k, person in enumerate(persons) if k % 3 == 0}
    chosen = {person for k, person in enumerate(persons) if k % 3 == 1 and k % 5 == 0}
    test = np.array([row["person"] in held_out for row in rows])
    inner = np.array([row["person"] in chosen for row in rows])[~test]
    train_texts = [text for text, out in zip(texts, test, strict=True) if not out]
    test_texts = [text for text, out in zip(texts, test, strict=True) if out]
    tokenizer = fit_tokenizer(train_texts, vocabulary=2048)
    train_texts, test_texts = (
        [tokenizer.decode(tokens) for tokens in tokenizer.encode(each)] for each in (train_texts, test_texts)
    )
    print(
        f"{len(train_texts)} training reports, {len(set(train_texts))} different; {len(test_texts)} test reports"
    )
    rng = np.random.default_rng(given.seed)
    features = {
        "all labels": truth,
        "half of the labels": truth * (np.arange(len(labels)) % 2 == 0),
        "another film's labels": truth[rng.permutation(len(truth))],
    }
    print("| features | text | label F1 | macro label F1 | BLEU-4 | ROUGE-L | loss (other image) | seconds |")
    for name, shown in features.items():
        tokens = 0.3 * rng.standard_normal((len(rows), 5, len(labels)))
        tokens[:, 0] += 2 * shown - 1
        tokens = tokens.astype(np.float16)
        started = time.monotonic()
        found = write_reports(
            tokens[~test], train_texts, inner, tokens[test], tokenizer=tokenizer, settings=ReportSettings()
        )
        seconds = time.monotonic() - started
        loss = found.learned.losses[found.learned.epoch - 1]
        near = nearest(tokens[~test, 0].astype(float), tokens[test, 0].astype(float))
        sides = {
            "generated": found.texts,
            "commonest": [commonest(train_texts)] * len(test_texts),
            "nearest": [train_texts[k] for k in near],
        }
        for side, said in sides.items():
            scores = score_texts(said, test_texts, names=NAMES)
            means = [
                scores.mean("label F1"),
                scores.figures["label F1, macro"],
                *(scores.mean(n) for n in NAMES[1:]),
            ]
            more = (
                f"{loss:.3f} ({found.learned.without_images:.3f}) | {seconds:.0f}"
                if side == "generated"
                else " | "
            )
            print(
                f"| {name} | {side} | " + " | ".join(f"{value:.3f}" for value in means) + f" | {more} |",
                flush=True,
            )
        print("  e.g.:", found.texts[0][:200], "\n  true:", test_texts[0][:200], flush=True)


if __name__ == "__main__":
    main()
