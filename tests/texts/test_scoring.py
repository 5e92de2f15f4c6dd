"""Scores of generated reports, each by hand, and against a library where there is one."""

import re
import sys
from importlib.util import find_spec
from math import exp, log
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from voxmix.errors import InputError, MissingDependencyError
from voxmix.texts.scoring import TEXT_SCORES, TextScore, score_texts
from voxmix.texts.scoring.label_f1 import label_figures
from voxmix.texts.scoring.offline import NoNetworkError, without_network
from voxmix.texts.scoring.overlap import bleu, chrf, corpus_bleu, rouge_l, words
from voxmix.texts.scoring.score import chosen_scores

needs_torchmetrics = pytest.mark.skipif(
    find_spec("torchmetrics") is None, reason="torchmetrics is not installed"
)
OWN = ("label F1", "BLEU-4", "ROUGE-L", "chrF")


def random_texts(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    vocabulary = [
        "the",
        "lungs",
        "are",
        "clear",
        "no",
        "pleural",
        "effusion",
        "or",
        "tube",
        "tip",
        "carina",
        ",",
        ".",
    ]
    return [" ".join(rng.choice(vocabulary, size=rng.integers(6, 30))) for _ in range(count)]


def test_equal_texts_have_one() -> None:
    texts = ["No findings.", "Heart size is normal. There is a large left pleural effusion.", "Clear"]
    found = score_texts(texts, texts, names=OWN)
    for name in OWN:
        assert found.values[name] == pytest.approx((1, 1, 1)), name
        assert found.mean(name) == pytest.approx(1)


def test_nothing_in_common_has_zero() -> None:
    for score in (bleu, rouge_l, chrf):
        assert score("aaa bbb", "ccc ddd eee") == 0
        assert score("", "ccc ddd") == 0


def test_bleu_by_hand() -> None:
    """Five words, four of them right; runs of two: 3 of 4, three: 2 of 3, four: 1 of 2; one word shorter than the reference."""
    said, known = "the lungs are clear now", "the lungs are clear and well"
    shares = [4 / 5, (3 + 1) / (4 + 1), (2 + 1) / (3 + 1), (1 + 1) / (2 + 1)]
    mean = exp(sum(log(share) for share in shares) / 4)
    assert bleu(said, known) == pytest.approx(exp(1 - 6 / 5) * mean)
    plain = exp(sum(log(share) for share in (4 / 5, 3 / 4, 2 / 3, 1 / 2)) / 4)
    assert corpus_bleu([said], [known]) == pytest.approx(exp(1 - 6 / 5) * plain)


def test_a_word_said_twice_counts_once_where_it_is_known_once() -> None:
    assert bleu("clear clear clear clear", "clear lungs") < bleu("clear lungs", "clear lungs")
    assert rouge_l("clear clear clear clear", "clear lungs") == pytest.approx(2 * 1 / 6)


def test_rouge_l_by_hand() -> None:
    """The longest common subsequence is "lungs are clear": 3 of 4 said, 3 of 6 known."""
    assert rouge_l("Lungs are clear today.", "Both lungs are very clear indeed") == pytest.approx(
        2 * (3 / 4) * (3 / 6) / (3 / 4 + 3 / 6)
    )


def test_chrf_by_hand() -> None:
    """ "ab" said, "abc" known: runs of one 2/2 and 2/3, of two 1/1 and 1/2, of three 0; recall counts twice."""
    one = 5 * 1 * (2 / 3) / (4 * 1 + 2 / 3)
    two = 5 * 1 * (1 / 2) / (4 * 1 + 1 / 2)
    assert chrf("a b", "ABC") == pytest.approx((one + two + 0) / 3)


@needs_torchmetrics
def test_overlap_is_the_librarys() -> None:
    from torchmetrics.functional.text import bleu_score, chrf_score, rouge_score

    said, known = random_texts(12, 0), random_texts(12, 1)
    spaced = [[" ".join(words(text))] for text in known]
    assert corpus_bleu(said, known) == pytest.approx(float(bleu_score(said, spaced)), abs=1e-6)
    for ours, theirs in zip(said, known, strict=True):
        assert rouge_l(ours, theirs) == pytest.approx(
            float(rouge_score(ours, theirs, rouge_keys="rougeL")["rougeL_fmeasure"]), abs=1e-6
        )
        library = float(bleu_score([ours], [[theirs]], smooth=True))
        if library:  # 0 where no four words in a row agree, smoothed or not
            assert bleu(ours, theirs) == pytest.approx(library, abs=1e-6)
    for ours, theirs in zip(said[:3], known, strict=False):
        score = chrf_score([ours], [[theirs]], n_word_order=0, lowercase=True)
        assert chrf(ours, theirs) == pytest.approx(float(score), abs=1e-6)


def test_labels_by_hand() -> None:
    known = [
        "Left pleural effusion. No pneumothorax.",
        "No acute disease.",
        "Possible pneumonia. Cardiomegaly.",
    ]
    said = ["Pleural effusion and pneumothorax.", "Cardiomegaly.", "Pneumonia. The heart is enlarged."]
    found = score_texts(said, known, names=["label F1"])
    # 1 of 2 said and 1 of 1 known; a finding in a normal film; pneumonia is in doubt and does not count
    assert found.values["label F1"] == pytest.approx((2 / 3, 0, 1))
    assert found.figures["label F1, micro"] == pytest.approx(2 * 2 / (2 + 4))
    assert found.figures["F1 of effusion"] == 1
    assert found.figures["F1 of cardiomegaly"] == pytest.approx(2 / 3)
    assert "F1 of pneumothorax" not in found.figures  # no known report has it
    assert found.figures["label F1, macro"] == pytest.approx((1 + 2 / 3) / 2)
    assert label_figures(["Clear."], ["Lungs are clear."]) == {}


def test_meteor_by_hand() -> None:
    pytest.importorskip("nltk")
    scorer = TEXT_SCORES["METEOR"].make(None)
    # "effusions" and "effusion" share a stem: 2 of 2 said, 2 of 3 known, in one chunk
    share = (1 * (2 / 3)) / (0.9 * 1 + 0.1 * (2 / 3))
    assert scorer(["pleural effusions"], ["pleural effusion left"]) == pytest.approx([share * (1 - 0.5 / 8)])
    text = "the lungs are clear ."
    assert scorer([text], [text]) == pytest.approx([1 - 0.5 / 5**3])
    assert scorer([""], [text]) == [0]


def test_meteor_without_nltk_is_left_out_or_refused(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "nltk.translate.meteor_score", None)
    monkeypatch.setattr("voxmix.texts.scoring.table.find_spec", lambda name: None)
    chosen, left = chosen_scores(())
    assert chosen == OWN
    assert left == ("METEOR is left out: it needs the library 'nltk', which is not installed",)
    with pytest.raises(MissingDependencyError, match=r"voxmix\[reports\]"):
        score_texts(["a"], ["a"], names=["METEOR"])


def test_a_score_may_be_added() -> None:
    row = TextScore(make=lambda folder: lambda said, known: [0.5 for _ in said], sentence="half")
    TEXT_SCORES.add("half", row)
    try:
        assert score_texts(["a"], ["b"], names=["half"]).case(0) == {"half": 0.5}
    finally:
        TEXT_SCORES.remove("half")


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(InputError, match="1 generated reports cannot be scored against 2"):
        score_texts(["a"], ["b", "c"])
    with pytest.raises(InputError, match="did you mean 'BLEU-4'"):
        score_texts(["a"], ["b"], names=["BLEU4"])


PLUGINS = {
    "RadGraph F1": ("radgraph", ("radgraph-xl/config.json", "radgraph-xl/weights.th")),
    "CheXbert F1": ("f1chexbert", ("chexbert.pth",)),
    "RadFact": ("radfact", ("radfact.yaml", "report_to_phrases.yaml")),
}


def weights_of(name: str, root: Path) -> Path:
    for file in PLUGINS[name][1]:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("{}", encoding="utf-8")
    return root


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plug_in_says_what_is_missing(name: str, tmp_path: Path, monkeypatch) -> None:
    library, files = PLUGINS[name]
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=r"needs a local folder with .*; name it under reports\.weights"):
        score_texts(["a"], ["b"], names=[name])
    with pytest.raises(InputError, match=f"has no .*{files[-1]}.*nothing is fetched from the network"):
        score_texts(["a"], ["b"], names=[name], weights={name: tmp_path})
    with pytest.raises(MissingDependencyError, match=f"needs the library '{library}'.*pip install"):
        score_texts(["a"], ["b"], names=[name], weights={name: weights_of(name, tmp_path)})


