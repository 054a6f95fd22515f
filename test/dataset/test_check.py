"""``chunked-vla dataset info`` and ``check``: exit codes, JSON, page, and real datasets judged."""

import json
from pathlib import Path
import re

import numpy as np
import pytest

from chunked_vla_ros.cli import main
from chunked_vla_ros.core.camera_measures import measure_camera
from chunked_vla_ros.dataset.camera_numbers import look_at
from chunked_vla_ros.dataset.check import DatasetCheckOptions, run_dataset_check

DEMOS = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'demos'
real = pytest.mark.skipif(
    not DEMOS.is_dir(), reason='real demonstrations are absent (shared/data)')


@pytest.fixture
def recordings(tmp_path):
    """Return a folder of six Franka recordings of 200 rows that swing, and what adds one."""
    def add(name, state):
        rows = np.zeros((len(state), 42))
        rows[:, 0] = 1.7e18 + np.arange(len(state)) * 1e6      # [ns]
        rows[:, 1:8] = state
        np.save(tmp_path / f'{name}.npy', rows)
        return tmp_path
    for number in range(6):
        add(f'ep{number}', np.sin(np.arange(200) / 100.0 + number)[:, None] * np.ones(7))
    return tmp_path, add


def check(folder, capsys, *options):
    code = main(['dataset', 'check', str(folder), *options])
    return code, capsys.readouterr()


def test_a_good_dataset_exits_with_0_also_when_strict(recordings, capsys):
    code, said = check(recordings[0], capsys, '--strict')
    assert code == 0
    assert 'verdict: good (6 good; 6 unlabeled)' in said.out


def test_a_stuck_recording_is_bad_and_exits_with_1(recordings, capsys):
    folder, add = recordings
    add('stuck', np.full((200, 7), 0.5))
    code, said = check(folder, capsys, '--json')
    report = json.loads(said.out)
    assert code == 1
    assert (report['verdict'], report['verdicts']) == (
        'bad', {'good': 6, 'suspect': 0, 'bad': 1})
    stuck = report['episodes'][6]
    assert [each['check'] for each in stuck['findings']] == ['constant']
    assert set(stuck['findings'][0]) == {
        'check', 'verdict', 'text', 'value', 'threshold', 'unit', 'remedy'}


def test_a_suspect_dataset_fails_only_where_it_is_strict(recordings, capsys):
    folder, add = recordings
    add('short', np.sin(np.arange(50) / 100.0)[:, None] * np.ones(7))
    assert check(folder, capsys)[0] == 0
    code, said = check(folder, capsys, '--strict')
    assert code == 1
    assert 'has 50 rows, the median is 200' in ' '.join(said.out.replace('│', ' ').split())


def test_a_broken_recording_is_one_bad_episode_among_good_ones(recordings, capsys):
    folder, _ = recordings
    (folder / 'ep2.npy').write_bytes(b'no array')
    code, said = check(folder, capsys, '--json')
    episodes = json.loads(said.out)['episodes']
    assert code == 1
    assert [each['verdict'] for each in episodes] == ['good', 'good', 'bad', *['good'] * 3]
    assert 'ep2.npy: cannot be read' in episodes[2]['findings'][0]['text']


def test_mistakes_are_one_line_and_exit_code_2(recordings, tmp_path, capsys):
    for arguments in (['check', 'nowhere'], ['info', 'nowhere'],
                      ['check', str(recordings[0]), '--robot', 'r2d2'],
                      ['check', str(recordings[0]), '--html', str(tmp_path / 'ep0.npy/x.html')]):
        assert main(['dataset', *arguments]) == 2
        complaint = capsys.readouterr().err
        assert complaint.startswith('error: ')
        assert complaint.count('\n') == 1


def test_limits_of_a_contract_count(recordings, capsys):
    code, said = check(recordings[0], capsys, '--robot', 'franka_fr3', '--json')
    checks = {each['check'] for episode in json.loads(said.out)['episodes']
              for each in episode['findings']}
    # sin(t) rad on all joints at 10 rad/s: joint 4 is never above -0.1 rad, none is so fast.
    assert code == 1
    assert checks == {'limit_position', 'limit_speed'}


def test_the_page_shows_every_episode_and_what_is_wrong(recordings, capsys):
    folder, add = recordings
    add('stuck<b>', np.full((200, 7), 0.5))
    page = folder / 'out/page.html'
    check(folder, capsys, '--html', str(page))
    html = page.read_text(encoding='utf-8')
    assert '1 bad of 7 episodes' in html
    assert 'the state never changes' in html
    assert len(re.findall(r'<details class="row', html)) == 7
    assert html.count('<svg') == 7 * 7 + 3         # joints of each episode; length, rate, gap
    assert '<script' not in html


def test_info_tells_rates_joints_and_what_cannot_be_read(recordings, capsys):
    folder, _ = recordings
    (folder / 'ep2.npy').write_bytes(b'no array')
    assert main(['dataset', 'info', str(folder), '--json']) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content['layout'], content['episodes'], content['rows']) == (
        'Franka recordings', 6, 1000)
    assert [each['episode'] for each in content['unreadable']] == [2]
    assert main(['dataset', 'info', str(folder)]) == 0
    assert 'warning: episode 2 cannot be read' in capsys.readouterr().out
    for file in folder.glob('*.npy'):
        file.write_bytes(b'')
    assert main(['dataset', 'info', str(folder)]) == 1


def test_frames_become_numbers_and_a_few_pictures():
    black, white = (np.full((24, 32, 3), grey, np.uint8) for grey in (0, 255))
    half = black.copy()
    half[:, 16:] = 255
    frames = [black, half, half, white]
    look = look_at(((row * 0.5, frame) for row, frame in enumerate(frames)), 4, 2, 16)
    numbers = look.numbers
    assert numbers.brightness.tolist() == [0.0, 127.5, 127.5, 255.0]
    assert numbers.dark.tolist() == [1.0, 0.5, 0.5, 0.0]
    assert numbers.bright.tolist() == [0.0, 0.5, 0.5, 1.0]
    assert numbers.same.tolist() == [False, False, True, False]
    assert numbers.travel.tolist() == [0.0, 255.0, 255.0, 255.0]
    assert numbers.sharpness[1] > 0.0 == numbers.sharpness[0]
    assert [frame.time_s for frame in look.shown] == [0.0, 1.5]
    assert measure_camera(look_at([], 0, 0, 16).numbers).frames == 0


@real
@pytest.mark.parametrize(('name', 'robot', 'frames', 'code'), [
    ('so101_constant', '', 'none', 1), ('g1_bottle', 'g1_arms', 'none', 0),
    ('bridge_widowx', '', 'all', 0), ('franka_fr3', 'franka_fr3', 'none', 0)])
def test_real_demonstrations_are_good_and_the_constant_ones_bad(name, robot, frames, code, capsys):
    options = DatasetCheckOptions(DEMOS / name, robot=robot, json=True, strict=True,
                                  frames=frames)
    assert run_dataset_check(options) == code
    verdicts = json.loads(capsys.readouterr().out)['verdicts']
    episodes = sum(verdicts.values())
    assert verdicts == {'good': 0, 'suspect': 0, 'bad': episodes} if code else {
        'good': episodes, 'suspect': 0, 'bad': 0}
