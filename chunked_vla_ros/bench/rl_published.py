"""
Success rates that others published for these tasks, in percent, and where they stand.

QC: Li, Zhou and Levine 2025, arXiv 2507.07969: the learning curves that its authors released
(`plot_data` of its repository, means over 4 seeds at 1M and 2M steps); its tables have means over
five tasks only. FQL: Park, Li and Levine, ICML 2025, arXiv 2502.02538, table 3 (8 seeds, mean of
the evaluations at 0.8M, 0.9M and 1M updates). Knows nothing of ours.
"""

from __future__ import annotations

from dataclasses import dataclass

QC, FQL = 'QC', 'FQL'
SOURCES = {
    QC: 'QC = Li et al. 2025, arXiv 2507.07969, curves released by the authors: '
        '1M offline updates, then 1M online steps, 4 seeds',
    FQL: 'FQL = Park et al. 2025, arXiv 2502.02538, table 3: 1M offline updates, 8 seeds',
}


@dataclass(frozen=True)
class Published:
    """Success [%] after the offline and after the online phase; ``None``: not published."""

    offline: float | None
    online: float | None
    source: str = QC


def _pairs(**of_task: tuple[float | None, float | None]) -> dict[str, Published]:
    return {name: Published(*pair) for name, pair in of_task.items()}


PUBLISHED: dict[str, dict[str, Published]] = {
    **{f'cube-single-task{number}': {'fql': Published(percent, None, FQL)}
       for number, percent in enumerate((97, 97, 98, 94, 93), start=1)},
    'cube-double-task1': _pairs(
        fql=(64, 98), fql_n=(27, 99), qc_fql=(80, 100), bfn=(73, 98), bfn_n=(13, 99),
        qc=(83, 99), rlpd=(None, 99), rlpd_ac=(None, 100)),
    'cube-double-task2': _pairs(
        fql=(43, 92), fql_n=(6, 96), qc_fql=(45, 100), bfn=(77, 88), bfn_n=(5, 65),
        qc=(72, 100), rlpd=(None, 99), rlpd_ac=(None, 99)),
    'cube-double-task3': _pairs(
        fql=(28, 96), fql_n=(0, 91), qc_fql=(35, 99), bfn=(77, 88), bfn_n=(5, 73),
        qc=(76, 99), rlpd=(None, 100), rlpd_ac=(None, 99)),
    'cube-double-task4': _pairs(
        fql=(5, 1), fql_n=(2, 2), qc_fql=(11, 100), bfn=(23, 37), bfn_n=(0, 0),
        qc=(30, 92), rlpd=(None, 98), rlpd_ac=(None, 97)),
    'cube-double-task5': _pairs(
        fql=(22, 92), fql_n=(10, 96), qc_fql=(41, 100), bfn=(78, 96), bfn_n=(7, 77),
        qc=(77, 99), rlpd=(None, 96), rlpd_ac=(None, 87)),
}


def published(task: str, method: str) -> Published:
    """Return what is known of ``method`` at ``task``; of some, nothing."""
    return PUBLISHED.get(task, {}).get(method, Published(None, None, ''))
