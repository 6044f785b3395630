import pytest
from pydantic import ValidationError

from fsl_explain.config import TrainingConfig, read_config
from fsl_explain.config.training import (
    EpisodicObjective,
    InstanceObjective,
    MarginObjective,
    MomentumContrastObjective,
    MultiSimilarityObjective,
)

BASE = 'output = "w.safetensors"\n[data]\nkind = "digit-scenes"\n'


@pytest.fixture
def read(tmp_path):
    def write_and_read(text, *overrides):
        (tmp_path / "train.toml").write_text(BASE + text, encoding="utf-8")
        return read_config(tmp_path / "train.toml", TrainingConfig, overrides)

    return write_and_read


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("episodic", EpisodicObjective),
        ("multi-similarity", MultiSimilarityObjective),
        ("margin", MarginObjective),
        ("instance-discrimination", InstanceObjective),
        ("momentum-contrast", MomentumContrastObjective),
    ],
)
def test_the_kind_chooses_the_objective(read, kind, model):
    assert type(read(f'[objective]\nkind = "{kind}"\n').objective) is model


def test_defaults_are_those_of_the_papers_code(read):
    assert EpisodicObjective().model_dump() == {
        "kind": "episodic",
        "n_way": 5,
        "n_shot": 1,
        "n_query": 6,
        "episodes_per_batch": 4,
        "temperature": 7.0,
    }
    pairs = MultiSimilarityObjective(kind="multi-similarity")
    assert (pairs.alpha, pairs.beta, pairs.base, pairs.epsilon) == (2.0, 40.0, 0.5, 0.1)
    assert (pairs.classes_per_batch, pairs.images_per_class) == (16, 5)
    margin = MarginObjective(kind="margin")
    assert (margin.boundary, margin.margin, margin.cutoff, margin.learn_boundary) == (1.2, 0.2, 0.5, False)
    npid = InstanceObjective(kind="instance-discrimination")
    assert (npid.batch_size, npid.negatives, npid.temperature, npid.momentum) == (256, 4096, 0.07, 0.5)
    moco = MomentumContrastObjective(kind="momentum-contrast")
    assert (moco.batch_size, moco.queue, moco.temperature, moco.momentum) == (256, 65536, 0.2, 0.999)
    optimizer = read("").optimizer
    assert (optimizer.kind, optimizer.momentum, optimizer.nesterov, optimizer.weight_decay) == ("sgd", 0.9, True, 5e-4)


def test_the_recipe_of_cross_attention_network_can_be_written(read):
    text = "[optimizer]\nepochs = 90\nbatches_per_epoch = 1200\nlearning_rate = 0.1\n"
    text += 'schedule = "steps"\nrates = [[60, 0.006], [70, 0.0012], [80, 0.00024]]\n[augmentation]\nerasing = 0.5\n'
    assert read(text).optimizer.rates == ((60, 0.006), (70, 0.0012), (80, 0.00024))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[optimizer]\nrates = [[3, 0.1]]\n", r"rates belong to schedule 'steps', but it is 'cosine'; drop one of the"),
        ('[optimizer]\nschedule = "steps"\nrates = [[3, 0.1], [2, 0.1]]\n', r"rising epochs between 1 and 19, but got"),
        ('[optimizer]\nschedule = "steps"\nrates = [[3, 0.1], [3, 0.2]]\n', r"between 1 and 19, but got \[3, 3\]"),
        ('[optimizer]\nschedule = "steps"\nrates = [[20, 0.1]]\n', r"between 1 and 19, but got \[20\]"),
        ('[optimizer]\nschedule = "steps"\nrates = [[0, 0.1]]\n', r"between 1 and 19, but got \[0\]"),
        ('[optimizer]\nschedule = "steps"\nrates = [[3, 0.0]]\n', r"expected rates above 0"),
        ('[objective]\nkind = "margin"\nalpha = 2.0\n', r"\[objective.margin\] unknown key 'alpha'"),
        ('[encoder]\ninference = "bf16"\n', r"training needs encoder.inference 'eager', but got 'bf16'; drop it"),
        ("[run]\nkeep_every = 0\n", r"\[run.keep_every\] .*greater than or equal to 1, but got 0"),
        ('[run]\nprecision = "float16"\n', r"\[run.precision\] .*'float32', 'fp16' or 'bf16', but got 'float16'"),
        ("[augmentation]\nscale = [1.0, 0.2]\n", r"expected a scale of two rising shares .* but got 1.0, 0.2"),
        (
            '[test.data]\nkind = "digit-scenes"\n[test.encoder]\nname = "resnet12"\n',
            r"\[test.encoder\] names one; drop it",
        ),
        ("[augmentation]\nflip = 1.5\n", r"\[augmentation.flip\] .*less than or equal to 1, but got 1.5"),
    ],
)
def test_a_mistake_is_one_sentence(read, text, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_the_output_is_safetensors(read):
    with pytest.raises(ValueError, match=r"expected an output that ends in \.safetensors, but got .*w\.pt"):
        read("", "output=w.pt")


def test_settings_are_frozen(read):
    with pytest.raises(ValidationError, match="frozen"):
        read("").optimizer.epochs = 3
