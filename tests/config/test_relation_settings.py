"""A relation module is named with its weights, or not at all."""

import pytest

from fsl_explain.config.mosaics import MosaicSizesConfig
from fsl_explain.config.settings import DecisionConfig


@pytest.mark.parametrize("settings", [DecisionConfig, MosaicSizesConfig])
def test_the_similarity_and_its_weights_belong_together(settings, tmp_path):
    assert settings().relation_checkpoint is None
    both = settings(similarity="relation", relation_checkpoint=tmp_path / "relation.pkl")
    assert both.relation_checkpoint == tmp_path / "relation.pkl"
    for alone in ({"similarity": "relation"}, {"relation_checkpoint": tmp_path / "relation.pkl"}):
        with pytest.raises(ValueError, match="'relation' and relation_checkpoint, its weights, belong together"):
            settings(**alone)
