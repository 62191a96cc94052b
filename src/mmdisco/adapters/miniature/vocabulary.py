"""The words that the miniature pair knows, and how a prompt is read in them.

A known word may appear in another form ("bounce", "balls", "three times" as "3 times") or with
one typing error; any other word is reported, never guessed. Captions of known words are read
unchanged. Independent of networks.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from mmdisco.errors import UserError

LITTLE_WORDS: Final = frozenset({"a", "and", "being", "is", "on", "the", "with"})
_SILENT: Final = frozenset(
    {"an", "are", "as", "at", "be", "by", "for", "from", "in", "it", "its", "of", "one", "some"}
    | {"that", "there", "this", "to", "was", "were", "1"}
)
_NUMBERS: Final = {
    **dict(zip(["one", "two", "three", "four"], range(1, 5), strict=True)),
    **{str(count): count for count in range(1, 5)},
}
_LARGER: Final = frozenset(["five", "six", "seven", "eight", "nine", "ten"])
_COUNTS: Final = {1: ("once",), 2: ("twice",), 3: ("three", "times"), 4: ("four", "times")}
_IRREGULAR: Final = {"rang": "rings", "rung": "rings", "thrice": "three times"}
_ENDINGS: Final = ("ing", "ed", "es", "s", "e")
_LEAST_STEM: Final = 3
_LEAST_CORRECTED: Final = 4  # letters of a word that others are corrected to


@dataclass(frozen=True)
class Word:
    """A word of a prompt.

    Attributes:
        text: The word in lower case.
        known: The known words it stands for; empty where it means nothing.
        corrected: Whether it was corrected as a typing error.
    """

    text: str
    known: tuple[str, ...]
    corrected: bool = False

    @property
    def counts(self) -> bool:
        """Whether the word carries meaning, or would if it were known."""
        return self.text not in _SILENT and not (self.known and set(self.known) <= LITTLE_WORDS)


@dataclass(frozen=True)
class Unknown:
    """A word that is ignored.

    Attributes:
        word: The word as in the prompt, in lower case.
        nearest: Known words that look like it; may be empty.
    """

    word: str
    nearest: tuple[str, ...]

    def __str__(self) -> str:
        near = " or ".join(repr(word) for word in self.nearest)
        return f"{self.word!r} (nearest: {near})" if near else repr(self.word)


@dataclass(frozen=True)
class Vocabulary:
    """A closed list of words.

    Attributes:
        words: All words, in the order of the weights.
    """

    words: tuple[str, ...]

    def read(self, prompt: str) -> list[Word]:
        """Return the words of a prompt, each with the known words it stands for."""
        return list(self._read(words_of(prompt)))

    def counted(self, prompt: str) -> tuple[int, int]:
        """Count the words of a prompt that are known, and all that carry meaning or would."""
        read = [word for word in self.read(prompt) if word.counts]
        return sum(bool(word.known) for word in read), len(read)

    def unknown(self, prompt: str) -> list[Unknown]:
        """Return the words of ``prompt`` that have no meaning for the pair.

        Raises:
            UserError: The prompt is empty, or no word of it is known.
        """
        if not prompt.strip():
            raise UserError('the prompt is empty: describe a clip, as in "a red ball bouncing"')
        read = [word for word in self.read(prompt) if word.counts]
        if not any(word.known for word in read):
            raise UserError(
                f"no word of {prompt!r} is known: this pair knows {', '.join(self.words)}"
            )
        return [
            Unknown(text, tuple(difflib.get_close_matches(text, self.words, n=2, cutoff=0.6)))
            for text in dict.fromkeys(word.text for word in read if not word.known)
        ]

    def notices(self, prompt: str) -> list[str]:
        """Return one line for each deviation from the literal prompt: corrections, ignored words.

        Raises:
            UserError: The prompt is empty, or no word of it is known.
        """
        strange = self.unknown(prompt)
        read = [word for word in self.read(prompt) if word.counts]
        corrected = {word.text: " ".join(word.known) for word in read if word.corrected}
        lines = [f"{text!r} is read as {known!r}" for text, known in corrected.items()]
        if strange:
            known, count = self.counted(prompt)
            half = 2 * known <= count
            share = f"of {prompt!r} only {known} of {count} words say anything; " if half else ""
            named = ", ".join(map(str, strange))
            lines.append(f"{share}ignored, for this pair does not know: {named}")
        return lines

    def _read(self, texts: Sequence[str]) -> Iterator[Word]:
        index = 0
        while index < len(texts):
            text = texts[index]
            following = texts[index + 1] if index + 1 < len(texts) else ""
            count = _COUNTS.get(_NUMBERS.get(text, 0), ())
            if following in ("time", "times") and count and set(count) <= set(self.words):
                yield Word(f"{text} {following}", count)
                index += 2
                continue
            yield self._word(text)
            index += 1

    def _word(self, text: str) -> Word:
        if text in _NUMBERS or text in _LARGER or text.isdigit():
            return Word(text, ())  # a number of objects, and there is always one
        if text in self.words:
            return Word(text, (text,))
        if text in _SILENT:
            return Word(text, ())
        form = _IRREGULAR.get(text) or self._stems.get(_stem(text), "")
        if form and set(form.split()) <= set(self.words):
            return Word(text, tuple(form.split()))
        near = [known for known in self._stems.values() if _one_slip(text, known)]
        return Word(text, (near[0],), corrected=True) if len(near) == 1 else Word(text, ())

    @cached_property
    def _stems(self) -> dict[str, str]:
        stems: dict[str, str] = {}
        for word in self.words:
            if word not in LITTLE_WORDS and word not in _NUMBERS:
                stems.setdefault(_stem(word), word)
        return stems


def words_of(prompt: str) -> list[str]:
    """Return the words of a prompt in lower case, without punctuation."""
    return re.findall(r"[^\W_]+", prompt.lower())


def _stem(word: str) -> str:
    """Return the common stem of a word's forms."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST_STEM and word[-2:] != "ss":
            word = word[: -len(ending)]
            break
    doubled = len(word) > _LEAST_STEM and word[-1] == word[-2] and word[-1] not in "lsz"
    return word[:-1] if doubled else word


def _one_slip(text: str, known: str) -> bool:
    """Whether one letter is added, missing or wrong, or two are swapped; the first must match."""
    if len(known) < _LEAST_CORRECTED or text[0] != known[0]:
        return False
    begin = 0
    while begin < min(len(text), len(known)) and text[begin] == known[begin]:
        begin += 1
    one, other = text[begin:], known[begin:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return max(len(one), len(other)) == 1 or (len(one) == 2 and one == other[::-1])
