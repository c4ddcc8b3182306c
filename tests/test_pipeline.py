"""The whole pipeline through DVC, on a small sample: once, again, with a variant more and with one less."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from terracyte.core import files, paths
from tests.conftest import ROOT, TASKS

EXTRA = "blood-narrow"
# a scratch network, a backbone with its head first, and U-Nets: what differs between the others is configuration
KEPT = ("blood-baseline", "blood-cnn", "blood-mobilenet_v3_large", "mars-baseline", "mars-unet_1")


def git(*arguments: str, folder: Path) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def edit(file: Path, change: Any) -> None:
    yaml = YAML()
    content = yaml.load(file.read_text(encoding="utf-8"))
    change(content)
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)


def shrink(project: Path) -> None:
    """Minutes become seconds: one epoch of narrow networks on the same pictures."""

    def change(content: Any) -> None:
        content["evaluate"]["bootstrap"] = 50
        for promote in content["promote"].values():
            promote.update(images=4, flip_agreement=0.0, brightness_agreement=0.0)
        content["report"].update(examples=2, hardest=2, contact_sheet=4)

    def choose(content: Any) -> None:
        content["rows"] = {name: name.partition("-")[0] for name in KEPT}
        small = {"width": 4, "epochs": 1, "batch_size": 32}
        content["override"] = {
            "reference.blood": small,
            "reference.mars": small,
            "tune.blood": {"trials": 2, "confirm": 1, "change": {"epochs": 1}},
            "tune.mars": {"trials": 2, "confirm": 1, "change": {"epochs": 1}},
            "variants.blood-mobilenet_v3_large.change": {"size": "small", "resolution": 32, "epochs": 1},
            "variants.mars-unet_1.change": {"epochs": 1},
        }

    edit(project / "params.yaml", change)
    edit(project / "experiment.yaml", choose)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this working tree, a git repository of its own, without any output."""
    folder = tmp_path_factory.mktemp("project")
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    shrink(folder)
    git("init", "--quiet", folder=folder)
    git("add", "--all", folder=folder)
    git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "-m", "start", folder=folder)
    return folder


def repro(project: Path) -> tuple[list[str], str]:
    """Run `dvc repro`; the stages that DVC ran, and the output."""
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": str(project)}
    result = subprocess.run(["dvc", "repro"], cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return re.findall(r"Running stage '([^']+)'", result.stdout), result.stdout


def rows(project: Path, task: str) -> list[str]:
    return list(pd.read_csv(project / paths.ablation_csv(task))["variant"])


def test_from_nothing_to_the_report_and_no_step_twice(project: Path) -> None:
    ran, _ = repro(project)
    of_tasks = ("ingest", "validate", "clean", "balance", "tune", "configure", "promote", "report", "submit")
    expected = {f"{stage}@{task}" for stage in of_tasks for task in TASKS} | {"fetch"}
    expected |= {f"{stage}@{name}" for stage in ("train", "evaluate") for name in KEPT}
    assert set(ran) == expected
    assert len(ran) == len(set(ran))
    for task in TASKS:
        assert rows(project, task) == [name for name in KEPT if name.startswith(task)]
        assert (project / paths.report(task)).stat().st_size > 10_000
        assert len(files.read_json(project / paths.tuning(task))["trials"]) == 2
        assert files.read_json(project / paths.promotion(task))["candidate"]["task"] == task

    tables = {task: (project / paths.ablation_csv(task)).read_bytes() for task in TASKS}
    ran, output = repro(project)
    assert ran == []
    assert "up to date" in output

    # a row more trains one model and adds one row; a word in a package that decides no result makes nothing stale
    new = {"task": "blood", "title": "narrower", "change": {"width": 2}}
    edit(project / "params.yaml", lambda content: content["variants"].update({EXTRA: new}))
    edit(project / "experiment.yaml", lambda content: content["rows"].update({EXTRA: "blood"}))
    with (project / "terracyte/core/errors.py").open("a", encoding="utf-8") as stream:
        stream.write("# a word\n")
    ran, _ = repro(project)
    quick = ("fetch", "tune", "configure", "promote", "submit")
    assert {stage for stage in ran if not stage.startswith(quick)} == {
        f"train@{EXTRA}",
        f"evaluate@{EXTRA}",
        "report@blood",
        "report@mars",
    }
    assert EXTRA in rows(project, "blood")

    # another title trains nothing; one row less trains nothing, and the tables are what they were, byte for byte
    edit(project / "params.yaml", lambda content: content["variants"].pop(EXTRA))
    edit(project / "experiment.yaml", lambda content: content["rows"].pop(EXTRA))
    ran, _ = repro(project)
    assert not [stage for stage in ran if stage.startswith(("train", "evaluate", "ingest", "clean", "balance"))]
    assert {task: (project / paths.ablation_csv(task)).read_bytes() for task in TASKS} == tables
    edit(project / "params.yaml", lambda content: content["variants"]["blood-cnn"].update(title="another"))
    ran, _ = repro(project)
    assert not [stage for stage in ran if stage.startswith(("train", "evaluate"))]
    assert "another" in (project / paths.ablation_markdown("blood")).read_text(encoding="utf-8")
