"""The policy that learns, and the slow copy of it that its critic hears of."""

from safetensors.torch import load_file
import torch

from chunked_vla_ros.data.checkpoint_folder import newest_checkpoint
from chunked_vla_ros.training.checkpoint import MEAN, MODEL
from chunked_vla_ros.training.rl_policy_chunks import PolicyChunks
from chunked_vla_ros.training.train import run_training

RL = {'method': 'co_rft', 'steps': 6, 'batch_size': 4, 'warm_up_steps': 1, 'ema_decay': 0.5,
      'seed': 5, 'validate_every': 2, 'checkpoint_every': 2, 'rl': {
          'discount': 0.9, 'horizon': 3, 'critic_steps': 3, 'critic_width': 16, 'critic_layers': 1,
          'critic_heads': 2, 'candidates': 2, 'candidate_steps': 2, 'tabulate_every': 2,
          'redraw_every': 2, 'actor_every': 1}}


def test_the_slow_copy_of_the_policy_is_what_its_chunks_are_drawn_of(
        rl_material_of, tmp_path, told, monkeypatch):
    material, seen, draw = rl_material_of(RL), {}, PolicyChunks.draw_anew

    def watched(chunks, vla, step):
        seen[step] = {name: weight.clone() for name, weight in vla.state_dict().items()}
        draw(chunks, vla, step)

    monkeypatch.setattr(PolicyChunks, 'draw_anew', watched)
    run_training(material, tmp_path, False, told, lambda: len(told.losses) >= 4)
    newest = newest_checkpoint(tmp_path)
    own, mean = (load_file(newest / f'{stem}.safetensors') for stem in (MODEL, MEAN))
    run_training(material, tmp_path, True, told)
    # Drawn anew before the sixth step: by what five had made of the mean, not of the weights.
    assert all(torch.equal(weight, seen[5][name]) for name, weight in mean.items())
    assert not all(torch.equal(weight, own[name]) for name, weight in mean.items())
