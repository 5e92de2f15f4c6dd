"""What cannot work in a study is said before anything is computed; options and arguments of the wrong kind get a sentence."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.errors import InputError
from voxmix.settings import parse_yaml
from voxmix.study import Study
from voxmix.study.config import read_config, write_config
from voxmix.study.presets import preset

LIGHT = find_spec("torch") is None


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study that is not begun: three phantom domains, all that its file needs."""
    config = preset("demo").study(name="s", data=_data())
    write_config(config, tmp_path / "s" / "study.yaml")
    return tmp_path / "s"


def _data() -> object:
    from voxmix.study import DataSettings, PhantomSettings

    return DataSettings(phantoms=PhantomSettings(counts={"ABD-CT": 4, "BRAIN-T1": 4, "HN-PET": 4}))


def changed(study: Path, section: str, **values: object) -> None:
    text = yaml.safe_load((study / "study.yaml").read_text(encoding="utf-8"))
    text[section] |= values
    (study / "study.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")


def voxmix(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_the_study_as_made_has_no_problem(study: Path) -> None:
    code, told = voxmix("status", study, "--json")
    assert code == 0
    assert json.loads(told)["problems"] == []


@pytest.mark.parametrize(
    ("section", "values", "says"),
    [
        ("allocation", {"min_weight": 0.5}, "give min_weight at most 0.3333"),
        ("allocation", {"max_weight": {"ABD-CT": 0.1, "BRAIN-T1": 0.1, "HN-PET": 0.1}}, "allow only 0.300"),
        ("allocation", {"max_weight": {"ABD-CTT": 0.4}}, "did you mean 'ABD-CT'"),
        ("allocation", {"fixed": {"ABD-CT": 0.7, "HN-PET": 0.7}}, "conflict"),
        ("design", {"budgets": [800]}, "one budget"),
        (
            "design",
            {"vertex_seeds": 1, "min_weight": [0.05, 0.4]},
            "vertex runs of design.min_weight: min_weight 0.4 of each of 3 domains is not possible; give 0 to 0.3333",
        ),
        ("recipe", {"intensity": {"ABD-CT": "softtissue"}}, "no rule is called"),
        ("recipe", {"spacing_mm": 0.001}, "spacing_mm"),
    ],
)
def test_what_cannot_work_is_said_by_every_verb(study: Path, section: str, values: dict, says: str) -> None:
    changed(study, section, **values)
    code, told = voxmix("status", study)
    assert code == 2
    assert says in told
    assert "prepare" in told  # the table is shown all the same
    for verb in (
        ["run"],
        ["fit"],
        ["allocate"],
        ["pretrain"],
        ["report"],
        ["estimate"],
        ["study", "run"],
        ["prepare"],
    ):
        code, told = voxmix(*verb, study)
        if LIGHT and "is not installed" in told:
            continue
        assert code == 2
        assert says in told, verb
    assert not (study / "runs").exists()


def test_a_crop_larger_than_a_prepared_volume_is_said(study: Path, tmp_path: Path) -> None:
    from voxmix.study import study_problems
    from voxmix.volumes import PreparedCache
    from voxmix.volumes.preparing.cache import PreparedVolume
    from voxmix.volumes.recipe import Recipe

    opened = Study.open(study)
    volumes = tuple(
        PreparedVolume(
            key=f"{domain}{n}",
            domain=domain,
            subject=f"{domain}{n}",
            split=split,
            shape=(40, 24, 40),
            spacing_mm=4.0,
            file="",
        )
        for domain in ("ABD-CT", "BRAIN-T1", "HN-PET")
        for n, split in enumerate(("train", "validation"))
    )
    cache = PreparedCache(root=opened.cache_dir, volumes=volumes, recipe=Recipe(), set_aside=())
    opened.cache_dir.mkdir()
    (opened.cache_dir / "index.json").write_text(json.dumps(cache.as_dict()), encoding="utf-8")
    opened.mark_made("prepare", opened.preparation_inputs)
    (problem,) = study_problems(opened)
    assert "6 of 6" in problem
    assert "least edge being 24" in problem


def test_settings_without_effect_are_said_and_refuse_nothing(study: Path) -> None:
    changed(study, "model", name="unetr")  # the demo's decoder is not the default one
    code, told = voxmix("status", study)
    assert code == 0
    said = (
        "model.decoder_width, model.decoder_depth, model.decoder_heads have no effect with model.name unetr"
    )
    assert said in " ".join(told.split())
    code, told = voxmix("fit", study)  # nothing is prepared: another reason to stop
    assert said in " ".join(told.split())
    code, told = voxmix("status", study, "--json")
    assert "have no effect" in json.loads(told)["notes"][0]


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (["--rho", "per-target"], "write rho: per-target below fit:"),
        (["--max-transfer", "4"], "write max_transfer: 4.0 below fit:"),
        (["--keep-outliers"], "write keep_outliers: true below fit:"),
        (["--holdout-budget", "largest"], "measurements.csv"),
        (["--law", "budget"], "measurements.csv"),
        (["--seed", "3"], "measurements.csv"),
        (["-o", "law.json"], "measurements.csv"),
    ],
)
def test_options_of_fit_on_a_study_lead_to_a_key_that_exists(
    study: Path, option: list[str], says: str
) -> None:
    code, told = voxmix("fit", study, *option)
    assert code == 2
    assert says in told.replace("\n", " ")
    if "below fit:" in says:
        key, _, value = says.removeprefix("write ").removesuffix(" below fit:").partition(": ")
        changed(study, "fit", **{key: yaml.safe_load(value)})
        assert getattr(read_config(study / "study.yaml").fit, key) == yaml.safe_load(value)


