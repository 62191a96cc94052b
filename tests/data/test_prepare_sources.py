import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from mmdisco.data.prepare.layouts import (
    ClipList,
    VGGSound,
    aist,
    by_file,
    by_folder,
    by_stem,
    landscape,
)
from mmdisco.data.prepare.plan import ClipGroup, PreparePlan
from mmdisco.data.prepare.planning import split
from mmdisco.data.prepare.sources import (
    FolderNames,
    NoCaptions,
    SkippedFile,
    SourceVideo,
    read_captions,
)
from mmdisco.errors import UserError

CLIP = Fraction(2)


def touched(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def items(source):
    return [one for one in source.items() if isinstance(one, SourceVideo)]


def refused(source):
    return {one.name: one.reason.category for one in source.items() if isinstance(one, SkippedFile)}


def test_a_folder_is_read_at_any_depth_in_the_order_of_names(tmp_path):
    touched(tmp_path, "b.mp4", "a/z.MKV", "a/notes.txt", ".hidden.mp4", "c.webm")
    found = [item.name for item in items(ClipList(tmp_path, NoCaptions(), by_file))]
    assert found == ["a/z.MKV", "b.mp4", "c.webm"]


def test_every_file_that_is_passed_over_is_named(tmp_path):
    touched(tmp_path, "b.mp4", "a/notes.txt", ".hidden.mp4", "README", "cover.jpg", ".git/x.mp4")
    assert refused(ClipList(tmp_path, NoCaptions(), by_file)) == {
        ".git": "hidden",
        ".hidden.mp4": "hidden",
        "README": "no video by its suffix",
        "a/notes.txt": "no video by its suffix",
        "cover.jpg": "no video by its suffix",
    }


def test_links_to_folders_are_not_followed(tmp_path):
    touched(tmp_path, "a/film.mp4")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    source = ClipList(tmp_path, NoCaptions(), by_file)
    assert [item.name for item in items(source)] == ["a/film.mp4"]
    assert refused(source) == {"a/up": "link to a folder"}


def test_folder_names_become_captions(tmp_path):
    touched(tmp_path, "dog_barking/1.mp4", "top.mp4")
    found = {one.name: one.caption for one in items(ClipList(tmp_path, FolderNames(), by_file))}
    assert found == {"dog_barking/1.mp4": "dog barking", "top.mp4": ""}


def test_groups_are_files_folders_or_names_without_numbers(tmp_path):
    touched(tmp_path, "a/film_01.mp4", "a/film_02.mp4")

    def groups(grouping):
        return [item.group for item in items(ClipList(tmp_path, NoCaptions(), grouping))]

    assert groups(by_file) == ["a/film_01.mp4", "a/film_02.mp4"]
    assert groups(by_folder) == ["a", "a"]
    assert groups(by_stem) == ["a/film", "a/film"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_list_names_captions_and_stretches(tmp_path, suffix):
    touched(tmp_path, "a/x.mp4", "y.mp4", "z.mp4")
    records = [
        {"path": "a/x.mp4", "caption": "first, half", "start": 0, "end": 2.5},
        {"path": "x.mp4", "caption": "never reached"},
        {"path": "y", "caption": "by its stem"},
        {"path": "gone.mp4", "caption": "of nothing"},
    ]
    listed = tmp_path / f"captions.{suffix}"
    if suffix == "jsonl":
        listed.write_text("\n".join(map(json.dumps, records)))
    else:
        listed.write_text(
            'path,caption,start,end\na/x.mp4,"first, half",0,2.5\nx.mp4,never reached,,\n'
            "y,by its stem,,\ngone.mp4,of nothing,,\n"
        )
    source = ClipList(tmp_path, read_captions(listed), by_file)
    found = {item.name: item for item in items(source)}
    assert found["a/x.mp4"].caption == "first, half"
    assert found["a/x.mp4"].end == Fraction(5, 2)
    assert found["y.mp4"].caption == "by its stem"
    assert found["z.mp4"].caption == ""
    assert refused(source) == {
        "gone.mp4": "not found",
        "x.mp4": "not found",
        listed.name: "no video by its suffix",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"caption": "a"}', "line 1, names no file"),
        ("[1]", "line 1, is no record"),
        ("{", "line 1, is not JSON"),
        ('{"path": "a", "start": "soon"}', "no number of seconds"),
        ('{"path": "a", "start": 3, "end": 2}', "ends before it begins"),
    ],
)
def test_a_wrong_list_is_one_line(tmp_path, content, message):
    (tmp_path / "captions.jsonl").write_text(content)
    with pytest.raises(UserError, match=message):
        read_captions(tmp_path / "captions.jsonl")


