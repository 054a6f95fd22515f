"""Rules of what a training learns from: its words, its joints, its episodes' names."""

from dataclasses import replace
import json

import pytest

from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.data.training_rows import read_training_rows
from chunked_vla_ros.training.config import read_config
from chunked_vla_ros.training.material import make_material


def words_of(material) -> set[str]:
    return set(json.loads(material.origin.tokenizer)['model']['vocab'])


def test_words_that_only_held_out_episodes_have_are_unknown(make_material_of) -> None:
    # Episode 1 says 'lift it', episodes 0 and 2 say 'put it down'.
    material = make_material_of('held_out=[1]')
    assert words_of(material) == {'[PAD]', '[UNK]', 'put', 'it', 'down'}
    assert material.origin.shape.vocabulary == 5
    said = material.rows.instructions.index('lift it')
    # In alphabetical order behind [PAD] 0 and [UNK] 1: down it put
    assert material.tokens[said].tolist() == [1, 3, 0, 0]
    assert words_of(make_material_of('held_out=[0]')) > {'lift', 'put'}


@pytest.mark.parametrize('place_of', [0, 1])
def test_a_joint_whose_angle_jumps_by_a_turn_is_refused_by_name(place, place_of) -> None:
    config = read_config(place.config)
    robot = load_robot(config.robot)
    joints = list(robot.joints)
    joints[place_of] = replace(joints[place_of], kind=DimKind.WRAPPED)
    turning = replace(robot, joints=tuple(joints))
    rows = read_training_rows([place.data], turning, None, place.cache)
    with pytest.raises(ValueError, match=f'tiny: joint {joints[place_of].name} is wrapped') as no:
        make_material(config, turning, rows)
    assert '\n' not in str(no.value)
