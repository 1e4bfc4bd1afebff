#!/usr/bin/env bash
# The ablations of docs/RESULTS.md: what decides, which losses, how many stages, which ratio.
#
#   tools/ablations.sh DATA OUT [GROUP…]
#
# DATA is CIFAR-10 as an image folder, OUT the folder of the runs. Every run has the same budget and
# settings; a run that is finished is not repeated, one that was cut off goes on. Then all models
# are evaluated, one table for ratios and kinds and one for losses and stages, and the first is drawn
# as accuracy against cost and speed: OUT/kinds.txt, OUT/kinds.svg, OUT/parts.txt. With a GROUP
# (ratios, kinds, losses, stages) only its runs are trained, and nothing is evaluated.
#
# From the environment: DVIT, another binary than build/dvit; DENSE, a trained dense model to begin
# with (else one is trained in OUT/dense); EPOCHS, the budget of each run.
set -euo pipefail

[[ $# -ge 2 ]] || { sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 2; }
data=$1 out=$2
shift 2
dvit=${DVIT:-$(dirname "$(readlink -f "$0")")/../build/dvit}
dense=${DENSE:-$out/dense/best.safetensors}
settings=(--epochs "${EPOCHS:-2}" --warmup-epochs 0.2 --freeze-epochs 0 --backbone-lr-scale 0.5
          --ema 0 --precision bf16)

# group, name, and what differs from the settings above
runs() {
    cat <<'TABLE'
ratios learned-0.7     --keep 0.7
kinds  static          --keep 0.7 --pruning static
kinds  attention       --keep 0.7 --pruning attention
kinds  random          --keep 0.7 --pruning random
kinds  pool            --stages 1 --pruning pool
ratios learned-0.5     --keep 0.5
ratios learned-0.9     --keep 0.9
losses without-class   --keep 0.7 --w-cls 0
losses without-ratio   --keep 0.7 --w-ratio 0
losses without-kl      --keep 0.7 --w-kl 0
losses without-token   --keep 0.7 --w-token 0
losses without-teacher --keep 0.7 --w-kl 0 --w-token 0
stages two-stages      --keep 0.53 --stages 2
stages one-stage       --keep 0.2 --stages 1
ratios learned-0.8     --keep 0.8
ratios learned-0.6     --keep 0.6
TABLE
}

wanted() { # wanted GROUP [GROUP…]: whether the first is among the rest, or the rest is empty
    local group=$1
    shift
    [[ $# -eq 0 || " $* " == *" $group "* ]]
}

# once VERB NAME OPTION…: a run of its own folder, whole; not again where it is finished.
once() {
    local verb=$1 folder=$out/$2 resume=()
    shift 2
    [[ ! -f $folder/finished ]] || return 0
    [[ ! -f $folder/state.safetensors ]] || resume=(--resume)
    "$dvit" "$verb" --data "$data" --out "$folder" "$@" "${resume[@]}"
    touch "$folder/finished"
}

# models GROUP [GROUP…]: the finished runs' models as options of eval.
models() {
    local group name rest
    printf '%s\n' --model "$dense"
    while read -r group name rest; do
        if { wanted "$group" "$@" || [[ $name == learned-0.7 ]]; } && [[ -f $out/$name/finished ]]; then
            printf '%s\n' --model "$out/$name/last.safetensors"
        fi
    done < <(runs)
}

mkdir -p "$out"
if [[ ! -f $dense ]]; then
    once train dense --model vit:dim=128,depth=6,heads=4,mlp=256,patch=4,image=32 --epochs 13 \
        --lr 1.5e-3 --warmup-epochs 1 --ema 0
fi
while read -r group name options; do
    wanted "$group" "$@" || continue
    read -ra options <<<"$options"
    printf '== %s: %s\n' "$name" "${options[*]}"
    once sparsify "$name" --model "$dense" "${settings[@]}" "${options[@]}" </dev/null
done < <(runs)
[[ $# -eq 0 ]] || exit 0

mapfile -t first < <(models ratios kinds)
mapfile -t second < <(models losses stages)
"$dvit" eval --data "$data" --precision bf16 "${first[@]}" --plot "$out/kinds.svg" \
    --plot-by pruning | tee "$out/kinds.txt"
"$dvit" eval --data "$data" --precision bf16 "${second[@]}" | tee "$out/parts.txt"
