"""voxmix init for encoders: what is found, what is written, and what is refused in one sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from voxmix.encoder_study import EncoderStudy, EncoderView, start_encoder_study
from voxmix.encoder_study.config_file import parse_config, render_config
from voxmix.errors import InputError
from voxmix.settings import parse_yaml
from voxmix.study import Study
from voxmix.study.files import kind_of


def test_the_study_file_holds_every_setting_and_reads_back_as_it_was_written(
    begin: Callable[..., EncoderView],
) -> None:
    config = begin(objectives=("dino", "unicl", "mae")).config
    text = render_config(config)
    assert parse_config(parse_yaml(text, where="text"), where="text") == config
    assert list(config.objectives) == ["dino", "unicl", "mae"]


def test_the_kind_tells_the_study_from_one_of_mixtures(begin: Callable[..., EncoderView]) -> None:
    view = begin()
    assert kind_of(view.root) == "encoders"
    with pytest.raises(InputError, match=r"study of kind 'encoders'.*, predict, plan, "):
        Study.open(view.root)


def test_objectives_left_out_are_those_that_the_table_allows(films: Path, tmp_path: Path) -> None:
    begun = start_encoder_study(tmp_path / "a", images=films)
    assert list(begun.study.config.objectives) == ["dino", "unicl"]
    assert begun.study.config.design.samples == ("all",)  # no preset size is below 20 images
    assert any("15 persons" in line for line in begun.seen)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": (64, "all")}, "64 images, and there are"),
        ({"samples": (8, 4)}, "rise"),
        ({"design": {"extremes_at": 0.5}}, "above 1"),
        ({"objectives": ("dion",)}, "did you mean"),
        ({"objectives": ("dino", "dino")}, "twice"),
        ({"domains": ("C",)}, "domains"),
        ({"starts": {"x": Path("/nowhere")}}, "/nowhere"),
    ],
)
def test_a_mistake_is_refused_and_leaves_nothing(
    films: Path, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        start_encoder_study(tmp_path / "a", images=films, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()


def test_reports_are_asked_for_where_an_objective_reads_them(films: Path, tmp_path: Path) -> None:
    bare = films.parent / "bare.csv"
    lines = films.read_text(encoding="utf-8").splitlines()
    bare.write_text("\n".join(",".join(line.split(",")[:3]) for line in lines) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="objective clip reads reports, and no image has one"):
        start_encoder_study(tmp_path / "a", images=bare, objectives=("clip",))
    with pytest.raises(InputError, match="objective unicl reads reports, and no image has one"):
        start_encoder_study(tmp_path / "a", images=bare, objectives=("unicl",))
    begun = start_encoder_study(tmp_path / "a", images=bare)
    assert list(begun.study.config.objectives) == ["dino"]
    bare.unlink()


def test_labels_are_asked_for_where_an_objective_reads_them(films: Path, tmp_path: Path) -> None:
    bare = films.parent / "unlabelled.csv"
    lines = films.read_text(encoding="utf-8").splitlines()
    bare.write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="objective unicl reads labels, too, and no image has one"):
        start_encoder_study(tmp_path / "a", images=bare, objectives=("dino", "unicl"))
    begun = start_encoder_study(tmp_path / "a", images=bare)
    assert list(begun.study.config.objectives) == ["dino", "clip"]
    bare.unlink()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("name: vit\n", "name: vitt\n", "unknown backbone"),
        ("  dino:\n", "  dinno:\n", "unknown objective"),
        ("prototypes:", "protypes:", "prototypes"),
        ("budget_unit: draws", "budget_unit: seconds", "schedule trunk"),
        ("samples: [4, all]", "samples: [4, 4]", "do not repeat"),
        ("  scratch:", "  other:", "needs a folder"),
        ("validation_fraction: 0.2", "validation_fraction: 1.2", "between 0 and 1"),
        ("subset_seed: 0", "subset_sed: 0", "subset_seed"),
    ],
)
def test_a_mistake_in_the_study_file_is_named(
    begin: Callable[..., EncoderView], before: str, after: str, words: str
) -> None:
    study = begin().study
    text = study.path.read_text(encoding="utf-8")
    assert before in text
    study.path.write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(InputError, match=words):
        EncoderStudy.open(study.root)


def test_a_notebook_shows_a_study_in_short(begin: Callable[..., EncoderView], tmp_path: Path) -> None:
    """Its repr is a line, without the path of this machine."""
    study = begin().study
    shown, page = repr(study), study._repr_html_()
    assert shown.startswith("EncoderStudy('")
    assert len(shown) < 120
    assert str(tmp_path) not in shown + page
    assert all(f"{name}" in page for name in study.config.objectives)
