"""Uploading an export: what a client of the hub is asked to do, and one sentence for what cannot be."""

import json
from types import SimpleNamespace

import pytest
from verbs import voxmix

from voxmix.design import RunSpec
from voxmix.encoders.networks import build_model
from voxmix.errors import MissingDependencyError
from voxmix.export.hub import check_hub
from voxmix.mixture import Mixture
from voxmix.objectives.mae.publish import run_card
from voxmix.training.checkpoint import save_weights

hub = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")


@pytest.fixture
def run(cache, model_settings, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    spec = RunSpec(mixture=Mixture.pure(("CT", "MR"), "MR"), budget=8, seed=0, model=model_settings)
    model = build_model(model_settings, domains=2, seed=0)
    save_weights(folder, model, run_card(spec, model, cache, {"CT": 0, "MR": 8}))
    return folder


class Client:
    """Does as HfApi, on a folder of names; or fails as it does."""

    def __init__(self, error=None):
        self.made, self.uploaded, self.error = [], [], error

    def create_repo(self, repo_id, **options):
        if self.error is not None:
            raise self.error
        self.made.append((repo_id, options))

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, **options):
        assert all((folder_path / name).is_file() for name in allow_patterns)
        self.uploaded.append((repo_id, sorted(allow_patterns), options["repo_type"]))
        return SimpleNamespace(repo_url=f"https://hub.example/{repo_id}")


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setattr(hub, "get_token", lambda: "hf_secret")

    def use(found):
        monkeypatch.setattr(hub, "HfApi", lambda: found)
        return found

    return use


def test_an_export_is_uploaded_whole_and_alone_to_a_private_repository(run, tmp_path, client):
    found = client(Client())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes-on-patients.txt").write_text("no", encoding="utf-8")
    done = voxmix("export", run, "-o", tmp_path / "out", "--push-to-hub", "lab/encoder", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["address"] == "https://hub.example/lab/encoder"
    assert found.made == [("lab/encoder", {"repo_type": "model", "private": True, "exist_ok": True})]
    files = ["README.md", "adapters.safetensors", "card.json", "config.json", "model.safetensors"]
    assert found.uploaded == [("lab/encoder", files, "model")]
    assert "hf_secret" not in done.output
    again = voxmix("export", run, "-o", tmp_path / "out", "--push-to-hub", "lab/encoder", "--public")
    assert again.exit_code == 0, again.output
    assert "uploaded to https://hub.example/lab/encoder" in again.stdout
    assert found.made[-1][1]["private"] is False


def test_nobody_logged_in_is_said_before_anything_is_written(run, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "get_token", lambda: None)
    done = voxmix("export", run, "-o", tmp_path / "out", "--push-to-hub", "lab/encoder")
    assert done.exit_code != 0
    assert "hf auth login" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["encoder", "a/b/c", "/b", "a/", "la b/x", "lab/--x"])
def test_a_name_that_no_repository_has_is_refused(run, client, name):
    client(Client())
    done = voxmix("export", run, "--push-to-hub", name)
    assert done.exit_code != 0
    assert "OWNER/NAME" in done.stderr or "no repository of this name" in done.stderr
    assert "Traceback" not in done.output


def _refused(status):
    request = SimpleNamespace(method="POST", url="https://hub.example", headers={})
    answer = SimpleNamespace(status_code=status, headers={}, request=request, text="")
    return hub.errors.HfHubHTTPError(f"{status} from the hub", response=answer)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            hub.errors.OfflineModeIsEnabled("offline mode is enabled"),
            "the hub cannot be reached (offline mode",
        ),
        (hub.errors.HTTPError("Name or service not known"), "the hub cannot be reached (Name or service"),
        (_refused(403), "the token may not write there (403"),
        (_refused(500), "the hub answered (500"),
    ],
)
def test_a_hub_that_does_not_take_it_is_one_sentence_and_the_folder_is_whole(
    run, tmp_path, client, error, told
):
    client(Client(error))
    done = voxmix("export", run, "-o", tmp_path / "out", "--push-to-hub", "lab/encoder")
    assert done.exit_code != 0
    said = " ".join(done.stderr.split())
    assert told in said
    assert "hf upload lab/encoder" in said
    assert (tmp_path / "out" / "README.md").is_file()


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"voxmix\[hub\]"):
        check_hub("lab/encoder")


def test_flags_that_have_no_effect_are_refused(run):
    assert "--public has no effect" in voxmix("export", run, "--public").stderr
    done = voxmix("export", run, "--mixture-for", "torch", "--push-to-hub", "lab/encoder")
    assert "--push-to-hub has no effect on a mixture" in done.stderr
