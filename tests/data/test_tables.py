"""Tables that users write: CSV and JSON lines."""

import os
import time
from fractions import Fraction

import pytest

from mmdisco.cli.prompt_files import read_prompts
from mmdisco.data.prepare.layouts import VGGSound
from mmdisco.data.prepare.sources import read_captions
from mmdisco.errors import UserError
from mmdisco.io.settings import number
from mmdisco.io.tables import Column, read_rows, read_table, whole_number

COLUMNS = (Column("path", ("file",)), Column("caption", ("description",)))


def table(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def fields(path):
    return [dict(row.fields) for row in read_table(path, COLUMNS, "captions").rows]


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0c", "\x0b", "\x1c", "\x1e"])
def test_rows_end_at_line_feeds_only(sign, tmp_path):
    said = f"a dog{sign}barks"
    assert fields(table(tmp_path, f"path,caption\nx.mp4,{said}\n")) == [
        {"path": "x.mp4", "caption": said}
    ]
    if sign > " ":
        assert read_prompts(table(tmp_path, f'"{said}"\n', "p.jsonl"))[0].options == {
            "prompt": said
        }
    assert read_prompts(table(tmp_path, f"prompt,seed\n{said},1\n"))[0].options["prompt"] == said
    name = f"abc{sign}defghij"
    films = tmp_path / "films"
    films.mkdir()
    rows = VGGSound(films, table(tmp_path, f"{name},1,{said},train\n")).items()
    assert [refused.name for refused in rows] == [f"{name}_000001"]


def test_carriage_returns_before_line_feeds_and_a_mark_of_the_encoding_are_no_letters(tmp_path):
    path = table(tmp_path, "\ufeffpath,caption\r\nx.mp4,rain\r\n\r\ny.mp4,wind\r\n")
    assert fields(path) == [
        {"path": "x.mp4", "caption": "rain"},
        {"path": "y.mp4", "caption": "wind"},
    ]


def test_quoted_fields_hold_commas_quotes_and_line_feeds(tmp_path):
    path = table(tmp_path, 'path,caption\nx.mp4,"a dog, ""Rex"",\nbarks"\ny.mp4, "a cat, too"\n')
    first, second = read_table(path, COLUMNS, "captions").rows
    assert first.fields["caption"] == 'a dog, "Rex",\nbarks'
    assert second.fields["caption"] == "a cat, too"
    assert second.place == f"{path}, line 4"


def test_names_of_columns_are_known_in_any_case_with_blanks_and_by_synonyms(tmp_path):
    path = table(tmp_path, " File , DESCRIPTION,Length\nx.mp4,rain,3\n")
    read = read_table(path, COLUMNS, "captions")
    assert read.rows[0].fields == {"path": "x.mp4", "caption": "rain"}
    assert read.unread == ["length"]
    prompts = table(tmp_path, '{"Prompt": "a lamp", "Negative prompt": "a bell"}\n', "p.jsonl")
    assert read_prompts(prompts)[0].options["negative_prompt"] == "a bell"


def test_blank_rows_and_blank_fields_beyond_the_header_are_no_rows_and_no_fields(tmp_path):
    path = table(tmp_path, "path,caption,\n,,\nx.mp4,rain,,\n   \ny.mp4\n")
    assert fields(path) == [{"path": "x.mp4", "caption": "rain"}, {"path": "y.mp4"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,caption\nx.mp4,a dog barks, then runs\n", "line 2, has 3 fields.*put quotes around"),
        ("path,caption,\nx.mp4,a dog barks, then runs\n", "line 2, .*put quotes around"),
        ('path,caption\nx.mp4,rain\ny.mp4,"rain\nz.mp4,wind\n', "line 3, .*quotes that nothing"),
        ('path,caption\nx.mp4,"a "big" dog"\n', "line 2, .*double the quotes"),
        ("path,caption\rx.mp4,rain\r", "line 1, .*carriage return"),
        ("path;caption\nx.mp4;rain\n", "line 1, parts its fields by ';': write commas"),
        ("path,caption,Caption \nx.mp4,rain,wind\n", "line 1, names 'caption' twice"),
        ("path,caption\nx.mp4,ra\0in\n", "line 2, has a zero byte"),
        ("path,caption\nx.mp4,r\u00e9\n".encode("latin-1"), "line 2, is no text.*UTF-8"),
        ("path,caption\nx.mp4,rain\n".encode("utf-16"), "line 1, is no text.*UTF-8"),
        ("path,caption\nx.mp4," + "a" * (1 << 20) + "\n", "line 2, is longer than 1 MiB"),
        ('path,caption\nx.mp4,"' + "a\n" * 70_000 + "\n", "line 2, .*quotes that nothing"),
    ],
)
def test_what_is_no_row_is_refused_by_file_and_line(content, said, tmp_path):
    with pytest.raises(UserError, match=said) as refused:
        fields(table(tmp_path, content))
    assert "t.csv" in str(refused.value)
    assert len(str(refused.value)) < len(str(tmp_path)) + 160


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[" * 100_000 + "]" * 100_000, "line 1, is nested too deeply"),
        ('{"path": ' * 100_000 + "1" + "}" * 100_000, "line 1, is nested too deeply"),
        ('{"path": "x", "path ": "y"}', "line 1, names 'path' twice"),
        ('{"path": ' + "9" * 5000 + "}", "line 1, has a number of 5000 digits"),
        ('{"path": NaN}', "line 1, has NaN"),
        ('{"path": "\\ud800"}', "line 1, has half of a letter"),
        ('\n{"path": }', "line 2, is not JSON: expecting value at column 10"),
        ('"rain"', "line 1, is no record: give path and caption"),
    ],
)
def test_json_that_is_no_record_is_refused_by_file_and_line(content, said, tmp_path):
    with pytest.raises(UserError, match=said) as refused:
        fields(table(tmp_path, content, "t.jsonl"))
    assert len(str(refused.value)) < len(str(tmp_path)) + 160


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for name in ("pipe.csv", "folder.csv", "gone.csv", "x" * 300 + ".csv"):
        with pytest.raises(UserError, match=r"is no file|is not there|cannot read"):
            list(read_rows(tmp_path / name))


