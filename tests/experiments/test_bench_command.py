"""``mmdisco experiments bench`` by its command line."""

import sys

import pytest

from mmdisco.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["nonsense"],
            "choose one of audioldm-animatediff, audioldm-anim",
        ),
        (["mmdiffusion", "--seconds", "2"], "leave the sizes out"),
        (["audioldm-animatediff", "--frames", "33"], "AnimateDiffPipeline makes 32 at most"),
        (["audioldm-animatediff", "--height", "100"], "takes multiples of 8"),
        (["mmdiffusion", "--batch", "0"], "batch 0: give more than 0"),
        (["mmdiffusion", "--dtype", "int8"], "choose one of float32"),
    ],
)
def test_a_mistake_ends_in_one_line_and_status_2(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["mmdisco", "experiments", "bench", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in err
    assert err.count("\n") == 1
