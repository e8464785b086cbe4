#!/usr/bin/env bash
# The accuracy tables of the README: DeiT-Tiny, every method and width. What is in OUT already is not
# done again, so it may be stopped at any time.
#   benchmarks/accuracy.sh WEIGHTS CALIB DATA OUT
set -euo pipefail
weights=$1 calib=$2 data=$3 out=$4
table() {
    python -m hwq.evaluate --model deit_t --weights "$weights" --calib "$calib" --data "$data" \
        --work "$out" --methods "$2" --bits "$3" --json "$out/$1.json" --csv "$out/$1.csv"
}
mkdir -p "$out"
table methods minmax,psaq_vit,repq_vit,ptq4vit,is_vit,adfq_vit,scalepredictor@repq_vit \
    w8a8,w6a6,w4a4,w3a3
table bases scalepredictor@minmax,scalepredictor@repq_vit,scalepredictor@ptq4vit,scalepredictor@is_vit,scalepredictor@adfq_vit w3a3
table w4a3 minmax,repq_vit,ptq4vit,scalepredictor@minmax,scalepredictor@repq_vit,scalepredictor@ptq4vit w4a3
