"""The model card: every section, from whatever is at hand, with nothing of the data taken for markup."""

import re

import pytest
from markdown_it import MarkdownIt

from graphmill import artifact, registry
from graphmill.evaluate import card
from graphmill.lineage import __main__ as command
from graphmill.model import Model

SECTIONS = [
    "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data", "Quantitative analyses",
    "Ethical considerations", "Caveats and recommendations", "How to make it again",
]  # fmt: skip


@pytest.fixture(scope="module")
def judged(tiny_run):
    """The tiny model and the manifest of its evaluation."""
    home = tiny_run / "artifacts"
    return Model.open(home / "model"), artifact.read(home / "evaluation", "evaluation").manifest


def sections(content):
    """Text by heading."""
    parts = re.split(r"^## (.*)$", content, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_stage_writes_the_card(tiny_run, judged):
    model, report = judged
    content, page = card.render(model, report)
    folder = tiny_run / "artifacts" / "evaluation"
    assert (folder / "model_card.md").read_text() == content and (folder / "model_card.html").read_text() == page
    found = sections(content)
    assert list(found) == SECTIONS
    name, metric = report["winner"], report["metric"]
    assert f"{report['metrics'][name][metric]:.4f}" in found["Quantitative analyses"]
    assert "{:.4f} to {:.4f}".format(*report["intervals"][name]) in found["Quantitative analyses"]
    assert re.search(rf"^\|  \| {name} \| ", found["Quantitative analyses"], re.M)  # the winner stands first
    for gate in report["gates"]:
        assert gate["name"].replace("_", " ") in found["Quantitative analyses"]
    assert "135 examples from 2025-04-05" in found["Evaluation data"]
    assert "618 examples" in found["Training data"] and "from 2025-01-01" in found["Training data"]
    again = found["How to make it again"]
    assert model.artifact.lineage["artifacts"]["tables"]["data"][:12] in again
    assert "python -m graphmill.lineage rebuild artifacts/model" in again and "| `train.epochs` | 4 |" in again
    assert "Not stated: write it into evaluate.card.ethics" in found["Ethical considerations"]


def test_the_page_stands_alone_and_says_the_same(judged):
    content, page = card.render(*judged, version="v7")
    assert page.startswith("<!doctype html>") and len(page.encode()) < 200_000
    assert not re.search(r"<script|<link|<img|@import|url\(|(src|href)=|https?://", page)
    assert page.count("<h2>") == len(SECTIONS) and page.count("<table>") == len(re.findall(r"^\| ---", content, re.M))
    assert "rebuild v7" in content and "rebuild v7" in page


def test_what_people_say_and_what_goes_wrong(judged):
    """The texts of the parameters, shut gates, leaks, a champion with its difference and what it has seen."""
    model, report = judged
    gate = {"name": "not_worse_than_champion", "passed": False, "value": -0.1, "bound": -0.02, "meaning": "it is worse",
            "low": -0.2, "high": 0.05, "slices": [{"slice": "channel=online", "value": 0.25, "low": 0.0, "high": 0.5},
                                                  {"slice": "channel=phone", "value": None}]}  # fmt: skip
    texts = {"owner": "Team <b>Risk</b>", "intended_use": "a | b", "not_intended": "credit", "ethics": "*People* wait."}
    changed = report | {
        "settings": report["settings"] | {"card": texts, "group": "customer_id", "guarded_slices": ["channel=online"]},
        "gates": [gate],
        "warnings": [{"column": "peek", "roc_auc": 0.999}],
        "champion": {"version": "v3", "problem": None, "seen": "it learned from later examples"},
    }
    content, page = card.render(model, changed)
    assert "minus that of champion v3 on the same examples: overall -0.1000 (-0.2000 to 0.0500); " in content
    assert "channel=online 0.2500 (0.0000 to 0.5000)." in content and "phone" not in content
    caveats = sections(content)["Caveats and recommendations"]
    assert "the gate not worse than champion is shut: it is worse" in caveats
    assert "The column peek alone has a ROC-AUC of 0.999" in caveats and "learned from later examples" in caveats
    assert "as independent" not in caveats and "groups of examples, by customer_id" in content
    assert "Team &lt;b&gt;Risk&lt;/b&gt;" in page and "<td>a | b</td>" in page and "<p>*People* wait.</p>" in page
    shut = changed | {"champion": {"version": "v3", "problem": "it needs columns: x", "seen": None}}
    assert "Champion v3 could not be judged beside it: it needs columns: x." in card.render(model, shut)[0]


@pytest.mark.parametrize("text", ["a|b", "<i>x</i>", "`code`", "_a_ *b* ~c~ #d", "[x](y)", "two\nlines", "\\", "a_b_c"])
def test_cells_say_what_they_say(text):
    """Through Markdown and back, nothing is lost and nothing becomes markup."""
    page = MarkdownIt("commonmark", {"html": False}).enable("table").render(card.table([[text, "next"]], ["a", "b"]))
    (shown,) = re.findall(r"<td[^>]*>(.*?)</td>\s*<td[^>]*>next</td>", page, re.S)
    plain = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert plain == " ".join(text.split())


def test_from_the_registry_with_and_without_the_evaluation(tiny_run, judged, tmp_path, capsys):
    home, kept = str(tmp_path / "registry"), registry.open(tmp_path / "registry")
    summary = {name: judged[1][name] for name in ("winner", "verdict", "metrics")}
    kept.move("champion", kept.register(tiny_run / "artifacts" / "model", summary), "test")
    assert command.main(["card", "champion", "--registry", home]) == 0
    told = capsys.readouterr().out
    assert list(sections(told)) == SECTIONS and "| version | v0 |" in told
    assert "what follows is what the registry keeps of it" in told and "its 95 % interval" not in told
    evaluation = str(tiny_run / "artifacts" / "evaluation")
    line = ["card", "v0", "--registry", home, "--evaluation", evaluation, "--output", str(tmp_path / "cards")]
    assert command.main(line) == 0
    written = (tmp_path / "cards" / "model_card.md").read_text()
    assert "its 95 % interval" in written and (tmp_path / "cards" / "model_card.html").exists()
    (tmp_path / "file").touch()
    assert command.main([*line[:-1], str(tmp_path / "file")]) == 2
    assert "the card cannot be written" in capsys.readouterr().err
    with artifact.write(tmp_path / "other", "evaluation") as draft:
        draft.manifest = {"model": "another"}
    assert command.main(["card", "v0", "--registry", home, "--evaluation", str(tmp_path / "other")]) == 2
    assert "judged another model" in capsys.readouterr().err
