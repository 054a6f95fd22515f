#!/usr/bin/env bash
# What chunked offline RL adds to imitation of the same demonstrations: every arm from the same
# imitation checkpoint, with as many updates of the policy, evaluated on the same starts.
#
# docs/co_rft_plan.md says what is compared and why. Every step is left out where its result is
# there already: after an interruption start it again. --help tells the options.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: examples/co_rft.sh [OPTIONS]

  --out DIR          everything goes here (default: out/co_rft)
  --small            few episodes and updates: minutes on two cores, and no finding
  --seeds LIST       of data and training, each a cell of its own (default: "1 2 3")
  --quality NAME     mixed: one demonstration better than the other; varying: each good here and
                     bad there (default: varying)
  --positions NAME   of the demonstrations: random or fixed (default: random)
  --demonstrations N of the scripted expert, failures kept (default: 60)
  --arms LIST        which to train and evaluate (default: all of them)
  --config NAME      recipe of the imitation (default: ur5e_pick_place)
  --imitation N      updates of the imitation (default: the recipe's)
  --critic N         updates of each critic (default: 2500)
  --policy N         further updates of the policy in each arm (default: 800)
  --set KEY=VALUE    another key of the imitation's recipe; may be repeated
  --evaluations N    episodes of each arm where demonstrated (default: 40)
  --unseen N         and at positions outside of that (default: 34; 0: none)
  --timeout-s S      an evaluated episode ends after this long (default: 20)
  --workers N        processes that record and evaluate; 0: one for each core (default: 0)
TEXT
}

all_arms='all successes fastest advantage advantage_best_of_4 co_rft co_rft_advantage qc'
out=out/co_rft
small=
seeds='1 2 3'
quality=varying
positions=random
demonstrations=
arms=$all_arms
config=ur5e_pick_place
critic=
policy=
evaluations=
unseen=
timeout_s=20
workers=0
overrides=()

fail() {
  echo "error: $*" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --small) small=yes; shift; continue ;;
    --out | --seeds | --quality | --positions | --demonstrations | --arms | --config | \
      --imitation | --critic | --policy | --set | --evaluations | --unseen | --timeout-s | \
      --workers) [ $# -ge 2 ] || fail "$1 needs a value (see --help)" ;;
    *) fail "unknown option $1 (see --help)" ;;
  esac
  case $1 in
    --out) out=$2 ;;
    --seeds) seeds=$2 ;;
    --quality) quality=$2 ;;
    --positions) positions=$2 ;;
    --demonstrations) demonstrations=$2 ;;
    --arms) arms=$2 ;;
    --config) config=$2 ;;
    --imitation) overrides+=("steps=$2") ;;
    --critic) critic=$2 ;;
    --policy) policy=$2 ;;
    --set) overrides+=("$2") ;;
    --evaluations) evaluations=$2 ;;
    --unseen) unseen=$2 ;;
    --timeout-s) timeout_s=$2 ;;
    --workers) workers=$2 ;;
  esac
  shift 2
done

# Each kind of demonstrations has scenes of its own, and no evaluation has one of them.
case $quality-$positions in
  varying-random) offset=10000 ;;
  mixed-random) offset=20000 ;;
  varying-fixed) offset=30000 ;;
  mixed-fixed) offset=40000 ;;
  *) fail "there are no demonstrations of $quality quality at $positions positions (see --help)" ;;
esac
for arm in $arms; do
  case " $all_arms " in
    *" $arm "*) ;;
    *) fail "unknown arm $arm, expected some of: $all_arms" ;;
  esac
done
for seed in $seeds; do
  [[ $seed =~ ^[1-9][0-9]?$ ]] || fail "seed $seed, expected numbers from 1 to 99"
done

# What is named is taken, whichever comes first.
if [ -n "$small" ]; then
  demonstrations=${demonstrations:-8}
  critic=${critic:-30}
  policy=${policy:-10}
  evaluations=${evaluations:-2}
  unseen=${unseen:-0}
  overrides=(steps=30 batch_size=4 warm_up_steps=3 validate_every=30 checkpoint_every=30
    policy.width=16 policy.heads=2 policy.layers=0 policy.expert_layers=1
    ${overrides[@]+"${overrides[@]}"})
fi
demonstrations=${demonstrations:-60}
critic=${critic:-2500}
policy=${policy:-800}
evaluations=${evaluations:-40}
unseen=${unseen:-34}

# In a clone, what `make setup` made is used; elsewhere chunked-vla must be on the PATH.
environment=$(dirname -- "${BASH_SOURCE[0]}")/../.venv/environment.sh
if ! command -v chunked-vla > /dev/null; then
  [ -f "$environment" ] || fail 'chunked-vla is not installed: run `make setup` first'
  # shellcheck disable=SC1090
  . "$environment"
