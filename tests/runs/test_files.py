"""The files of a run have one name each, written in one place."""

import ast
from pathlib import Path

import voxmix
from voxmix.runs import files

SOURCE = Path(voxmix.__file__).parent
NAMES = sorted(value for name, value in vars(files).items() if name.endswith("_FILE"))


def spelled(tree: ast.AST) -> list[tuple[int, str]]:
    """Return line and text of every string of code: docstrings tell people, they open no file."""
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]


def test_the_table_holds_what_runs_leave() -> None:
    assert {"result.json", "spec.json", "metrics.jsonl", "state.pt", "card.json", "weights.safetensors"} < {
        *NAMES
    }
    assert len(NAMES) == len(set(NAMES))


def test_no_other_module_spells_the_name_of_a_runs_file() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {text.strip()[:60]!r} holds {name}; import it from voxmix.runs.files"
        for path in sorted(SOURCE.rglob("*.py"))
        if path != SOURCE / "runs" / "files.py"
        for line, text in spelled(ast.parse(path.read_text(encoding="utf-8")))
        for name in NAMES
        if name in text
    ]
    assert not found, found
