# Rates of training: ours by `train-model` on simulated data, the other side by benches/python/eager.py. Sourced by scripts/gpu and
# scripts/cpu, which set `out` (a folder), `bin` (the binaries'), `device`, `lines` (the file that each measurement becomes a line of),
# `warm_up` (steps before those that count) and `say`.

note() { # ABOUT FIGURES: both JSON objects, joined to a line of the figures
    python3 -c 'import json, sys; print(json.dumps(json.loads(sys.argv[2]) | json.loads(sys.argv[1])))' "$@" >> "$lines"
}

figures() { # ABOUT LOG COMMAND..: notes the JSON object that COMMAND ends with, or that it failed
    local about=$1 log=$2 line
    shift 2
    if line=$("$@" 2> "$log" | tail -n 1) && [ -n "$line" ]; then
        note "$about" "$line"
    else
        say "   failed: $(grep -v '^ *$' "$log" | tail -n 1)"
        note "$about" "{\"failed\": \"see $log\"}"
    fi
}

data() { # SYSTEM OVERRIDES..: simulated and prepared once
    local system=$1 folder=$out/data/$1
    shift
    [ -f "$folder/prepared/stage.json" ] && return
    say "   data of $system"
    rm -rf "$folder"
    "$bin/simulate-data" "$system" "configs/$system/demo/simulate.yaml" "$@" -q --out "$folder/simulated" > /dev/null &&
        "$bin/prepare-data" "$system" "configs/$system/demo/prepare.yaml" -q --from "$folder/simulated" \
            --out "$folder/prepared" > /dev/null || say "   failed: data of $system"
}

trained() { # RUN BATCH ARGS..: trains, then its rate once it is warm, and its peak memory
    local run=$1 batch=$2
    shift 2
    rm -rf "$run"
    timeout "$((60 * ${MINUTES:-15}))" "$bin/train-model" "$@" -q --device "$device" --out "$run" > /dev/null &&
        python3 scripts/measure/figures.py rate "$run" --batch "$batch" --warm-up "$warm_up"
}

ours() { # PAIR VARIANT PRECISION BATCH GPUS SYSTEM CONFIG OVERRIDES..
    local pair=$1 variant=$2 precision=$3 batch=$4 count=$5 system=$6 config=$7 name="$1-$2"
    shift 7
    name=${name// /-}
    say "   $pair, $variant"
    local about
    about=$(printf '{"pair": "%s", "side": "podium", "variant": "%s", "precision": "%s", "gpus": %d}' \
        "$pair" "$variant" "$precision" "$count")
    local several=()
    if [ "$count" -gt 1 ]; then several=(--nproc "$count"); fi
    figures "$about" "$out/logs/$name.log" trained "$out/runs/$name" "$batch" "configs/$config" \
        "training.batch_size=$batch" training.deterministic=false "$@" "${several[@]}" --from "$out/data/$system/prepared"
}

# What the other side needs, in Python's words.
if [ "$device" = cuda ]; then can="torch.cuda.is_available()"; else can=True; fi
torch=true
"${PYTHON:-python3}" -c "import torch, sys; sys.exit(not $can)" 2> /dev/null || torch=false
eager() { # PAIR VARIANT NETWORK PRECISION BATCH ARGS..
    local pair=$1 variant=$2 network=$3 precision=$4 batch=$5 about
    shift 5
    about=$(printf '{"pair": "%s", "side": "eager", "variant": "%s"}' "$pair" "$variant")
    if ! $torch; then
        note "$about" "{\"left_out\": \"no Python with torch for $device (PYTHON=...)\"}"
        return
    fi
    say "   $pair, PyTorch, $variant"
    figures "$about" "$out/logs/${pair// /-}-eager-$variant.log" timeout "$((60 * ${MINUTES:-15}))" "${PYTHON:-python3}" \
        benches/python/eager.py "$network" --batch "$batch" --precision "$precision" --device "$device" "$@"
}