@pytest.mark.parametrize("named", ["", "study.yaml"])
def test_a_study_keeps_its_mixtures_where_it_says(study: Path, named: str) -> None:
    code, told = voxmix("allocate", study / named, "-o", "x.json")
    assert code == 2
    assert f"keeps its mixtures in {study / 'allocations'};" in told


def test_options_of_allocate_on_a_study_are_tried_and_its_keys_are_kept(finished_study: Path) -> None:
    before = {path: path.read_bytes() for path in (finished_study / "allocations").iterdir()}
    code, told = voxmix(
        "allocate", finished_study, "--max-weight", "HN-CT=0.2", "--min-weight", "0.1", "--json"
    )
    assert code == 0
    tried = json.loads(told[told.index("{") : told.rindex("}") + 1])
    assert set(tried) == {
        "transfer-naive",
        "transfer-aware",
    }  # this study has no anchors, so no diversity law
    assert all(item["weights"]["HN-CT"] <= 0.2 + 1e-9 for item in tried.values())
    assert {path: path.read_bytes() for path in before} == before
    changed(finished_study, "allocation", max_weight={"HN-CT": 0.2}, min_weight=0.1)
    code, told = voxmix("allocate", finished_study, "--json")
    assert code == 0
    kept = json.loads(told[told.index("{") : told.rindex("}") + 1])
    for name, item in tried.items():
        assert kept[name]["weights"] == item["weights"]
    assert before != {path: path.read_bytes() for path in before}


def _roles(told: str) -> dict[str, tuple[str, float]]:
    """Role and mean outgoing transfer of every domain, as ``structure --json`` gives them."""
    value = json.loads(told[told.index("{") : told.rindex("}") + 1])
    return {name: (role, value["mean_outgoing_transfer"][name]) for name, role in value["roles"].items()}


def _roles_in_the_report(root: Path, law: str) -> dict[str, tuple[str, float]]:
    from voxmix.report.figures import transfer_data
    from voxmix.study import answer_content, open_study

    data = transfer_data(answer_content(open_study(root)), law=law)
    return {
        name: (role, float(out))
        for name, role, out in zip(data.domains, data.roles, data.outgoing, strict=True)
    }


def test_a_study_answers_where_a_law_is_asked_for(finished_study: Path) -> None:
    for name in ("naive", "transfer"):
        by_study = voxmix("structure", finished_study, "--law", name, "--json")
        assert by_study == voxmix("structure", finished_study / "laws" / f"{name}.json", "--json")
        assert by_study[0] == 0
        assert _roles(by_study[1]) == _roles_in_the_report(finished_study, name)
    code, told = voxmix("path", finished_study, "--law", "none")
    assert code == 2
    assert "its laws are naive, transfer" in told


