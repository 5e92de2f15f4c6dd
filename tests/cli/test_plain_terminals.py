"""A terminal whose locale is not UTF-8 gets every table and every JSON, with the signs that it lacks spelled."""

import io
import json
import os
import subprocess
import sys

from voxmix.cli.plain_terminals import spell_for_plain_terminals


def arrived(text: str) -> bytes:
    """Return what arrives at a terminal of ASCII."""
    found = io.BytesIO()
    stream = io.TextIOWrapper(found, encoding="ascii", write_through=True)
    spell_for_plain_terminals(stream)
    stream.write(text)
    return found.getvalue()


def test_signs_are_spelled() -> None:
    assert arrived("7.10 ± 0.03 … λ – ≤") == b"7.10 +/- 0.03 ... lambda - <="


def test_json_stays_what_it_was() -> None:
    value = {"name": "Lübeck 😀"}
    assert json.loads(arrived(json.dumps(value, ensure_ascii=False)).decode("ascii")) == value


def test_a_table_is_printed() -> None:
    code = (
        "from voxmix.cli.plain_terminals import spell_for_plain_terminals; spell_for_plain_terminals();"
        "from voxmix.cli.app import emit_table; emit_table('T', ['a', 'b'], [['\\u2013', '0.1 \\xb1 0.2']])"
    )
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"0.1 +/- 0.2" in done.stdout
