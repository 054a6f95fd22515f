"""
A child process that is asked and answers in lines of JSON, on its standard input and output.

What libraries print goes to the log. Knows nothing of what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
import json
import os
import sys
from typing import Any, TextIO

# A job, as JSON has it, to what there is to say of it.
Answer = Callable[[Any], Mapping[str, Any]]


def answer_stream() -> TextIO:
    """Return standard output, for answers alone: what is printed from now on is an error's."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), 'w', encoding='utf-8')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def say(answers: TextIO, content: Mapping[str, Any]) -> None:
    """Write one line, at once."""
    answers.write(json.dumps(content) + '\n')
    answers.flush()


def serve_lines(requests: TextIO, answers: TextIO,
                begin: Callable[[Any], AbstractContextManager[Answer]],
                faults: tuple[type[Exception], ...]) -> None:
    """
    Answer ``requests`` until they end, or until one cannot be: its reason is the last answer.

    :param begin: Takes the first line, returns what answers each further one.
    :param faults: What is told as ``error``, in one line; anything else is a fault of the program.
    """
    try:
        with begin(json.loads(requests.readline())) as answer:
            for line in requests:
                say(answers, answer(json.loads(line)))
    except faults as error:
        say(answers, {'error': ' '.join(str(error).split())})