class _RadGraph:
    def __init__(self, **settings: object) -> None:
        assert settings["reward_level"] == "partial"
        assert Path(str(settings["model_cache_dir"])).is_dir()

    def __call__(self, *, hyps: list[str], refs: list[str]) -> tuple:
        rewards = [float(said == known) for said, known in zip(hyps, refs, strict=True)]
        return sum(rewards), rewards, [], []


class _RadFact:
    def __init__(self, *, is_narrative_text: bool) -> None:
        assert is_narrative_text

    def compute_results_per_sample(self, candidates: dict, references: dict) -> list:
        return [
            SimpleNamespace(study_id=key, scores=SimpleNamespace(logical_f1=float(text == references[key])))
            for key, text in candidates.items()
        ]


def _chexbert() -> ModuleType:
    module = ModuleType("f1chexbert.f1chexbert")
    module.CACHE_DIR = "elsewhere"  # type: ignore[attr-defined]

    class F1CheXbert:
        def __init__(self) -> None:
            assert (Path(module.CACHE_DIR) / "chexbert.pth").is_file()  # type: ignore[attr-defined]

        def get_label(self, text: str) -> list[int]:
            return [int(word in text) for word in ("effusion", "edema")]

    module.F1CheXbert = F1CheXbert  # type: ignore[attr-defined]
    return module


