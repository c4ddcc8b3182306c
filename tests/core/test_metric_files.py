from pathlib import Path

import pytest
from dvc.repo import Repo

from terracyte.core import files, metric_files
from terracyte.core.errors import InputError


def test_details_come_back_and_what_is_compared_are_numbers(tmp_path: Path) -> None:
    path, details = tmp_path / "scores.json", {"seeds": {"0": {"confusion": [[1, 2], [3, 4]]}}, "variant": "a"}
    metric_files.write(path, {"accuracy": 0.5, "images": 3, "per_class": {"soil": 1.0}}, details)
    assert metric_files.read(path) == details
    shown = {name: value for name, value in files.read_json(path).items() if not isinstance(value, list)}
    assert shown == {"accuracy": 0.5, "images": 3}


def test_dvc_shows_the_headline_only(tmp_path: Path) -> None:
    metric_files.write(tmp_path / "scores.json", {"mean_iou": 0.5, "images": 3}, {"seeds": {"0": {"mean_iou": 0.5}}})
    (tmp_path / "dvc.yaml").write_text("metrics: [scores.json]")
    shown = Repo.init(str(tmp_path), no_scm=True).metrics.show()
    assert shown[""]["data"] == {"scores.json": {"data": {"mean_iou": 0.5, "images": 3}}}


@pytest.mark.parametrize("content", [{}, {"details": {}}, {"details": []}, {"details": [1]}, []])
def test_a_file_of_another_version_is_named(tmp_path: Path, content: object) -> None:
    path = tmp_path / "scores.json"
    files.write_json(path, content)
    with pytest.raises(InputError, match=r"scores\.json: 'details' is not a list of one entry"):
        metric_files.read(path)
