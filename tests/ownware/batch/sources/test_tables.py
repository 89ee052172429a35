"""Tables as people save them: byte-order marks, semicolons, line ends, and rows that are wrong."""

from pathlib import Path

import pytest

from ownware.batch.item import BatchError
from ownware.batch.sources.tables import Table, read_table


def table(tmp_path: Path, text: str | bytes, name: str = "rows.csv", *, needs_prompt: bool = True) -> Table:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, needs_source=True, needs_prompt=needs_prompt)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_spelling_of_csv(tmp_path: Path, delimiter: str, end: str, mark: str) -> None:
    lines = [("source", "Prompt", "seed"), ("a.png", '"red, green; ""blue"""', "7"), ("", "", ""), ("b.png", "x", "")]
    text = mark + "".join(delimiter.join(cells) + end for cells in lines)
    rows = table(tmp_path, text).rows
    assert [(row.source, row.task) for row in rows] == [
        (tmp_path / "a.png", {"positivePrompt": 'red, green; "blue"', "seed": 7}),
        (tmp_path / "b.png", {"positivePrompt": "x"}),
    ]
    assert [row.where for row in rows] == ["rows.csv:2", "rows.csv:4"]


def test_columns_of_every_kind(tmp_path: Path) -> None:
    text = "file,instruction,references,mask,strength,fbCache,lora,name\na.png,p,b.png|c.png,m.png,0.5,yes,ink=0.5,n\n"
    (row,) = table(tmp_path, text).rows
    assert row.name == "n"
    assert row.task == {
        "positivePrompt": "p",
        "inputs": {
            "referenceImages": [f"{tmp_path}/b.png", f"{tmp_path}/c.png"],
            "maskImage": f"{tmp_path}/m.png",
            "strength": 0.5,
        },
        "acceleratorOptions": {"fbCache": True},
        "lora": [{"model": "ink", "weight": 0.5}],
    }


def test_lines_within_a_cell(tmp_path: Path) -> None:
    rows = table(tmp_path, 'source,prompt\na.png,"one\ntwo"\nb.png,x\n').rows
    assert [row.task["positivePrompt"] for row in rows] == ["one\ntwo", "x"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("picture,prompt\n", "has no row"),
        ("", "has no row"),
        ("name,prompt\nx,y\n", "has no column 'source'; it has name, prompt"),
        ("source,seed\na.png,7\n", "has no column 'prompt', and no --prompt is given; it has source, seed"),
        ("source,promt\na.png,x\n", "no column 'prompt'|Did you mean 'prompt'"),
        ("source,prompt,sede\na.png,x,7\n", "no column 'sede'. Did you mean 'seed'"),
        ("source,prompt,Prompt\na.png,x,y\n", "two columns are called 'prompt'"),
        ('source,prompt\na.png,"x\n', "rows.csv:2: unexpected end"),
        ("source,prompt\na.png,caf\xe9\n".encode("latin-1"), "no UTF-8 text"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(BatchError, match=reason):
        table(tmp_path, text)


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="No such file"):
        read_table(tmp_path / "rows.csv", needs_source=True, needs_prompt=True)


def test_a_column_without_effect_is_said(tmp_path: Path) -> None:
    assert table(tmp_path, "source,prompt,photographer\na.png,x,me\n").notes == (
        "rows.csv: the column 'photographer' has no effect",
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("b.png,x,abc", "seed: 'abc' is no whole number"),
        ("b.png,x,7,9", "the row has 4 cells and the header 3"),
    ],
)
def test_a_row_that_is_wrong_leaves_the_others(tmp_path: Path, line: str, problem: str) -> None:
    rows = table(tmp_path, f"source,prompt,seed\na.png,x,1\n{line}\nc.png,x,2\n").rows
    assert [row.problem for row in rows] == [None, problem, None]


class TestJsonLines:
    def test_rows_in_the_form_of_the_wire_or_of_flags(self, tmp_path: Path) -> None:
        text = (
            '{"source": "a.png", "prompt": "x", "mask": "m.png", "lora": "ink=0.5"}\r\n\n'
            '{"file": "b.png", "positivePrompt": "y", "inputs": {"strength": 0.5, "maskImage": "m.png"}, "name": "n"}\n'
        )
        rows = table(tmp_path, text, "rows.jsonl").rows
        mask = f"{tmp_path}/m.png"
        assert [(row.source, row.name, row.task) for row in rows] == [
            (
                tmp_path / "a.png",
                None,
                {"positivePrompt": "x", "inputs": {"maskImage": mask}, "lora": [{"model": "ink", "weight": 0.5}]},
            ),
            (tmp_path / "b.png", "n", {"positivePrompt": "y", "inputs": {"strength": 0.5, "maskImage": mask}}),
        ]
        assert rows[1].where == "rows.jsonl:3"

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ("{", "the line is no JSON"),
            ("[1]", "the line is no JSON object"),
            ('{"source": "a", "outpaint": 7}', "outpaint: 7 is no object"),
            ('{"source": 7}', "source: 7 is no text"),
            ('{"source": "a", "seed": "x"}', "seed: 'x' is no whole number"),
        ],
    )
    def test_a_line_that_is_wrong_leaves_the_others(self, tmp_path: Path, line: str, problem: str) -> None:
        good = '{"source": "a.png", "prompt": "x"}'
        rows = table(tmp_path, f"{good}\n{line}\n{good}\n", "rows.jsonl").rows
        assert rows[0].problem is rows[2].problem is None
        assert str(rows[1].problem).startswith(problem)

    def test_an_unknown_field_is_left_to_the_schema(self, tmp_path: Path) -> None:
        (row,) = table(tmp_path, '{"source": "a.png", "photographer": "me"}', "rows.jsonl").rows
        assert row.task == {"photographer": "me"}
