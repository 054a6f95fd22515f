"""The train graph, the same for launch and for `chunked-vla up`: one node, and its job if any."""

from pathlib import Path
from typing import Any

import pytest

from chunked_vla_ros.graph.node_spec import GraphError, NodeSpec
from chunked_vla_ros.graph.train import train_graph, TrainOptions


def trainer(**chosen: Any) -> NodeSpec:
    spec, = train_graph(TrainOptions(**chosen))
    return spec


def test_without_a_job_it_waits_for_the_action() -> None:
    spec = trainer()
    assert (spec.executable, spec.name) == ('offline_trainer_node', 'offline_trainer')
    assert spec.parameters == {'autostart': True}
    assert [Path(file).name for file in spec.parameter_files] == ['trainer.yaml']


def test_it_is_given_longer_to_end_than_it_gives_its_own_child() -> None:
    process = pytest.importorskip('chunked_vla_ros.nodes.train_process')
    assert trainer().stop_patience_s > max(process.STOP_PATIENCE_S.values()) + 10.0


def test_bags_and_their_dataset_reach_the_node_as_absolute_paths(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    given = trainer(bags='a, b', dataset='cubes', options='fps=20,gap_s=0.5').parameters
    assert given == {
        'autostart': True, 'bags': (str(tmp_path / 'a'), str(tmp_path / 'b')),
        'dataset': str(tmp_path / 'cubes'), 'options': ('fps=20', 'gap_s=0.5')}


def test_a_training_reaches_the_node_as_absolute_paths(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('cubes', 'more'):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    given = trainer(dataset='cubes', datasets='more', out='runs/one', bundle='policy',
                    config='compact', train_options='steps=20,policy.width=16',
                    robot='ur5e_sim').parameters
    assert given == {
        'autostart': True, 'dataset': str(tmp_path / 'cubes'),
        'datasets': (str(tmp_path / 'more'),), 'out': str(tmp_path / 'runs/one'),
        'bundle': str(tmp_path / 'policy'), 'config': 'compact', 'robot': 'ur5e_sim',
        'train_options': ('steps=20', 'policy.width=16')}
    assert trainer(datasets='more', out='o', config='mine/own.yaml').parameters['config'] == str(
        tmp_path / 'mine/own.yaml')


@pytest.mark.parametrize(('chosen', 'reason'), [
    ({'bags': '/'}, 'dataset is empty: name the folder of the dataset that bags become'),
    ({'dataset': 'cubes'}, 'dataset alone asks for nothing'),
    ({'bags': '/nowhere', 'dataset': 'cubes'}, '/nowhere: does not exist, expected a bag'),
    ({'dataset': '/nowhere', 'out': 'o'}, '/nowhere: does not exist, expected a dataset'),
    ({'datasets': '/, /nowhere', 'out': 'o'}, '/nowhere: does not exist, expected a dataset'),
    ({'datasets': '/'}, 'out is empty'),
    ({'train_options': 'steps=3', 'dataset': '/'}, 'out is empty'),
    ({'out': 'o'}, 'dataset is empty: name the dataset that the training learns from'),
    ({'log_level': 'loud'}, "log level 'loud'"),
    ({'params_file': '/nowhere.yaml'}, '/nowhere.yaml: no such parameter file')])
def test_a_mistake_is_one_line(chosen: dict[str, Any], reason: str) -> None:
    with pytest.raises(GraphError, match=reason):
        trainer(**chosen)
