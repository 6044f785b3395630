from pathlib import Path

import pytest
from pydantic import ValidationError

from fsl_explain.config import EvaluationConfig, TrainingConfig, read_config
from fsl_explain.config.strict import without_places

DIGITS = '[data]\nkind = "digit-scenes"\n'


@pytest.fixture
def read(tmp_path):
    def write_and_read(text, overrides=(), model=EvaluationConfig):
        (tmp_path / "run.toml").write_text(text, encoding="utf-8")
        return read_config(tmp_path / "run.toml", model, overrides)

    return write_and_read


def test_defaults_fill_what_the_file_leaves_out(read):
    config = read(DIGITS)
    assert config.data.kind == "digit-scenes"
    assert (config.episodes.n_way, config.episodes.n_shot, config.decision.similarity) == (5, 1, "cosine")
    assert config.encoder.checkpoint is None


def test_paths_are_taken_relative_to_the_file(read, tmp_path):
    config = read('[data]\nkind = "cub"\nroot = "../birds"\n[encoder]\ncheckpoint = "weights/a.safetensors"\n')
    assert config.data.root == tmp_path / "../birds"
    assert config.encoder.checkpoint == tmp_path / "weights/a.safetensors"


def test_an_absolute_path_stays(read, tmp_path):
    assert read(f'[data]\nkind = "cub"\nroot = "{tmp_path / "x"}"\n').data.root == tmp_path / "x"


def test_a_nested_configuration_is_read_by_the_same_rules(read, tmp_path):
    text = f'output = "w.safetensors"\n{DIGITS}[test.data]\nkind = "image-folder"\nroot = "novel"\n'
    config = read(text, model=TrainingConfig)
    assert config.output == tmp_path / "w.safetensors"
    assert config.test.data.root == tmp_path / "novel"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["episodes.n_shot=5"], {"n_shot": 5}),
        (["episodes.n_shot = 5", "episodes.seed=3"], {"n_shot": 5, "seed": 3}),
        (["episodes.n_shot=5", "episodes.n_shot=2"], {"n_shot": 2}),
    ],
    ids=str,
)
def test_overrides_come_last(read, overrides, expected):
    episodes = read(DIGITS + "[episodes]\nn_shot = 1\n", overrides).episodes
    assert {name: getattr(episodes, name) for name in expected} == expected


def test_overrides_take_toml_values_and_bare_words(read):
    config = read(
        DIGITS, ["decision.similarity=euclidean", 'explanation.methods=["fam"]', "encoder.architecture.size=32"]
    )
    assert config.decision.similarity == "euclidean"
    assert config.explanation.methods == ("fam",)
    assert config.encoder.architecture == {"size": 32}


@pytest.mark.parametrize("override", ["encoder.checkpoint=a.pt", 'encoder={checkpoint="a.pt"}'])
def test_paths_in_overrides_are_taken_relative_to_the_current_folder(read, override):
    assert read(DIGITS, [override]).encoder.checkpoint == Path.cwd() / "a.pt"


def test_settings_cannot_be_changed(read):
    with pytest.raises(ValidationError, match="frozen"):
        read(DIGITS).episodes.n_way = 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[data\n", r"run.toml is no TOML file: Expected ']'"),
        (DIGITS + "[episode]\nn_way = 3\n", r"run.toml: unknown key 'episode'; did you mean 'episodes'"),
        (DIGITS + "[episodes]\nn_wy = 3\n", r"run.toml: \[episodes\] unknown key 'n_wy'; did you mean 'n_way'"),
        (
            DIGITS + "per_clas = 3\n",
            r"run.toml: \[data\] unknown key 'per_clas'; did you mean 'per_class'",
        ),
        (
            DIGITS + '[episodes]\nn_way = "many"\n',
            r"\[episodes.n_way\] expected a whole number, but got 'many'",
        ),
        (DIGITS + "[episodes]\nn_way = 1\n", r"\[episodes.n_way\] .*greater than or equal to 2, but got 1\.$"),
        (
            DIGITS + '[encoder]\npooling = "max"\n',
            r"\[encoder.pooling\] unknown pooling 'max'\. Known: gap, gmp, lse, gem, flatten",
        ),
        (
            '[data]\nkind = "cubs"\n',
            r"\[data\] unknown kind of data 'cubs'; did you mean 'cub'.*Known: digit-scenes, cub",
        ),
        ('[data]\nkind = "cub"\n', r"\[data.root\] this key is required but missing"),
        ("[episodes]\nn_way = 3\n", r"\[data\] this key is required but missing"),
        (DIGITS + "[episodes]\nn_way = 1\nn_shot = 0\n", r"but got 1\. \(1 more mistakes?\)"),
        ("[run]\nbatch_sise = 3\n", r"\[run\] unknown key 'batch_sise'; .*'batch_size'.*\(1 more mistake\)"),
        ("data = 3\n", r"run.toml: \[data\]"),
    ],
    ids=[
        "no TOML",
        "section",
        "key",
        "key of the data",
        "type",
        "range",
        "choice",
        "kind",
        "root",
        "data",
        "two mistakes",
        "a key, and no data",
        "no section",
    ],
)
def test_a_mistake_is_one_sentence_that_names_file_and_key(read, text, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("episodes.n_shot", r"expected section.key=value, but got 'episodes.n_shot', for example episodes.n_shot=5"),
        ("=5", r"expected section.key=value, but got '=5'"),
        ("episodes.n_shto=5", r"\[episodes\] unknown key 'n_shto'; did you mean 'n_shot'"),
        ("data.kind.name=5", r"expected a section, but 'kind' in 'data.kind.name=5' is a value"),
        ("episodes.n_shot=five", r"\[episodes.n_shot\] .* but got 'five'"),
    ],
)
def test_a_wrong_override_is_one_sentence(read, override, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(DIGITS, [override])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a configuration file, but .*nowhere.toml does not exist"):
        read_config(tmp_path / "nowhere.toml", EvaluationConfig)
    with pytest.raises(FileNotFoundError, match=r"expected a configuration file, but .* is a folder"):
        read_config(tmp_path, EvaluationConfig)


def test_a_file_that_is_no_text_is_one_sentence(tmp_path):
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"run.toml is no TOML file"):
        read_config(tmp_path / "run.toml", EvaluationConfig)


