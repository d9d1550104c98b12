"""What people, and programs, may say: texts that no model may stumble over."""

TURNS = [
    "Ada: I moved to Lisbon in March and I already miss the snow.",
    "Ben: The dentist moved my appointment to Friday at nine.",
    "ok",
    "",
    " \n\t ",
    "😀 🎉 👩‍👩‍👧‍👦",
    "これは日本語の文です。",
    "Привет, как у тебя дела?",
    "مرحبا بالعالم",
    "e\u0301 \u200b \ufeff \x01",
    "x" * 3_000,
    "word " * 700,
]