fi

say() {
  printf '\n== %s\n' "$*"
}

run() {
  printf '   %s\n' "$*"
  "$@"
}

recorded() {
  find "$1" -mindepth 1 -maxdepth 1 -type d -name 'episode_*' ! -name '*.partial' | wc -l
}

# Scenes are numbered from the seed of the cell and the kind of data.
prepare() {
  local cell=$1 seed=$2 first=$((seed * 100000 + offset)) missing there
  mkdir -p "$cell/bags"
  there=$(recorded "$cell/bags")
  missing=$((demonstrations - there))
  if [ ! -e "$cell/dataset/meta/info.json" ]; then
    if [ "$missing" -gt 0 ]; then
      say "$cell: record $missing demonstrations, $quality quality, $positions positions"
      run chunked-vla record --expert --in-process --quality "$quality" \
        --positions "$positions" --episodes "$missing" --seed $((first + there)) \
        --workers "$workers" --compression front=jpeg:95,wrist=jpeg:95 --out "$cell/bags" ||
        fail "$cell/bags: not every recording is sound, see above"
    fi
    say "$cell: convert, failures too"
    run chunked-vla convert "$cell/bags" --robot ur5e_sim --out "$cell/dataset"
  fi
  say "$cell: imitation of all demonstrations; goes on from its newest checkpoint"
  run chunked-vla train "$config" --data "$cell/dataset" --out "$cell/imitation" --resume \
    --set "seed=$seed" ${overrides[@]+"${overrides[@]}"}
}

# The keys of an arm's training; each policy moves in $policy steps, of co_rft every second one.
settings() {
  local both=$((critic + policy)) climbing=$((critic + 2 * policy))
  local climb="co_rft steps=$climbing rl.critic_steps=$critic rl.head=deterministic"
  climb+=' rl.candidates=1 rl.tabulate_every=200'
  case $1 in
    all | successes | fastest) echo "advantage rl.selection=$1 steps=$policy batch_size=32" ;;
    advantage)
      echo "advantage steps=$both batch_size=32 rl.critic_steps=$critic rl.candidate_steps=3" ;;
    co_rft) echo "$climb" ;;
    co_rft_advantage) echo "$climb rl.keep_fraction=0.4" ;;
    qc) echo "qc steps=$critic batch_size=32 rl.candidate_steps=3" ;;
  esac
}

train_arm() {
  local cell=$1 seed=$2 arm=$3 training candidates=() said method
  # The critic of a training can judge at any time: the same one, with or without.
  training=$cell/arms/${arm%_best_of_4}/training
  if [ "$arm" != "${arm%_best_of_4}" ]; then
    candidates=(--candidates 4)
  fi
  if [ -e "$cell/arms/$arm/bundle/manifest.json" ]; then
    return
  fi
  said=$(settings "${arm%_best_of_4}")
  method=${said%% *}
  say "$cell: train $arm"
  # shellcheck disable=SC2086
  run chunked-vla train "$method" --data "$cell/dataset" --from "$cell/imitation" \
    --out "$training" --resume --set "seed=$seed" ${said#* }
  run chunked-vla export "$training" --name "$arm" --data "$cell/dataset" \
    --out "$cell/arms/$arm/bundle" ${candidates[@]+"${candidates[@]}"}
}

evaluate_arm() {
  local cell=$1 seed=$2 arm=$3 set=$4 episodes=$5 first=$6
  if [ "$episodes" -eq 0 ] || [ -e "$cell/arms/$arm/$set/results.json" ]; then
    return
  fi
  say "$cell: evaluate $arm, $set positions"
  run chunked-vla evaluate "$cell/arms/$arm/bundle" --position-set "$set" \
    --episodes "$episodes" --seed "$first" --timeout-s "$timeout_s" --workers "$workers" \
    --out "$cell/arms/$arm/$set"
}

cells=()
for seed in $seeds; do
  cell=$out/$quality-$positions-$seed
  cells+=("$cell")
  prepare "$cell" "$seed"
  for arm in $arms; do
    train_arm "$cell" "$seed" "$arm"
    evaluate_arm "$cell" "$seed" "$arm" "$positions" "$evaluations" $((5000000 + seed * 10000))
    evaluate_arm "$cell" "$seed" "$arm" unseen "$unseen" $((6000000 + seed * 10000))
  done
done

say 'compare'
run chunked-vla compare "$out" --baseline all fastest --out "$out/comparison"