def test_a_file_extends_another_one_beside_it(tmp_path):
    (tmp_path / "whole.toml").write_text(DIGITS + "[episodes]\nn_shot = 5\ncount = 2000\n", encoding="utf-8")
    (tmp_path / "small.toml").write_text('extends = "whole.toml"\n[episodes]\ncount = 4\n', encoding="utf-8")
    (tmp_path / "smaller.toml").write_text('extends = "small.toml"\n[run]\nbatch_size = 2\n', encoding="utf-8")
    config = read_config(tmp_path / "smaller.toml", EvaluationConfig, ["episodes.seed=7"])
    assert (config.episodes.n_shot, config.episodes.count, config.episodes.seed) == (5, 4, 7)
    assert config.run.batch_size == 2


def test_a_file_extends_one_of_another_folder_whose_paths_are_its_own(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    whole = '[data]\nkind = "cub"\nroot = "birds"\nsplit = "mine.csv"\n[encoder]\nname = "conv4net"\n'
    (tmp_path / "there/whole.toml").write_text(whole, encoding="utf-8")
    small = 'extends = "../there/whole.toml"\n[encoder]\ncheckpoint = "weights.pt"\n'
    (tmp_path / "here/small.toml").write_text(small, encoding="utf-8")
    config = read_config(tmp_path / "here/small.toml", EvaluationConfig)
    assert config.data.root == tmp_path / "there/birds"
    assert config.data.split == str(tmp_path / "there/mine.csv")
    assert config.encoder.checkpoint == tmp_path / "here/weights.pt"


@pytest.mark.parametrize("name", ["small.toml", "../here/small.toml", "round.toml"])
def test_a_file_cannot_extend_itself(tmp_path, name):
    tmp_path = tmp_path / "here"
    tmp_path.mkdir()
    (tmp_path / "small.toml").write_text(f'extends = "{name}"\n', encoding="utf-8")
    (tmp_path / "round.toml").write_text('extends = "small.toml"\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"\.toml: expected extends to name another file, but got '"):
        read_config(tmp_path / "small.toml", EvaluationConfig)


def test_paths_in_overrides_are_relative_to_the_current_folder(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    config = read('[data]\nkind = "cub"\nroot = "birds"\n', ["data.root=birds", "data.split=mine.csv"])
    assert config.data.root == tmp_path.parent / "birds"
    assert config.data.split == str(tmp_path.parent / "mine.csv")
    assert read('[data]\nkind = "cub"\nroot = "b"\n', ["data.split=cub-frn"]).data.split == "cub-frn"


def test_what_is_recorded_of_data_names_no_place():
    section = {"kind": "imagenet-s", "root": "/a/b", "categories": "/a/c.txt", "split": "../d.csv", "images": "JPEG"}
    expected = {"kind": "imagenet-s", "categories": "c.txt", "split": "d.csv", "images": "JPEG"}
    assert without_places(section) == expected
    assert without_places({"kind": "image-folder", "source": "a site"}) == {"kind": "image-folder"}
    assert without_places({"table": "/a/t.csv", "annotations": "x/y"}) == {"table": "t.csv", "annotations": "x/y"}


def test_a_path_may_be_a_text_and_overrides_are_a_list(tmp_path):
    (tmp_path / "run.toml").write_text(DIGITS, encoding="utf-8")
    assert read_config(str(tmp_path / "run.toml"), EvaluationConfig) == read_config(
        tmp_path / "run.toml", EvaluationConfig
    )
    with pytest.raises(TypeError, match=r"^expected a list of overrides, but got 'run.batch_size=8'; write \["):
        read_config(tmp_path / "run.toml", EvaluationConfig, "run.batch_size=8")
