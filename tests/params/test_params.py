"""Parameters: every error is one line that names the parameter; variants are resolved by precedence."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from terracyte import params
from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.core.hashing import file_hash
from terracyte.fetch import initialisation
from terracyte.params import row
from tests import balanced_project
from tests.conftest import ROOT, Edit

# a segmentation task without a class for unlabelled pixels
UNLABELLED = {"kind": "segmentation", "classes": ["a", "b"], "height": 32, "width": 32, "background": None}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("sources.blood.sorce", "sample", "experiment.yaml: 'sources.blood.sorce' is unknown; did you mean 'source'?"),
        ("sources.blood.source", "web", "'sources.blood.source' is 'web' (str); it must be one of sample, challenge"),
        ("sources.moon", {"source": "sample", "path": "x"}, "experiment.yaml: 'sources.moon' is unknown"),
        ("rows.blood-cn", "blood", "experiment.yaml: 'rows.blood-cn' is unknown; did you mean 'blood-cnn'?"),
        ("rows.blood-cnn", "mars", "'rows.blood-cnn' is 'mars', but the variant's task is 'blood'"),
        ("rows", {"blood-cnn": "blood"}, "'rows' has no row for task mars: add one, or remove 'sources.mars'"),
        (
            "sources",
            {"mars": {"source": "sample", "path": "x"}},
            "'rows.blood-baseline' needs 'sources.blood', which is missing: add it, or remove the row",
        ),
        (
            "variants.mars-unet_2.compared_with",
            "mars-unet_folds",
            "is compared with mars-unet_folds, which is not in 'rows'",
        ),
        ("override", {"clean.mars": {}}, "experiment.yaml: 'override.clean' is unknown; allowed: seeds, reference"),
        ("override", {"reference.moon": {}}, "experiment.yaml: 'override.reference.moon' is unknown"),
        ("override", {"reference.mars": {"widht": 1}}, "experiment.yaml: 'reference.mars.widht' is unknown; did you"),
        ("override", {"seeds": [-1]}, "experiment.yaml: 'seeds' is [-1]"),
        ("tasks.mars.height", "64", "'tasks.mars.height' is '64' (str); it must be a whole number"),
        ("tasks.mars.height", True, "'tasks.mars.height' is True (bool); it must be a whole number"),
        ("tasks.mars.height", 8, "it must be between 32 and 4096"),
        ("tasks.mars.classes", "soil", "'tasks.mars.classes' is 'soil' (str); it must be a list"),
        ("validate.mars.brightness", [1, 2, 3], "it must be a list of 2 values"),
        ("validate.mars.brightness", [1, 300], "'validate.mars.brightness' is 300"),
        ("balance.mars.weight_power", float("nan"), "it must be a finite number"),
        ("balance.mars", None, "'balance.mars' is None"),
        ("seeds", [0, 0], "'seeds' is [0, 0]; it must list different whole numbers from 0 to 2**31 - 1"),
        ("seeds", [], "'seeds' is []"),
        ("cleen", {}, "'cleen' is unknown; did you mean 'clean'?"),
        ("variants.mars-unet_1.task", "moon", "'variants.mars-unet_1.task' is 'moon'; allowed: blood, mars"),
        ("variants.mars-unet_1.like", "mars-unet_11", "'variants.mars-unet_1.like' is 'mars-unet_11'; did you mean"),
        (
            "variants.mars-unet_1.like",
            "blood-cnn",
            "'variants.mars-unet_1.like' is 'blood-cnn'; allowed: mars-baseline",
        ),
        ("variants.mars-unet_1.like", "mars-unet_2", "is circular: mars-unet_1 → mars-unet_2 → mars-unet_1"),
        ("variants.mars-unet_1.seeds", [1, 1], "'variants.mars-unet_1.seeds' is [1, 1]"),
        ("tasks.mars.background", "sky", "'tasks.<task>.background' is 'sky', which is not one of the classes"),
        ("tasks.mars.classes", ["background", "soil"], "at least two must be scored"),
        ("tasks.mars.classes", ["background", "soil", "soil"], "each name must appear only once"),
        ("tasks.mars.classes", ["background", "ig|band", "soil"], "has 'ig|band': names must be printable, not blank"),
        ("tasks.mars.classes", ["background", "a b", "a_b"], "has 'a b' and 'a_b', which are one column in tables"),
        ("variants.mars-unet_1.title", "one\ntwo", "it must be one line"),
        ("variants.mars-unet_1.marked", "one\ntwo", "it must be one line"),
        ("variants._x", {"task": "mars", "title": "out"}, "a task or variant is called '_x'"),
        ("variants", {"mars-v1.5": {"task": "mars", "title": "out"}}, "a task or variant is called 'mars-v1.5'"),
        (
            "variants.mars-unet_1.published",
            36.1,
            "'variants.mars-unet_1.published' is 36.1 (float); it must be between",
        ),
        ("reference.mars.architecture", "unett", "'reference.mars.architecture' is 'unett' (str); it must be one of"),
        ("tasks.mars.corruptions", ["noise", "pixelation"], "has 'pixelation', which moves contours away from those"),
        ("tasks.mars.corruptions", ["noise", "stain"], "has 'stain', which needs 3 channels; leave it out"),
        (
            "tasks.blood.channels",
            1,
            "'tasks.<task>.corruptions' has 'saturation', which needs 3 channels; leave it out",
        ),
        ("tasks.blood.corruptions", ["noise", "noise"], "is ['noise', 'noise']; each name must appear only once"),
        (
            "tasks.mars",
            {**UNLABELLED, "fit": "pad"},
            "'tasks.<task>.fit' is 'pad', but the bars that it adds need a class",
        ),
        ("tasks.blood.background", "platelet", "is only for segmentation"),
        ("tasks.blood.corruptions", ["fog"], "'tasks.blood.corruptions[0]' is 'fog'"),
        ("variants.mars-unet_1.change.dropout", 2.0, "'variants.mars-unet_1.change.dropout' is 2.0"),
        ("variants.mars-unet_1.change.tuned", True, "'variants.mars-unet_1.change.tuned' must be false or left out"),
        ("tune.mars.variant", "blood-cnn", "'tune.mars.variant' is 'blood-cnn'; allowed: mars-baseline"),
        ("tune.mars.minutes", 0, "'tune.mars.minutes' is 0.0 (float); it must be between 0.01 and 100000"),
        ("tune.mars.change.epoch", 3, "'tune.mars.change.epoch' is unknown; did you mean 'epochs'?"),
        ("tune.mars.change.epochs", 0, "'tune.mars.epochs' is 0"),
        ("tune.mars.space", {}, "'tune.mars.space' is empty"),
        ("tune.mars.space.width", {"choices": [16, 32]}, "'tune.mars.space.width' is unknown"),
        ("tune.mars.space.dropout", {"low": 0.0}, "'tune.mars.space.dropout' must have either low and high, or"),
        ("tune.mars.space.dropout", {"low": 0.5, "high": 0.1}, "is 0.5 to 0.1; low must be below high"),
        ("tune.mars.space.dropout", {"low": 0.4, "high": 0.5}, "which excludes the reference's 0.3"),
        ("tune.mars.space.dropout", {"low": 0.0, "high": 2}, "'tune.mars.space.dropout' is 2.0 (float); it must be"),
        ("tune.mars.space.schedule.choices", ["cosine", "cosin"], "'tune.mars.space.schedule' is 'cosin' (str); it"),
        ("tune.mars.space.dropout", {"choices": [0.1]}, "must list two or more values, each only once"),
        ("tune.mars.space.dropout", {"choices": [0.1, [1]]}, "'tune.mars.space.dropout.choices[1]' is [1]"),
        ("tune.mars.space.dropout.when", {"dropout": [0.1]}, "'tune.mars.space.dropout.when.dropout' is unknown"),
        ("tune.mars.space.dropout.when", {"cutmix": [0.1]}, "depends on 'cutmix': list 'cutmix' above 'dropout'"),
        ("tune.mars.space.weight_decay.when", {"beta_1": [5]}, "has 5, which is not in the search space of 'beta_1'"),
        ("tune.mars.space.l1", {"low": 0.0, "high": 0.1, "scale": "log"}, "on a log scale it must be above 0"),
        (
            "tune.mars.change.dropout",
            0.3,
            "is searched, but variants.mars-unet_final.change or tune.mars.change fixes",
        ),
        (
            "balance.mars.folds",
            0,
            "row mars-unet_unlike has 'folds', but 'balance.mars.folds' of params.yaml is 0: set",
        ),
        (
            "variants.mars-unet_1.members",
            [{}, {"widht": 3}],
            "'variants.mars-unet_1.members[1].widht' is unknown; did you mean 'width'?",
        ),
        (
            "variants.mars-unet_1.members",
            [{"folds": True}],
            "members[0].folds' is not allowed: set it for all members, in 'change'",
        ),
        ("compute.workers", 0, "'compute.workers' is 0"),
        ("compute.workers", "all", "'compute.workers' is 'all' (str); it must be a whole number or auto"),
        ("seeds", [2**31], "'seeds' is [2147483648]; it must list different whole numbers from 0 to 2**31 - 1"),
        ("tasks.mars.channels", 1.0, "'tasks.mars.channels' is 1.0 (float); it must be one of 1, 3"),
        ("balance.mars.weight_power", 10**400, "(int); it must be a number"),
        ("variants./x", {"task": "mars", "title": "out"}, "a task or variant is called '/x'"),
        ("sources.mars.mask_values", {"soil": 1}, "'sources.<task>.mask_values' applies only to folder and npz"),
        (
            "sources.mars",
            {"source": "npz", "path": "a.npz", "split_column": "split"},
            "'sources.<task>.split_column' applies only to folder, but the source is 'npz': remove the key",
        ),
        (
            "sources.mars",
            {"source": "folder", "path": "a", "labels": "places.csv"},
            "'sources.mars.labels' is read in segmentation only for 'group_column' or 'split_column': add one",
        ),
        (
            "balance.mars.rare_class",
            None,
            "has 'rare_class_boost', but 'balance.mars.rare_class' of params.yaml is null: name a class, or remove",
        ),
        (
            "sources.mars",
            {"source": "npz", "path": "a.npz", "class_of": {"1": "soil"}},
            "'sources.mars.class_of' applies only to classification, but 'tasks.mars.kind' is segmentation: remove",
        ),
        (
            "sources.blood",
            {"source": "npz", "path": "a.npz", "ignore": 255},
            "'sources.blood.ignore' applies only to segmentation, but 'tasks.blood.kind' is classification: remove",
        ),
        (
            "sources.mars",
            {"source": "npz", "path": "a.npz", "ignore": 2**70},
            f"is {2**70}; masks hold numbers of 32 bits at most",
        ),
        ("tune.mars.space.hue", {"low": 0, "high": 0.1}, "is searched, but the reference has no 'hue': add its value"),
        ("override", {"seeds.0": 1}, "'override.seeds.0' names a key in 'seeds', which has none: it is [0]; shorten"),
        (
            "override",
            {"variants.mars-unet_1.title.a": 1},
            "names a key in 'variants.mars-unet_1.title', which has none",
        ),
    ],
)
def test_a_bad_parameter_is_named(edit: Edit, path: str, value: Any, expected: str) -> None:
    edit(path, value)
    with pytest.raises(InputError) as caught:
        params.load()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_parameter_is_named(project: Path) -> None:
    text = (project / "params.yaml").read_text().replace("  bootstrap: 1000\n", "", 1)
    (project / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"'evaluate\.bootstrap' is missing; add it"):
        params.load()


@pytest.mark.parametrize("block", ["validate", "clean", "balance", "tune", "promote"])
def test_a_task_s_block_may_be_empty_but_not_absent(edit: Edit, block: str) -> None:
    edit("override", {})  # its trials would need a variant, which an empty `tune` block lacks
    whole, before = params.read_yaml(Path("params.yaml"))[block], getattr(params.load(), block)["mars"]
    edit(block, {"mars": whole["mars"]})
    with pytest.raises(
        InputError, match=rf"params\.yaml: '{block}\.blood' is missing; add it \(`{{}}` takes the defaults"
    ):
        params.load()
    edit(block, {"mars": whole["mars"], "blood": {}})
    found = getattr(params.load(), block)
    assert found["mars"] == before
    assert type(found["blood"]) is type(before)


def test_a_search_needs_a_variant(edit: Edit) -> None:
    edit("tune.blood", {"trials": 3})
    with pytest.raises(InputError, match=r"'tune\.blood\.variant' is missing, but 'trials' is 3: name a variant"):
        params.load()


def test_a_block_may_say_a_part(edit: Edit) -> None:
    edit("clean.blood", {"distance": 0.5})
    assert (params.load().clean["blood"].distance, params.load().clean["blood"].repeated_image) == (0.5, 10)
    edit("clean.blood", {"distance": 2})
    with pytest.raises(InputError, match=r"'clean\.blood\.distance' is 2"):
        params.load()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a:\n  b: [1,", "params.yaml line 2: not valid YAML"),
        ("<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> b\n", "params.yaml has an unresolved git merge conflict: keep"),
        ("- 1\n", "params.yaml: the file is [1] (list); it must be a mapping"),
        ("", "params.yaml: the file is empty; it must be a mapping"),
        ("a: 2001-13-45\n", "params.yaml: not valid YAML: a value does not fit its type: month must be in 1..12"),
        ("a: !!int x\n", "params.yaml: not valid YAML: a value does not fit its type: invalid literal"),
        ("\na: " + "9" * 5000, "params.yaml line 2: a number has 5000 digits; at most 40 are read"),
        ('a: "\\0"\n', "params.yaml line 1: a text has an invalid character (NUL or"),
        ("a: &a [*a]\n", "params.yaml line 1: aliases (*name) contain themselves here"),
        ("a: " + "[" * 600, "params.yaml: not valid YAML: it is nested too deeply"),
        ("a: 1\n" * 2**18, "params.yaml has 1310720 bytes; at most 262144 are read"),
    ],
)
def test_a_broken_file_is_one_line(project: Path, content: str, expected: str) -> None:
    (project / "params.yaml").write_text(content)
    with pytest.raises(InputError) as caught:
        params.load()
    assert expected in str(caught.value)


def test_the_code_of_another_clone_is_refused(project: Path) -> None:
    other = project / "terracyte"
    other.symlink_to(ROOT / "terracyte")
    params.load()
    other.unlink()
    other.mkdir()
    params.load()  # a folder of that name without __init__.py may be an experiment
    (other / "__init__.py").touch()
    expected = f"Python imports {ROOT}/terracyte, but the experiment's code is {other}: run `pip install -e {project}`"
    with pytest.raises(InputError, match=expected):
        params.load()


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params\.yaml is missing: run this in an experiment's folder"):
        params.load(tmp_path)


def test_an_unknown_variant_is_named(project: Path) -> None:
    with pytest.raises(InputError, match=r"'variants\.mars-unet_11' is unknown; did you mean 'mars-unet_1'\?"):
        params.load().config("mars-unet_11")


def test_precedence_is_reference_then_tuned_then_change() -> None:
    settings = params.load(ROOT)
    reference = settings.reference["mars"]
    assert settings.config("mars-unet_final").width == reference["width"]
    tuned = {"l2": 0.77, "cutmix": 0.77}
    resolved = settings.config("mars-unet_1", tuned)
    assert resolved.l2 == 0.77
    assert resolved.cutmix == settings.variants["mars-unet_1"].change["cutmix"] == 0


def test_an_untuned_variant_keeps_the_reference_s_values(edit: Edit) -> None:
    edit(
        "variants.mars-untuned",
        {"task": "mars", "title": "untuned", "like": "mars-unet_final", "change": {"tuned": False}},
    )
    settings = params.load()
    tuned = {"dropout": 0.77}
    assert settings.config("mars-untuned", tuned) == settings.config("mars-unet_final")
    assert settings.config("mars-unet_final", tuned).dropout == 0.77


def test_a_trial_is_the_tuned_variant_with_the_searched_values() -> None:
    settings = params.load(ROOT)
    tune, trial = settings.tune["mars"], settings.trial("mars", {"dropout": 0.33})
    assert trial.dropout == 0.33
    assert trial.epochs == tune.change["epochs"] != settings.config("mars-unet_final").epochs
    assert trial.width == settings.config(tune.variant).width


def test_what_is_not_searched_needs_no_space(edit: Edit) -> None:
    edit("override", {})
    edit("tune.mars", {"variant": "mars-unet_final", "trials": 0})
    assert not params.load().tune["mars"].space


def test_a_variant_adds_to_the_one_that_it_is_like() -> None:
    settings = params.load(ROOT)
    one, two = settings.config("mars-unet_1"), settings.config("mars-unet_2")
    differing = {key for key, value in dataclasses.asdict(two).items() if getattr(one, key) != value}
    assert differing == set(settings.variants["mars-unet_2"].change)


def test_an_override_is_merged_and_handed_on(edit: Edit) -> None:
    edit("override", {"variants.mars-unet_1": {"change": {"epochs": 3}, "seeds": [4, 5]}, "seeds": [7]})
    settings = params.load()
    assert settings.config("mars-unet_1").cutmix == 0
    assert settings.config("mars-unet_1").epochs == settings.config("mars-unet_2").epochs == 3
    assert (settings.seeds_of("mars-unet_1"), settings.seeds_of("mars-unet_2")) == ((4, 5), (7,))


def test_a_row_with_folds_has_a_seed_for_each_of_them(edit: Edit) -> None:
    edit("override", {"seeds": [7]})
    assert params.load().seeds_of("mars-unet_folds") == (0, 1, 2, 3, 4)
    edit("override", {"variants.mars-unet_folds": {"seeds": [3]}})
    assert params.load().seeds_of("mars-unet_folds") == (3,)


def test_a_row_that_the_experiment_lacks_is_named(project: Path) -> None:
    with pytest.raises(InputError, match=r"experiment\.yaml: 'rows\.mars-unet_folds' is unknown"):
        params.load().row("mars-unet_folds")


def test_what_one_member_needs_is_needed(project: Path, edit: Edit) -> None:
    edit("rows", {"blood-cnn": "blood", "mars-unet_1": "mars"})
    edit("variants.mars-unet_1.change.rare_class_boost", False)
    edit("variants.mars-unet_1.members", [{}, {"rare_class_boost": True}])
    params.load()
    edit("balance.mars.rare_class", None)
    with pytest.raises(InputError, match="row mars-unet_1 has 'rare_class_boost'"):
        params.load()
    edit("variants.mars-unet_1.members", [{}, {}])
    params.load()


def test_members_change_single_trainings_in_turn(project: Path, edit: Edit) -> None:
    balanced_project.write(project)
    edit("variants.mars-unet_1.members", [{}, {"width": 6}, {"residual": True, "width": 8}])
    edit("variants.mars-unet_1.seeds", [0, 1, 2, 4])
    balanced_project.configure()
    found = row.read("mars", "mars-unet_1")
    assert [(each.config.width, each.config.residual) for each in found.identities] == [
        (4, False),
        (6, False),
        (8, True),
        (6, False),
    ]
    assert len(set(found.fingerprints.values())) == 4
    # a member has the same fingerprint as a row with the same configuration and seed
    edit("variants.mars-unet_2", {"task": "mars", "title": "a", "like": "mars-unet_1", "change": {"width": 6}})
    edit("variants.mars-unet_2.seeds", [1])
    balanced_project.configure()
    assert row.read("mars", "mars-unet_2").fingerprints["1"] == found.fingerprints["1"]


def test_what_configure_writes_is_read_back(project: Path, edit: Edit) -> None:
    balanced_project.write(project)
    settings = params.load()
    found = row.read("mars", "mars-unet_1")
    assert [start.config for start in found.starts] == [settings.config("mars-unet_1")]
    assert (found.seeds, found.spec) == (settings.seeds, settings.tasks["mars"])
    edit("tasks.mars.fit", "crop")
    balanced_project.configure()
    cropped = row.read("mars", "mars-unet_1")
    assert cropped.spec.fit == "crop"
    assert cropped.fingerprints != found.fingerprints
    files.write_json(paths.config("mars", "mars-unet_1"), {"variant": "mars-unet_1"})
    with pytest.raises(InputError, match=r"configs/mars-unet_1\.json: 'task' is missing"):
        row.read("mars", "mars-unet_1")


def test_each_member_starts_from_the_weights_that_were_fetched_for_it(project: Path, edit: Edit) -> None:
    balanced_project.write(project)
    Path("a.weights.h5").write_bytes(b"weights")
    shutil.rmtree(paths.pretrained("mars-unet_1"))
    initialisation.write(paths.pretrained("mars-unet_1", 0), row.RANDOM)
    initialisation.write(paths.pretrained("mars-unet_1", 1), row.IMAGENET, Path("a.weights.h5"))
    edit("variants.mars-unet_1.members", [{}, {}])
    balanced_project.configure()
    starts = row.read("mars", "mars-unet_1").starts
    assert [(each.initialisation, each.weights_hash) for each in starts] == [
        (row.RANDOM, ""),
        (row.IMAGENET, file_hash(Path("a.weights.h5"))),
    ]


def test_other_class_weights_are_other_data(project: Path) -> None:
    balanced_project.write(project)
    before = row.data_hash("mars")
    files.write_json(paths.balance("mars"), {"class_weights": [0.0, 1.0, 1.0, 2.0]})
    assert row.data_hash("mars") != before
