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

from terracyte import params
from terracyte.core import files, paths
from tests.conftest import ROOT

EXTRA = "blood-narrow"
# a scratch network, a backbone with its head first, and U-Nets: what differs between the others is configuration
KEPT = ("blood-baseline", "blood-cnn", "blood-mobilenet_v3_large", "mars-baseline", "mars-unet_1", "mars-final_short")


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
        for reference in content["reference"].values():
            reference.update(width=4, epochs=1, batch_size=32)
        content["variants"] = {name: content["variants"][name] for name in KEPT}
        content["variants"]["blood-mobilenet_v3_large"]["change"].update(size="small", resolution=32)
        for tune in content["tune"].values():
            tune.update(trials=2, confirm=1, change={"epochs": 1})
        content["evaluate"]["bootstrap"] = 50
        for promote in content["promote"].values():
            promote.update(images=4, flip_agreement=0.0, brightness_agreement=0.0)
        content["report"].update(examples=2, hardest=2, contact_sheet=4)

    edit(project / "params.yaml", change)


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
    settings = params.load(project / "params.yaml")
    ran, _ = repro(project)
    data = {f"{stage}@{task}" for stage in ("ingest", "validate", "clean", "balance", "tune") for task in params.TASKS}
    variants = {f"{stage}@{name}" for stage in ("fetch", "train", "evaluate") for name in settings.variants}
    last = {f"{stage}@{task}" for stage in ("promote", "submit") for task in params.TASKS}
    assert set(ran) == data | variants | {"report"} | last
    assert len(ran) == len(set(ran))
    assert all(rows(project, task) == list(settings.variants_of(task)) for task in params.TASKS)
    assert (project / paths.REPORT_PAGE).stat().st_size > 10_000
    for task in params.TASKS:
        assert len(files.read_json(project / paths.tuning(task))["trials"]) == 2
        assert files.read_json(project / paths.promotion(task))["candidate"]["task"] == task

    tables = {task: (project / paths.ablation_csv(task)).read_bytes() for task in params.TASKS}
    ran, output = repro(project)
    assert ran == []
    assert "up to date" in output

    # a variant more trains one model and adds one row
    new = {"task": "blood", "title": "narrower", "change": {"width": 2}}
    edit(project / "params.yaml", lambda content: content["variants"].update({EXTRA: new}))
    ran, _ = repro(project)
    assert [stage for stage in ran if not stage.startswith(("promote", "submit"))] == [
        f"fetch@{EXTRA}",
        f"train@{EXTRA}",
        f"evaluate@{EXTRA}",
        "report",
    ]
    assert EXTRA in rows(project, "blood")

    # one less removes the row and trains nothing; the tables are what they were, byte for byte
    edit(project / "params.yaml", lambda content: content["variants"].pop(EXTRA))
    ran, _ = repro(project)
    assert {stage.partition("@")[0] for stage in ran} <= {"promote", "report", "submit"}
    assert {task: (project / paths.ablation_csv(task)).read_bytes() for task in params.TASKS} == tables