def test_vggsound_takes_label_and_part_from_its_table(tmp_path):
    touched(tmp_path, "video/-abcdefghij_000030.mp4", "video/zzzzzzzzzzz_5.mp4", "video/odd.mp4")
    touched(tmp_path, "video/moreaaaaaaa_000001.mp4", "video/zzzzzzzzzzz_000005.mp4")
    table = tmp_path / "vggsound.csv"
    table.write_text(
        '-abcdefghij,30,"playing drum, kit",train\nzzzzzzzzzzz,5,dog barking,test\n'
        "goneaaaaaaa,7,dog barking,train\n"
    )
    source = VGGSound(tmp_path / "video", table)
    first, second = items(source)
    assert (first.caption, first.split, first.group) == (
        "playing drum, kit",
        "train",
        "-abcdefghij",
    )
    assert (second.caption, second.split) == ("dog barking", "validation")
    assert refused(source) == {
        "goneaaaaaaa_000007": "not found",
        "moreaaaaaaa_000001.mp4": "not in the table",
        "odd.mp4": "not named by id and second",
        "zzzzzzzzzzz_5.mp4": "duplicate",
    }
    table.write_text("id,start,label,part\n")
    with pytest.raises(UserError, match="line 1, is no row of VGGSound"):
        items(source)


def test_landscape_and_aist_are_split_by_folder_and_grouped_by_film(tmp_path):
    touched(tmp_path / "l", "train/fire_1.mp4", "test/rain_20.mp4")
    assert [(one.split, one.group) for one in items(landscape(tmp_path / "l", NoCaptions()))] == [
        ("validation", "test/rain"),
        ("train", "train/fire"),
    ]
    touched(tmp_path / "a", "gBR_sBM_c01_d04_mBR0_ch01.mp4", "gBR_sBM_c02_d04_mBR0_ch01.mp4")
    first, second = items(aist(tmp_path / "a", NoCaptions()))
    assert first.group == second.group == "gBR_sBM_d04_mBR0_ch01"
    assert first.caption == "a person dancing break"


def piece(name, clips=3, split=None, length=Fraction(2)):
    starts = tuple(length * k for k in range(clips))
    return ClipGroup(Path(name), name, "", name, split, 1, starts)


def test_no_group_is_in_both_parts_and_more_films_change_no_place():
    films = [piece(f"film{i}") for i in range(200)]
    few, _ = split(films[:100], 0.2, CLIP)
    many, _ = split(films, 0.2, CLIP)
    assert [one.split for one in few] == [one.split for one in many[:100]]
    assert 20 <= sum(one.split == "validation" for one in many) <= 60


def test_validation_is_never_empty_where_there_are_two_films():
    for names in (("a", "b"), ("c", "d"), ("e", "f")):
        parts, _ = split([piece(name) for name in names], 0.01, CLIP)
        assert {one.split for one in parts} == {"train", "validation"}
    assert split([piece("a")], 0.0, CLIP)[0][0].split == "train"


def test_one_film_is_split_by_stretches_a_clip_apart():
    pieces, left_out = split([piece("film", clips=300)], 0.3, CLIP)
    assert {one.split for one in pieces} == {"train", "validation"}
    assert left_out == len(pieces) - 1
    starts = [start for one in pieces for start in one.starts]
    assert starts == sorted(starts)
    assert len(starts) == 300 - left_out
    for before, after in pairwise(pieces):
        assert before.split != after.split
        assert after.starts[0] - before.starts[-1] == 4  # of clips of 2 s, one is missing


def test_overlapping_clips_of_two_parts_lie_a_clip_apart():
    pieces, left_out = split([piece("film", clips=1500, length=Fraction(2, 5))], 0.3, CLIP)
    assert len(pieces) > 1
    assert sum(len(one.starts) for one in pieces) == 1500 - left_out
    for before, after in pairwise(pieces):
        assert after.starts[0] - before.starts[-1] == 2 * CLIP


def test_given_parts_are_kept():
    parts, _ = split([piece("a", split="validation"), piece("b", split="train")], 0.5, CLIP)
    assert [one.split for one in parts] == ["validation", "train"]


def test_blocks_hold_one_part_and_all_clips_in_order():
    films = [piece("a", 5, "train"), piece("b", 2, "validation"), piece("c", 4, "train")]
    blocks = PreparePlan(tuple(films), ()).blocks(4)
    assert [(block.split, len(block)) for block in blocks] == [
        ("train", 4),
        ("train", 4),
        ("train", 1),
        ("validation", 2),
    ]
    train = [
        (run.clip_group.name, start)
        for block in blocks
        if block.split == "train"
        for run in block.runs
        for start in run.starts
    ]
    assert train == [(one.name, s) for one in films if one.split == "train" for s in one.starts]


def test_a_plan_is_read_back_or_known_to_be_damaged(tmp_path):
    path = tmp_path / "plan.jsonl"
    assert PreparePlan.read(path) is None
    plan = PreparePlan((piece("odd\nname \udcff", 2, "train"),), (), 3)
    plan.write(path, {"shard": 4})
    assert PreparePlan.read(path) == (plan, {"shard": 4})
    path.write_text(path.read_text().replace('"bytes": 1', '"bytes": 2'))
    assert PreparePlan.read(path) is None
