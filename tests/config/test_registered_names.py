"""What a user registers can be named in a configuration at once; every other name is refused with the nearest one."""

import subprocess
import sys

import pytest

from fsl_explain import METHODS, POOLINGS, RULES, SIMILARITIES, Mistake
from fsl_explain.config import ComparisonConfig, EncoderConfig, EvaluationConfig, MosaicsConfig, read_config
from fsl_explain.config.data import DATA_SETS, DataOptions
from fsl_explain.config.settings import DecisionConfig, ExplanationConfig
from fsl_explain.registries import ENCODERS, MASKINGS, MOSAIC_HEADS
from retrieval_explain.settings import BankEvaluationConfig

DATA = '[data]\nkind = "digit-scenes"\n'


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return written


def test_a_registered_similarity_method_and_rule(write, monkeypatch):
    path = write(f'{DATA}[decision]\nsimilarity = "mine"\nrule = "own"\n[explanation]\nmethods = ["my-map"]\n')
    with pytest.raises(Mistake, match=r"\[decision\.rule\] unknown rule 'own'"):
        read_config(path, EvaluationConfig)
    monkeypatch.setitem(SIMILARITIES, "mine", SIMILARITIES["cosine"])
    monkeypatch.setitem(METHODS, "my-map", METHODS["fam"])
    monkeypatch.setitem(RULES, "own", RULES["prototype"])
    settings = read_config(path, EvaluationConfig)
    assert (settings.decision.similarity, settings.decision.rule) == ("mine", "own")
    assert settings.explanation.methods == ("my-map",)


def test_a_registered_data_set(write, monkeypatch):
    class Squares(DataOptions):
        kind: str = "squares"
        side: int = 3

        def _dataset(self):
            return None  # what it opens is not asked for here

    path = write('[data]\nkind = "squares"\nside = 4\n')
    with pytest.raises(Mistake, match=r"\[data\] unknown kind of data 'squares'"):
        read_config(path, EvaluationConfig)
    monkeypatch.setitem(DATA_SETS, "squares", Squares)
    settings = read_config(path, EvaluationConfig)
    assert settings.data == Squares(side=4)
    assert settings.model_dump(mode="json")["data"]["side"] == 4
    with pytest.raises(Mistake, match=r"\[data\.side\] expected a whole number, but got 'x'"):
        read_config(path, EvaluationConfig, ["data.side=x"])
    assert isinstance(read_config(path, BankEvaluationConfig, ["gallery.kind='squares'"]).gallery, Squares)
    with pytest.raises(Mistake, match=r"\[gallery\] unknown kind of gallery 'square'; did you mean 'squares'"):
        read_config(path, BankEvaluationConfig, ["gallery.kind='square'"])


@pytest.mark.parametrize("name", [name for name in RULES if name != "majority-vote"])
def test_every_rule_that_decides_by_its_scores(name):
    assert DecisionConfig(rule=name).rule == name


def test_a_rule_that_counts_is_no_rule_of_an_evaluation():
    with pytest.raises(ValueError, match="expected a rule that decides by its scores, but majority-vote counts votes"):
        DecisionConfig(rule="majority-vote")


@pytest.mark.parametrize(
    ("table", "make"),
    [
        (SIMILARITIES, lambda name: DecisionConfig(similarity=name)),
        (POOLINGS, lambda name: EncoderConfig(pooling=name)),
        (ENCODERS, lambda name: EncoderConfig(name=name)),
        (METHODS, lambda name: ExplanationConfig(methods=(name,))),
        (MASKINGS, lambda name: ExplanationConfig(masking=name)),
        (MOSAIC_HEADS, lambda name: MosaicsConfig.model_fields["mosaics"].annotation(heads=(name,))),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_every_member_can_be_named_and_is_described(table, make):
    described = str([field.description for field in type(make(next(iter(table)))).model_fields.values()])
    for name in table:
        make(name)
        assert name in described
    with pytest.raises(ValueError, match=f"unknown {table.kind} 'no-such-name'"):
        make("no-such-name")


def test_a_wrong_entry_of_a_list_is_one_mistake(write):
    path = write(f'{DATA}[mosaics]\nheads = ["no-such-name"]\n')
    with pytest.raises(Mistake, match=r"\[mosaics\.heads\.0\] unknown head 'no-such-name'.*lda\.$"):
        read_config(path, MosaicsConfig)


def test_a_comparison_knows_the_logit_of_a_classifier(write):
    settings = read_config(write(f'{DATA}[maps]\nmethods = ["grad-cam-logit"]\n'), ComparisonConfig)
    assert settings.maps.methods == ("grad-cam-logit",)


def test_settings_are_read_without_torch(write):
    code = "import sys; from pathlib import Path; from fsl_explain.config import EvaluationConfig, read_config; "
    code += (
        "read_config(Path(sys.argv[1]), EvaluationConfig); print([n for n in ('torch', 'numpy') if n in sys.modules])"
    )
    path = write(DATA)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
