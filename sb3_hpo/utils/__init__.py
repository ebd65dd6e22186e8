"""What all rooms use, and what needs nothing of ours.

- `errors`: mistakes of the user, and the words for them
- `formatting`: numbers, plurals and hyperparameters as people read them
- `console`: what commands print, and how they end
- `files`: text files, YAML among them, read with care and written whole or not at all
- `import_strings`: Python objects as text, `module:name` or `file.py:name`
- `notebook_objects`: those that only an interactive session knows, pickled
- `urls`: addresses that hold passwords
- `processes`: child processes of ours, and signals
- `seeding`: one root seed, many random streams
"""

__all__ = [
    "console",
    "errors",
    "files",
    "formatting",
    "import_strings",
    "notebook_objects",
    "processes",
    "seeding",
    "urls",
]
