"""Processes that a command has started end when the command ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from terracyte.core import processes
from tests.conftest import ROOT

# a command whose child starts a child of its own, which sleeps
GRANDPARENT = """
import sys
from terracyte.core import processes
from terracyte.core.errors import guarded
sleep = "import time; print(1, flush=True); time.sleep(60)"
child = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {sleep!r}]) and 1)"
restarts = sys.argv[1:] == ["restarts"]
if restarts:
    child = child.replace("; sys.exit", "\\nwhile True: print")
guarded(lambda: processes.call([sys.executable, "-c", child], restarts=restarts))
"""


@pytest.mark.parametrize("how", ["ends", "restarts"])
def test_a_signal_to_a_command_ends_what_its_children_have_started(how: str) -> None:
    command = [sys.executable, "-c", GRANDPARENT, how]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        tree = psutil.Process(process.pid).children(recursive=True)
        assert len(tree) == 2
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (143, "ended by SIGTERM\n")
    assert not [each for each in tree if each.is_running()]


def test_who_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PATIENCE", 0.1)
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(SystemExit), processes.ending_children():
            raise SystemExit
    assert process.returncode == -signal.SIGKILL


def test_a_command_s_exit_code_and_folder(tmp_path: Path) -> None:
    code = "import os, sys; sys.exit(int(os.environ['CODE']) if os.path.exists('here') else 1)"
    (tmp_path / "here").touch()
    assert processes.call([sys.executable, "-c", code], tmp_path, {"CODE": "7"}) == 7


def test_ctrl_c_while_modules_are_imported_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time; print(1, flush=True); time.sleep(60)")
    command = [sys.executable, "-c", "import terracyte, slow"]
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (-signal.SIGINT, "interrupted\n")