def test_a_table_without_rows_lists_nothing(tmp_path):
    assert fields(table(tmp_path, "")) == fields(table(tmp_path, "path,caption\n")) == []


def test_numbers_are_exact_and_bounded_before_they_are_parsed():
    assert number("2.5") == number(2.5) == Fraction(5, 2)
    assert number(" 30000/1001 ") == Fraction(30000, 1001)
    assert number("1e-3") == Fraction(1, 1000)
    assert whole_number(" -7 ") == -7
    begin = time.process_time()
    for text in ("1e-99999999", "1e99999999", "9" * 10**6, "1/0", "nan", "inf", "1_0", "", True):
        with pytest.raises(ValueError):  # noqa: PT011 - no message is promised
            number(text)
    for text in ("9" * 10**6, "1e3", "1.0", "one", False):
        with pytest.raises(ValueError):  # noqa: PT011 - no message is promised
            whole_number(text)
    assert time.process_time() - begin < 5  # for ever, were the powers of ten written out


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_number_that_would_take_for_ever_is_refused_in_a_list_of_captions(suffix, tmp_path):
    rows = {
        "csv": "path,start\nx.mp4,1e-99999999\n",
        "jsonl": '{"path": "x", "start": "1e-99999999"}',
    }
    with pytest.raises(UserError, match="no number of seconds"):
        read_captions(table(tmp_path, rows[suffix], f"c.{suffix}"))


def test_columns_without_one_of_captions_are_refused_with_their_names(tmp_path):
    with pytest.raises(UserError, match="has no captions, but tags, mood: name the column"):
        read_captions(table(tmp_path, "path,tags,mood\nx.mp4,dog,calm\n"))
    listed = read_captions(table(tmp_path, "path,description,fps\nx.mp4,rain,25\n"))
    assert listed.of(tmp_path / "x.mp4", tmp_path)[0].caption == "rain"
    assert listed.unread == ("fps",)
    stretches = read_captions(table(tmp_path, "path,start,end\nx.mp4,1,2\n"))
    assert stretches.of(tmp_path / "x.mp4", tmp_path)[0].end == 2
