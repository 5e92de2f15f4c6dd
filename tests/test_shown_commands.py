"""Every command that a page shows is run as it stands in a small made world, or listed here with the reason why it is only parsed.

A command whose line stands on several pages is run once.
"""

import csv
import re
import shlex
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from shown import ROOT, cases
from verbs import voxmix

ELSEWHERE = {
    "docs/how-to/law-from-a-table.md": "tests/test_docs.py::test_the_page_on_tables_runs_as_it_stands",
    "docs/start.md": "tests/test_site.py::test_the_first_five_minutes_run_as_they_stand",
    **{
        f"docs/tutorials/{page}.md": "tests/test_page_notebooks.py::test_a_notebook_runs_from_top_to_bottom"
        for page in ("own-volumes", "clinical-tasks", "cluster")
    },
}
"""Pages whose commands a test of their own runs in order, but for those on a study."""

PARSED_ONLY: dict[str, tuple[str, ...]] = {
    "trains or prepares: minutes. tests/test_miniature_study.py and tests/encoder_study/test_verbs.py do the same, small": (
        r"voxmix (run|pretrain|refine|study run|prepare) \w+\b(?!\.csv)",
        r"voxmix estimate ",
        r"voxmix demo",
        r"voxmix (fit|allocate|report) phantoms",
    ),
    "finetunes: tests/downstream": (r"voxmix finetune ",),
    "a finished study of encoders or its weights: tests/encoder_study and tests/encoders run these verbs on one": (
        r"voxmix (probe|scale|compare|status|report|export) cxr",
        r"voxmix probe --encoder",
        r"voxmix (predict|plan) scores\.json",
        r"voxmix scale scores\.csv",
        r"voxmix init .*(rad-dino|--volumes)",
    ),
    "weights of a study of mixtures: tests/training/test_export.py, test_nnunet.py and test_hub.py": (
        r"voxmix export mystudy(?!.*--mixture-for)",
    ),
    "a cluster or other workers: tests/cluster, tests/engines": (r"voxmix work ",),
    "does not end by itself": (r".* --watch",),
    "asks a server: tests/cli/test_label.py has one": (r".* --endpoint .*",),
    "data sets of others that are not here: tests/cases and tests/datasets have their layouts": (
        r".*(amos22|Dataset007|Task09|STS-CT|train_pile|\breal\b).*",
    ),
    "a cache of volumes that lie there: tests/cli/test_volume_verbs.py": (
        r"voxmix cache (verify|prune) mystudy",
        r"voxmix cache restore ",
        r"voxmix audit mystudy",
    ),
    "tables of other columns: the page on tables, tests/cli/test_tables.py": (
        r"voxmix (table|fit) s\w+\.csv .*",
        r"voxmix allocate score-law\.json.*",
    ),
    "the made study has 8 volumes of a domain, and no encoder that was finetuned": (
        r"voxmix allocate mystudy --max-epochs",
        r"voxmix table mystudy",
    ),
    "more films than are made here": (r"voxmix init .*--samples 64,256,1024,all",),
    "1,000 fits": (r".* --bootstrap 1000",),
}
PARSED = 97
"""At most so many of the shown commands are only parsed: lower it whenever one more is run."""


def reason_of(line: str) -> str | None:
    return next(
        (why for why, shown in PARSED_ONLY.items() if any(re.fullmatch(f"{each}.*", line) for each in shown)),
        None,
    )


SHOWN = sorted({line.strip() for page, line in cases("voxmix") if page not in ELSEWHERE})
RUN = [line for line in SHOWN if reason_of(line) is None]


