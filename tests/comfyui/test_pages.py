"""Help pages, workflows and the table of nodes: as their command writes them, and what ComfyUI
needs of a workflow."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / "comfyui" / "example_workflows").glob("*.json"))
TYPED = ("COMBO", "INT", "FLOAT", "STRING")


@pytest.fixture
def node_pack(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "website")
    import node_pack

    yield node_pack
    del sys.modules["node_pack"], sys.modules["node_workflows"]


@pytest.fixture
def schemas(pack):
    return {node.define_schema().node_id: node.define_schema() for node in pack.NODES}


def test_all_files_are_those_of_the_command(node_pack, capsys):
    assert node_pack.main(["--check"]) == 0, capsys.readouterr().out


def test_the_command_finds_what_would_change(node_pack, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(node_pack, "PAGE", tmp_path / "comfyui.md")
    monkeypatch.setattr(node_pack, "ROOT", tmp_path)
    files = {tmp_path / "new" / "page.md": "new", tmp_path / "comfyui.md": "other"}
    monkeypatch.setattr(node_pack, "files", lambda: files)
    (tmp_path / "comfyui.md").write_text("old")
    assert node_pack.main(["--check"]) == 1
    assert capsys.readouterr().out.split() == ["new/page.md", "comfyui.md"]
    assert node_pack.main([]) == 0
    assert (tmp_path / "new" / "page.md").read_text() == "new"
    assert node_pack.main(["--check"]) == 0


def test_a_link_between_other_types_is_refused(node_pack):
    from node_workflows import CORE, Node, workflow

    nodes = {"sound": Node("LoadAudio"), "saved": Node("SaveVideo", links={"video": "sound"})}
    with pytest.raises(KeyError, match=r"saved.video takes VIDEO, not AUDIO"):
        workflow(nodes, CORE)


def test_workflows_have_every_node(schemas):
    used = {node["type"] for path in WORKFLOWS for node in json.loads(path.read_text())["nodes"]}
    assert set(schemas) <= used


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_fits_the_nodes(path, schemas):
    record = json.loads(path.read_text())
    nodes = {node["id"]: node for node in record["nodes"]}
    for number, source, place, target, slot, kind in record["links"]:
        output, taken = nodes[source]["outputs"][place], nodes[target]["inputs"][slot]
        assert number in output["links"]
        assert taken["link"] == number
        assert output["type"] == kind
        assert taken["type"] in (kind, "*")
    for node in record["nodes"]:
        if node["type"] not in schemas:
            continue
        schema = schemas[node["type"]]
        inputs = {one["name"]: one for one in node["inputs"]}
        widgets = [one for one in schema.inputs if one.io_type in TYPED]
        values = [one for one in node["widgets_values"] if one not in ("fixed", "randomize")]
        assert len(values) == len(widgets)
        for one, value in zip(widgets, values, strict=True):
            assert not hasattr(one, "min") or one.min <= value <= one.max
        for one in schema.inputs:
            if one.io_type not in TYPED:
                assert inputs[one.id]["type"] == one.io_type
                assert one.optional or inputs[one.id]["link"] is not None
        outputs = [one.io_type for one in schema.outputs]
        assert [one["type"] for one in node["outputs"]] == outputs


def test_every_input_is_explained_and_every_node_is_found(schemas):
    for name, schema in schemas.items():
        assert schema.search_aliases, name
        assert (ROOT / "comfyui" / "web" / "docs" / f"{name}.md").exists()
        for one in schema.inputs:
            assert one.tooltip.endswith("."), (name, one.id)
