"""Tables, figures and section of finetuning scores: by their data, and as a page."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from voxmix.report import Montage, ReportContent, render_report, tables_of_scores, to_csv, to_markdown
from voxmix.report import score_words as words
from voxmix.report.pictures import overlay_uri
from voxmix.report.score_figures import agreement_panels, gains_data, learning_data, scores_data
from voxmix.report.score_tables import differences_table, estimates_table, scores_table, spread_table
from voxmix.report.table import Table, columns_of, value_of
from voxmix.scores import compare, proxy_agreement

EFFECTS = {"scratch": 0.0, "single": 0.004, "data-proportional": 0.1, "transfer-aware": 0.16}


@pytest.fixture
def comparison(make_segmentation, make_classification, table_of):
    """Planted: on organs two encoders help and two are equal; on sex nothing helps; one control breaks it all."""
    runs = [make_segmentation(i, seed=s, effect=e) for i, e in EFFECTS.items() for s in (1, 2, 3)]
    runs += [
        make_classification(i, seed=s, task="sex") for i in ("scratch", "transfer-aware") for s in (1, 2, 3)
    ]
    runs += [make_segmentation("transfer-aware", seed=s, control="permuted", effect=-0.1) for s in (1, 2, 3)]
    return compare(table_of(*runs), resamples=200)


@pytest.fixture
def agreement(comparison):
    losses = {"single": 0.03, "data-proportional": 0.02, "transfer-aware": 0.01}
    return proxy_agreement(comparison, {("organs", name): [v] for name, v in losses.items()}, resamples=100)


def test_a_value_and_its_range_are_one_column_for_people_and_three_for_machines() -> None:
    table = Table(
        name="t",
        title="",
        columns=(*columns_of(("task", "text")), *value_of("single", "percent"), *value_of("other", "number")),
        rows=(("a", 0.5, 0.42, 0.61, 1.5, None, None), ("b", None, None, None, 2.0, 1.0, 3.0)),
    )
    assert table.headers == ("task", "single", "other")
    assert table.text_rows() == (("a", "50.0% (42.0 to 61.0%)", "1.50"), ("b", "–", "2.00 (1.00 to 3.00)"))
    assert (
        to_csv(table).splitlines()[0]
        == 'task,single,"single, low","single, high",other,"other, low","other, high"'
    )


def test_the_table_of_the_paper_with_what_was_planted(comparison) -> None:
    table = scores_table(comparison)
    rows = {(row["task"], row["metric"]): row for row in table.records()}
    assert list(rows) == [
        ("organs", "Dice"),
        ("sex", "AUC"),
        ("sex", "accuracy"),
        ("sex", "balanced accuracy"),
    ]
    organs = rows["organs", "Dice"]
    assert organs["best"] == "transfer-aware"
    assert organs["transfer-aware"] - organs["scratch"] == pytest.approx(0.16, abs=0.03)
    assert organs["scratch, low"] < organs["scratch"] < organs["scratch, high"]
    assert rows["sex", "AUC"]["best"] == "all tied"
    assert rows["sex", "AUC"]["single"] is None
    assert "| – |" in to_markdown(table)


def test_every_pair_has_its_difference_and_correction(comparison) -> None:
    rows = differences_table(comparison).records()
    assert len(rows) == 6 + 1
    found = {(row["first"], row["second"]): row for row in rows if row["task"] == "organs"}
    assert found["transfer-aware", "scratch"]["apart"] == "yes"
    assert found["single", "scratch"]["apart"] == "no"
    assert all(row["p corrected"] >= row["p"] for row in rows)


def test_every_score_stands_once_in_the_tidy_table(comparison) -> None:
    rows = estimates_table(comparison).records()
    keys = [
        tuple(row[name] for name in ("task", "metric", "class", "initialization", "control")) for row in rows
    ]
    assert len(set(keys)) == len(keys)
    assert ("organs", "Dice", "liver", "single", None) in keys
    assert ("organs", "surface distance, mm", None, "transfer-aware", "permuted") in keys


def test_seeds_and_costs_are_listed(comparison) -> None:
    row = spread_table(comparison).records()[0]
    seeds = [row[f"seed {s}"] for s in (1, 2, 3)]
    assert row["spread of seeds"] == pytest.approx(np.std(seeds, ddof=1))
    assert (row["draws"], row["TFLOP"], row["seconds"]) == (4000, 1.0, 60.0)


def test_sentences_say_who_is_best_and_who_cannot_be_told_apart(comparison) -> None:
    text = " ".join(words.score_sentences(comparison))
    assert "organs: transfer-aware is best" in text
    assert "sex: all 2 are tied, no difference is significant" in text
    assert "transfer-aware better on 1 and worse on 0 of 2 tasks" in text
    assert "single better on 0 and worse on 0 of 1 tasks" in text
    (control,) = words.control_sentences(comparison)
    assert re.match(
        r"organs: transfer-aware, permuted differs .* by −2\d\.\d points, more than noise", control
    )
    assert words.gap_sentences(comparison)[0] == (
        "No result of 6 runs: sex: single, seed 1; sex: single, seed 2; sex: single, seed 3; "
        "sex: data-proportional, seed 1; sex: data-proportional, seed 2; sex: data-proportional, seed 3."
    )


def test_one_seed_is_said_to_rank_nothing(make_segmentation, table_of) -> None:
    found = compare(
        table_of(make_segmentation("scratch"), make_segmentation("single", effect=0.2)), resamples=50
    )
    (sentence,) = words.score_sentences(found)
    assert "nothing is ranked" in sentence
    assert differences_table(found).records()[0]["apart"] == "not known"
    assert differences_table(found).records()[0]["p"] is None


def test_one_initialization_with_one_seed_does_not_silence_the_others(make_segmentation, table_of) -> None:
    runs = [
        make_segmentation(i, seed=s, effect=EFFECTS[i])
        for i in ("scratch", "transfer-aware")
        for s in (1, 2, 3)
    ]
    found = compare(table_of(*runs, make_segmentation("single", effect=-0.1)), resamples=50)
    (sentence, *_) = words.score_sentences(found)
    assert sentence.endswith("differs significantly from scratch, not from single.")


def test_three_encoders_are_said_to_decide_nothing(agreement) -> None:
    text = " ".join(words.agreement_sentences(agreement))
    assert "mean rank correlation is 1.00" in text
    assert "That is inconclusive: with 3 encoders" in text
    assert "16.7%" in text


def test_figures_hold_what_was_measured(comparison, agreement) -> None:
    data = scores_data(comparison, task="organs")
    assert data.inits == tuple(EFFECTS)
    assert data.seeds.mean(axis=1) == pytest.approx(data.value)
    gains = gains_data(comparison)
    assert gains is not None
    by_name = dict(zip(zip(gains.tasks, gains.inits, strict=True), gains.gain, strict=True))
    assert by_name["organs", "transfer-aware"] == pytest.approx(data.value[3] - data.value[0])
    assert ((gains.interval[:, 0] < gains.gain) & (gains.gain < gains.interval[:, 1])).all()
    learning = learning_data(comparison, task="organs")
    assert learning is not None
    assert learning.mean.shape == (4, 10)
    assert learning.mean == pytest.approx(learning.seeds.mean(axis=1))
    (panel,) = agreement_panels(agreement, comparison)
    assert panel.loss.tolist() == [0.03, 0.02, 0.01]


def page(comparison, agreement, **more) -> str:
    return render_report(ReportContent(study="x", comparison=comparison, agreements=(agreement,), **more))


def test_the_section_has_every_figure_and_a_table_for_each(comparison, agreement) -> None:
    html = page(comparison, agreement)
    assert html.count("<svg ") == 1 + 2 + 2 + 1  # gains; scores, curves per task; one task with a proxy
    section = html[html.index('<section id="tasks">') :]
    section = section[: section.index("</section>")]
    assert section.count("text/csv") == section.count("<table ") >= 8
    assert not re.search(r"\bnan\b", re.sub(r"<[^>]+>", " ", section), flags=re.I)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_names_are_escaped_and_labels_keep_their_names(make_segmentation, table_of) -> None:
    runs = [make_segmentation(name, seed=seed) for name in ("scratch", "<b>&mine") for seed in (1, 2)]
    html = render_report(ReportContent(study="x", comparison=compare(table_of(*runs), resamples=50)))
    assert "<b>" not in html
    assert "&lt;b&gt;&amp;mine" in html


def test_pictures_stand_side_by_side_and_can_be_left_out(comparison, agreement) -> None:
    image, labels = np.full((6, 5), 0.5), np.zeros((6, 5), dtype=np.uint8)
    labels[1, 2] = 2
    montage = Montage(
        task="organs",
        case="c00",
        classes=("background", "liver", "spleen"),
        image=image,
        reference=labels,
        predictions={"scratch": labels, "single": np.zeros_like(labels)},
    )
    html = page(comparison, agreement, montages=(montage,))
    assert html.count("<img ") == 4
    assert page(comparison, agreement).count("<img ") == 0


def test_labels_are_laid_over_the_right_pixel() -> None:
    labels = np.zeros((4, 3), dtype=np.uint8)
    labels[3, 0] = 2  # last to the right, lowest
    uri = overlay_uri(np.full((4, 3), 0.5), labels, ["#ff0000", "#0000ff"])
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))
    assert pixels.shape == (3, 4, 3)
    blue = pixels[:, :, 2] > pixels[:, :, 0]
    assert np.argwhere(blue).tolist() == [[2, 3]]
    assert (pixels[0, 0] == 128).all()


def test_a_refused_comparison_is_said_in_the_report() -> None:
    reason = "The finetuned encoders cannot be compared: task organs has two protocols."
    html = render_report(ReportContent(study="x", no_comparison=reason))
    assert reason in html
    assert "voxmix finetune" not in html


def test_summary_tables_leave_out_what_there_is_nothing_for(
    make_classification, table_of, comparison, agreement
) -> None:
    names = [table.name for table in tables_of_scores(comparison, (agreement,))]
    assert names == ["scores", "surface-distances", "differences", "controls", "proxy-mean-over-targets"]
    alone = compare(table_of(make_classification("scratch")), resamples=50)
    assert [table.name for table in tables_of_scores(alone)] == ["scores"]
