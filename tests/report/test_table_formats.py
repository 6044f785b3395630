"""Tables as Markdown, LaTeX and a page."""

from fsl_explain.evaluation import Table
from fsl_explain.report.table_formats import as_html, as_latex, as_markdown

TABLE = Table(
    "Birds & more",
    ("model", "method", "AD % ↓"),
    [("net_1", "a|b", "1.00 ± 0.10"), ("net_1", "fam", "–")],
    ["A note."],
    frozenset({(0, 2)}),
    2,
)


def test_names_are_no_markdown_or_latex():
    name = "<b>[x](y) `c` *e* _f_ $z$ &lt; a|b \\\nnext"
    table = Table(name, ("n",), ((name,),), (name,))
    written = as_markdown([table])
    plain = r"\<b\>\[x\](y) \`c\` \*e\* \_f\_ \$z\$ \&lt; a\|b \\ next"
    assert written.count(plain) == 3
    assert all(line.startswith("%") or "next" not in line[:4] for line in as_latex([table]).splitlines())


def test_markdown():
    assert as_markdown([TABLE]).splitlines() == [
        "**Birds & more**",
        "",
        "| model | method | AD % ↓ |",
        "| --- | --- | ---: |",
        r"| net_1 | a\|b | **1.00 ± 0.10** |",
        "| net_1 | fam | – |",
        "",
        "A note.",
    ]


def test_latex():
    assert as_latex([TABLE]).splitlines() == [
        "% A note.",
        r"\begin{table}",
        r"\caption{Birds \& more}",
        r"\begin{tabular}{llr}",
        r"\toprule",
        r"model & method & AD \% $\downarrow$ \\",
        r"\midrule",
        r"net\_1 & a|b & \textbf{1.00 $\pm$ 0.10} \\",
        r"net\_1 & fam & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_a_page_has_every_table_and_its_bold_entries():
    page = as_html([TABLE, TABLE])
    assert page.count("<strong>1.00 ± 0.10</strong>") == 2
    assert "<td>–</td>" in page
    assert "Birds &amp; more" in page
