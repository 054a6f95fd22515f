"""Which keys are whose: what a method does not look at is told to who sets it."""

from dataclasses import fields
import re

import pytest

from chunked_vla_ros.training.rl_config import METHODS, METHODS_OF, RlConfig, without_effect

TEXTS = {each.name: each.metadata['doc'] for each in fields(RlConfig)}


@pytest.mark.parametrize('key', METHODS_OF)
def test_a_key_is_of_the_methods_that_its_help_names(key):
    named = {method for method in METHODS if re.search(rf'\b{method}\b', TEXTS[key])}
    # Of `critic_steps` it is said what qc does without.
    if key == 'critic_steps' or 'of all but' in TEXTS[key]:
        named = set(METHODS) - named
    assert set(METHODS_OF[key]) == named - {'imitation'}


def test_keys_of_another_method_are_without_effect():
    keys = ('steps', 'rl.alpha', 'rl.discount', 'rl.bc_weight')
    assert without_effect(keys, 'co_rft') == ('rl.alpha',)
    assert without_effect(keys, 'advantage') == ('rl.alpha', 'rl.bc_weight')
    assert without_effect(keys, 'imitation') == keys[1:]
