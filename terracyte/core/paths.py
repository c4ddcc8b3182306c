"""Every path of an experiment, relative to its folder, in which dvc.yaml lies and DVC runs the stages.

The project's root is such a folder, `real/` another one.
"""

import os
from pathlib import Path

from terracyte.core.hashing import TRAINING, code_hash

PARAMS = Path("params.yaml")
EXPERIMENT = Path("experiment.yaml")
DATA = Path("data")
METRICS = Path("metrics")

# By code, too: a training that was killed goes on with the code that began it, or anew.
CHECKPOINTS = DATA / "checkpoints" / code_hash(*TRAINING)
STUDIES = DATA / "optuna"  # searches, so that a killed one goes on
PRETRAINED = DATA / "pretrained"  # what each row's weights start from


def root() -> Path:
    """The project's folder, in which stages/ lies: `.` from the root itself, `..` from `real/`."""
    here = Path.cwd()
    found = next((folder for folder in (here, *here.parents) if (folder / "stages").is_dir()), here)
    return Path(os.path.relpath(found))


def experiment() -> Path:
    """The experiment's folder as seen from the root: `.` for the root itself, else such as `real`."""
    return Path.cwd().relative_to(root().resolve())


def mlflow() -> Path:
    """Folder of MLflow's record of all experiments."""
    return root() / DATA / "mlflow"


def downloads() -> Path:
    """Folder of downloaded files, which all experiments share."""
    return root() / DATA / "downloads"


def raw(task: str) -> Path:
    """Folder of the raw form: see the functions below."""
    return DATA / task / "raw"


def images(task: str) -> Path:
    """(n, h, w, c) uint8."""
    return raw(task) / "images.npy"


def masks(task: str) -> Path:
    """(n, h, w) uint8; only tasks with masks."""
    return raw(task) / "masks.npy"


def unlabelled(task: str) -> Path:
    """(n, h, w, c) uint8: images whose targets the challenge withholds, where there are any; no image of `images`."""
    return raw(task) / "unlabelled.npy"


def raw_manifest(task: str) -> Path:
    """One row per raw image."""
    return raw(task) / "manifest.parquet"


def planted(task: str) -> Path:
    """Ground truth of planted defects (`id`, `defect`); only the sample source writes it."""
    return raw(task) / "planted.parquet"


def data_docs(task: str) -> Path:
    """Great Expectations' HTML; carries timestamps, so it is no DVC output."""
    return DATA / "docs" / task


def validation(task: str) -> Path:
    """Summary of the expectations over the raw manifest."""
    return METRICS / task / "validation.json"


def refused_cleaning(task: str) -> Path:
    """Each image's decision where cleaning would leave nothing of a class."""
    return DATA / task / "clean_refused.csv"


def clean_manifest(task: str) -> Path:
    """The raw manifest plus `keep` and `reason`."""
    return DATA / task / "clean.parquet"


def cleaning(task: str) -> Path:
    """Counts per reason; precision and recall where the defects are known."""
    return METRICS / task / "cleaning.json"


def validation_cleaned(task: str) -> Path:
    """Summary of the expectations over the cleaned manifest."""
    return METRICS / task / "validation_cleaned.json"


def balance_manifest(task: str) -> Path:
    """The kept rows plus `split`, `group`, `fold`, `sample_weight` and `repeats`."""
    return DATA / task / "balance.parquet"


def balance(task: str) -> Path:
    """Images per split and class, class weights."""
    return METRICS / task / "balance.json"


def tuning(task: str) -> Path:
    """The search: its trials, what they showed, and what was chosen."""
    return METRICS / task / "tuning.json"


def tuned(task: str) -> Path:
    """The searched values that replace those of the task's reference, by key."""
    return METRICS / task / "tuned.json"


def pretrained(variant: str, member: int = 0) -> Path:
    """Folder of what a variant's backbone starts from, or one of its members; see `terracyte.fetch.initialisation`."""
    return PRETRAINED / variant / str(member)


def backbone(variant: str, member: int = 0) -> Path | None:
    """The file of pretrained weights of a variant, or of one of its members; None where it starts from random ones."""
    return next(pretrained(variant, member).glob("backbone*"), None)


def configs(task: str) -> Path:
    """Folder of the task's rows, resolved."""
    return METRICS / task / "configs"


def config(task: str, variant: str) -> Path:
    """A row, resolved: see `terracyte.params.row`."""
    return configs(task) / f"{variant}.json"


def evaluation(task: str) -> Path:
    """How rows are evaluated; no row's name begins so."""
    return configs(task) / "_evaluate.json"


def models(task: str, variant: str) -> Path:
    """Folder with one `seed_<n>.keras` per seed."""
    return DATA / task / "models" / variant


def model(task: str, variant: str, seed: int) -> Path:
    """A trained model in Keras' own format."""
    return models(task, variant) / f"seed_{seed}.keras"


def curves(task: str, variant: str) -> Path:
    """Per-epoch metrics as CSV: `seed,epoch,loss,val_loss,...`."""
    return METRICS / task / "curves" / f"{variant}.csv"


def training(task: str, variant: str) -> Path:
    """What each seed's training settled on: best epoch, validation metric, parameters, fingerprint."""
    return METRICS / task / "training" / f"{variant}.json"


def predictions(task: str, variant: str) -> Path:
    """Folder with one `seed_<n>.npz` of test predictions per seed."""
    return DATA / task / "predictions" / variant


def prediction(task: str, variant: str, seed: int) -> Path:
    """Test predictions of one model."""
    return predictions(task, variant) / f"seed_{seed}.npz"


def scores(task: str, variant: str) -> Path:
    """Scores on the test split: overall, per class, confusion matrix, interval."""
    return METRICS / task / "scores" / f"{variant}.json"


def confusions(task: str, variant: str) -> Path:
    """Confusion matrices of each seed and group of test images; see `terracyte.evaluate.confusions`."""
    return METRICS / task / "confusions" / f"{variant}.npz"


def champion(task: str) -> Path:
    """Folder of the task's champion, empty where there is none yet; see `terracyte.promote.contenders`."""
    return DATA / task / "champion"


def promotion(task: str) -> Path:
    """Who is champion, what was decided about the latest candidate and why, and the decisions before."""
    return METRICS / task / "promotion.json"


def submission(task: str) -> Path:
    """Folder of what the challenge asks for, and `submission.json`, which names the model."""
    return DATA / task / "submission"


def ablation_csv(task: str) -> Path:
    """The ablation table, raw numbers."""
    return METRICS / task / "ablation.csv"


def ablation_markdown(task: str) -> Path:
    """The ablation table, for reading."""
    return METRICS / task / "ablation.md"


def report(task: str) -> Path:
    """The HTML page of a task."""
    return DATA / "report" / f"{task}.html"