@pytest.fixture(scope="session")
def world(made_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what commands name: volumes, films with reports, tables, a law, and beside it a finished study."""
    root = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        _films(root)
        _tables(root)
        if find_spec("nibabel") is not None:
            _volumes(root)
    return root


def _films(root: Path) -> None:
    image, rng = pytest.importorskip("PIL.Image"), np.random.default_rng(0)
    (root / "films").mkdir()
    (root / "reports").mkdir()
    films, gold = [], []
    for number in range(108):
        said = f"Small left effusion. Film {number}." if number % 2 else "No effusion. Lungs are clear."
        image.fromarray(rng.integers(0, 255, (24, 24), dtype=np.uint8)).save(root / f"films/{number}.png")
        (root / f"reports/{number}.txt").write_text(said, encoding="utf-8")
        name = {"image": f"films/{number}.png"}
        films.append({**name, "person": f"p{number // 2}", "report": said, "smoker": number % 2})
        gold.append({**name, "effusion": number % 2})
    _write(root / "films.csv", films[:96])
    _write(root / "elsewhere.csv", films[96:])
    _write(root / "gold.csv", gold)
    page = (ROOT / "docs/concepts/labels-from-reports.md").read_text(encoding="utf-8")
    (rules,) = re.findall(r"```yaml\n(labels:.*?)```", page, re.DOTALL)
    (root / "own.yaml").write_text(rules, encoding="utf-8")


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _tables(root: Path) -> None:
    from voxmix.law.simulate import random_law, simulate

    rng, names = np.random.default_rng(4), ("ABD-CT", "BRAIN-T1", "HN-PET")
    truth = random_law(rng, 3)
    table = simulate(truth, budgets=(500, 1000, 2000, 4000), seeds=2, noise=0.01, domains=names, rng=rng)
    sharper = np.where(np.asarray(table.target) == "HN-PET", 0.4, 1.0)  # pages ask for a loss of 0.004 there
    table = replace(table, loss=table.loss * sharper)
    replace(table, volumes=np.tile([3000.0, 2000.0, 7000.0], (len(table), 1))).to_csv(root / "runs.csv")
    _do("voxmix fit runs.csv -o law.json --bootstrap 60")


def _volumes(root: Path) -> None:
    from voxmix.phantoms.domains import write_phantoms

    write_phantoms(root / "volumes", counts={"ABD-CT": 3, "BRAIN-T1": 3}, seed=1, matrix=24)
    shutil.copytree(root / "volumes" / "BRAIN-T1", root / "volumes" / "PROSTATE-MR")
    for number, path in enumerate(sorted((root / "volumes" / "PROSTATE-MR").rglob("*.nii.gz"))):
        path.rename(path.with_name(f"other{number}.nii.gz"))
    write_phantoms(root / "others", counts={"ABD-CT": 2}, seed=2, matrix=24)
    (root / "recipe.yaml").write_text("spacing_mm: 8\nmin_shape: [16, 16, 16]\n", encoding="utf-8")
    (root / "scans" / "ABD-CT").mkdir(parents=True)
    for number, path in enumerate(
        sorted((root / "others").rglob("*_abd-ct.nii.gz")) or sorted((root / "others").rglob("*CT.nii.gz"))
    ):
        shutil.copy(path, root / "scans" / "ABD-CT" / f"pat{number}_thin.nii.gz")
    _do("voxmix manifest volumes/ --out manifest.csv")
    _do("voxmix manifest others/ --out downstream.csv")
    shutil.copy(root / "manifest.csv", root / "pretraining.csv")
    _do("voxmix prepare manifest.csv --recipe recipe.yaml --out prepared")


def _do(line: str) -> str:
    done = voxmix(*shlex.split(line.split(" > ")[0], comments=True)[1:])
    assert done.exit_code == 0, f"{line}: {done.output}\n{done.exception!r}"
    said: str = done.output
    return said


SLOW = re.compile(
    r"voxmix (report|audit|doctor|prepare|suggest|path|init \w+ --data volumes(/| --)|init cxr .*--task-images)"
)
"""Commands of seconds, run by make test-docs alone."""


@pytest.mark.parametrize(
    "line", [pytest.param(each, marks=[pytest.mark.slow] if SLOW.match(each) else []) for each in RUN]
)
def test_a_shown_command_runs(line: str, world: Path, made_study: Path, tmp_path: Path, monkeypatch) -> None:
    """In a copy of the world, beside a study where the command does not begin one."""
    if re.search(r"volumes|manifest|pretraining|prepared", line) and find_spec("nibabel") is None:
        pytest.skip("volumes need the extra 'imaging'")
    place = tmp_path / "place"
    shutil.copytree(world, place)
    if " init " not in line:
        shutil.copytree(made_study, place / "mystudy")
        for name in re.findall(r"\b(?:small|large)\b", line):
            shutil.copytree(made_study, place / name)
        for name in re.findall(r"--task (\S+)", line):
            _named(place / "mystudy" / "downstream", name)
    monkeypatch.chdir(place)
    _do(line)


def _named(downstream: Path, task: str) -> None:
    """Let a finished task have the name that a page gives its own."""
    (downstream / "organs").rename(downstream / task)
    for path in (downstream / task).rglob("result.json"):
        path.write_text(path.read_text(encoding="utf-8").replace('"organs"', f'"{task}"'), encoding="utf-8")


def test_what_is_only_parsed_is_listed_with_its_reason_and_gets_less() -> None:
    only = [line for line in SHOWN if reason_of(line) is not None]
    assert len(only) <= PARSED, "\n".join(only)
    for why, shown in PARSED_ONLY.items():
        for each in shown:
            assert any(re.fullmatch(f"{each}.*", line) for line in SHOWN), (
                f"no page shows {each} ({why}); take it out"
            )


def test_pages_that_other_tests_run_name_tests_of_today() -> None:
    for page, test in ELSEWHERE.items():
        file, _, name = test.partition("::")
        assert (ROOT / page).is_file()
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")
