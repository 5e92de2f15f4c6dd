"""The plug-ins against the real MLflow and W&B, offline, in an environment of their own.

    python tests/training/check_trackers.py      (make check-trackers)

Installs mlflow-skinny and wandb into a temporary environment beside the libraries of the running one.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

SCRIPT = """
import json
import socket
from pathlib import Path
from voxmix.design import RunSpec
from voxmix.mixture import Mixture
from voxmix.training.trackers import Trackers

spec = RunSpec(mixture=Mixture.from_dict({"CT": 0.7, "MR": 0.3}), budget=16, seed=0)
folder = Path("run")
folder.mkdir()
for done in (0, 1):  # a run that was stopped after one step, and goes on
    trackers = Trackers.open(["mlflow", "wandb"], spec=spec, folder=folder, steps_done=done)
    trackers.log(done + 1, {"loss": 0.5 / (done + 1), "learning_rate": 1e-3})
    trackers.finish({"CT": 0.25}) if done else trackers.close()

from mlflow.tracking import MlflowClient
client = MlflowClient()
runs = client.search_runs([client.get_experiment_by_name("voxmix").experiment_id])
assert len(runs) == 1, runs
run = runs[0]
assert run.info.status == "FINISHED", run.info.status
assert run.data.params["training.learning_rate"] == "0.0001"
assert run.data.metrics["validation_CT"] == 0.25
history = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")]
assert history == [(1, 0.5), (2, 0.25)], history
offline = sorted((folder / "wandb").glob("offline-run-*"))
assert len(offline) == 2, offline
assert all(list(path.glob("*.wandb")) for path in offline)
host = socket.gethostname().encode()
assert not [path for path in folder.rglob("*") if path.is_file() and host in path.read_bytes()]
print("MLflow and W&B: the same run after a stop, every step, the losses per target")
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        venv.create(root / "env", with_pip=True)
        python = root / "env" / "bin" / "python"
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "mlflow-skinny", "sqlalchemy", "alembic", "wandb"],
            check=True,
        )
        beside = os.pathsep.join(path for path in sys.path if path)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "PYTHONPATH": beside,
            "WANDB_SILENT": "true",
        }
        script = root / "check.py"
        script.write_text(SCRIPT, encoding="utf-8")
        subprocess.run([python, script], cwd=root, env=environment, check=True)


if __name__ == "__main__":
    main()
