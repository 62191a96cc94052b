"""YAML that users write, bounded before it is read."""

import re
from pathlib import Path
from typing import Any, Final, cast

import yaml

from mmdisco.errors import UserError
from mmdisco.io.files import expect_modest, read_text

_MOST_BYTES: Final = 2**16  # several times the size of all settings with long comments


class _Loader(yaml.SafeLoader):
    """YAML without anchors and aliases, by which a few lines could expand beyond memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()
            raise yaml.constructor.ConstructorError(
                problem=f"*{event.anchor} refers to another place: write it out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)


# YAML 1.1 wants a point and a sign, as in 8.0e-4; YAML 1.2 and everybody else write 8e-4
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str, source: str) -> object:
    """Parse YAML without anchors.

    Args:
        text: The text.
        source: Its origin, for messages.

    Raises:
        UserError: It is no YAML, or ``expect_modest`` refuses it.
    """
    try:
        value = cast(object, yaml.load(text, _Loader))
    except RecursionError as error:
        raise UserError(f"{source} is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:  # an impossible date is a ValueError
        raise UserError(f"{source} is not YAML: {' '.join(str(error).split())[:300]}") from error
    expect_modest(value, source)
    return value


def read_mapping(path: Path) -> dict[Any, Any]:
    """Read a YAML file of keys and values; an empty file has none.

    Raises:
        UserError: The file cannot be read, or holds anything else.
    """
    tree = parse_yaml(read_text(path, _MOST_BYTES), str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path} is no configuration: write lines of `key: value`")
    return cast(dict[Any, Any], tree)
