"""Example workflows of the node pack, as files that ComfyUI opens; ``node_pack.py`` writes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Slot = tuple[str, str]
"""Name and type of an input or an output."""

WIDTH: Final = 320  # of a node, pixels
ROW: Final = 26  # of an input, an output or a widget
GAP: Final = 60


@dataclass(frozen=True)
class Kind:
    """Inputs and outputs of a type of nodes; those of ``widgets`` may be typed instead."""

    inputs: Sequence[Slot] = ()
    outputs: Sequence[Slot] = ()
    widgets: Sequence[Slot] = ()


def _named(*types: str) -> tuple[Slot, ...]:
    return tuple((one, one) for one in types)


CORE: Final = {
    "UNETLoader": Kind(outputs=_named("MODEL")),
    "CheckpointLoaderSimple": Kind(outputs=_named("MODEL", "CLIP", "VAE")),
    "CLIPLoader": Kind(outputs=_named("CLIP")),
    "VAELoader": Kind(outputs=_named("VAE")),
    "CLIPTextEncode": Kind([("clip", "CLIP")], _named("CONDITIONING"), [("text", "STRING")]),
    "ConditioningStableAudio": Kind(
        [("positive", "CONDITIONING"), ("negative", "CONDITIONING")],
        [("positive", "CONDITIONING"), ("negative", "CONDITIONING")],
        [("seconds_start", "FLOAT"), ("seconds_total", "FLOAT")],
    ),
    "RandomNoise": Kind(outputs=_named("NOISE"), widgets=[("noise_seed", "INT")]),
    "KSamplerSelect": Kind(outputs=_named("SAMPLER")),
    "BasicScheduler": Kind([("model", "MODEL")], _named("SIGMAS")),
    "SamplerCustomAdvanced": Kind(
        [
            ("noise", "NOISE"),
            ("guider", "GUIDER"),
            ("sampler", "SAMPLER"),
            ("sigmas", "SIGMAS"),
            ("latent_image", "LATENT"),
        ],
        [("output", "LATENT"), ("denoised_output", "LATENT")],
    ),
    "EmptyHunyuanLatentVideo": Kind(
        outputs=_named("LATENT"),
        widgets=[("width", "INT"), ("height", "INT"), ("length", "INT"), ("batch_size", "INT")],
    ),
    "EmptyLatentAudio": Kind(
        outputs=_named("LATENT"), widgets=[("seconds", "FLOAT"), ("batch_size", "INT")]
    ),
    "VAEDecodeAudio": Kind([("samples", "LATENT"), ("vae", "VAE")], _named("AUDIO")),
    "LoadVideo": Kind(outputs=_named("VIDEO")),
    "LoadAudio": Kind(outputs=_named("AUDIO")),
    "GetVideoComponents": Kind(
        [("video", "VIDEO")], [("images", "IMAGE"), ("audio", "AUDIO"), ("fps", "FLOAT")]
    ),
    "CreateVideo": Kind(
        [("images", "IMAGE"), ("audio", "AUDIO")], _named("VIDEO"), [("fps", "FLOAT")]
    ),
    "SaveVideo": Kind([("video", "VIDEO")]),
    "PreviewAny": Kind([("source", "*")]),
}
"""Nodes of ComfyUI that the workflows have."""


@dataclass(frozen=True)
class Node:
    """A node of a workflow.

    Attributes:
        type: Its type.
        values: Values of its widgets, in order.
        links: What its inputs are connected to, "node" or "node.output".
    """

    type: str
    values: Sequence[Any] = ()
    links: Mapping[str, str] = field(default_factory=dict[str, str])


def _node(type_: str, *values: Any, **links: str) -> Node:
    return Node(type_, values, links)


def _models() -> dict[str, Node]:
    return {
        "video model": _node("UNETLoader", "wan2.1_t2v_1.3B_fp16.safetensors", "default"),
        "video text": _node(
            "CLIPLoader", "umt5_xxl_fp8_e4m3fn_scaled.safetensors", "wan", "default"
        ),
        "video vae": _node("VAELoader", "wan_2.1_vae.safetensors"),
        "audio model": _node("CheckpointLoaderSimple", "stable-audio-open-1.0.safetensors"),
        "audio text": _node("CLIPLoader", "t5-base.safetensors", "stable_audio", "default"),
        "discriminator": _node("MMDisCoLoadDiscriminator", "wan-2.1-stable-audio"),
    }


def _guider(prompt: str, sound: str, seconds: str) -> dict[str, Node]:
    bad = "worst quality, static, noise"
    return {
        "video positive": _node("CLIPTextEncode", prompt, clip="video text"),
        "video negative": _node("CLIPTextEncode", bad, clip="video text"),
        "audio prompt": _node("CLIPTextEncode", sound, clip="audio text"),
        "audio other": _node("CLIPTextEncode", bad, clip="audio text"),
        "timed": _node(
            "ConditioningStableAudio", 0.0, 5.0, positive="audio prompt", negative="audio other",
            seconds_total=seconds,
        ),
        "video guidance": _node("MMDisCoGuidanceParameters", "video", 1.0, 6.0, 0.0, 1.0),
        "guidance": _node(
            "MMDisCoGuidanceParameters", "audio", 1.0, 5.0, 0.0, 1.0, other="video guidance"
        ),
        "guider": _node(
            "MMDisCoJointGuider", 1, video_model="video model", video_positive="video positive",
            video_negative="video negative", audio_model="audio model.MODEL",
            audio_positive="timed.positive", audio_negative="timed.negative",
            discriminator="discriminator", parameters="guidance",
        ),
    }  # fmt: skip


def _sampled(latent: str) -> dict[str, Node]:
    return {
        "noise": _node("RandomNoise", 0, "randomize"),
        "sampler": _node("KSamplerSelect", "euler"),
        "sigmas": _node("BasicScheduler", "simple", 30, 1.0, model="video model"),
        "sampled": _node(
            "SamplerCustomAdvanced", noise="noise", guider="guider", sampler="sampler",
            sigmas="sigmas", latent_image=latent,
        ),
    }  # fmt: skip


VAES: Final = {"video_vae": "video vae", "audio_vae": "audio model.VAE"}
DOG: Final = ("a dog barks on a lawn", "a dog barking")


def _empty(frames: str, seconds: str, batch: int = 1) -> Node:
    sizes = {"frames": frames, "seconds": seconds}
    return _node("MMDisCoEmptyVideoAudio", 832, 480, 81, 5.0, batch, **VAES, **sizes)


WORKFLOWS: Final[dict[str, dict[str, Node]]] = {
    "embedded": {
        "clip": _node("MMDisCoGenerateEmbedded", "a bell rings", 0, "fixed", 20, 1.6, 6.0, 2.0, 1),
        "saved": _node("SaveVideo", "video/embedded", "auto", "auto", video="clip.video"),
    },
    "video_with_sound": {
        **_models(),
        "lengths": _node("MMDisCoMatchLengths", 5.0, 16.0, **VAES),
        "empty video": _node(
            "EmptyHunyuanLatentVideo", 832, 480, 81, 4, length="lengths.frames"
        ),
        "empty audio": _node("EmptyLatentAudio", 5.0, 4, seconds="lengths.seconds"),
        "empty": _node("MMDisCoJoinVideoAudio", video="empty video", audio="empty audio"),
        **_guider(*DOG, "lengths.seconds"),
        **_sampled("empty"),
        "scores": _node("MMDisCoAlignmentScore", guider="guider", latent="sampled.output"),
        "shown": _node("PreviewAny", source="scores.ranking"),
        "best": _node("MMDisCoBestOfBatch", 1, guider="guider", latent="sampled.output"),
        "clip": _node("MMDisCoDecodeVideoAudio", latent="best", **VAES),
        "video": _node("CreateVideo", 16.0, images="clip.images", audio="clip.audio"),
        "saved": _node("SaveVideo", "video/together", "auto", "auto", video="video"),
    },
    "sound_for_a_video": {
        **_models(),
        "file": _node("LoadVideo", "clip.mp4", "image"),
        "parts": _node("GetVideoComponents", video="file"),
        "lengths": _node("MMDisCoMatchLengths", 5.0, 16.0, **VAES, fps="parts.fps"),
        "empty": _empty("lengths.frames", "lengths.seconds"),
        "given": _node(
            "MMDisCoGivenVideo", images="parts.images", video_vae="video vae", latent="empty"
        ),
        **_guider(*DOG, "lengths.seconds"),
        **_sampled("given"),
        "split": _node("MMDisCoSplitVideoAudio", latent="sampled.output"),
        "sound": _node("VAEDecodeAudio", samples="split.audio", vae="audio model.VAE"),
        "video": _node("CreateVideo", 16.0, images="parts.images", audio="sound", fps="parts.fps"),
        "saved": _node("SaveVideo", "video/with-sound", "auto", "auto", video="video"),
    },
    "video_for_a_sound": {
        **_models(),
        "file": _node("LoadAudio", "sound.wav"),
        "lengths": _node("MMDisCoMatchLengths", 5.0, 16.0, **VAES),
        "empty": _empty("lengths.frames", "lengths.seconds"),
        "given": _node(
            "MMDisCoGivenAudio", 5.0, audio="file", audio_vae="audio model.VAE", latent="empty",
            seconds="lengths.seconds",
        ),
        **_guider(*DOG, "lengths.seconds"),
        **_sampled("given"),
        "clip": _node("MMDisCoDecodeVideoAudio", latent="sampled.output", **VAES),
        "video": _node("CreateVideo", 16.0, images="clip.images", audio="file"),
        "saved": _node("SaveVideo", "video/for-a-sound", "auto", "auto", video="video"),
    },
    "score_of_a_clip": {
        **_models(),
        **_guider(*DOG, "lengths.seconds"),
        "lengths": _node("MMDisCoMatchLengths", 5.0, 16.0, **VAES, fps="parts.fps"),
        "file": _node("LoadVideo", "clip.mp4", "image"),
        "parts": _node("GetVideoComponents", video="file"),
        "clip": _node(
            "MMDisCoEncodeVideoAudio", 16.0, images="parts.images", audio="parts.audio", **VAES,
            fps="parts.fps",
        ),
        "scores": _node("MMDisCoAlignmentScore", guider="guider", latent="clip"),
        "shown": _node("PreviewAny", source="scores.ranking"),
    },
}  # fmt: skip
"""Workflows by the name of their file; models are files of ComfyUI's own examples."""


