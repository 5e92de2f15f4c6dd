"""What the pages show: their shell lines, and those that begin with a word."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shell_lines(page: Path) -> list[str]:
    """Return the lines of a page's blocks, without prompts and comments; a line that goes on is one."""
    text = "\n".join(FENCED.findall(page.read_text(encoding="utf-8")))
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip().removeprefix("$ ").split("  #")[0] for line in lines]


def cases(word: str) -> list[tuple[str, str]]:
    """Return page and line of every shown line that begins with a word."""
    return [
        (page.relative_to(ROOT).as_posix(), line)
        for page in PAGES
        for line in shell_lines(page)
        if line.startswith(f"{word} ")
    ]
