"""Write the folder of a new experiment."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from terracyte import params
from terracyte.core import files
from terracyte.new.proposal import Proposal
from terracyte.new.survey import Survey
from terracyte.rendering import templates

_HERE = Path(__file__).parent


def write(name: str, found: Survey, proposed: Proposal) -> None:
    """Write dvc.yaml, params.yaml and experiment.yaml into the new folder `name`; all of them or none.

    Args:
        name: the name of the task and of the folder, which is made in the working directory, the project's.
        found: the survey of the images.
        proposed: the proposal that fits the survey.

    Raises:
        InputError: the written experiment is not valid: a bug of ours, found before anybody trains it.
    """
    with files.atomic_folder(Path(name), new=True) as folder:
        shutil.copy("dvc.yaml", folder)
        values = {"task": name, "found": found, "proposed": proposed, "source": source(name, found)}
        for file in ("params.yaml", "experiment.yaml"):
            files.write_text(folder / file, templates.render(_HERE / f"{file}.j2", **values))
        params.load(folder)


def source(name: str, found: Survey) -> str:
    """Return the task's entry of `sources` as one line of YAML; its path is relative to the experiment's folder.

    It is absolute where the relative path would have more parts.
    """
    seen = os.path.relpath(found.root.resolve(), Path(name).resolve())
    path = seen if len(Path(seen).parts) <= len(found.root.resolve().parts) else str(found.root.resolve())
    entry: dict[str, Any] = {"source": found.source, "path": path}
    if found.images:
        entry |= {"images": found.images, "masks": found.masks}
    optional = {
        "labels": found.labels,
        "group_column": found.group_column,
        "split_column": found.split_column,
        "class_of": found.class_of,
        "mask_values": found.values,
        "ignore": found.ignored,
    }
    entry |= {key: value for key, value in optional.items() if value not in (None, {})}
    return json.dumps(entry, ensure_ascii=False)  # JSON is YAML