def kind_of(schema: Any) -> Kind:
    """Return the inputs, outputs and widgets of a node of the pack."""
    typed = ("COMBO", "INT", "FLOAT", "STRING")
    inputs = [(one.id, one.io_type) for one in schema.inputs]
    return Kind(
        [one for one in inputs if one[1] not in typed],
        [(one.display_name or one.io_type, one.io_type) for one in schema.outputs],
        [one for one in inputs if one[1] in typed],
    )


def workflow(nodes: Mapping[str, Node], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Return a workflow as ComfyUI writes it.

    Args:
        nodes: Nodes by name.
        kinds: Kinds of all their types.

    Raises:
        KeyError: A link names what is not there, or is of another type.
    """
    numbers = {name: number for number, name in enumerate(nodes, start=1)}
    links: list[list[Any]] = []
    targets: dict[tuple[str, str], int] = {}
    sources: dict[tuple[str, int], list[int]] = {}
    for name, node in nodes.items():
        kind = kinds[node.type]
        slots = [*kind.inputs, *(one for one in kind.widgets if one[0] in node.links)]
        types = dict(slots)
        for slot, (own, _) in enumerate(slots):
            if own not in node.links:
                continue
            source, _, output = node.links[own].partition(".")
            outputs = kinds[nodes[source].type].outputs
            place = [one[0] for one in outputs].index(output) if output else 0
            type_ = outputs[place][1]
            if types[own] not in ("*", type_):
                raise KeyError(f"{name}.{own} takes {types[own]}, not {type_}")
            links.append([len(links) + 1, numbers[source], place, numbers[name], slot, type_])
            targets[name, own] = len(links)
            sources.setdefault((source, place), []).append(len(links))
    return {
        "last_node_id": len(nodes),
        "last_link_id": len(links),
        "nodes": [
            _written(name, node, kinds[node.type], numbers[name], targets, sources, place)
            for (name, node), place in zip(nodes.items(), _places(nodes, kinds), strict=True)
        ],
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def _written(
    name: str,
    node: Node,
    kind: Kind,
    number: int,
    targets: Mapping[tuple[str, str], int],
    sources: Mapping[tuple[str, int], list[int]],
    place: tuple[int, int],
) -> dict[str, Any]:
    sockets = [
        {"name": own, "type": type_, "link": targets.get((name, own))} for own, type_ in kind.inputs
    ]
    sockets += [
        {"name": own, "type": type_, "widget": {"name": own}, "link": targets[name, own]}
        for own, type_ in kind.widgets
        if own in node.links
    ]
    record = {
        "id": number,
        "type": node.type,
        "pos": list(place),
        "size": [WIDTH, _height(node, kind)],
        "flags": {},
        "order": number - 1,
        "mode": 0,
        "inputs": sockets,
        "outputs": [
            {"name": own, "type": type_, "links": sources.get((name, slot), [])}
            for slot, (own, type_) in enumerate(kind.outputs)
        ],
        "properties": {"Node name for S&R": node.type},
        "widgets_values": list(node.values),
    }
    return {**record, "title": name.capitalize()} if node.type in CORE else record


def _height(node: Node, kind: Kind) -> int:
    return ROW * (1 + max(len(kind.inputs), len(kind.outputs)) + len(node.values))


def _places(nodes: Mapping[str, Node], kinds: Mapping[str, Kind]) -> list[tuple[int, int]]:
    """Return the corners of the nodes: a column right of all that they are connected to."""
    columns: dict[str, int] = {}

    def column(name: str) -> int:
        if name not in columns:
            before = [column(link.partition(".")[0]) for link in nodes[name].links.values()]
            columns[name] = 1 + max(before, default=-1)
        return columns[name]

    below: dict[int, int] = {}
    places: list[tuple[int, int]] = []
    for name, node in nodes.items():
        own = column(name)
        places.append((own * (WIDTH + GAP), below.get(own, 0)))
        below[own] = places[-1][1] + _height(node, kinds[node.type]) + GAP
    return places
