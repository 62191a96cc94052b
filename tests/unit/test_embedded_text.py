"""Prompts as vectors."""

import pytest
import torch
from closeness import assert_close, is_close

from mmdisco.embedded.text import TextEncoder, words_of
from mmdisco.errors import UserError
from mmdisco.objects.captions import vocabulary


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
    assert encoder.unknown("A small green bell rings twice!") == []


def test_an_unknown_word_comes_with_the_nearest_known(encoder):
    (unknown,) = encoder.unknown("a red bal bouncing")
    assert unknown.word == "bal"
    assert "ball" in unknown.nearest


@pytest.mark.parametrize("prompt", ["", "  ", "?!", "..."])
def test_an_empty_prompt_is_refused(encoder, prompt):
    with pytest.raises(UserError, match="empty"):
        encoder.unknown(prompt)


@pytest.mark.parametrize("prompt", ["elephant", "a purple elephant", "the dog is on a chair"])
def test_a_prompt_without_a_known_word_is_refused_with_those_it_knows(encoder, prompt):
    with pytest.raises(UserError, match=r"knows .*ball"):
        encoder.unknown(prompt)


def test_words_are_split_at_punctuation():
    assert words_of("A red-ball, bouncing.") == ["a", "red", "ball", "bouncing"]
