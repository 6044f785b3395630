"""Classes that an encoder was trained on are no unseen classes: refused, or stated beside every figure."""

import json
import shutil
from pathlib import Path

import official_sets
import pytest
from safetensors import safe_open

from episodes import Split
from fsl_explain.cli.app import run as run_fsl
from retrieval_explain.cli.app import run as run_retrieval

CONFIGS = Path(__file__).parents[2] / "configs"
SIZES = ("encoder.architecture={channels=4, size=32}", "run.threads=1")
SHORT = ("objective.n_query=1", "objective.episodes_per_batch=1", "optimizer.epochs=1", "optimizer.rates=[]")
EVALUATED = ("episodes.count=2", "episodes.n_query=1", "explanation.methods=['fam']")
STATED = "The encoder was trained on 50 of the 50 classes (004.Groove_billed_Ani, "


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    """CUB-200-2011's two hundred classes in their layout, two pictures each, and a Conv4Net of FRN's base classes."""
    world = tmp_path_factory.mktemp("seen")
    shutil.copytree(CONFIGS, world / "configs")
    split = Split.load("cub-closer-look")
    names = tuple(sorted((*split.base, *split.validation, *split.novel)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(official_sets, "CLASSES", names)
        official_sets.write_cub(world / "data/CUB_200_2011", images_of_a_class=2)
    assert train(world, "data.split=cub-frn") == 0
    return world


def told(run, command, config, *settings):
    return run([*command, "--config", str(config), *(part for one in settings for part in ("--set", one))])


def train(world, *settings):
    sets = (*SIZES, *SHORT, "optimizer.batches_per_epoch=1", *settings)
    return told(run_fsl, ["train"], world / "configs/papers/fam-train-cub-conv4net.toml", *sets)


def evaluate(world, out, *settings):
    command = ["evaluate", "--out", str(out)]
    return told(
        run_fsl, command, world / "configs/papers/fam-table-1-2-cub-conv4net.toml", *SIZES, *EVALUATED, *settings
    )


def retrieve(world, out, *settings):
    weights = f"encoder.checkpoint={world}/results/fam-cub-conv4net.safetensors"
    sets = ("encoder.name=conv4net", weights, *SIZES, "decision.k=5", "explanation.methods=['fam']", *settings)
    command = ["evaluate", "--out", str(out), "--limit", "4"]
    return told(run_retrieval, command, world / "configs/papers/fam-table-4-cub-margin.toml", *sets)


def header(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["fsl_explain"])


def complaint(capsys):
    printed = capsys.readouterr()
    said = printed.err.strip().splitlines()[-1]
    return printed.out, said


def test_the_header_and_the_json_say_which_classes_were_learned(cub):
    path = cub / "results/fam-cub-conv4net.safetensors"
    expected = [{"data": "cub", "split": "cub-frn", "classes": list(Split.load("cub-frn").base)}]
    assert header(path)["trained_on"] == expected
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["trained_on"] == expected


def test_the_novel_classes_of_another_split_are_refused(cub, tmp_path, capsys):
    assert evaluate(cub, tmp_path / "out") == 2
    out, said = complaint(capsys)
    assert said == (
        "fsl-explain: expected classes in [data] that are not in the training of fam-cub-conv4net.safetensors, but 50 "
        "of the 50 are (004.Groove_billed_Ani, 008.Rhinoceros_Auklet, 012.Yellow_headed_Blackbird, …); choose the "
        "split of that training with --set data.split=cub-frn, or measure classes seen in training with "
        "--set encoder.seen_classes=allow, which the results will state."
    )
    assert out == ""
    assert not (tmp_path / "out").exists()


def test_the_split_of_the_training_is_taken(cub, tmp_path, capsys):
    assert evaluate(cub, tmp_path / "out", "data.split=cub-frn") == 0
    assert "trained on" not in capsys.readouterr().out
    summary = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))
    assert summary["provenance"]["classes_seen_in_training"] == []


def test_base_classes_are_measured_on_purpose_and_every_result_says_so(cub, tmp_path, capsys):
    assert evaluate(cub, tmp_path / "out", "encoder.seen_classes=allow") == 0
    assert STATED in " ".join(capsys.readouterr().out.split())
    assert STATED in (tmp_path / "out/index.html").read_text(encoding="utf-8")
    recorded = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))["provenance"]
    assert recorded["classes_seen_in_training"] == list(Split.load("cub-closer-look").novel)
    assert recorded["config"]["encoder"]["seen_classes"] == "allow"


def test_retrieval_refuses_and_states_them_too(cub, tmp_path, capsys):
    assert retrieve(cub, tmp_path / "out", "data.split=cub-closer-look") == 2
    out, said = complaint(capsys)
    assert said.startswith("retrieval-explain: expected classes in [data] that are not in the training of fam-cub-conv")
    assert "but 50 of the 50 are (004.Groove_billed_Ani" in said
    assert out == ""
    assert not (tmp_path / "out").exists()
    assert retrieve(cub, tmp_path / "out", "data.split=cub-closer-look", "encoder.seen_classes=allow") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count(STATED) == 2  # below the scores and below the methods
    assert (tmp_path / "out/index.html").read_text(encoding="utf-8").count(STATED) == 2
    recorded = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))["provenance"]
    assert recorded["classes_seen_in_training"] == list(Split.load("cub-closer-look").novel)