@pytest.mark.parametrize(
    "verb",
    [
        ["predict", "--budget", 9, "--weights", "CT=1"],
        ["plan", "--loss", "CT=1"],
        ["path"],
        ["structure"],
        ["suggest"],
        ["allocate", "--budget", 9],
        ["fit"],
    ],
)
@pytest.mark.parametrize(
    "kind", ["missing", "folder", "table", "report", "binary", "empty", "manifest", "run"]
)
def test_what_is_no_law_gets_a_sentence(tmp_path: Path, verb: list, kind: str) -> None:
    path = made(tmp_path, kind)
    code, told = voxmix(verb[0], path, *verb[1:])
    assert code in (1, 2)
    assert "error:" in told


@pytest.mark.parametrize(
    "verb",
    [
        ["report"],
        ["status"],
        ["estimate"],
        ["compare"],
        ["run"],
        ["study", "run"],
        ["pretrain"],
        ["finetune", "--task", "amos-ct"],
        ["export"],
    ],
)
@pytest.mark.parametrize(
    "kind", ["missing", "folder", "table", "report", "binary", "empty", "manifest", "law", "run"]
)
def test_what_is_no_study_gets_a_sentence(tmp_path: Path, verb: list, kind: str) -> None:
    path = made(tmp_path, kind)
    code, told = voxmix(*verb, path)
    assert code in (1, 2)
    assert "error:" in told
    if LIGHT and "is not installed" in told:
        pytest.skip("this verb asks for torch first, and torch is not installed")
    assert str(path.name) in told.replace("\n", "")


def test_a_study_without_laws_is_told_to_fit(study: Path) -> None:
    for verb in ("path", "structure", "suggest"):
        code, told = voxmix(verb, study)
        assert code in (1, 2)
        assert "voxmix " in told


def made(folder: Path, kind: str) -> Path:
    """Return a path of a kind that people mix up with a law or a study."""
    path = folder / f"some-{kind}"
    if kind in ("folder", "run"):
        path.mkdir()
    if kind == "run":
        (path / "card.json").write_text("{}", encoding="utf-8")
    if kind == "table":
        path = path.with_suffix(".csv")
        path.write_text("a,b\n1,2\n", encoding="utf-8")
    if kind == "report":
        path = path.with_suffix(".html")
        path.write_text("<html></html>", encoding="utf-8")
    if kind in ("binary", "empty"):
        path.write_bytes(bytes(range(256)) if kind == "binary" else b"")
    if kind in ("manifest", "law"):
        path = path.with_suffix(".json")
        path.write_text(json.dumps({"kind": kind, "format": 1}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "found nothing"),
        ("- 1\n", "found list"),
        ("a: 1\na: 2\n", "'a' is given twice"),
        ("a: &x [1]\nb: *x\n", "alias"),
        ("a:\t1\n\tb: 2\n", "not YAML"),
        ("a: " + "[" * 5000, "nested too deep|not YAML"),
    ],
)
def test_yaml_that_hides_mistakes_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_yaml(text, where="x.yaml")


@pytest.mark.parametrize(
    ("section", "values", "says"),
    [
        ("training", {"learning_rate": float("nan")}, "learning_rate: nan is not a finite number"),
        ("allocation", {"max_weight": {"ABD-CT": float("inf")}}, "inf is not a finite number"),
        ("model", {"depth": True}, "model.depth: should be a number, got true"),
        ("design", {"budgets": [True, 800]}, "design.budgets: should be a number, got true"),
        ("design", {"budgets": 800}, r"design.budgets: should be a list, such as \[1, 2\], got 800"),
    ],
)
def test_values_that_are_no_numbers_are_named(study: Path, section: str, values: dict, says: str) -> None:
    changed(study, section, **values)
    with pytest.raises(InputError, match=says):
        read_config(study / "study.yaml")


def test_a_byte_order_mark_and_exponents_are_read(study: Path) -> None:
    path = study / "study.yaml"
    text = path.read_text(encoding="utf-8").replace("learning_rate: 0.002", "learning_rate: 2e-3")
    assert "2e-3" in text
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_config(path).training.learning_rate == 0.002
