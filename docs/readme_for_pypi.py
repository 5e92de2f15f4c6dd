"""The README as an index of packages shows it: no link and no picture that leads nowhere.

The build calls it (``tool.hatch.metadata.hooks.custom`` in pyproject.toml). An index shows a README away from its repository,
so links and pictures that are relative there are broken on it. With ``Source`` in ``project.urls`` they become absolute; without
a public address they become plain words with the path, since no address is invented.
"""

import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")
HEADING = re.compile(r"\[([^\]]*)\]\(#[^)]*\)")


def readme_for_pypi(text: str, source: str | None, *, branch: str = "main") -> str:
    """Return a README whose links hold anywhere; ``source`` is the address of the repository, None where it has none."""
    if source is None:
        text = HEADING.sub(r"\1", text)
        return LINK.sub(lambda found: _in_words(*found.groups()), text)
    base = source.removesuffix("/")

    def absolute(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        return f"{picture}[{words}]({base}/{'raw' if picture else 'blob'}/{branch}/{target})"

    return LINK.sub(absolute, text)


def _in_words(picture: str, words: str, target: str) -> str:
    if picture:
        return f"*{words}: `{target}` in the source*"
    return f"{words} (`{target.partition('#')[0]}`)"


try:
    from hatchling.metadata.plugin.interface import MetadataHookInterface
except ImportError:  # the tests of the light core read this file without hatchling
    MetadataHookInterface = object  # type: ignore[assignment, misc]


class ReadmeHook(MetadataHookInterface):
    """Gives the package its README."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the README of the package's metadata."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        source = metadata.get("urls", {}).get("Source")
        metadata["readme"] = {"content-type": "text/markdown", "text": readme_for_pypi(text, source)}
