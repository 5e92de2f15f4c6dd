"""ask_reports(): the labels of reports by a language model, one request for each different text, answers kept on disk."""

import hashlib
import queue
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voxmix._io import read_versioned, write_json
from voxmix._progress import ProgressCallback, silent
from voxmix.errors import InputError
from voxmix.texts.labels.endpoint import Endpoint, EndpointError, RefusedRequestError
from voxmix.texts.labels.question import Answer, NonsenseError, Question, read_answer

ANSWER_FORMAT = 1
_KIND = "label answer"
_IN_VAIN = 10
"""First answers after which it is given up where none can be used: a model that cannot do it costs as much as one that can."""

Fault = Literal["refused", "nonsense", "not taken"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What came of one text: an answer, or why there is none."""

    answer: Answer | None
    fault: Fault | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedReports:
    """What came of every text, and how many were asked now and how many answers were there already."""

    by_text: Mapping[str, Asked]
    asked: int
    kept: int

    def lines(self) -> tuple[str, ...]:
        """Return the counts in sentences, without a word of a report."""
        said = [f"{self.asked} texts were asked now, {self.kept} answers were there already"]
        faults = Counter((a.fault, a.why) for a in self.by_text.values() if a.fault)
        said += [
            f"{count} answers cannot be used and leave their labels empty: {_fault_text(fault, why)}"
            for (fault, why), count in faults.most_common()
        ]
        unquoted = sum(a.answer.unquoted for a in self.by_text.values() if a.answer)
        if unquoted:
            said.append(
                f"{unquoted} times the model quoted words that the report does not have; they are left out"
            )
        return tuple(said)


def _fault_text(fault: Fault | None, why: str) -> str:
    return {
        "refused": "the model refused",
        "nonsense": f"nonsense ({why})",
        "not taken": f"the server did not take the request ({why})",
    }[fault or "refused"]


def ask_reports(
    texts: Sequence[str],
    question: Question,
    endpoint: Endpoint,
    folder: Path,
    *,
    parallel: int = 4,
    again: bool = False,
    progress: ProgressCallback = silent,
) -> AskedReports:
    """Return what a language model says of each text.

    Answers are written to ``folder`` as they come, by the digest of text, labels, model and prompt: a second call asks only
    what is missing. Refusals and nonsense are kept too.

    Args:
        texts: Texts without what names a person (:func:`voxmix.texts.report_text.report_text`); equal ones are asked once.
        question: The labels.
        endpoint: The model.
        folder: Where answers are kept. They hold labels, and the words that decided where these are asked for.
        parallel: How many requests are under way at once.
        again: Ask once more where the answer that is there was a refusal or nonsense.
        progress: Called with how many texts are done.

    Raises:
        InputError: ``parallel`` below 1, or a damaged answer.
        EndpointError: the endpoint cannot be asked, or none of its first 10 answers can be used.
    """
    if parallel < 1:
        raise InputError(f"parallel must be 1 or more, got {parallel}")
    names = {text: _file(folder, question.identity(text, endpoint.model)) for text in dict.fromkeys(texts)}
    found = {text: old for text, file in names.items() if (old := _read(file)) is not None}
    if again:
        found = {text: asked for text, asked in found.items() if asked.fault is None}
    kept = len(found)
    progress(kept, len(names))
    now: list[Asked] = []
    for text, asked in _answers([t for t in names if t not in found], question, endpoint, parallel):
        if asked.fault != "not taken":  # a server with longer contexts may take it
            _write(names[text], asked)
        found[text] = asked
        now.append(asked)
        progress(len(found), len(names))
        if len(now) == _IN_VAIN and not any(a.answer for a in now):
            fault, why = Counter((a.fault, a.why) for a in now).most_common(1)[0][0]
            raise EndpointError(
                f"none of the first {_IN_VAIN} answers of {endpoint.model} can be used, most often because: "
                f"{_fault_text(fault, why)}; try another model, or fewer labels"
            )
    return AskedReports(by_text={text: found[text] for text in names}, asked=len(now), kept=kept)


def _answers(
    texts: Sequence[str], question: Question, endpoint: Endpoint, parallel: int
) -> Iterable[tuple[str, Asked]]:
    """Yield what comes of each text as it comes. Threads end with the process, so that an interrupt waits for none.

    At most ``parallel`` requests are under way or have answers that nobody has looked at: a model that is given up after ten
    answers is not asked for more meanwhile.
    """
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[str, Asked | Exception]] = queue.SimpleQueue()
    stop, room = threading.Event(), threading.Semaphore(parallel)
    for text in texts:
        todo.put(text)

    def work() -> None:
        while room.acquire() and not stop.is_set():
            try:
                text = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((text, _ask(text, question, endpoint, stop)))
            except Exception as error:  # raised in the thread that waits for it
                done.put((text, error))
                return

    for _ in range(min(parallel, len(texts))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in texts:
            text, what = done.get()
            if isinstance(what, Exception):
                raise what
            yield text, what
            room.release()
    finally:
        stop.set()
        room.release(parallel)


def _ask(text: str, question: Question, endpoint: Endpoint, stop: threading.Event) -> Asked:
    try:
        reply = endpoint.ask(question.messages(text), stop=stop)
        if reply.refused:
            return Asked(answer=None, fault="refused")
        if reply.cut:
            return Asked(answer=None, fault="nonsense", why="the answer was cut")
        return Asked(answer=read_answer(reply.content, question, text))
    except RefusedRequestError as error:
        return Asked(answer=None, fault="not taken", why=str(error))
    except NonsenseError as error:
        return Asked(answer=None, fault="nonsense", why=str(error))


def _file(folder: Path, identity: str) -> Path:
    name = hashlib.sha256(identity.encode("utf-8", "backslashreplace")).hexdigest()
    return folder / name[:2] / f"{name}.json"


def _read(file: Path) -> Asked | None:
    if not file.is_file():
        return None
    try:
        value = read_versioned(file, kind=_KIND, version=ANSWER_FORMAT)
        if value["fault"] is not None:
            return Asked(answer=None, fault=value["fault"], why=value["why"])
        answer = Answer(values=value["values"], words=value["words"], unquoted=value["unquoted"])
    except (InputError, KeyError, TypeError):
        return None  # asked again
    return Asked(answer=answer)


def _write(file: Path, asked: Asked) -> None:
    answer = asked.answer or Answer(values={})
    write_json(
        file,
        {
            "kind": _KIND,
            "format": ANSWER_FORMAT,
            "fault": asked.fault,
            "why": asked.why,
            "values": dict(answer.values),
            "words": dict(answer.words),
            "unquoted": answer.unquoted,
        },
    )
