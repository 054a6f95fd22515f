"""
Checks of what people say of episodes: outcomes, instructions, and how long an episode is.

Works on measures; knows no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
import difflib
import math
import re

from chunked_vla_ros.core.dataset_findings import Finding, Grade
from chunked_vla_ros.core.dataset_measures import EpisodeMeasures
from chunked_vla_ros.core.dataset_norms import DatasetNorms, FEWEST_EPISODES
from chunked_vla_ros.core.dataset_rules import DatasetRules
from chunked_vla_ros.core.recording import Outcome, Verdict

# Texts are compared each with each.
MOST_TEXTS = 200
# So alike are "carrot" and "carot"; "red" and "green", "left" and "right" are about half as much.
TYPO_RATIO = 0.8
SHOWN_TEXT = 60


def check_labels(found: EpisodeMeasures, norms: DatasetNorms, some_task: bool,
                 rules: DatasetRules) -> Iterator[Finding]:
    """Yield what is wrong with length, outcome and instruction of an episode."""
    if found.rows < 2:
        yield Finding('length', Grade.BAD, f'has {found.rows} rows', found.rows, 2, 'rows',
                      'delete the episode')
    elif norms.readable >= FEWEST_EPISODES and norms.rows > 0:
        ratio = found.rows / norms.rows
        if abs(math.log(ratio)) > math.log(rules.short_ratio):
            yield Finding(
                'length', Grade.SUSPECT,
                f'has {found.rows} rows, the median is {norms.rows:g}', ratio,
                1.0 / rules.short_ratio if ratio < 1.0 else rules.short_ratio, '',
                'look whether it was cut off or went on idle')
    if some_task and not found.task.strip():
        yield Finding('task', Grade.SUSPECT, 'has no instruction, other episodes have', 0, 1,
                      'texts', 'convert it again with --task, or delete it')
    if found.recording in (Verdict.USABLE.value, Verdict.BROKEN.value):
        broken = found.recording == Verdict.BROKEN.value
        yield Finding(
            'recording', Grade.BAD if broken else Grade.GOOD,
            f'the recorder found its bag {found.recording}', float(broken), 0.0, '',
            'see why with chunked-vla bag info, record the episode again')
    if found.succeeded is not None and found.outcome is not Outcome.UNLABELED \
            and found.succeeded != (found.outcome is Outcome.SUCCESS):
        yield Finding(
            'outcome', Grade.SUSPECT,
            f'is labelled {found.outcome.value}, its rows say '
            f'{"success" if found.succeeded else "no success"}', float(found.succeeded),
            float(found.outcome is Outcome.SUCCESS), '', 'label the episode again and convert it')


def check_dataset_labels(episodes: Sequence[EpisodeMeasures]) -> Iterator[Finding]:
    """Yield what is wrong with labels and instructions over the whole dataset."""
    read = [episode for episode in episodes if not episode.error]
    unlabelled = sum(episode.outcome is Outcome.UNLABELED for episode in read)
    if read and unlabelled:
        some = unlabelled < len(read)
        yield Finding(
            'labels', Grade.SUSPECT if some else Grade.GOOD,
            f'{unlabelled} of {len(read)} episodes have no outcome', unlabelled / len(read), 0.0,
            '', 'label them before they are converted: success and failure are what offline RL '
            'learns from')
    texts = Counter(episode.task for episode in read)
    if read and set(texts) == {''}:
        yield Finding('tasks', Grade.GOOD, 'no episode has an instruction', 0, 1, 'texts',
                      'convert with --task if a language-conditioned policy is to learn from it')
    yield from _alike(texts)


def _alike(texts: Counter[str]) -> Iterator[Finding]:
    known = [text for text, _ in texts.most_common(MOST_TEXTS) if text.strip()]
    for number, text in enumerate(known):
        for other in known[:number]:
            same = _words(text) == _words(other)
            ratio = 1.0 if same else _likeness_of_the_odd_word(text, other)
            if ratio >= TYPO_RATIO:
                yield Finding(
                    'task_alike', Grade.SUSPECT if same else Grade.GOOD,
                    f'{_short(other)} and {_short(text)} are '
                    f'{"one instruction in two spellings" if same else "nearly the same"}',
                    ratio, TYPO_RATIO, '', 'write them the same if they mean the same')


def _words(text: str) -> list[str]:
    return re.findall(r'\w+', text.casefold())


def _likeness_of_the_odd_word(text: str, other: str) -> float:
    """Return how alike the one word is that differs, 0 where more than one does."""
    words, others = _words(text), _words(other)
    odd = [pair for pair in zip(words, others, strict=False) if pair[0] != pair[1]]
    if len(words) != len(others) or len(odd) != 1:
        return 0.0
    return difflib.SequenceMatcher(None, *odd[0]).ratio()


def _short(text: str) -> str:
    shown = ' '.join(text.split())
    return repr(shown if len(shown) <= SHOWN_TEXT else f'{shown[:SHOWN_TEXT - 3]}...')
