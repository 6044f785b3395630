"""Networks of other libraries' training are explained exactly, and their own searches find what a bank finds."""

import json

import pytest
import torch

from retrieval_explain import MemoryBank


def cosines(squared_distances):
    """Cosine similarities of embeddings of length 1 from their squared Euclidean distances."""
    return 1 - squared_distances.double() / 2


def test_pytorch_metric_learning(run_page):
    names, printed = run_page("pytorch-metric-learning", "pytorch_metric_learning")
    assert names["explanation"].residual < 1e-5
    assert "the cells hold" in printed
    with torch.no_grad():
        own = names["embedder"](names["trunk"](names["images"]))
    torch.testing.assert_close(names["encoder"](names["images"]).embedding, own, rtol=0, atol=1e-5)
    assert torch.equal(names["indices"], names["found"].indices)
    torch.testing.assert_close(cosines(names["distances"]), names["found"].similarities.double(), rtol=0, atol=1e-5)


def test_open_metric_learning(run_page):
    names, _ = run_page("open-metric-learning", "oml")
    assert names["explanation"].residual < 1e-5
    assert names["of_tokens"].residual < 1e-5
    torch.testing.assert_close(names["encoder"](names["images"]).embedding, names["embeddings"], rtol=0, atol=1e-5)
    with torch.no_grad():
        of_vit = names["vit"].eval()(names["images"])
    torch.testing.assert_close(names["fsl_explain"].Encoder.wrap(names["vit"].model)(names["images"]).embedding, of_vit)
    assert torch.equal(torch.stack(names["results"].retrieved_ids), names["found"].indices)
    theirs = cosines(torch.stack(names["results"].distances).double().square())
    torch.testing.assert_close(theirs, names["found"].similarities.double(), rtol=0, atol=1e-5)


def test_lightly(run_page, tmp_path):
    names, _ = run_page("lightly", "lightly")
    bank, scenes, encoder = names["bank"], names["scenes"], names["encoder"]
    assert [bank.classes[label] for label in bank.labels] == [scenes.classes[label] for label in scenes.labels]
    assert list(bank.paths) == names["names"]
    found = bank.search(encoder(names["images"]).embedding, k=4)
    assert torch.equal(
        found.indices, MemoryBank.build(encoder, scenes).search(encoder(names["images"]).embedding, 4).indices
    )
    again, labels, files = names["io"].load_embeddings("of-the-bank.csv")
    assert torch.equal(torch.from_numpy(again).float(), names["matrix"])
    assert (labels, files) == (bank.labels.tolist(), list(bank.paths))
    told = json.loads((tmp_path / "neighbors.json").read_text(encoding="utf-8"))
    file_of = {image["id"]: image["file_name"] for image in told["images"]}
    for one in told["metadata"]:
        row = list(bank.paths).index(file_of[one["image_id"]])
        assert one["nearest"] == bank.paths[int(found.indices[row, 1])]
        assert one["similarity"] == pytest.approx(float(found.similarities[row, 1]), abs=1e-6)
    assert names["explanation"].residual < 1e-5


def test_lightning(run_page, tmp_path):
    names, printed = run_page("lightning", "lightning", "tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert len(printed.splitlines()[:3]) == 3
    assert all((tmp_path / f"epoch-{epoch}.png").is_file() for epoch in range(3))
    folder = names["trainer"].logger.log_dir
    logged = EventAccumulator(folder).Reload()
    assert {"explained/0", "explained/1"} <= set(logged.Tags()["images"])
    assert len(logged.Images("explained/0")) == 2
    network, choices = names["module"].network, names["choices"]
    encoder = names["fsl_explain"].Encoder.wrap(network, preprocess=names["transform"])
    last = names["fsl_explain"].explain(encoder, names["validation"][0][:2], names["supports"], **choices)
    assert logged.Scalars("explained/lead")[-1].value == pytest.approx(float(last.score.mean()), rel=1e-4)
    assert logged.Scalars("explained/residual")[-1].value < 1e-5


def test_a_callback_leaves_training_as_it_is(run_page):
    """With it and without it the network has the same weights, modes and gradients."""
    names, _ = run_page("lightning", "lightning", "tensorboard")
    lightning, data = names["L"], torch.utils.data

    def trained(callbacks):
        torch.manual_seed(7)
        module = names["Prototypes"]()
        logger = names["TensorBoardLogger"]("again") if callbacks else False
        quiet = {"enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False}
        trainer = lightning.Trainer(
            max_epochs=3, accelerator="cpu", logger=logger, callbacks=callbacks, log_every_n_steps=1, **quiet
        )
        loaders = [data.DataLoader(data.TensorDataset(*names[part]), 30) for part in ("training", "validation")]
        trainer.fit(module, *loaders)
        return module, torch.rand(3)

    (plain, drawn), (explained, drawn_too) = (
        trained([]),
        trained([names["Explained"](names["supports"], names["transform"])]),
    )
    for ours, theirs in zip(explained.state_dict().items(), plain.state_dict().items(), strict=True):
        assert ours[0] == theirs[0]
        assert torch.equal(ours[1], theirs[1])
    assert [one.training for one in explained.modules()] == [one.training for one in plain.modules()]
    for ours, theirs in zip(explained.parameters(), plain.parameters(), strict=True):
        assert ours.requires_grad
        assert (ours.grad is None) == (theirs.grad is None)
        assert ours.grad is None or torch.equal(ours.grad, theirs.grad)
    assert torch.equal(drawn, drawn_too)
