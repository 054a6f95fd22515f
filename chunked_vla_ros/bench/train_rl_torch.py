"""
Our update of QC and QC-FQL as the benchmark runs it, from weights and batches that are given.

On a GPU the whole update, draws included, is one CUDA graph. Knows neither JAX nor a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace

import torch

from chunked_vla_ros.bench.train_rl_inputs import (
    Arrays,
    BATCHES,
    CHECKED_UPDATES,
    Losses,
    Sizes,
    weight_names,
)
from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.q_chunking import (
    build_q_chunking,
    Draws,
    make_adam,
    Metrics,
    QChunking,
    update,
)
from chunked_vla_ros.training.q_chunking_methods import Method, METHODS

# Where the networks keep what the inputs call these.
NETS = {'critic': 'critic', 'target_critic': 'target_critic', 'flow': 'flow', 'actor': 'one_step'}
PARTS = {'kernel': 'weights', 'bias': 'biases', 'scale': 'scales', 'shift': 'shifts'}
# Updates before a graph is captured: lazy initialisation must be over.
BEFORE_CAPTURE = 3


class TorchSide:
    """
    The update of one method.

    :ivar facts: The framework, its version and its device.
    """

    def __init__(self, sizes: Sizes, arrays: Arrays) -> None:
        self._device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        self.facts = facts_of(self._device)
        self._sizes, self._arrays, self._method = sizes, arrays, method_of(sizes)
        self._batches = [batch_of(sizes, arrays, number, self._device)
                         for number in range(BATCHES)]
        self._generator = torch.Generator(self._device).manual_seed(0)
        self._agent, self._optimizer = self._start()
        self._captured: Callable[[], None] | None = None
        if self._device.type == 'cuda':
            self._captured = _capture(
                self._agent, self._optimizer, self._batches, self._generator, self._draw)

    def check(self) -> tuple[Losses, Arrays]:
        """Return the losses of the first updates with the given noise, and the weights then."""
        agent, optimizer = self._start()
        losses = [self._shown(update(agent, optimizer, self._batches[number],
                                     self._given_draws(number)))
                  for number in range(CHECKED_UPDATES)]
        weights = {name: weight.detach().cpu().numpy().reshape(self._arrays[name].shape)
                   for name, weight in weights_of(agent, self._sizes)}
        return losses, weights

    def run(self, updates: int) -> int:
        """Make so many updates, each on the next batch, and wait for the last; return how many."""
        for number in range(updates):
            if self._captured is not None:
                self._captured()
            else:
                update(self._agent, self._optimizer, self._batches[number % BATCHES],
                       self._draw())
        if self._device.type == 'cuda':
            torch.cuda.synchronize()
        return updates

    def _start(self) -> tuple[QChunking, torch.optim.Optimizer]:
        agent = build_q_chunking(self._method, self._sizes.observation, self._sizes.action)
        load_weights(agent, self._sizes, self._arrays)
        agent.to(self._device)
        return agent, make_adam(agent, self._sizes.learning_rate)

    def _draw(self) -> Draws:
        return Draws.draw(
            self._generator, self._method, self._sizes.batch, self._sizes.action)

    def _given_draws(self, number: int) -> Draws:
        given = {name: torch.from_numpy(self._arrays[name][number]).to(self._device)
                 for name in ('flow_noise', 'flow_time', 'next_noise')}
        noise = self._arrays.get('actor_noise')
        return Draws(**given, actor_noise=(
            None if noise is None else torch.from_numpy(noise[number]).to(self._device)))

    def _shown(self, metrics: Metrics) -> dict[str, float]:
        """Return the losses by the names that both sides use."""
        found = {'critic': metrics['critic/loss'], 'flow': metrics['actor/flow_loss']}
        if 'actor/q' in metrics:
            found['distillation'] = self._sizes.alpha * metrics['actor/distillation_loss']
            found['value'] = -metrics['actor/q']
        return {name: float(value) for name, value in found.items()}


def facts_of(device: torch.device) -> dict[str, str]:
    """Return the framework with its version, and what it runs on."""
    on_gpu = device.type == 'cuda'
    return {'framework': f'torch {torch.__version__}', 'platform': 'gpu' if on_gpu else 'cpu',
            'device': (torch.cuda.get_device_name() if on_gpu
                       else f'{torch.get_num_threads()} threads')}


def method_of(sizes: Sizes) -> Method:
    """Return the method of that name with these sizes."""
    return replace(
        METHODS[sizes.method], horizon=sizes.horizon, candidates=sizes.candidates,
        alpha=sizes.alpha, members=sizes.critics, hidden=(sizes.width,) * sizes.layers,
        flow_steps=sizes.flow_steps, target_share=sizes.tau)


def batch_of(sizes: Sizes, arrays: Arrays, number: int, device: torch.device) -> ChunkBatch:
    """Return one of the batches on ``device``; only the whole chunk's return is filled in."""
    given = {name: torch.from_numpy(arrays[name][number]).to(device) for name in (
        'observation', 'actions', 'valid', 'returns', 'bootstrap', 'next_observation')}
    for name in ('returns', 'bootstrap'):
        given[name] = given[name][:, None].expand(-1, sizes.horizon)
    return ChunkBatch(**given, counted=given['valid'])


def weights_of(agent: QChunking, sizes: Sizes) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every weight by the name that the inputs have for it."""
    for name in weight_names(sizes, sizes.nets):
        net, layer, part = name.split('/')
        yield name, getattr(getattr(agent, NETS[net]).net, PARTS[part])[int(layer)]


def load_weights(agent: QChunking, sizes: Sizes, arrays: Arrays) -> None:
    """Put the inputs' weights into the networks."""
    with torch.no_grad():
        for name, weight in weights_of(agent, sizes):
            weight.copy_(torch.from_numpy(arrays[name]).reshape(weight.shape))


def _capture(agent: QChunking, optimizer: torch.optim.Optimizer, batches: list[ChunkBatch],
             generator: torch.Generator, draw: Callable[[], Draws]) -> Callable[[], None]:
    """
    Return a whole update as one CUDA graph: a batch is chosen, noise drawn, everything learns.

    Losses are compiled first, which joins what would be many small kernels.
    """
    names = [field.name for field in fields(ChunkBatch) if getattr(batches[0], field.name)
             is not None]
    stacked = {name: torch.stack([getattr(batch, name) for batch in batches]) for name in names}
    for group in optimizer.param_groups:
        group['capturable'] = True
    losses = torch.compile(agent.losses)

    def whole() -> None:
        number = torch.randint(
            len(batches), (1,), generator=generator, device=generator.device)
        batch = ChunkBatch(**{name: values.index_select(0, number)[0]
                              for name, values in stacked.items()})
        loss, _ = losses(batch, draw())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        agent.follow()

    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(BEFORE_CAPTURE):
            whole()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        whole()
    return graph.replay  # type: ignore[no-any-return]
