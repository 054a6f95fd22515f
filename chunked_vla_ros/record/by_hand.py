"""
Record what a person demonstrates: keys press the recorder's buttons, or drive the arm.

Each key is acted on at once and its answer shown when it comes, so that a disk that is slow to
close a bag does not stop the arm's keys. Draws by `record.screen`; decides nothing about episodes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
import re
import time

from rich.console import Console, RenderableType
from rich.live import Live

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.teleop_keyboard import KeyboardSettings, KeyboardTeleop
from chunked_vla_ros.demo.running_graph import running_graph, RunningGraph
from chunked_vla_ros.graph.record import HANDS, record_graph
from chunked_vla_ros.nodes.demo_client import GraphFailure
from chunked_vla_ros.nodes.record_client import Asked, newest_values, RecordClient
from chunked_vla_ros.record.keys import hand_lines, KeyLine, session_keys, Wish
from chunked_vla_ros.record.live import hand_view, HandView, live_view, LiveView
from chunked_vla_ros.record.options import LOG, RecordEpisodesOptions
from chunked_vla_ros.record.screen import screen
from chunked_vla_ros.terminal_keys import TerminalKeys

# A held key repeats every 30 ms, and counts for 150 ms.
STEP_S = 0.02
DRAW_PERIOD_S = 0.2
ANSWERS_SHOWN = 4
KEYBOARD = HANDS[0]
# Who has just been started is found after a while, on a busy machine after seconds.
FOUND_WITHIN_S = 10.0
# Buttons after which nothing is being recorded, unless the answer says so.
ENDS = ('stop', 'success', 'failure', 'discard')
BEGUN = re.compile(r'(\S+) is being recorded')


def record_by_hand(options: RecordEpisodesOptions, robot: RobotSpec, domain_id: int, out: Path,
                   console: Console, watch: Callable[[], None]) -> None:
    """
    Let a person record into ``out`` until the key for it ends it.

    An episode that is being recorded then is finished by the recorder.

    :param watch: Called now and then; what it raises ends the session.
    :raises NoTerminalError: there is no terminal to take keys from.
    :raises GraphFailure: a node that the session cannot do without has ended.
    """
    typed: SimpleQueue[str] = SimpleQueue()
    # The keys are read here, and sent on to whom they are for.
    specs = tuple(
        replace(spec, parameters={
            **spec.parameters, 'position_set': options.positions, 'seed': options.seed or 0})
        if spec.name == 'sim' else replace(spec, keys=False)
        for spec in record_graph(options.graph()))
    with ExitStack() as stack:
        # Outermost: whatever ends the session, the terminal is given back last.
        terminal = stack.enter_context(TerminalKeys(typed.put))
        console.print(f'starting {", ".join(spec.name for spec in specs)} in ROS domain '
                      f'{domain_id}, log in {out / LOG}')
        graph = stack.enter_context(
            running_graph(specs, robot, domain_id, out / LOG, alone=False, watch=watch))
        session = Session(options, robot, graph)
        live = stack.enter_context(Live(console=console, auto_refresh=False, transient=True))
        drawn_s = 0.0
        while session.step(typed) and terminal.alive:
            if time.monotonic() - drawn_s >= DRAW_PERIOD_S:
                drawn_s = time.monotonic()
                live.update(session.picture(), refresh=True)


class Session:
    """What a person has asked for, and what was answered."""

    def __init__(self, options: RecordEpisodesOptions, robot: RobotSpec,
                 graph: RunningGraph) -> None:
        self._options, self._graph, self._home = options, graph, robot.home
        self._client = graph.client
        self._recorder = RecordClient(graph.client.node, graph.client.spin_for)
        self._keys = session_keys(options.use_sim, options.hand in HANDS[1:])
        # Hears the keys too: some of them change what the others do, and the screen shows it.
        self._twin = (KeyboardTeleop(robot, KeyboardSettings()) if options.hand == KEYBOARD
                      else None)
        self._wanted: deque[tuple[str, float]] = deque()    # button, and until when to look for it
        self._asked: list[Asked] = []
        self._answers: deque[str] = deque(maxlen=ANSWERS_SHOWN)
        self._view: LiveView | None = None
        self._who = HandView()
        self._next_seed = (options.seed or 0) + 1

    def step(self, typed: SimpleQueue[str]) -> bool:
        """
        Act on every key, take what has come; return whether the session goes on.

        :raises GraphFailure: a node that the session cannot do without has ended.
        """
        driving = ''
        while True:
            try:
                key = typed.get_nowait()
            except Empty:
                break
            found = next((one for one in self._keys if one.key == key), None)
            if found is None:
                driving += key if len(key) == 1 else ''
            elif found.wish is Wish.QUIT:
                return False
            else:
                self._act(found.button, found.wish)
        if driving and self._twin is not None:
            self._recorder.type(driving)
            for key in driving:
                self._twin.press(key, 0, self._home)
        self._press_wanted()
        self._client.spin_for(STEP_S)
        self._hear()
        return True

    def picture(self) -> RenderableType:
        """Return the screen of now."""
        driving = (hand_lines(self._twin.bindings) if self._twin is not None
                   else tuple(KeyLine(name, does) for name, does in self._who.controls))
        return screen(
            self._view, self._keys, driving, tuple(self._answers), self._who.obstacle)

    def _act(self, button: str, wish: Wish | None) -> None:
        try:
            if button:
                self._wanted.append((button, time.monotonic() + FOUND_WITHIN_S))
            elif wish is Wish.SCENE:
                self._answers.append(self._new_scene())
            else:
                self._client.reset_executor()
                self._answers.append('the executor holds the pose that the arm has')
        except GraphFailure as error:
            if self._graph.supervisor.failure:
                raise
            self._answers.append(str(error))

    def _new_scene(self) -> str:
        if self._view is not None and self._view.episode:
            return f'{self._view.episode} is being recorded: stop it before the scene changes'
        # A scene is not changed under a moving arm.
        self._change_driver('hold')
        self._client.reset_executor()
        start = self._client.reset_scene(self._next_seed, self._options.positions)
        self._client.reset_executor()
        self._change_driver('take_over')
        self._next_seed += 1
        return f'scene of seed {self._next_seed - 1}: {start.instruction}'

    def _change_driver(self, button: str) -> None:
        if self._options.hand in HANDS:
            self._recorder.wait_for(self._recorder.press(button))

    def _press_wanted(self) -> None:
        """Press the buttons in their order, each once there is somebody who serves it."""
        while self._wanted:
            button, until_s = self._wanted[0]
            try:
                self._asked.append(self._recorder.press(button))
            except GraphFailure as error:
                if time.monotonic() < until_s:
                    return
                self._answers.append(str(error))
            self._wanted.popleft()

    def _hear(self) -> None:
        findings = self._client.findings
        values = newest_values(findings)
        if values is not None:
            self._view = live_view(values)
        for name, said in findings:
            if name.rpartition('/')[2] == 'teleop':
                self._who = hand_view(said)
        findings.clear()
        waiting = []
        for asked in self._asked:
            answer = asked.answer()
            if answer is None:
                waiting.append(asked)
            else:
                self._answers.append(answer)
                self._learn(asked.name, answer)
        self._asked = waiting

    def _learn(self, button: str, answer: str) -> None:
        """Take from an answer what the recorder itself says only once a second."""
        begun = BEGUN.search(answer)
        if self._view is not None and (begun or button in ENDS):
            self._view = replace(self._view, episode=begun[1] if begun else '')
