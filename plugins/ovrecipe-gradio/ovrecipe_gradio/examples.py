"""Instructions to begin with: one click fills the box, nothing is asked by itself."""

from __future__ import annotations

EXAMPLES = (
    "What is the capital of France?",
    "Explain to a ten-year-old why the sky is blue.",
    "Name three differences between a cat and a dog.",
    "Write a short poem about the first snow of the year.",
    "Give me a recipe for pancakes, step by step.",
    "Write a Python function that reverses a string.",
    "Translate into German: Where is the railway station?",
    "Write a friendly e-mail that moves a meeting to Monday.",
    "Sum up in two sentences how a bicycle stays upright.",
    "List five ideas for a rainy Sunday with children.",
)