def test_images_without_labels_are_no_classes(cub, tmp_path):
    weights = tmp_path / "npid.safetensors"
    head = ("encoder.head.kind=linear", "encoder.head.width=3")
    assert train_npid(cub, *head, f"output={weights}") == 0
    assert "trained_on" not in header(weights)
    sets = ("data.split=cub-frn", "data.part=base", f"encoder.checkpoint={weights}", *head)
    assert retrieve(cub, tmp_path / "out", *sets) == 0
    recorded = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))["provenance"]
    assert recorded["classes_seen_in_training"] is None


def train_npid(world, *settings):
    """Write the objective's section anew, because another kind has other keys."""
    text = (world / "configs/papers/fam-train-cub-conv4net.toml").read_text(encoding="utf-8")
    begin, rest = text.split("[objective]")
    section = '[objective]\nkind = "instance-discrimination"\nbatch_size = 4\nnegatives = 0\n\n[augmentation]'
    config = world / "configs/papers/npid.toml"
    config.write_text(begin + section + rest.split("[augmentation]")[1], encoding="utf-8")
    short = ("optimizer.epochs=1", "optimizer.rates=[]", "optimizer.batches_per_epoch=1", "data.split=cub-frn")
    return told(run_fsl, ["train"], config, *SIZES, *short, *settings)


def with_test(world, split, part="novel"):
    return (
        f"test.data={{kind='cub', root='{world}/data/CUB_200_2011', split='{split}', part='{part}'}}",
        "test.episodes={count=2, n_query=1}",
    )


def test_a_training_refuses_its_test_before_it_begins(cub, tmp_path, capsys):
    weights = tmp_path / "weights.safetensors"
    sets = ("data.split=cub-frn", f"output={weights}", *with_test(cub, "cub-closer-look"))
    assert train(cub, *sets) == 2
    out, said = complaint(capsys)
    assert said.startswith(
        "fsl-explain: expected classes in [test.data] that are not in the training of the encoder, but 50 of the 50 "
        "are (004.Groove_billed_Ani, "
    )
    assert "choose the split of that training with --set test.data.split=cub-frn, or measure classes seen" in said
    assert out == ""  # not even the accuracy before training
    assert not list(tmp_path.iterdir())
    assert train(cub, *sets, "encoder.seen_classes=allow") == 0
    assert capsys.readouterr().out.count(f"1-shot episodes. {STATED}") == 2
    assert train(cub, *sets, *with_test(cub, "cub-frn")) == 0
    printed = capsys.readouterr().out
    assert "Accuracy after training" in printed
    assert "trained on" not in printed


def test_the_base_classes_of_the_training_itself_are_refused(cub, tmp_path, capsys):
    weights = tmp_path / "weights.safetensors"
    assert train(cub, f"output={weights}", *with_test(cub, "cub-closer-look", "base")) == 2
    said = complaint(capsys)[1]
    assert "but 100 of the 100 are (" in said
    assert "choose another part of their split with --set test.data.part=novel, or" in said


def test_what_the_weights_began_with_stays_known(cub, tmp_path, capsys):
    """Weights that go on, with labels or without, have seen what they saw before."""
    begun, more = f"encoder.checkpoint={cub}/results/fam-cub-conv4net.safetensors", tmp_path / "more.safetensors"
    frn = {"data": "cub", "split": "cub-frn", "classes": list(Split.load("cub-frn").base)}
    assert train(cub, begun, f"output={more}", "data.part=novel") == 0
    novel = {"data": "cub", "split": "cub-closer-look", "classes": list(Split.load("cub-closer-look").novel)}
    assert header(more)["trained_on"] == [frn, novel]
    assert train(cub, begun, f"output={more}", "data.split=cub-frn") == 0
    assert header(more)["trained_on"] == [frn]
    head = ("encoder.head.kind=linear", "encoder.head.width=3", "encoder.head.fresh=true")
    assert train_npid(cub, begun, *head, f"output={more}") == 0
    assert header(more)["trained_on"] == [frn]
    capsys.readouterr()
    assert train_npid(cub, begun, *head, f"output={more}", *with_test(cub, "cub-closer-look")) == 2
    assert "but 50 of the 50 are (004.Groove_billed_Ani" in complaint(capsys)[1]


def test_a_conversion_keeps_what_was_learned(cub, tmp_path, capsys):
    path, out = cub / "results/fam-cub-conv4net.safetensors", tmp_path / "converted.safetensors"
    assert run_fsl(["convert", str(path), "--encoder", "conv4net", "--out", str(out)]) == 0
    assert header(out)["trained_on"] == header(path)["trained_on"]
    capsys.readouterr()
    assert evaluate(cub, tmp_path / "out", f"encoder.checkpoint={out}") == 2
    assert "that are not in the training of converted.safetensors, but 50 of the 50" in complaint(capsys)[1]
