"""Prompts as vectors."""

from itertools import product

import numpy as np
import pytest
import torch
from closeness import assert_close, is_close

from mmdisco.adapters.miniature.model import TextEncoder
from mmdisco.adapters.miniature.vocabulary import words_of
from mmdisco.errors import UserError
from mmdisco.media.sounding_objects.dataset import draw_caption, vocabulary
from mmdisco.media.sounding_objects.scene import Colour, ObjectKind, SceneConstraints, Size


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(vocabulary())


def test_the_order_of_words_does_not_matter(encoder):
    first, second = encoder(["a red ball bouncing", "bouncing ball, a RED one"])
    assert_close(first, second)


def test_another_word_is_another_vector(encoder):
    first, second = encoder(["a red ball bouncing", "a blue ball bouncing"])
    assert not is_close(first, second, rtol=1e-3)


def test_vectors_are_standardised(encoder):
    vectors = encoder(["", "a small green bell rings twice"])
    assert_close(vectors.mean(1), torch.zeros(2), scale=1)
    assert_close(vectors.var(1, correction=0), torch.ones(2), rtol=1e-2)


def test_a_prompt_of_known_words_has_no_unknown_ones(encoder):
    assert encoder.vocabulary.unknown("A small green bell rings twice!") == []


def test_an_unknown_word_comes_with_the_nearest_known(encoder):
    (unknown,) = encoder.vocabulary.unknown("a red baal hall bouncing")
    assert unknown.word == "hall"
    assert "ball" in unknown.nearest


@pytest.mark.parametrize("prompt", ["", "  "])
def test_an_empty_prompt_is_refused(encoder, prompt):
    with pytest.raises(UserError, match="empty"):
        encoder.vocabulary.unknown(prompt)


@pytest.mark.parametrize(
    "prompt", ["elephant", "a purple elephant", "🥁", "?!", "three", "the dog is on a chair"]
)
def test_a_prompt_without_a_known_word_is_refused_with_those_it_knows(encoder, prompt):
    with pytest.raises(UserError, match=r"knows .*ball"):
        encoder.vocabulary.unknown(prompt)


def test_words_are_split_at_punctuation():
    assert words_of("A red-ball, bouncing.") == ["a", "red", "ball", "bouncing"]


def old_bag(encoder, prompt):
    words = words_of(prompt)
    return torch.tensor([[float(word in words) for word in encoder.vocabulary.words]])


def test_every_caption_of_training_is_read_word_by_word(encoder):
    rng = np.random.default_rng(0)
    counts = (None, 1, 2, 3, 4)
    for kind, colour, size, count in product(ObjectKind, (None, *Colour), (None, *Size), counts):
        for _ in range(4):
            text = draw_caption(
                SceneConstraints(kind=kind, colour=colour, size=size, count=count), rng
            ).text
            assert torch.equal(encoder.bags([text]), old_bag(encoder, text)), text
            assert encoder.vocabulary.notices(text) == []


@pytest.mark.parametrize(
    ("prompt", "known"),
    [
        ("a red ball that bounces 3 times", "a red ball bounces three times"),
        ("red balls bounce two times", "red ball bounces twice"),
        ("a lamp flashed one time", "a lamp flashes once"),
        ("hitting drums thrice", "hit drum three times"),
        ("bells that rang", "bell rings"),
        ("one ball dropping", "ball drops"),
    ],
)
def test_known_words_are_understood_in_other_forms(prompt, known, encoder):
    assert torch.equal(encoder.bags([prompt]), old_bag(encoder, known))
    assert encoder.vocabulary.notices(prompt) == []


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a yelow ball", ["'yelow' is read as 'yellow'"]),
        ("a drmu", ["'drmu' is read as 'drum'"]),
        ("a bal", ["'bal' is read as 'ball'"]),
        ("a big red ball and two cats", ["ignored, for this pair does not know: 'two', 'cats'"]),
        (
            "a green elephant",
            [
                "of 'a green elephant' only 1 of 2 words say anything; ignored, for "
                "this pair does not know: 'elephant'"
            ],
        ),
    ],
)
def test_slips_are_corrected_and_said_and_half_a_prompt_is_called_so(prompt, said, encoder):
    assert encoder.vocabulary.notices(prompt) == said


@pytest.mark.parametrize("word", ["wall", "tall", "night", "bull", "bed", "rod"])
def test_another_word_is_not_taken_for_a_slip(word, encoder):
    (unknown,) = encoder.vocabulary.unknown(f"{word} lamp")
    assert unknown.word == word
