"""The newest whole checkpoint is found by listing: what is half written does not count."""

from pathlib import Path

from chunked_vla_ros.data.checkpoint_folder import (
    checkpoint_path,
    checkpoint_step,
    checkpoints,
    newest_checkpoint,
)


def test_a_training_that_has_not_begun_has_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / 'nowhere') is None
    (tmp_path / 'checkpoints').write_text('a file')
    assert newest_checkpoint(tmp_path) is None


def test_the_newest_is_that_of_the_highest_step_among_the_whole_ones(tmp_path: Path) -> None:
    assert checkpoint_path(tmp_path, 20).name == 'step_000020'
    for step in (3, 20, 1_000_000):
        checkpoint_path(tmp_path, step).mkdir(parents=True)
        (checkpoint_path(tmp_path, step) / 'state.json').write_text('{}')
    for name in ('step_2000000', '.step_3000000.new', 'step_x'):
        (tmp_path / 'checkpoints' / name).mkdir()
    (tmp_path / 'checkpoints' / '.step_3000000.new' / 'state.json').write_text('{}')
    assert [checkpoint_step(path) for path in checkpoints(tmp_path)] == [3, 20, 1_000_000]
    assert newest_checkpoint(tmp_path) == checkpoint_path(tmp_path, 1_000_000)
