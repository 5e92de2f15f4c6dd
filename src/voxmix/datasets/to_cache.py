"""From volumes in any known layout and a recipe file to a cache of prepared arrays, without a study."""

from collections.abc import Callable
from pathlib import Path

from voxmix._progress import ProgressCallback, silent
from voxmix.datasets.sources import read_source
from voxmix.errors import InputError
from voxmix.settings import checked, parse_yaml
from voxmix.volumes.persons.rules import join
from voxmix.volumes.preparing.cache_upkeep import Space
from voxmix.volumes.preparing.prepare import Preparation, prepare
from voxmix.volumes.preparing.private_lists import Names
from voxmix.volumes.recipe import Recipe, spell_out


def read_recipe(path: Path) -> Recipe:
    """Return the recipe of a YAML file: any of the fields of :class:`voxmix.volumes.Recipe`.

    Raises:
        InputError: no such file, not YAML, an unknown key (the nearest known one is named), or a value or a rule
            that cannot be used.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(
            f"no such file: {path}; write one, for example:\n"
            "  spacing_mm: 1.5\n  min_shape: [96, 96, 96]\n  intensity: {HN-CT: bone}"
        ) from None
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text: {error}; give a YAML file") from None
    return checked(Recipe, spell_out(parse_yaml(text, where=str(path))), where=str(path))


def prepare_source(
    source: Path,
    *,
    root: Path,
    recipe: Path | None = None,
    seed: int = 0,
    fraction: float = 0.2,
    workers: int = 1,
    codec: str = "npy",
    subject_pattern: str | None = None,
    names: Path | None = None,
    progress: ProgressCallback = silent,
    tell: Callable[[Space], None] | None = None,
) -> Preparation:
    """Return the cache in ``root`` of a manifest or a folder of volumes; see :func:`voxmix.volumes.preparing.prepare.prepare`.

    A split that the manifest has is kept, else subjects are held out by ``seed`` and ``fraction``; ``subject_pattern``
    joins sessions to persons first (:func:`voxmix.volumes.persons.rules.join`). ``names`` is the folder for who is who; left
    out, it lies beside ``root`` (:mod:`voxmix.volumes.preparing.private_lists`).

    Raises:
        InputError: what was given cannot be used, or ``root`` holds other things than a cache.
    """
    if root.is_file() or (root.is_dir() and any(root.iterdir()) and not (root / "volumes").is_dir()):
        raise InputError(f"{root} is not empty and no cache; choose a new folder for the prepared volumes")
    chosen = Recipe() if recipe is None else read_recipe(recipe)
    manifest, _ = read_source(source)
    if subject_pattern is not None:
        manifest = join(manifest, subject_pattern)
    return prepare(
        manifest.split(seed=seed, fraction=fraction),
        recipe=chosen,
        root=root,
        source=source,
        names=Names.beside(root) if names is None else Names.shared(names, owner=root),
        workers=workers,
        codec=codec,
        progress=progress,
        tell=tell,
    )
