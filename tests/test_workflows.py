"""The workflows keep rules that their linters (`make lint-workflows`) and people rely on."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    # read as YAML 1.2, in which the key `on` is no boolean
    content = YAML(typ="safe", pure=True).load(workflow.read_text(encoding="utf-8"))
    assert content["permissions"] == {}, "each job names its own"
    assert content["concurrency"]["group"]
    found: dict[str, dict[str, Any]] = content["jobs"]
    return found


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    used = [line.strip().removeprefix("- ") for line in workflow.read_text().splitlines() if "uses:" in line]
    assert used
    assert all(PINNED.fullmatch(line) for line in used), used


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_jobs_end_and_say_what_they_may(workflow: Path) -> None:
    for name, job in jobs(workflow).items():
        assert job["timeout-minutes"] <= 360, name
        assert len(job["permissions"]) == 1, name


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_no_expression_becomes_a_command(workflow: Path) -> None:
    commands = [step["run"] for job in jobs(workflow).values() for step in job["steps"] if "run" in step]
    assert not any("${{" in command for command in commands)


def test_retraining_starts_on_what_decides_an_experiment_and_commits_what_it_writes() -> None:
    text = (ROOT / ".github/workflows/retrain.yml").read_text(encoding="utf-8")
    triggers = YAML(typ="safe", pure=True).load(text)["on"]
    for event in ("push", "pull_request"):
        for folder in ("", "real/"):
            files = {f"{folder}{name}" for name in ("dvc.yaml", "params.yaml", "experiment.yaml", "dvc.lock")}
            assert files <= set(triggers[event]["paths"]), event
    assert ".venv/bin/terracyte retrain" in text
    (added,) = re.findall(r"git add --all -- (.*)", text)
    assert set(added.split()) == {"dvc.lock", "real/dvc.lock", "metrics", "real/metrics", "data/sources"}


def test_a_retraining_ends_in_time_to_push_what_it_has_finished() -> None:
    job = jobs(ROOT / ".github/workflows/retrain.yml")["retrain"]
    (step,) = (step for step in job["steps"] if step.get("id") == "retrain")
    # without --foreground, DVC would get the signal, too, and end at once
    (minutes,) = re.findall(r"timeout --foreground (\d+)m \.venv/bin/terracyte retrain", step["run"])
    assert int(minutes) + 30 <= job["timeout-minutes"]


def test_known_vulnerabilities_are_looked_for_every_week() -> None:
    workflow = ROOT / ".github/workflows/weekly.yml"
    (schedule,) = YAML(typ="safe", pure=True).load(workflow.read_text(encoding="utf-8"))["on"]["schedule"]
    *_, day_of_month, month, day_of_week = schedule["cron"].split()
    assert (day_of_month, month) == ("*", "*")
    assert day_of_week.isdigit()
    assert [step["run"] for step in jobs(workflow)["audit"]["steps"] if "run" in step] == ["make audit"]
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\naudit:")[2]
    assert "pip-audit --requirement requirements.lock" in recipe
    assert "--strict" in recipe  # a package that cannot be audited must not count as sound


def test_who_may_write_runs_no_project_code_and_sees_no_secret() -> None:
    for name, job in jobs(ROOT / ".github/workflows/retrain.yml").items():
        if "write" in job["permissions"].values():
            text = str(job["steps"])
            assert "python" not in text, name
            assert "make" not in text, name
            assert "terracyte " not in text, name
            assert "secrets." not in text, name
