"""What is said of the pictures while they are learned: of the subject by its token, of its class by the noun alone."""

from __future__ import annotations

from augment.generators.scenes import language_for, photo_of

SUBJECT = {"en": "a photo of {}", "zh": "一张{}的照片"}
VIEWS = {
    "en": (
        "a photo of {}",
        "a close-up photo of {}",
        "{} seen from the side",
        "a picture of {} in good light",
        "a cropped photo of {}",
        "a photo of one {}",
        "{} in the middle of the picture",
        "a plain photo of {}",
    ),
    "zh": (
        "一张{}的照片",
        "{}的近景照片",
        "从侧面看{}",
        "光线充足的{}照片",
        "{}的局部照片",
        "画面中央的{}",
        "只有{}的照片",
        "{}的普通照片",
    ),
}
"""Textual inversion learns one word from many sentences around it, so that it works in others (Gal et al. 2023)."""


def of_subject(name: str, noun: str) -> str:
    """A photo of the subject; `name` as `Subject.name` has it, the language is the noun's."""
    return SUBJECT[language_for(noun)].format(name)


def of_class(noun: str) -> str:
    """A photo of any one of its class."""
    return photo_of(noun)


def views_of(token: str, noun: str) -> tuple[str, ...]:
    """The sentences around a learned token."""
    return tuple(each.format(token) for each in VIEWS[language_for(noun)])
