#!/usr/bin/env bash
# The whole loop on the simulated arm: record, convert, check, train, export, evaluate.
#
# Every step is left out where its result is there already: after an interruption, or a change of
# mind, start it again. To do a step anew, remove its result. --help tells the options.
set -euo pipefail

# shellcheck source=examples/steps.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/steps.sh"

usage() {
  cat <<'TEXT'
usage: examples/full_loop.sh [OPTIONS]

  --out DIR          everything goes here (default: out/full_loop)
  --small            few episodes and updates: minutes on two cores, and no good policy
  --episodes N       demonstrations of the scripted expert (default: 60)
  --noise X          how imperfect the expert is, 0 to 1 (default: 0.1)
  --pushes X         how often per minute it is pushed aside, to recover (default: 0)
  --in-process       record in simulated time, without the ROS graph: faster, and whatever else
                     the machine does
  --config NAME      training recipe, of config/train or a file (default: ur5e_pick_place)
  --steps N          updates of the weights (default: the recipe's)
  --set KEY=VALUE    another key of the recipe; may be repeated
  --evaluations N    episodes of the evaluation (default: 100)
  --timeout-s S      an evaluated episode ends after this long (default: 30)
TEXT
}

out=out/full_loop
small=
in_process=()
episodes=
noise=0.1
pushes=0
config=ur5e_pick_place
evaluations=
timeout_s=30
overrides=()

while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --small) small=yes; shift; continue ;;
    --in-process) in_process=(--in-process); shift; continue ;;
    --out | --episodes | --noise | --pushes | --config | --steps | --set | --evaluations | \
      --timeout-s) [ $# -ge 2 ] || fail "$1 needs a value (see --help)" ;;
    *) fail "unknown option $1 (see --help)" ;;
  esac
  case $1 in
    --out) out=$2 ;;
    --episodes) episodes=$2 ;;
    --noise) noise=$2 ;;
    --pushes) pushes=$2 ;;
    --config) config=$2 ;;
    --steps) overrides+=("steps=$2") ;;
    --set) overrides+=("$2") ;;
    --evaluations) evaluations=$2 ;;
    --timeout-s) timeout_s=$2 ;;
  esac
  shift 2
done

# What is named is taken, whichever comes first.
if [ -n "$small" ]; then
  episodes=${episodes:-6}
  evaluations=${evaluations:-4}
  overrides=(steps=300 batch_size=16 warm_up_steps=30 validate_every=100 checkpoint_every=100
    policy.width=64 policy.layers=1 policy.expert_layers=2
    ${overrides[@]+"${overrides[@]}"})
fi
episodes=${episodes:-60}
evaluations=${evaluations:-100}

find_chunked_vla

recorded() {
  find "$out/bags" -mindepth 1 -maxdepth 1 -type d -name 'episode_*' ! -name '*.partial' | wc -l
}

mkdir -p "$out/bags"

missing=$((episodes - $(recorded)))
if [ -e "$out/dataset/meta/info.json" ] || [ "$missing" -le 0 ]; then
  say "1/6 record: $(recorded) episodes are there"
else
  say "1/6 record $missing demonstrations"
  # Scenes are drawn by the episode's number: one that is gone on with has no scene twice.
  run chunked-vla record --expert --episodes "$missing" --noise "$noise" \
    --pushes-per-minute "$pushes" --positions random --out "$out/bags" \
    ${in_process[@]+"${in_process[@]}"} || fail \
    'not every recording is sound, see above: remove those that are not and start again for' \
    'others, or just start again to go on without them'
fi

if [ -e "$out/dataset/meta/info.json" ]; then
  say "2/6 convert: $out/dataset is there"
else
  say '2/6 convert the bags to a dataset, without the episodes that failed'
  run chunked-vla convert "$out/bags" --robot ur5e_sim --no-include-failures --skip-bad \
    --out "$out/dataset"
fi

if [ -e "$out/dataset.html" ]; then
  say "3/6 check: $out/dataset.html is there"
else
  say '3/6 check the dataset'
  # What is suspect is in the report and no reason to stop; a bad dataset is one.
  run chunked-vla dataset check "$out/dataset" --robot ur5e_sim --html "$out/dataset.html.new"
  mv "$out/dataset.html.new" "$out/dataset.html"
fi

if [ -e "$out/bundle/manifest.json" ]; then
  say "4/6 train and 5/6 export: $out/bundle is there"
else
  say "4/6 train by $config; goes on from the newest checkpoint, if there is one"
  settings=()
  if [ ${#overrides[@]} -gt 0 ]; then
    settings=(--set "${overrides[@]}")
  fi
  run chunked-vla train "$config" --data "$out/dataset" --out "$out/training" --resume \
    "${settings[@]}"
  say '5/6 export the policy as a bundle, and compare it with what was trained'
  run chunked-vla export "$out/training" --data "$out/dataset" --out "$out/bundle"
fi

if [ -e "$out/evaluation/results.json" ]; then
  say "6/6 evaluate: $out/evaluation is there"
else
  say "6/6 evaluate on $evaluations random starts that were not demonstrated"
  # Demonstrations count their scenes up from 0.
  run chunked-vla evaluate "$out/bundle" --episodes "$evaluations" --seed 100000 \
    --timeout-s "$timeout_s" --out "$out/evaluation"
fi

say 'done'
cat <<TEXT
   dataset      $out/dataset.html
   training     $out/training/report.html
   evaluation   $out/evaluation/report.html
   bundle       $out/bundle
   drive it:    chunked-vla demo --policy $out/bundle
TEXT
