"""The whole pipeline through DVC, on a small sample: run once, again, with one row more and with one less."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.small_experiment import copy_tree, edit, shorten
from terracyte.core import files, paths
from tests.conftest import TASKS, commit

EXTRA = "blood-baseline"
# a backbone whose head is trained first, a U-Net from scratch: other rows differ in their configuration only
KEPT = ("blood-mobilenet_v3_large", "mars-unet_1")
RETITLED = "blood-mobilenet_v3_large"


def shrink(project: Path) -> None:
    """Reduce minutes to seconds: train narrow networks of few layers for one epoch, on fewer pictures."""

    def choose(content: Any) -> None:
        content["rows"] = {name: name.partition("-")[0] for name in KEPT}
        # TensorFlow traces few layers faster
        small = {"width": 4, "depth": 1, "epochs": 1, "batch_size": 32, "test_time_flips": False}
        content["override"] = {
            "reference.blood": small,
            "reference.mars": small,
            "tune.blood": {"trials": 0},
            "tune.mars": {"trials": 1, "change": {"epochs": 1}},
            "variants.blood-mobilenet_v3_large.change": {"size": "small", "resolution": 32, "epochs": 1},
            "variants.mars-unet_1.change": {"epochs": 1},
        }

    with (project / "terracyte/models/mobilenet_v3.py").open("a", encoding="utf-8") as stream:
        stream.write("\nfrom tests import backbones\nSIZES['small'] = backbones.small_mobilenet_v3\n")
    shorten(project)
    edit(project / "experiment.yaml", choose)


@pytest.fixture(scope="module")
def project(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this working tree as a repository of its own, without any output except an empty MLflow store."""
    folder = tmp_path_factory.mktemp("project")
    copy_tree(folder, left_out=("dvc.lock",))
    shrink(folder)
    shutil.copytree(migrated, folder / paths.DATA / "mlflow")
    commit(folder)
    return folder


def dvc(project: Path, *arguments: str) -> str:
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": str(project)}
    result = subprocess.run(
        ["dvc", *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def repro(project: Path, *stages: str) -> set[str]:
    """Run `dvc repro` and return the stages that DVC ran; fail if one ran twice."""
    ran: list[str] = re.findall(r"Running stage '([^']+)'", dvc(project, "repro", *stages))
    assert len(ran) == len(set(ran))
    return set(ran)


def stale(project: Path) -> set[str]:
    """Return the stages whose own inputs have changed."""
    return set(json.loads(dvc(project, "status", "--json")))


def read_table(project: Path, task: str = "blood") -> pd.DataFrame:
    """Return the ablation table as text: each figure must stay the same to the last digit."""
    return pd.read_csv(project / paths.ablation_csv(task), dtype=str)


def rows(project: Path, task: str) -> list[str]:
    return list(read_table(project, task)["variant"])


@pytest.fixture(scope="module")
def ran(project: Path) -> set[str]:
    """The stages that the first run of the project ran."""
    return repro(project)


SLOW = ("train@", "evaluate@", "ingest@", "clean@", "balance@")
OF_EXTRA = {f"train@{EXTRA}", f"evaluate@{EXTRA}"}


def slow(stages: set[str]) -> set[str]:
    return {stage for stage in stages if stage.startswith(SLOW)}


def add_row(project: Path) -> None:
    """Add a row, change a title, and add a comment to a package that no result depends on."""
    edit(project / "experiment.yaml", lambda content: content["rows"].update({EXTRA: "blood"}))
    edit(project / "params.yaml", lambda content: content["variants"][RETITLED].update(title="retitled"))
    with (project / "terracyte/core/errors.py").open("a", encoding="utf-8") as stream:
        stream.write("# a word\n")


def test_from_nothing_to_the_report_and_no_step_twice(project: Path, ran: set[str]) -> None:
    of_tasks = ("ingest", "validate", "clean", "balance", "tune", "configure", "promote", "report", "submit")
    expected = {f"{stage}@{task}" for stage in of_tasks for task in TASKS} | {"fetch"}
    expected |= {f"{stage}@{name}" for stage in ("train", "evaluate") for name in KEPT}
    assert ran == expected
    for task, trials in zip(TASKS, (0, 1), strict=True):
        assert rows(project, task) == [name for name in KEPT if name.startswith(task)]
        assert (project / paths.report(task)).stat().st_size > 10_000
        assert len(files.read_json(project / paths.tuning(task))["trials"]) == trials
        assert files.read_json(project / paths.promotion(task))["candidate"]["task"] == task
    assert repro(project) == set()

    # one row more is one training more: no other row's configuration changes
    add_row(project)
    assert repro(project, "configure@blood") == {"fetch", "tune@blood", "configure@blood"}
    assert slow(stale(project)) == OF_EXTRA


@pytest.mark.slow  # here through DVC; tests/report checks such tables, too
def test_a_row_more_or_less_leaves_the_others_as_they_were(project: Path, ran: set[str]) -> None:
    table = read_table(project).set_index("variant")
    add_row(project)
    assert slow(repro(project, "report@blood")) == OF_EXTRA
    longer = read_table(project).set_index("variant")
    table.loc[RETITLED, "title"] = "retitled"
    pd.testing.assert_frame_equal(longer.drop(EXTRA)[table.columns], table)

    edit(project / "experiment.yaml", lambda content: content["rows"].pop(EXTRA))
    assert not slow(stale(project))
    repro(project, "--single-item", "configure@blood", "report@blood")
    pd.testing.assert_frame_equal(read_table(project).set_index("variant"), table)
