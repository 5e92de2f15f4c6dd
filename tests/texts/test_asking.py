"""Labels by a language model: asked once for each text, read strictly, kept, and every fault one sentence without a secret."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from stub_endpoint import Stub, Told, chat, stub_endpoint

from voxmix.errors import InputError
from voxmix.texts.labels.asking import AskedReports, ask_reports
from voxmix.texts.labels.endpoint import Endpoint, EndpointError
from voxmix.texts.labels.question import NonsenseError, Question, read_answer

LABELS = ("effusion", "edema")
QUESTION = Question(labels=LABELS)
KEY = "sk-secret-key"
TEXTS = ["Small effusion.", "No edema.", "Small effusion.", "Perhaps edema."]


def says(body: dict[str, Any]) -> dict[str, str]:
    """What a model that can read would say of the texts above."""
    text = body["messages"][1]["content"].lower()
    said = dict.fromkeys(LABELS, "not named")
    if "effusion" in text:
        said["effusion"] = "present"
    if "edema" in text:
        said["edema"] = "absent" if "no edema" in text else "uncertain"
    return said


def good(_: int, body: dict[str, Any]) -> Told:
    return chat(json.dumps(says(body)))


def ask(stub: Stub, folder: Path, texts: list[str] | None = None, **more: Any) -> AskedReports:
    server = {"key": KEY, "wait": 0.0, "attempts": 3} | more.pop("server", {})
    return ask_reports(
        texts or TEXTS,
        more.pop("question", QUESTION),
        Endpoint(url=stub.url, model="m", **server),
        folder,
        **more,
    )


def test_each_text_is_asked_once_and_a_second_call_asks_nothing(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    with stub_endpoint(good) as stub:
        first = ask(stub, tmp_path, progress=lambda a, b: done.append((a, b)))
        assert sorted(stub.texts) == sorted(set(TEXTS))
        assert {headers["Authorization"] for headers in stub.headers} == {f"Bearer {KEY}"}
        assert {body["path"] for body in stub.bodies} == {"/v1/chat/completions"}
        second = ask(stub, tmp_path)
        assert len(stub.bodies) == 3
    assert (first.asked, first.kept, second.asked, second.kept) == (3, 0, 0, 3)
    assert first.by_text == second.by_text
    values = {text: asked.answer.values for text, asked in first.by_text.items() if asked.answer}
    assert values == {
        "Small effusion.": {"effusion": 1, "edema": None},
        "No edema.": {"effusion": None, "edema": 0},
        "Perhaps edema.": {"effusion": None, "edema": -1},
    }
    assert done == [(0, 3), (1, 3), (2, 3), (3, 3)]
    kept = "".join(file.read_text(encoding="utf-8") for file in tmp_path.rglob("*.json"))
    assert "Small" not in kept
    assert KEY not in kept


@pytest.mark.parametrize(
    "change",
    [{"question": Question(labels=("edema",))}, {"question": Question(labels=LABELS, quoted=True)}],
)
def test_other_labels_or_another_prompt_are_asked_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    with stub_endpoint(good) as stub:
        ask(stub, tmp_path)
        ask(stub, tmp_path, **change)
        assert len(stub.bodies) == 6


def test_after_a_server_that_breaks_the_rest_alone_is_asked(tmp_path: Path) -> None:
    def breaks(number: int, body: dict[str, Any]) -> Told:
        return good(number, body) if number != 2 else (403, {})

    with stub_endpoint(breaks) as stub:
        with pytest.raises(EndpointError, match="give the same command again to go on"):
            ask(stub, tmp_path, parallel=1)
        assert ask(stub, tmp_path, parallel=1).kept == 1
        assert len(stub.bodies) == 4


def test_an_interrupt_keeps_what_was_answered_and_waits_for_nothing(tmp_path: Path) -> None:
    release = threading.Event()

    def slow(number: int, body: dict[str, Any]) -> Told:
        if number > 1:
            release.wait(20)
        return good(number, body)

    def stopped(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with stub_endpoint(slow) as stub:
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            ask(stub, tmp_path, parallel=1, progress=stopped)
        assert time.monotonic() - begun < 5
        release.set()
        assert ask(stub, tmp_path, parallel=1).kept >= 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(tmp_path: Path, status: int) -> None:
    with stub_endpoint(lambda n, body: good(n, body) if n > 2 else (status, {})) as stub:
        assert ask(stub, tmp_path, parallel=1).asked == 3
        assert len(stub.bodies) == 5


FAULTS: list[tuple[Told, str]] = [
    ((401, {}), r"does not take the key in VOXMIX_API_KEY \(HTTP 401\)"),
    ((404, {"error": {"code": "model_not_found"}}), r"knows no such address or model \(HTTP 404\)"),
    ((429, {}), r"asks to wait \(HTTP 429\), 3 times"),
    ((500, b"<html>"), r"failed \(HTTP 500\), 3 times"),
    ((307, b""), r"sends on to another address \(HTTP 307\)"),
    (
        (200, b"<html>Small effusion.</html>"),
        r"as chat completions do \(see that --endpoint is right\), 3 times;",
    ),
    ((200, {"choices": []}), "does not answer as chat completions do"),
]


@pytest.mark.parametrize(("told", "sentence"), FAULTS)
def test_a_fault_of_the_endpoint_is_one_sentence_without_a_secret(
    tmp_path: Path, told: Told, sentence: str
) -> None:
    with stub_endpoint(lambda *_: told) as stub, pytest.raises(EndpointError, match=sentence) as caught:
        ask(stub, tmp_path)
    assert not list(tmp_path.rglob("*.json"))
    for secret in (KEY, "effusion", "edema"):
        assert secret not in str(caught.value)


def test_no_key_where_one_is_wanted_names_the_variable(tmp_path: Path) -> None:
    with (
        stub_endpoint(lambda *_: (401, {})) as stub,
        pytest.raises(EndpointError, match="wants a key; set MY_KEY"),
    ):
        ask(stub, tmp_path, server={"key": "", "variable": "MY_KEY"})  # fmt: skip


def test_an_endpoint_that_is_down_and_one_that_is_slow(tmp_path: Path) -> None:
    with stub_endpoint(good) as stub:
        pass
    with pytest.raises(
        EndpointError, match=r"cannot be reached .connection refused.: see that the server runs"
    ):
        ask(stub, tmp_path)

    def late(number: int, body: dict[str, Any]) -> Told:
        time.sleep(0.5)
        return good(number, body)

    with stub_endpoint(late) as stub, pytest.raises(EndpointError, match=r"within 0\.1 s.*, 2 times"):
        ask(stub, tmp_path, server={"timeout": 0.1, "attempts": 2})


def test_refusals_and_nonsense_are_counted_and_left_empty(tmp_path: Path) -> None:
    def mixed(_: int, body: dict[str, Any]) -> Told:
        text = body["messages"][1]["content"]
        if "Small" in text:
            return chat(None, refusal="I will not read Small effusion.")
        if "No edema" in text:
            return chat("The patient has no edema.")
        return 400, {"error": {"message": text, "code": "context_length_exceeded"}}

    with stub_endpoint(mixed) as stub:
        found = ask(stub, tmp_path)
        assert all(asked.answer is None for asked in found.by_text.values())
        said = " ".join(found.lines())
        for part in (
            "1 answers",
            "the model refused",
            "nonsense (no JSON)",
            "HTTP 400, context_length_exceeded",
        ):
            assert part in said
        assert "effusion" not in said
        count = len(stub.bodies)
        assert ask(stub, tmp_path).kept == 2  # what the server did not take is asked again
        assert len(stub.bodies) == count + 1
        stub.answer = good
        assert ask(stub, tmp_path, again=True).asked == 3


def test_a_model_that_cannot_do_it_is_given_up_after_ten(tmp_path: Path) -> None:
    texts = [f"Text {n}." for n in range(30)]
    with stub_endpoint(lambda *_: chat("Sure!")) as stub:
        with pytest.raises(EndpointError, match=r"none of the first 10 answers of m can be used.*no JSON"):
            ask(stub, tmp_path, texts, parallel=1)
        assert len(stub.bodies) == 10


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("[]", "no JSON object"),
        ('{"effusion": "present"}', "labels left out"),
        ('{"effusion": "present", "edema": "absent", "mass": "present"}', "labels that were not asked for"),
        ('{"effusion": "yes", "edema": "absent"}', "none of the four words"),
        ('{"effusion": 1, "edema": 0}', "none of the four words"),
        ('{"effusion": "present", "effusion": "absent", "edema": "absent"}', "no JSON"),
        ('Sure: {"effusion": "present", "edema": "absent"}', "no JSON"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_an_answer_of_another_form_is_nonsense(content: str, why: str) -> None:
    with pytest.raises(NonsenseError, match=why):
        read_answer(content, QUESTION, "text")


def test_thoughts_and_a_fence_are_passed_over_and_quotes_must_stand_in_the_text() -> None:
    plain = '{"effusion": "Present", "edema": "absent"}'
    for content in (plain, f"```json\n{plain}\n```", f"<think>\nhm {{}}\n</think>\n\n{plain}"):
        assert read_answer(content, QUESTION, "").values == {"effusion": 1, "edema": 0}
    quoted = {
        "effusion": {"said": "present", "words": "small  EFFUSION"},
        "edema": {"said": "absent", "words": "edema is gone"},
    }
    answer = read_answer(json.dumps(quoted), Question(labels=LABELS, quoted=True), "A small\neffusion.")
    assert (dict(answer.words), answer.unquoted) == ({"effusion": "small EFFUSION"}, 1)
    with pytest.raises(NonsenseError, match="another form"):
        read_answer(plain, Question(labels=LABELS, quoted=True), "")


@pytest.mark.parametrize(
    "change",
    [
        {"url": "localhost:8000"},
        {"url": "ftp://host/v1"},
        {"url": "https://me:pw@host/v1"},
        {"url": "http://[bad/v1"},
        {"model": " "},
        {"key": "a\nb"},
        {"timeout": 0.0},
        {"attempts": 0},
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        Endpoint(**{"url": "http://localhost:1/v1", "model": "m"} | change)
    assert "pw" not in str(caught.value)


def test_which_endpoints_are_this_machine() -> None:
    local = [Endpoint(url=f"http://{host}/v1", model="m") for host in ("localhost:1", "127.0.0.1", "[::1]:2")]
    away = [Endpoint(url=f"http://{host}/v1", model="m") for host in ("10.0.0.1", "localhost.example.com")]
    assert all(e.is_local and not e.in_the_clear for e in local)
    assert not any(e.is_local for e in away)
    assert all(e.in_the_clear for e in away)
    assert KEY not in repr(Endpoint(url="http://localhost/v1", model="m", key=KEY))
