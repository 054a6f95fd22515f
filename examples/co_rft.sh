#!/usr/bin/env bash
# What chunked offline RL adds to imitation of the same demonstrations: every arm from the same
# imitation checkpoint, with as many updates of the policy, evaluated on the same starts.
#
# docs/co_rft_plan.md says what is compared and why. Every step is left out where its result is
# there already: after an interruption start it again. --help tells the options.
set -euo pipefail

# shellcheck source=examples/steps.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/steps.sh"

usage() {
  cat <<'TEXT'
usage: examples/co_rft.sh [OPTIONS]

  --out DIR          everything goes here (default: out/co_rft)
  --small            few episodes and updates: minutes on two cores, and no finding
  --seeds LIST       of data and training, 1 to 49, each a cell of its own (default: "1 2 3")
  --quality NAME     mixed: one demonstration better than the other; varying: each good here and
                     bad there (default: varying)
  --positions NAME   of the demonstrations: random or fixed (default: random)
  --demonstrations N of the scripted expert, failures kept (default: 60)
  --arms LIST        which to train and evaluate (default: all of them); ARM_live: every weight
                     learns, from the pictures, where an arm else sees cached features
  --config NAME      recipe of the imitation (default: ur5e_pick_place)
  --imitation N      updates of the imitation (default: the recipe's)
  --critic N         updates of each critic (default: 2500)
  --policy N         further updates of the policy in each arm (default: 800)
  --set KEY=VALUE    another key of the imitation's recipe; may be repeated
  --evaluations N    episodes of each arm at random positions (default: 40; 0: none)
  --unseen N         and at positions outside of those (default: 34; 0: none)
  --timeout-s S      an evaluated episode ends after this long (default: 20)
  --workers N        processes that record and evaluate; 0: one for each core (default: 0)
TEXT
}

all_arms='imitation all successes fastest advantage advantage_best_of_4 co_rft co_rft_advantage qc'
# The others have no weights to learn, or a critic that would judge another policy's chunks.
live_arms='all_live successes_live fastest_live advantage_live co_rft_live co_rft_advantage_live'
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
weak=()

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

# Scenes are numbered: a hundred thousand for each seed, of these $scenes for each kind of
# demonstrations. From $evaluated on the numbers are those of evaluations at random positions, from
# $evaluated_unseen on at unseen ones: none has a start of a demonstration or of another cell.
scenes=10000
evaluated=5000000
evaluated_unseen=10000000
case $quality-$positions in
  varying-random) offset=10000 ;;
  mixed-random) offset=20000 ;;
  varying-fixed) offset=30000 ;;
  mixed-fixed) offset=40000 ;;
  *) fail "there are no demonstrations of $quality quality at $positions positions (see --help)" ;;
esac
[ -n "${arms// /}" ] || fail '--arms names none (see --help)'
for arm in $arms; do
  case " $all_arms $live_arms " in
    *" $arm "*) ;;
    *) fail "unknown arm $arm, expected some of: $all_arms $live_arms" ;;
  esac
done
for seed in $seeds; do
  [[ $seed =~ ^([1-9]|[1-4][0-9])$ ]] || fail "seed $seed, expected numbers from 1 to 49"
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
  # So few successes support no improvement: what is trained shows that it runs, and no more.
  weak=(rl.accept_weak_data=true)
