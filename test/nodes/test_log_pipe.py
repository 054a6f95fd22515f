"""Nobody who stops reading a node's log stops the node."""

import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

LIMIT_S = 20.0


def script(body: str) -> list[str]:
    return [sys.executable, '-c', textwrap.dedent("""
        import os, sys
        from chunked_vla_ros.nodes.log_pipe import unblockable_log
        """) + textwrap.dedent(body)]


@pytest.mark.parametrize('number', [1, 2])
def test_writers_go_on_though_nobody_reads(number: int) -> None:
    told, tell = os.pipe()
    command = script(f"""
        with unblockable_log():
            for _ in range(64):
                try:
                    os.write({number}, b'x' * 16384)
                except BlockingIOError:
                    pass
            os.write({tell}, b'done')
        """)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          pass_fds=[tell]) as process:
        try:
            os.close(tell)
            assert os.read(told, 4) == b'done'    # and nobody has read a byte of the log
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()
            os.close(told)


def test_all_that_is_said_arrives_where_somebody_reads() -> None:
    done = subprocess.run(script("""
        with unblockable_log():
            for number in range(2000):
                print(f'line {number}')
            print('mistake', file=sys.stderr)
        print('after')
        """), capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert done.stdout.splitlines() == [*(f'line {k}' for k in range(2000)), 'after']
    assert done.stderr == 'mistake\n'


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = script("""
        with unblockable_log():
            sys.stdin.readline()
            for _ in range(200):
                try:
                    os.write(1, b'x' * 16384)
                except BlockingIOError:
                    pass
        """)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.write(b'go\n')
        process.stdin.close()
        assert process.wait(LIMIT_S) == 0


def test_a_process_that_hangs_tells_where_past_the_pipe_even_while_it_ends() -> None:
    done = subprocess.run(script("""
        import signal
        def wait():
            os.kill(os.getpid(), signal.SIGQUIT)
        with unblockable_log():
            pass
        wait()
        """), capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert 'in wait' in done.stderr


def test_telling_where_it_hangs_waits_for_nobody() -> None:
    told, tell = os.pipe()
    command = script(f"""
        import signal
        with unblockable_log():
            os.set_blocking(2, False)
            try:
                while True:
                    os.write(2, b'x' * 65536)
            except BlockingIOError:
                pass
            for _ in range(100):
                os.kill(os.getpid(), signal.SIGQUIT)
            os.write({tell}, b'done')
        """)
    with subprocess.Popen(command, stderr=subprocess.PIPE, pass_fds=[tell]) as process:
        try:
            os.close(tell)
            assert os.read(told, 4) == b'done'    # and nobody has read a byte of the log
        finally:
            process.kill()
            os.close(told)


def test_a_crash_is_told_past_the_pipe() -> None:
    done = subprocess.run(script("""
        with unblockable_log():
            os.abort()
        """), capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode < 0
    assert 'Fatal Python error: Aborted' in done.stderr
