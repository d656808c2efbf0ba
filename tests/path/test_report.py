"""The report: everything on one page, all texts escaped, nothing asked from outside, and its lines work when typed."""

import html
import re
import shlex
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from torch import nn

import penalize
from penalize.path import PenaltyComparison, RegularizationPath, regularization_path
from penalize.path.grid import parse_grid
from penalize.path.network import PENALTIES
from penalize.path.report.next_steps import attach_lines, finer_grid, rerun_command
from penalize.path.report.page_of import html_report
from penalize.regularizers import L1, L1L2, L2

HOSTILE = '<script>alert("1")</script> & $a_{b}$ " id="x" url(#y) \' -->'
STRENGTHS = np.array([1e-3, 1e-2, 1e-1, 1.0])
VOID = {"meta", "br", "link", "img"}


class Page(HTMLParser):
    """Tags with their attributes, and texts; a tag that is closed wrongly is an error."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def names(self):
        return {tag for tag, _ in self.tags}


def made(scores=((0.7, 0.8), (0.9, 0.94), (0.9, 0.92), (0.3, 0.4)), **settings):
    scores = np.array(scores)
    zeros = np.linspace(0, 1, len(scores))[:, None] * np.ones(scores.shape)
    return RegularizationPath(STRENGTHS[: len(scores)], scores, 1 - scores, 1 - scores, zeros, "accuracy", settings)


def rows_of(text):
    body = text[text.index("<tbody>") : text.index("</tbody>")]
    found = []
    for kind, row in re.findall(r'<tr(?: class="([^"]*)")?>(.*?)</tr>', body):
        found.append((kind, [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]))
    return found


def test_the_page_holds_both_choices_the_table_and_the_settings():
    path = made(data="digits", penalty="l1", on="kernel", proximal=True, versions={"torch": "2.13.0"}, epochs=30)
    text = html_report(path)
    words = " ".join(Page(text).texts)
    for expected in (
        "Regularization path: digits · l1 · kernel",
        "4 strengths x 2 folds, 30 epochs",
        "The mean validation accuracy over 2 folds is highest here.",
        "The strongest penalty whose mean accuracy is within one standard error (0.0200) of the best",
        "accuracy 0.9200 ± 0.0200, 33.3% exact zeros",
        "torch: 2.13.0",
    ):
        assert expected in words
    assert [kind for kind, _ in rows_of(text)] == ["", "best", "one", ""]
    assert rows_of(text)[1][1] == ["best", "0.01", "0.9200", "0.0200", "33.3%", "0.0800", "0.0800"]
    assert rows_of(text)[2][1][0] == "1 se"
    assert "Caution" not in words


def test_both_choices_at_one_strength_and_scores_that_are_not_finite():
    path = made(((0.7, 0.7), (0.9, 0.9), (np.nan, 0.9), (0.3, 0.4)))
    text = html_report(path)
    assert rows_of(text)[1][0] == "best one"
    assert rows_of(text)[2] == ("never", ["not finite", "0.1", "nan", "nan", "66.7%", "nan", "nan"])
    assert "No stronger penalty comes within one standard error of the best" in text


def test_a_caution_where_the_best_strength_lies_at_the_edge():
    path = made(((0.95, 0.96), (0.9, 0.92), (0.8, 0.8), (0.3, 0.4)))
    (caution,) = path.cautions
    assert f'<p class="caution">Caution: {html.escape(caution)}</p>' in html_report(path)


def test_nothing_is_asked_from_outside():
    text = html_report(made(data="digits", command="penalize path digits"))
    for forbidden in ("http:", "https:", "//", "@import", "src=", "<script", "<link", "<img", "<iframe"):
        assert forbidden not in text
    assert set(re.findall(r"url\((.)", text)) == {"#"}
    page = Page(text)
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for _, attributes in page.tags:
        if "href" in attributes:
            assert attributes["href"].startswith("#")
            assert attributes["href"][1:] in identifiers
        for reference in re.findall(r"url\(#([^)]*)\)", " ".join(filter(None, attributes.values()))):
            assert reference in identifiers
    assert ("meta", "default-src 'none'; style-src 'unsafe-inline'") in [(t, a.get("content")) for t, a in page.tags]


def test_all_texts_are_escaped():
    settings = dict.fromkeys(("data", "penalty", "on", "command", "columns"), HOSTILE)
    path = made(**settings, penalties={HOSTILE: HOSTILE, "0.weight": "L1(l1=1.0)"}, versions={HOSTILE: HOSTILE})
    harmless = Page(html_report(made(penalties={"0.weight": "L1(l1=1.0)"}, data="x", versions={"a": "b"})))
    page = Page(html_report(path))
    assert page.names == harmless.names
    assert "script" not in page.names
    assert {key for _, attributes in page.tags for key in attributes} == {
        key for _, attributes in harmless.tags for key in attributes
    }
    assert sum(HOSTILE in text for text in page.texts) >= 5


def test_the_same_path_gives_the_same_bytes():
    assert html_report(made(data="digits")) == html_report(made(data="digits"))


PATHS = {
    "l1 on weights, proximal": ({"weights": {"*.weight": L1(1.0)}}, True),
    "elastic net": ({"weights": {"0.weight": L1L2(2.0, 0.5), "2.*": L2(1.0)}}, False),
    "activity": ({"activity": {nn.ReLU: L1(1.0)}, "weights": {"2.weight": PENALTIES["group_lasso"]}}, False),
}


@pytest.mark.parametrize(("rules", "proximal"), PATHS.values(), ids=PATHS)
def test_the_lines_to_type_place_the_penalty_of_the_path(rules, proximal):
    x, y = load_wine(return_X_y=True)

    def factory():
        return nn.Sequential(nn.Linear(13, 4), nn.ReLU(), nn.Linear(4, 3))

    path = regularization_path(
        factory, x, y, **rules, strengths=[0.003, 0.02], folds=2, epochs=1, proximal=proximal, progress=False
    )
    text = html_report(path)
    lines = html.unescape(re.findall(r"<pre><code>(.*?)</code></pre>", text, re.DOTALL)[0])
    model = factory()
    expected = penalize.attach(copy := factory(), **rules)
    copy.load_state_dict(model.state_dict())
    inputs = torch.ones(5, 13)
    names = {"model": model, "criterion": nn.CrossEntropyLoss(), "x": inputs, "y": torch.zeros(5, dtype=torch.long)}
    names["optimizer"] = torch.optim.Adam(model.parameters())
    exec(lines, names)
    assert list(names["penalties"]) == list(expected)
    copy(inputs)
    assert float(names["penalties"].value()) == pytest.approx(path.best * float(expected.value()), rel=1e-6)
    names["loss"].backward()
    names["optimizer"].step()
    assert ("proximal=True" in lines) == proximal


def test_a_penalty_that_is_no_multiple_or_not_known_is_left_to_the_reader():
    lines = attach_lines({"0.weight": "MCP(strength=1.0, gamma=3.0)", "1": "<function f at 0x1>\nx"}, ["1"], 0.5, False)
    assert "# my_penalty stands for your own MCP(strength=1.0, gamma=3.0)\n" in lines
    assert "# my_penalty stands for your own <function f at 0x1> x\n" in lines
    assert '    weights={\n        "0.weight": lambda x: 0.5 * my_penalty(x),\n    },\n' in lines
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    names = {"model": model, "my_penalty": L2(1.0), "criterion": nn.MSELoss(), "x": torch.ones(1, 2), "y": 0}
    names["y"] = torch.ones(1, 2)
    exec(lines, names)
    expected = 0.5 * (model[0].weight.square().sum() + names["model"](names["x"]).square().sum())
    assert float(names["penalties"].value()) == pytest.approx(float(expected.detach()), rel=1e-6)


@pytest.mark.parametrize(
    "text", ["L1(l1=1.0", "L1(x=1)", "L1(l1=-1.0)", "L1(l1=open('x'))", "exec(code='1')", "L1(1.0)"]
)
def test_only_plain_regularizers_are_read(text):
    assert "my_penalty" in attach_lines({"w": text}, [], 1.0, False)


def test_names_are_quoted_for_python():
    lines = attach_lines({'a"b\\': "L2(l2=1.0)", "c\nd": "L2(l2=1.0)"}, [], 0.1, False)
    assert eval("{" + lines[lines.index("weights={") + 9 : lines.index("    },")] + "}", {"L2": L2}).keys() == {
        'a"b\\',
        "c\nd",
    }


@pytest.mark.parametrize(("best", "low", "high"), [(1e-3, 1e-5, 1e-1), (1e-1, 1e-3, 1.0), (1.0, 1e-2, 100.0)])
def test_the_finer_grid_goes_on_where_the_old_one_ends(best, low, high):
    grid = finer_grid(STRENGTHS, best)
    strengths = parse_grid(grid)
    assert (strengths[0], strengths[-1]) == (low, high)
    assert finer_grid(np.array([0.5]), 0.5) == "0.005:50:8"


def test_the_command_to_type_is_for_a_shell():
    command = shlex.join(["penalize", "path", "my $(data).csv", "--penalty", "l1", "--penalty=l2", "--out", "a b/"])
    words = shlex.split(rerun_command(command, "1:2:8", penalty="l2"))
    expected = ["penalize", "path", "my $(data).csv", "--penalty", "l2", "--strengths", "1:2:8", "--out", "a b-finer"]
    assert words == expected


def test_a_command_that_no_shell_understands_gives_the_python_lines():
    assert rerun_command("penalize path 'a", "1:2:8") is None
    assert "numpy.geomspace(" in html_report(made(command="penalize path 'a"))


def compared():
    better = made(
        ((0.8, 0.8), (0.95, 0.95), (0.9, 0.9), (0.3, 0.4)), epochs=3, data=HOSTILE, penalties={"w": "L2(l2=1.0)"}
    )
    lost = made(((np.nan, 1),) * 4, epochs=3, data=HOSTILE)
    return PenaltyComparison({HOSTILE: made(epochs=3, data=HOSTILE), "second": better, "lost": lost})


def test_several_penalties_are_one_page():
    comparison = compared()
    text = html_report(comparison, command="penalize path x.csv --penalty l1 --penalty second")
    page = Page(text)
    assert "script" not in page.names
    words = " ".join(page.texts)
    assert "second: 0.01" in words
    assert sum(HOSTILE in each for each in page.texts) >= 4
    assert [kind for kind, _ in rows_of(text)] == ["", "best one", "never"]
    assert rows_of(text)[2][1][:2] == ["lost", "not finite"]
    for caution in comparison.cautions:
        assert f"Caution: {caution}" in words
    assert 'weights={\n        "w": L2(l2=0.01),' in words
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert not any(forbidden in text for forbidden in ("//", "src=", "@import", "<script"))


def test_one_penalty_of_several_is_looked_at_closer():
    command = "penalize path x.csv --penalty l1 --penalty l2 --out here"
    text = html_report(compared(), command=command)
    assert "penalize path x.csv --penalty second --strengths 0.001:1:8 --out here-finer" in html.unescape(text)


def test_what_was_trained_on_all_rows_is_shown():
    x, y = load_wine(return_X_y=True, as_frame=True)
    settings = {"strengths": [0.01, 0.2], "folds": 2, "epochs": 5, "proximal": True, "learning_rate": 0.05}
    path = regularization_path(nn.Linear(13, 3), x, y, weights={"weight": L1(1.0)}, progress=False, **settings)
    assert "features:" not in " ".join(Page(html_report(path)).texts)
    page = Page(html_report(path.refit(progress=False)))
    selected = path.selected_features(path.best)
    assert f"{len(selected)} features: {', '.join(selected)}" in page.texts
    assert sum(tag == "figure" for tag, _ in page.tags) == 2


def test_saved_beside_the_other_files(tmp_path):
    path = made(data="digits", penalty="l1")
    files = path.save(tmp_path)
    assert tmp_path / "report.html" in files
    assert (tmp_path / "report.html").read_text() == html_report(path)
    assert html_report(RegularizationPath.load(tmp_path)) == html_report(path)


def test_a_share_of_l1_stays_a_share_of_l1():
    path = made(penalties={"w": "L1L2(l1=0.25, l2=0.75)"}, mixing=0.25)
    comparison = PenaltyComparison({"l1_l2 (mixing 0.25)": path, "l1_l2 (mixing 0.5)": made(((0.1, 0.2),) * 4)})
    text = html.unescape(html_report(comparison, command="penalize path wine --penalty l1_l2 --mixing=0.25,0.5"))
    assert "penalize path wine --penalty l1_l2 --mixing 0.25 --strengths 0.001:1:8 --out penalize-path-finer" in text
    assert '"w": L1L2(l1=0.0025, l2=0.0075),' in text