fi
demonstrations=${demonstrations:-60}
critic=${critic:-2500}
policy=${policy:-800}
evaluations=${evaluations:-40}
unseen=${unseen:-34}
for named in "--demonstrations $demonstrations" "--evaluations $evaluations" "--unseen $unseen"; do
  count=${named#* }
  [[ $count =~ ^(0|[1-9][0-9]{0,4})$ ]] && [ "$count" -le "$scenes" ] ||
    fail "${named%% *} is $count, expected a number from 0 to $scenes"
done
for named in "--critic $critic" "--policy $policy"; do
  [[ ${named#* } =~ ^[1-9][0-9]{0,7}$ ]] ||
    fail "${named%% *} is ${named#* }, expected a number of updates from 1"
done
[[ $timeout_s =~ ^[0-9]*[.]?[0-9]+$ ]] ||
  fail "--timeout-s is $timeout_s, expected a number of seconds"
[ "$demonstrations" -gt 0 ] || fail '--demonstrations is 0, expected at least one'

find_chunked_vla

# Fills `bags` with the whole recordings in a folder, by the number of the scene from $2 on. A
# recording does not say its seed, but is stamped with an hour that the seed names: see
# chunked_vla_ros/record/studio.py. Its name does not tell: an interrupted session leaves gaps, and
# what is recorded later is named after all that is there.
find_bags() {
  local folder=$1 first=$2 file stamp number
  bags=()
  for file in "$folder"/episode_*/metadata.yaml; do
    case $file in
      *.partial/*) continue ;;
    esac
    [ -f "$file" ] || continue
    stamp=$(awk '/nanoseconds_since_epoch:/ { print $2; exit }' "$file")
    [[ $stamp =~ ^[0-9]+$ ]] || continue
    number=$((((stamp / 1000000000 - 1577836800) / 3600 - first % 87600 + 87600) % 87600))
    if [ "$number" -lt "$demonstrations" ]; then
      bags[number]=${file%/metadata.yaml}
    fi
  done
}

# Records what is missing of the scenes from $2 on, each gap by its own call.
record_missing() {
  local cell=$1 folder=$1/bags first=$2 number gap=
  mkdir -p "$folder"
  find_bags "$folder" "$first"
  for ((number = 0; number <= demonstrations; number++)); do
    if [ "$number" -lt "$demonstrations" ] && [ -z "${bags[number]-}" ]; then
      gap=${gap:-$number}
    elif [ -n "$gap" ]; then
      say "$cell: record $((number - gap)) demonstrations, $quality quality, $positions positions"
      run chunked-vla record --expert --in-process --quality "$quality" \
        --positions "$positions" --episodes $((number - gap)) --seed $((first + gap)) \
        --workers "$workers" --compression front=jpeg:95,wrist=jpeg:95 --out "$folder" ||
        fail "$folder: not every recording is sound, see above"
      gap=
    fi
  done
  find_bags "$folder" "$first"
  [ ${#bags[@]} -eq "$demonstrations" ] || fail "$folder: ${#bags[@]} of $demonstrations" \
    'demonstrations are there after recording: look at those that are, then start again'
}

prepare() {
  local cell=$1 seed=$2 bags made="--demonstrations $demonstrations"
  agree "$cell/options" "$made"
  if [ ! -e "$cell/dataset/meta/info.json" ]; then
    record_missing "$cell" $((seed * 100000 + offset))
    say "$cell: convert, failures too"
    # In the order of the scenes, whatever was recorded when; what was cut off is passed over.
    run chunked-vla convert "${bags[@]}" --robot ur5e_sim --out "$cell/dataset"
  fi
  echo "$made" > "$cell/options"
  say "$cell: imitation of all demonstrations; goes on from its newest checkpoint"
  run chunked-vla train "$config" --data "$cell/dataset" --out "$cell/imitation" --resume \
    --set "seed=$seed" ${overrides[@]+"${overrides[@]}"}
}

# What is there is taken as it is. What it was made with is kept beside it, in the file $1, and must
# be $2 now.
agree() {
  local file=$1 now=$2 before
  [ -e "$file" ] || return 0
  before=$(<"$file")
  [ "$before" = "$now" ] ||
    fail "$file: what is there was made with $before, not with $now: give these, or another --out"
}

# The keys of an arm's training; each policy moves in $policy steps, of co_rft every second one.
# The imitation has none: it goes no further.
settings() {
  local both=$((critic + policy)) climbing=$((critic + 2 * policy)) arm=${1%_live} keys
  local climb="co_rft steps=$climbing rl.critic_steps=$critic rl.head=deterministic"
  climb+=' rl.candidates=1 rl.tabulate_every=200 learning_rate=3.0e-4'
  case $arm in
    all | successes | fastest) keys="advantage rl.selection=$arm steps=$policy batch_size=32" ;;
    advantage)
      keys="advantage steps=$both batch_size=32 rl.critic_steps=$critic rl.candidate_steps=3" ;;
    co_rft) keys=$climb ;;
    co_rft_advantage) keys="$climb rl.keep_fraction=0.4" ;;
    qc) keys="qc steps=$critic rl.candidate_steps=3" ;;
  esac
  if [ "$arm" != "$1" ]; then
    keys+=' rl.features=live'
  fi
  echo "$keys"
}

train_arm() {
  local cell=$1 seed=$2 arm=$3 training candidates=() said='' method
  # The critic of a training can judge at any time: the same one, with or without.
  training=$cell/arms/${arm%_best_of_4}/training
  if [ "$arm" != "${arm%_best_of_4}" ]; then
    candidates=(--candidates 4)
  fi
  [ "$arm" = imitation ] || said=$(settings "${arm%_best_of_4}")
  agree "$cell/arms/$arm/options" "$said"
  if [ -e "$cell/arms/$arm/bundle/manifest.json" ]; then
    return
  fi
  if [ "$arm" = imitation ]; then
    training=$cell/imitation
  else
    method=${said%% *}
    say "$cell: train $arm"
    # shellcheck disable=SC2086
    run chunked-vla train "$method" --data "$cell/dataset" --from "$cell/imitation" \
      --out "$training" --resume --set "seed=$seed" ${said#* } ${weak[@]+"${weak[@]}"}
  fi
  say "$cell: export $arm"
  run chunked-vla export "$training" --name "$arm" --data "$cell/dataset" \
    --out "$cell/arms/$arm/bundle" ${candidates[@]+"${candidates[@]}"}
  mkdir -p "$cell/arms/$arm"
  echo "$said" > "$cell/arms/$arm/options"
}

evaluate_arm() {
  local cell=$1 arm=$2 set=$3 episodes=$4 first=$5 made="$4 episodes --timeout-s $timeout_s"
  [ "$episodes" -gt 0 ] || return 0
  agree "$cell/arms/$arm/options.$set" "$made"
  if [ -e "$cell/arms/$arm/$set/results.json" ]; then
    return
  fi
  say "$cell: evaluate $arm, $set positions"
  run chunked-vla evaluate "$cell/arms/$arm/bundle" --position-set "$set" \
    --episodes "$episodes" --seed "$first" --timeout-s "$timeout_s" --workers "$workers" \
    --out "$cell/arms/$arm/$set"
  echo "$made" > "$cell/arms/$arm/options.$set"
}

for seed in $seeds; do
  cell=$out/$quality-$positions-$seed
  scene=$((seed * 100000 + offset))
  prepare "$cell" "$seed"
  for arm in $arms; do
    train_arm "$cell" "$seed" "$arm"
    # Never at fixed positions, also if all was learnt there: they are few, and demonstrated.
    evaluate_arm "$cell" "$arm" random "$evaluations" $((evaluated + scene))
    evaluate_arm "$cell" "$arm" unseen "$unseen" $((evaluated_unseen + scene))
  done
done

# Without either, the first arm.
baselines=()
for arm in $arms; do
  first=${first:-$arm}
  case $arm in
    all | successes | fastest) baselines+=("$arm") ;;
  esac
done
say 'compare'
# Of this kind and these arms: others may be half done.
# shellcheck disable=SC2086
run chunked-vla compare "$out" --baseline "${baselines[@]:-$first}" \
  --cells "$quality-$positions-*" --arms $arms --out "$out/comparison/$quality-$positions"
