"""An exported folder on the Hugging Face hub: a repository of its own, private unless asked otherwise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxmix._optional import require
from voxmix.errors import InputError


def check_hub(repository: str) -> Any:
    """Return the hub's client for who is logged in, before anything is written.

    Raises:
        MissingDependencyError: huggingface_hub is not installed.
        InputError: no name of a repository, or nobody is logged in.
    """
    hub = require("huggingface_hub", extra="hub")
    owner, slash, name = repository.partition("/")
    if not (owner and slash and name) or "/" in name:
        raise InputError(
            f"a repository of the hub is OWNER/NAME, got {repository!r}; e.g. my-lab/{name or owner or 'encoder'}"
        )
    try:
        hub.utils.validate_repo_id(repository)
    except ValueError as error:
        raise InputError(f"the hub takes no repository of this name: {error}") from error
    if hub.get_token() is None:
        raise InputError(
            "nobody is logged in to the hub; run hf auth login once, with a token that may write, or set HF_TOKEN for this command"
        )
    return hub.HfApi()


def push_folder(
    folder: Path, repository: str, *, names: Sequence[str], public: bool = False, client: Any
) -> str:
    """Upload files of an exported folder, and return the address of what the hub then holds.

    The repository is made where there is none: private, unless ``public``. One that is there stays as visible as it is. Files of an
    earlier export that this one has not are left.

    Args:
        folder: of an export.
        repository: ``OWNER/NAME``.
        names: of the files to upload, relative to the folder; nothing else goes.
        client: what :func:`check_hub` returned.

    Raises:
        InputError: the hub cannot be reached, or refuses; with its reason.
    """
    hub = require("huggingface_hub", extra="hub")
    try:
        client.create_repo(repository, repo_type="model", private=not public, exist_ok=True)
        done = client.upload_folder(
            repo_id=repository,
            repo_type="model",
            folder_path=folder,
            allow_patterns=list(names),
            commit_message="Encoder exported by voxmix",
        )
    except hub.errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        why = "the token may not write there" if status in (401, 403) else "the hub answered"
        raise InputError(
            f"{repository} was not uploaded: {why} ({_first_line(error)}); the folder {folder} is whole, try again with "
            f"hf upload {repository} {folder}"
        ) from error
    except (OSError, hub.errors.HTTPError) as error:
        raise InputError(
            f"the hub cannot be reached ({_first_line(error)}); the folder {folder} is whole, upload it where there is a network "
            f"with hf upload {repository} {folder}"
        ) from error
    return str(getattr(done, "repo_url", done))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
