"""What offline RL learns from is taken from the rows as the configuration says."""

import numpy as np

from chunked_vla_ros.core.chunk_transitions import EndRule

RL = {'method': 'qc', 'steps': 6, 'batch_size': 4, 'rl': {
    'discount': 0.9, 'horizon': 3, 'critic_steps': 3}}


def test_successes_and_ends_count_as_the_configuration_says(rl_material_of):
    def listed(*overrides):
        rl = rl_material_of(RL, *overrides).rl
        rows, counts = np.unique(rl.chunks.rows, return_counts=True)
        return rl, dict(zip(rows.tolist(), counts.tolist(), strict=True))

    once, counts = listed('rl.success_repeats=1')
    assert set(counts.values()) == {1}
    often, more = listed('rl.success_repeats=3')
    reached = once.chunks.at(np.arange(len(once.chunks))).returns.max(axis=1) > 0.0
    assert reached.any()
    assert not reached.all()
    expected = np.where(reached, 3, 1).tolist()
    assert more == dict(zip(once.chunks.rows.tolist(), expected, strict=True))
    assert np.array_equal(often.each.rows, once.each.rows)
    for rule in EndRule:
        rl = rl_material_of(RL, f'rl.end_rule={rule.value}').rl
        assert (rl.chunks.rule, rl.each.rule) == (rule, EndRule.SAFE)
