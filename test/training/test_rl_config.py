"""Which keys are whose: what a method does not look at is told to who sets it."""

from dataclasses import fields

import pytest

from chunked_vla_ros.training.rl_config import (
    METHODS,
    METHODS_OF,
    RlConfig,
    without_effect,
)


def test_every_key_that_is_told_of_is_there():
    assert set(METHODS_OF) <= {each.name for each in fields(RlConfig)}


@pytest.mark.parametrize(('method', 'idle'), [
    ('imitation', ('rl.alpha', 'rl.discount', 'rl.bc_weight', 'rl.tabulate_every')),
    ('advantage', ('rl.alpha', 'rl.bc_weight')), ('co_rft', ('rl.alpha',)),
    ('qc', ('rl.alpha', 'rl.bc_weight', 'rl.tabulate_every')),
    ('qc_fql', ('rl.bc_weight', 'rl.tabulate_every'))])
def test_keys_of_other_methods_are_without_effect(method, idle):
    assert method in METHODS
    keys = ('steps', 'rl.alpha', 'rl.discount', 'rl.bc_weight', 'rl.tabulate_every')
    assert without_effect(keys, method) == idle
