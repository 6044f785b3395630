"""What is logged to TensorBoard and MLflow is read back with them and is what was measured."""

import io

import numpy as np
import PIL.Image
import pytest
import torch


def drawn(explanation):
    return PIL.Image.open(io.BytesIO(explanation._repr_png_())).convert("RGB")


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def picture_of(logged, tag):
    (image,) = logged.Images(tag)
    return PIL.Image.open(io.BytesIO(image.encoded_image_string)).convert("RGB")


def test_tensorboard(run_page, tmp_path):
    names, _ = run_page("tensorboard", "tensorboard")
    logged, explanation = events(tmp_path / "runs" / "explained"), names["explanation"]
    (score,) = logged.Scalars("explanation/score")
    assert score.value == pytest.approx(float(explanation.score), rel=1e-6)
    for method, figures in names["summary"]["methods"].items():
        (proportion,) = logged.Scalars(f"proportion/{method}")
        assert proportion.value == pytest.approx(figures["proportion"]["mean"], rel=1e-6)
    texts = {
        tag: logged.Tensors(f"explanation/{tag}/text_summary")[0].tensor_proto.string_val[0].decode()
        for tag in ("receipt",)
    }
    assert str(explanation.receipt()) in texts["receipt"]
    table = logged.Tensors("evaluation/table/text_summary")[0].tensor_proto.string_val[0].decode()
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(names["table"].rows)
    for line, row in zip(lines[2:], names["table"].rows, strict=True):
        assert all(cell in line for cell in row)
    picture, own = picture_of(logged, "explanation/contrast"), drawn(explanation)
    assert min(picture.size) > 100
    alike = np.asarray(picture.resize((60, 30)), float), np.asarray(own.resize((60, 30)), float)
    assert np.corrcoef(alike[0].ravel(), alike[1].ravel())[0, 1] > 0.9


def test_mlflow(run_page, tmp_path):
    names, printed = run_page("mlflow", "mlflow")
    import mlflow

    run, summary, explanation = names["run"].info.run_id, names["summary"], names["explanation"]
    metrics = mlflow.MlflowClient().get_run(run).data.metrics
    assert metrics.pop("accuracy") == summary["accuracy"]["mean"]
    assert metrics == {f"proportion.{name}": one["proportion"]["mean"] for name, one in summary["methods"].items()}
    for row in names["table"].to_dict("records"):
        assert row["mean"] == pytest.approx(summary["methods"][row["method"]][row["figure"]]["mean"], rel=1e-9)
    assert len(names["table"]) == len(summary["methods"])
    assert torch.equal(names["loaded"].cells, explanation.cells)
    assert torch.equal(names["loaded"].contributions, explanation.contributions)
    picture = PIL.Image.open(mlflow.artifacts.download_artifacts(run_id=run, artifact_path="why.png"))
    assert min(picture.size) > 100
    assert mlflow.artifacts.load_text(f"runs:/{run}/receipt.txt") == str(explanation.receipt())
    assert f"{explanation.decision.name} rather than " in printed
    assert (tmp_path / "mlflow.db").is_file()
