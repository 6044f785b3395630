"""What ``config`` prints: examples that are read back as the defaults, and schemas of every field."""

import inspect
import json
import re
import tomllib
from importlib import import_module
from typing import Literal

import pytest

from fsl_explain.cli.app import app as explain_app
from fsl_explain.cli.app import run as run_explain
from fsl_explain.cli.commands.config import MODELS as EXPLAIN
from fsl_explain.config import EvaluationConfig, read_config
from fsl_explain.config.data import DATA_SETS, DataOptions, data_set
from fsl_explain.config.example import example, schema
from fsl_explain.config.strict import Settings
from retrieval_explain.cli.app import app as retrieval_app
from retrieval_explain.cli.app import run as run_retrieval
from retrieval_explain.cli.commands.config import MODELS as RETRIEVAL

NEEDED = {
    "train": 'output = "weights.safetensors"\n',
    "figure": 'models = [{title = "Conv4Net", encoder = {name = "conv4net"}}]\n',
}
each = pytest.mark.parametrize(
    ("name", "model"),
    [(name, model) for models in (EXPLAIN, RETRIEVAL) for name, model in models.items()],
    ids=lambda value: getattr(value, "__name__", value),
)


def _models(kind, found):
    """All models of settings that stand in an annotation, or in the fields of those."""
    if isinstance(kind, type) and issubclass(kind, Settings):
        if kind is DataOptions:
            for options in DATA_SETS.values():
                _models(options, found)
        elif kind not in found:
            found.add(kind)
            for field in kind.model_fields.values():
                _models(field.annotation, found)
    else:
        for part in getattr(kind, "__args__", ()):
            _models(part, found)
    return found


def _table(value):
    """A table, or the first of several."""
    return value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else value


def _keys(values):
    for key, value in values.items():
        yield key
        if isinstance(inner := _table(value), dict):
            yield from (f"{key}.{below}" for below in _keys(inner))


def _expected(model, values, above=""):
    for key, field in model.model_fields.items():
        yield f"{above}{key}"
        inner, models = _table(values.get(key)), _models(field.annotation, set())
        if models:
            of_kind = [one for one in models if isinstance(inner, dict) and set(inner) == set(one.model_fields)]
            assert of_kind, f"{above}{key}"
            yield from _expected(of_kind[0], inner, f"{above}{key}.")


@each
def test_the_example_is_read_back_as_the_defaults(name, model, tmp_path):
    (tmp_path / "example.toml").write_text(example(model), encoding="utf-8")
    (tmp_path / "least.toml").write_text(f'{NEEDED.get(name, "")}[data]\nkind = "digit-scenes"\n')
    assert read_config(tmp_path / "example.toml", model) == read_config(tmp_path / "least.toml", model)


@each
def test_the_example_names_every_setting_of_the_kinds_it_shows(name, model):
    values = tomllib.loads(re.sub(r"^#(?=\S)", "", example(model), flags=re.MULTILINE))
    assert set(_keys(values)) == set(_expected(model, values))


@each
def test_the_schema_has_every_field_of_every_model(name, model):
    given = schema(model)
    definitions = {model.__name__: given, **given["$defs"]}
    for one in _models(model, set()):
        assert set(definitions[one.__name__]["properties"]) - {"extends"} == set(one.model_fields), one
    assert set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(given))) == set(given["$defs"])


def test_a_data_set_of_ones_own_is_in_the_schema_and_the_example(monkeypatch):
    monkeypatch.setattr(DATA_SETS, "_members", dict(DATA_SETS.items()))

    class Own(DATA_SETS["image-folder"]):
        """Images of one's own."""

        kind: Literal["own-images"]

    data_set(Own)
    assert "Own" in schema(EvaluationConfig)["$defs"]
    assert '"own-images" (root, source): Images of one\'s own.' in example(EvaluationConfig)


@pytest.mark.parametrize(("app", "models"), [(explain_app, EXPLAIN), (retrieval_app, RETRIEVAL)])
def test_every_command_with_a_configuration_has_its_own(app, models):
    taken = {}
    for name, command in app.resolved_commands().items():
        function = None if name.startswith("-") else command.default_command
        if function is not None and "config" in inspect.signature(function).parameters:
            there = vars(import_module(function.__module__)).values()
            settings = [one for one in there if isinstance(one, type) and issubclass(one, Settings)]
            taken[name] = [one for one in settings if one is not DataOptions]
    assert taken == {name: [model] for name, model in models.items()}


@pytest.mark.parametrize(("run", "models"), [(run_explain, EXPLAIN), (run_retrieval, RETRIEVAL)])
def test_the_commands_print_them(run, models, capsys):
    for name, model in models.items():
        assert run(["config", name]) == 0
        assert capsys.readouterr().out == example(model)
        assert run(["config", name, "--schema"]) == 0
        assert json.loads(capsys.readouterr().out) == schema(model)


@pytest.mark.parametrize(("run", "models"), [(run_explain, EXPLAIN), (run_retrieval, RETRIEVAL)])
def test_without_a_command_the_schemas_of_all_are_printed(run, models, capsys):
    assert run(["config", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == {name: schema(model) for name, model in models.items()}
    assert run(["config"]) == 2
    assert f"one of {', '.join(models)}, or --schema" in capsys.readouterr().err


def test_an_unknown_command_is_one_sentence(capsys):
    assert run_explain(["config", "evaluat"]) == 2
    assert capsys.readouterr().err.startswith("fsl-explain: unknown command with a configuration 'evaluat'; did you")
