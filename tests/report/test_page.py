import pytest
import torch
from unchecked import loaded_without_shape_checks
from written_explanations import batch_of_two, written_explanation

from fsl_explain.evaluation import Table
from fsl_explain.report import Case


def test_the_first_explanation_is_the_main_one_unless_another_is_named():
    explanations = {"exact": written_explanation(), "fam": written_explanation("fam")}
    assert Case("case", explanations).main_name == "exact"
    assert Case("case", explanations, main="fam").main_explanation.method == "fam"


def test_a_case_needs_an_explanation():
    with pytest.raises(ValueError, match="expected at least one explanation for the case 'empty', but got none"):
        Case("empty", {})
    case = loaded_without_shape_checks("fsl_explain.report.page").Case
    with pytest.raises(TypeError, match=r"^expected an explanation, as explain\(\) returns it, but got int\.$"):
        case("no explanation", {"exact": 3})


def test_a_case_names_only_its_own_explanations_and_classes():
    explanations = {"exact": written_explanation()}
    with pytest.raises(LookupError, match="unknown explanation 'exakt'; did you mean 'exact'"):
        Case("case", explanations, main="exakt")
    with pytest.raises(LookupError, match="unknown explanation 'fam'"):
        Case("case", explanations, figures={"fam": {"AD": 1.0}})
    with pytest.raises(LookupError, match="unknown class 'gul'; did you mean 'gull'"):
        Case("case", explanations, support_names={"gul": ["a.jpg"]})


def test_every_support_has_a_file_name_or_none_has():
    explanations = {"exact": written_explanation()}
    Case("case", explanations, support_names={"gull": []})
    with pytest.raises(ValueError, match="one file name for each of the 2 supports of gull, but got 1"):
        Case("case", explanations, support_names={"gull": ["a.jpg"]})


def test_a_case_is_one_query():
    with pytest.raises(ValueError, match="of one query for 'exact', but got that of a batch of 2; index it"):
        Case("case", {"exact": batch_of_two()})
    other = written_explanation(image=torch.zeros(3, 20, 24))
    with pytest.raises(ValueError, match="'fam' differs from 'exact'; make a case for each"):
        Case("case", {"exact": written_explanation(), "fam": other})


def test_a_table_has_an_entry_for_every_column():
    with pytest.raises(ValueError, match="expected 2 entries in each row of the table 'T', but row 2 has 1"):
        Table("T", ["a", "b"], [["1", "2"], ["3"]])
