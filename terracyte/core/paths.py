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

# Separate per version of the code: a killed training resumes only with the code that began it, else it starts anew.
CHECKPOINTS = DATA / "checkpoints" / code_hash(*TRAINING)
STUDIES = DATA / "optuna"  # searches, so that a killed search can resume
PRETRAINED = DATA / "pretrained"  # each row's initial weights


def root() -> Path:
    """The project's folder, in which stages/ lies: `.` from the root itself, `..` from `real/`."""
    here = Path.cwd()
    found = next((folder for folder in (here, *here.parents) if (folder / "stages").is_dir()), here)
    return Path(os.path.relpath(found))


def experiment() -> Path:
    """The experiment's folder as seen from the root: `.` for the root itself, otherwise for example `real`."""
    return Path.cwd().relative_to(root().resolve())


def mlflow() -> Path:
    """Folder of MLflow's record of all experiments."""
    return root() / DATA / "mlflow"


def downloads() -> Path:
    """Folder of downloaded files, which all experiments share."""
    return root() / DATA / "downloads"


def raw(task: str) -> Path:
    """Folder of the task's raw data; the functions below name its files."""
    return DATA / task / "raw"


def images(task: str) -> Path:
    """The raw images: (n, h, w, c) uint8."""
    return raw(task) / "images.npy"


def masks(task: str) -> Path:
    """The raw masks: (n, h, w) uint8; only for tasks with masks."""
    return raw(task) / "masks.npy"


def unlabelled(task: str) -> Path:
    """Images whose targets the challenge withholds, if any: (n, h, w, c) uint8; none of them is in `images`."""
    return raw(task) / "unlabelled.npy"


def raw_manifest(task: str) -> Path:
    """Table with one row per raw image."""
    return raw(task) / "manifest.parquet"


def planted(task: str) -> Path:
    """Ground truth of planted defects (`id`, `defect`); only the sample source writes it."""
    return raw(task) / "planted.parquet"


def data_docs(task: str) -> Path:
    """Folder of Great Expectations' HTML pages; they carry timestamps, so they are no DVC output."""
    return DATA / "docs" / task


def validation(task: str) -> Path:
    """Summary of the expectations over the raw manifest."""
    return METRICS / task / "validation.json"


def refused_cleaning(task: str) -> Path:
    """Cleaning's decision on each image, written only if no image of a scored class would be left."""
    return DATA / task / "clean_refused.csv"


def clean_manifest(task: str) -> Path:
    """The raw manifest plus `keep`, `reason` and `duplicate_of`."""
    return DATA / task / "clean.parquet"


def cleaning(task: str) -> Path:
    """Counts of kept and, per reason, dropped images; precision and recall where the defects are known."""
    return METRICS / task / "cleaning.json"


def validation_cleaned(task: str) -> Path:
    """Summary of the expectations over the cleaned manifest."""
    return METRICS / task / "validation_cleaned.json"


def balance_manifest(task: str) -> Path:
    """The kept rows of the raw manifest plus `split`, `group`, `fold`, `sample_weight` and `repeats`."""
    return DATA / task / "balance.parquet"


def balance(task: str) -> Path:
    """Images per split and class, class weights."""
    return METRICS / task / "balance.json"


def tuning(task: str) -> Path:
    """The hyperparameter search: its trials, their results, and the chosen values."""
    return METRICS / task / "tuning.json"


def tuned(task: str) -> Path:
    """Values found by the search that replace those of the task's reference, by key."""
    return METRICS / task / "tuned.json"


def pretrained(variant: str, member: int = 0) -> Path:
    """Folder of the initial weights of a variant, or of one of its members; see `terracyte.fetch.initialisation`."""
    return PRETRAINED / variant / str(member)


def backbone(variant: str, member: int = 0) -> Path | None:
    """File of a variant's or one of its members' pretrained weights; None if training starts from random weights."""
    return next(pretrained(variant, member).glob("backbone*"), None)


def configs(task: str) -> Path:
    """Folder of the resolved rows of the task, one file per row, and of `evaluation`."""
    return METRICS / task / "configs"


def config(task: str, variant: str) -> Path:
    """A resolved row: see `terracyte.params.row`."""
    return configs(task) / f"{variant}.json"


def evaluation(task: str) -> Path:
    """Settings of the evaluation of rows; no row's name begins with an underscore, so names cannot clash."""
    return configs(task) / "_evaluate.json"


def models(task: str, variant: str) -> Path:
    """Folder with one `seed_<n>.keras` per seed."""
    return DATA / task / "models" / variant


def model(task: str, variant: str, seed: int) -> Path:
    """Trained model of one seed, in Keras' own format."""
    return models(task, variant) / f"seed_{seed}.keras"


def curves(task: str, variant: str) -> Path:
    """Per-epoch metrics as CSV: `seed,epoch,loss,val_loss,...`."""
    return METRICS / task / "curves" / f"{variant}.csv"


def training(task: str, variant: str) -> Path:
    """Result of each seed's training: best epoch, validation metrics, number of parameters, fingerprint."""
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
    """The current champion, the decision on the latest candidate with its reasons, and the earlier decisions."""
    return METRICS / task / "promotion.json"


def submission(task: str) -> Path:
    """Folder of the file that the challenge asks for, and of `submission.json`, which names the model."""
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


def inside(experiment: Path) -> str:
    """Return " in FOLDER", or "" for the current folder: where a command that a message advises must be run."""
    return "" if experiment == Path() else f" in {experiment}"
