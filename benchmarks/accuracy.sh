#!/usr/bin/env bash
# The accuracy table of the README: DeiT-Tiny, every method and width, one JSON each.
#   benchmarks/accuracy.sh WEIGHTS CALIB DATA OUT
set -euo pipefail
weights=$1 calib=$2 data=$3 out=$4
mkdir -p "$out"
for method in minmax repq_vit scalepredictor; do
    for bits in w8a8 w6a6 w4a4; do
        python -m hwq.simulate --model deit_t --method "$method" --bits "$bits" \
            --weights "$weights" --calib "$calib" --data "$data" --json "$out/${method}_$bits.json"
    done
done
