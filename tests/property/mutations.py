"""Files made wrong: structures with hostile values, bytes cut, turned, doubled and replaced."""

import copy
import json

HOSTILE = (
    None,
    True,
    -1,
    0,
    10**6,
    10**12,
    10**30,
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../../etc/passwd",
    "nul\0",
    "\udcff",
    "\ud800",
    "n" * 5_000,
    "1e-99999999",
    "9" * 5_000,
    [],
    {},
    [1] * 1_000,
    {"kind": "time"},
    ["x", None, -1],
)
NUMBERS = (b"99999999999999999999", b"-1", b"1e-99999999", b"NaN", b"1e999")


def places(tree, path=()):
    """The path of every value in a tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list) and value:
            yield from places(value, (*path, key))


def mutated_tree(tree, rng):
    """A copy in which one to three values are hostile, gone, or somewhere else."""
    made = copy.deepcopy(tree)
    for _ in range(rng.randint(1, 3)):
        found = list(places(made))
        if not found:
            return made
        *way, last = rng.choice(found)
        parent = made
        for key in way:
            parent = parent[key]
        action = rng.randrange(6)
        if action == 0 and isinstance(parent, dict):
            del parent[last]
        elif action == 1 and isinstance(parent, dict):
            parent[rng.choice(["strange", "", "__class__", last])] = parent.pop(last)
        elif action == 2:
            deep = []
            for _ in range(rng.choice([40, 400])):
                deep = [deep]
            parent[last] = deep
        else:
            parent[last] = copy.deepcopy(rng.choice(HOSTILE))
    return made


def as_json(tree):
    return json.dumps(tree).encode()


def mutated_bytes(data, rng):
    """A copy with one to four wounds."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not made:
            return b""
        place = rng.randrange(len(made))
        length = rng.choice([1, 2, 4, 8, 64, 1_000])
        action = rng.randrange(7)
        if action == 0:
            del made[place:]
        elif action == 1:
            made[place] ^= 1 << rng.randrange(8)
        elif action == 2:
            made[place : place + length] = rng.randbytes(length)
        elif action == 3:
            made[place:place] = made[place : place + length]
        elif action == 4:
            made[place : place + length] = b"\xff" * length
        elif action == 5:
            made[place : place + length] = bytes(length)
        else:
            made[place : place + 1] = rng.choice([*NUMBERS, b'"', b"\n", b",", b"[" * 2_000, b"\0"])
    return bytes(made)
