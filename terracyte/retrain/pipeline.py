"""DVC's part of a retraining: what is run, fetched and pushed."""

import contextlib
import json
from pathlib import Path
from typing import Any

from terracyte.core import dvc, git
from terracyte.params import lock

_MISSING = ("deleted", "not in cache")  # what `dvc status` says of data that this clone did not fetch


def has_remote(folder: Path) -> bool:
    """Whether DVC has a remote storage to pull from and push to."""
    return bool(dvc.run("remote", "list", folder=folder).strip())


def update_imports(folder: Path) -> None:
    """Bring the data that `dvc import-url` tracks, anywhere in the repository, up to its source.

    Raises:
        InputError: a source cannot be reached.
    """
    imports = git.run("grep", "-lz", "^frozen: true", "--", ":/*.dvc", folder=folder)
    if imports:
        dvc.run("update", *imports.split("\0")[:-1], folder=folder)


def score(folder: Path, pull: bool) -> list[str]:
    """Bring all scores of an experiment up to date: run what is out of date up to `evaluate`.

    This changes no champion.

    Args:
        folder: the experiment's folder.
        pull: fetch from the remote what the stages need, and nothing else.

    Returns:
        The stages that changed; see `changed_stages`.

    Raises:
        InputError: a stage failed.
    """
    if not pull:
        # The run cache restores outputs of stages only: check out here the data that .dvc files track.
        files = (git.run("ls-files", "-z", ":/*.dvc", folder=folder) or "").split("\0")[:-1]
        absent = [file for file in files if not (folder / file).with_suffix("").exists()]
        if absent:
            dvc.run("checkout", "--allow-missing", *absent, folder=folder)
    return _reproduce(folder, *(["--pull", "--allow-missing"] if pull else []), "evaluate")


def finish(folder: Path, pull: bool) -> list[str]:
    """Run everything of an experiment that is out of date, including `promote`.

    Args:
        folder: the experiment's folder.
        pull: fetch all outputs first if anything is out of date. Stages after `evaluate` depend on whole folders,
            and `dvc repro --pull` finds no output that is named like such a folder.

    Returns:
        The stages that changed; see `changed_stages`.

    Raises:
        InputError: a stage failed, or the remote cannot be reached.
    """
    if not pull:
        return _reproduce(folder)
    if not _out_of_date(json.loads(dvc.run("status", "--json", "dvc.yaml", folder=folder))):
        return []
    dvc.run("pull", "--allow-missing", "dvc.yaml", folder=folder)
    # imported data whose source has changed since cannot be fetched in their old version, and need not be
    return _reproduce(folder, "--allow-missing")


def push(folder: Path) -> None:
    """Send outputs and run cache of the repository to the remote, so that nobody runs the same stages again.

    DVC 3.67 leaves out what runs wrote with `cache: false`, such as scores, although it keeps them in its local cache;
    without them no other clone can take a run from the run cache.
    """
    # Imported here: the import takes a second.
    from dvc.repo import Repo

    dvc.run("push", "--run-cache", folder=folder)
    config = {"core": {"site_cache_dir": dvc.environment(folder)[dvc.SITE_CACHE]}}
    with contextlib.chdir(folder), Repo(_wait_for_lock=True, config=config) as repo, repo.lock:
        entries = [(path.parent.name, path.name) for path in Path(repo.stage_cache.cache_dir).glob("*/*/*")]
        for objects in repo.stage_cache.get_used_objs(entries).values():
            repo.cloud.push({each for each in objects if repo.cache.local.exists(each.value)})


def changed_stages(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The stages whose entry in dvc.lock is new or different: they ran, or an earlier run came from the run cache."""
    return [name for name, entry in after.items() if entry != before.get(name)]


def _reproduce(folder: Path, *arguments: str) -> list[str]:
    with dvc.keeping_outputs(folder):  # it repairs a dvc.lock that a killed DVC left half written
        before = lock.stages(folder)
        dvc.show("repro", *arguments, folder=folder)
    return changed_stages(before, lock.stages(folder))


def _out_of_date(status: dict[str, list[Any]]) -> bool:
    """Return whether a stage differs from dvc.lock in more than data that were not fetched.

    Args:
        status: what `dvc status --json` prints: for each stage, sentences, and the states of files and parameters by
            kind, such as `{"changed deps": {"data/raw": "deleted"}}`.
    """
    return any(
        isinstance(entry, str) or any(state not in _MISSING for states in entry.values() for state in states.values())
        for entries in status.values()
        for entry in entries
    )