def _install(name: str, monkeypatch) -> None:
    inner = {
        "RadGraph F1": ("radgraph", SimpleNamespace(F1RadGraph=_RadGraph)),
        "CheXbert F1": ("f1chexbert.f1chexbert", _chexbert()),
        "RadFact": ("radfact.metric.radfact", SimpleNamespace(RadFactMetric=_RadFact)),
    }
    path, module = inner[name]
    parts = path.split(".")
    for k in range(1, len(parts)):
        monkeypatch.setitem(sys.modules, ".".join(parts[:k]), ModuleType(".".join(parts[:k])))
    monkeypatch.setitem(sys.modules, path, module)


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plug_in_scores_with_weights_of_a_folder(name: str, tmp_path: Path, monkeypatch) -> None:
    _install(name, monkeypatch)
    weights = {name: weights_of(name, tmp_path)}
    texts = ["effusion", "edema"]
    assert score_texts(texts, texts[::-1], names=[name], weights=weights).values[name] == (0, 0)
    assert score_texts(texts, texts, names=[name], weights=weights).values[name] == (1, 1)


def test_a_plug_in_that_fetches_is_stopped(tmp_path: Path, monkeypatch) -> None:
    import socket

    def fetch(**settings: object) -> None:
        socket.create_connection(("192.0.2.1", 443), timeout=1)

    monkeypatch.setitem(sys.modules, "radgraph", SimpleNamespace(F1RadGraph=fetch))
    connect = socket.socket.connect
    with pytest.raises(InputError, match="nothing is fetched from the network") as caught:
        score_texts(
            ["a"], ["b"], names=["RadGraph F1"], weights={"RadGraph F1": weights_of("RadGraph F1", tmp_path)}
        )
    assert "NoNetworkError" in str(caught.value)
    assert socket.socket.connect is connect


@pytest.mark.parametrize("host", ["example.com", "localhost.example.com", "127.example.com", "192.0.2.1"])
def test_no_host_but_this_machine_is_looked_up(host: str) -> None:
    import socket

    with without_network():
        assert socket.getaddrinfo("127.0.0.1", 1)
        with pytest.raises(NoNetworkError):
            socket.getaddrinfo(host, 443)


def test_the_page_runs_as_it_stands() -> None:
    page = Path(__file__).resolve().parents[2] / "docs/concepts/report-generation.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(code, page.name, "exec"), {})
