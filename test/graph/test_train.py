"""The train graph, the same for launch and for `chunked-vla up`: one node, and its job if any."""

from pathlib import Path
from typing import Any

import pytest

from chunked_vla_ros.graph.node_spec import GraphError, NodeSpec
from chunked_vla_ros.graph.train import train_graph, TrainOptions


def trainer(**chosen: Any) -> NodeSpec:
    spec, = train_graph(TrainOptions(**chosen))
    return spec


def test_without_bags_it_waits_for_the_action() -> None:
    spec = trainer()
    assert (spec.executable, spec.name) == ('offline_trainer_node', 'offline_trainer')
    assert spec.parameters == {'robot': 'ur5e_sim', 'autostart': True}
    assert [Path(file).name for file in spec.parameter_files] == ['trainer.yaml']


def test_bags_and_their_dataset_reach_the_node_as_absolute_paths(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    given = trainer(bags='a, b', dataset='cubes', options='fps=20,gap_s=0.5').parameters
    assert given['bags'] == (str(tmp_path / 'a'), str(tmp_path / 'b'))
    assert given['dataset'] == str(tmp_path / 'cubes')
    assert given['options'] == ('fps=20', 'gap_s=0.5')


@pytest.mark.parametrize(('chosen', 'reason'), [
    ({'bags': '/'}, 'bags and dataset belong together'),
    ({'dataset': 'cubes'}, 'bags and dataset belong together'),
    ({'bags': '/nowhere', 'dataset': 'cubes'}, '/nowhere: does not exist'),
    ({'log_level': 'loud'}, "log level 'loud'"),
    ({'params_file': '/nowhere.yaml'}, '/nowhere.yaml: no such parameter file')])
def test_a_mistake_is_one_line(chosen: dict[str, Any], reason: str) -> None:
    with pytest.raises(GraphError, match=reason):
        trainer(**chosen)
